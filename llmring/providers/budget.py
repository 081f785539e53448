"""Limits in use: may this request go now, and if not, when exactly? Pure; every call takes `now` (trio clock, seconds).

One `Budget` is a vector of buckets, one a dimension (requests, tokens, input, output, day), plus holds: a dimension
whose provider said "not before". A request reserves in all dimensions or in none, and is settled exactly once; a level
may go below zero, and that debt is paid by waiting.
"""

import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from types import MappingProxyType

import msgspec

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension
from llmring.lockfile.providers import Counted
from llmring.providers.bucket import Bucket, Limit, bucket_for
from llmring.providers.learning import Learned
from llmring.providers.memory import FORGOTTEN_SECONDS, KeptLimit, share
from llmring.providers.regime import Charge
from llmring.status import LimitStatus

UPWARD_STEP = 0.2
"""How far a level moves towards a reading that is higher than ours. A lower one is taken at once.

Requests overtake one another, so a high reading may only mean that others, sent before, have not arrived yet: what they
reserved is first taken off. Without that, 5 % of the requests of a saturated run were refused (simulated, uplink delays
of 0 to 200 ms, 600 requests a minute); with it, none."""

PERIOD_SECONDS = 60.0
"""Of a limit that was learned from refusals: its bucket holds as much as a minute brings."""

_SLACK_SECONDS = 1e-6
"""A wait shorter than this is none: it comes from rounding, and adding it to a clock need not move the clock at all, so
that a sleeper would wake in the same moment for ever. A clock that shows days counts in steps of 1e-11 s."""


_NONE: Charge = MappingProxyType({})
_NO_WAIT: tuple[float, Dimension | None] = (0.0, None)


class Reservation(msgspec.Struct, frozen=True):
    """What was taken for one request.

    For `observe`, of every limit that was known: `levels` are the levels right after, net of corrections; `in_flight`
    is what requests before it had reserved and not yet settled, so that the provider may not have seen them when this
    one arrived.
    """

    number: int
    at: float
    charge: Charge
    levels: Charge
    in_flight: Charge


class Budget:
    """The buckets and holds of one limit group. A dimension without a bucket is not limited; `counted` is how limits
    are that replies tell of."""

    def __init__(self, limits: Iterable[Limit], now: float, counted: Counted = "continuously") -> None:
        self.counted: Counted = counted
        self.buckets: dict[Dimension, Bucket] = {limit.dimension: bucket_for(limit, now) for limit in limits}
        self.holds: dict[Dimension, float] = {}
        self._open: dict[int, Charge] = {}
        """What is reserved and not settled, by the numbers of the reservations."""
        self.learned: dict[Dimension, Learned] = {}
        self._next_number = 0

    def inherit(self, previous: "Budget", now: float) -> None:
        """Begin at the levels of another budget for the same limits: never fuller than that one is."""
        for dimension, bucket in self.buckets.items():
            before = previous.buckets.get(dimension)
            if before is not None:
                before.advance(now)
                bucket.advance(now)
                bucket.correct(min(0.0, before.level - bucket.level))
        for dimension, until in previous.holds.items():
            self.holds[dimension] = max(until, self.holds.get(dimension, -math.inf))

    def renew(self, limits: Iterable[Limit], now: float) -> None:
        """These limits hold from now on, for those too who stand in line for it. What is missing of a limit is missing
        of the one in its place."""
        before, self.buckets = self.buckets, {}
        for limit in limits:
            bucket = before.get(limit.dimension)
            if bucket is not None:
                bucket.advance(now)
            if bucket is not None and bucket.limit.counted == limit.counted:
                self.buckets[limit.dimension] = bucket
                bucket.resize(limit)
                bucket.correct(min(0.0, bucket.capacity - bucket.level))
            else:
                new = self._add(limit, now)
                if bucket is not None:
                    new.correct(min(0.0, bucket.level - new.level))

    @property
    def limits(self) -> tuple[Limit, ...]:
        """As they are now."""
        return tuple(bucket.limit for bucket in self.buckets.values())

    def memory(self, now: float) -> Iterator[KeptLimit]:
        """The limits that nobody configured, as they are now."""
        for dimension, bucket in self.buckets.items():
            learned = self.learned.get(dimension)
            bucket.advance(now)
            amount, period, age = bucket.limit.amount, bucket.limit.period, 0.0
            if learned is not None:
                period = PERIOD_SECONDS
                if learned.rate is not None and learned.rate < learned.kept_rate:
                    # Not grown back to what it was: that is no older for having been looked at.
                    age = now - learned.kept_at
            yield KeptLimit(
                dimension=dimension,
                amount=amount,
                period=period,
                level=bucket.level,
                learned=learned is not None,
                sure=learned is not None and learned.sure,
                age_seconds=age,
            )

    def recall(self, limits: Iterable[KeptLimit], age_seconds: float, now: float) -> None:
        """Begin with what an earlier process has kept, so long ago."""
        for kept in limits:
            if kept.dimension in self.buckets:
                # Another model of the group has recalled it.
                continue
            age = kept.age_seconds + age_seconds
            part = share(age) if kept.learned else 1.0
            if age >= FORGOTTEN_SECONDS:
                continue
            if kept.learned:
                rate = kept.amount / kept.period
                self.learned[kept.dimension] = Learned(
                    at=now,
                    held_until=now,
                    rate=part * rate,
                    sure=kept.sure,
                    grown_at=now,
                    kept_rate=rate,
                    kept_at=now - age,
                )
            # A smaller share comes more slowly: the whole stays what it was, or what fits into it would not fit now.
            limit = Limit(dimension=kept.dimension, amount=kept.amount, period=kept.period / part, counted=self.counted)
            bucket = self._add(limit, now)
            there = min(bucket.refilled(kept.level, age_seconds), part * bucket.capacity)
            bucket.correct(min(0.0, there - bucket.level))

    def adopt(self, previous: "Budget", now: float) -> None:
        """Take over what another budget has learned, for limits that are now shared otherwise. In what both know,
        never fuller than that one is."""
        self.inherit(previous, now)
        for dimension, bucket in previous.buckets.items():
            if dimension in self.buckets:
                continue
            self.buckets[dimension] = copy = deepcopy(bucket)
            copy.outstanding = self.outstanding(dimension)
            if dimension in previous.learned:
                self.learned[dimension] = deepcopy(previous.learned[dimension])
        # The buckets know reservations by their numbers.
        self._next_number = max(self._next_number, previous._next_number)

    def status(self, now: float, *, shared: bool, group: str | None = None) -> Iterator[LimitStatus]:
        """Every limit and every hold, as they are now."""
        for dimension in dict.fromkeys((*self.buckets, *self.holds)):
            bucket = self.buckets.get(dimension)
            if bucket is not None:
                bucket.advance(now)
            yield LimitStatus(
                dimension=dimension,
                amount=bucket.limit.amount if bucket is not None else None,
                level=bucket.level if bucket is not None else None,
                period_seconds=bucket.limit.period if bucket is not None else None,
                held_seconds=max(0.0, self.holds.get(dimension, now) - now),
                shared=shared,
                group=group,
            )

    def wait(self, charge: Charge, now: float, keep: float = 0.0) -> tuple[float, Dimension | None]:
        """Seconds until `charge` can be reserved with a share `keep` of every limit left beside it, and the dimension
        that binds; (0.0, None) when it can be now."""
        if not self.buckets and not self.holds:
            return _NO_WAIT
        longest, binding = 0.0, None
        for dimension, bucket in self.buckets.items():
            amount = charge.get(dimension, 0.0)
            if amount > 0.0:
                bucket.advance(now)
                wait = bucket.wait(amount, keep)
                if wait > longest:
                    longest, binding = wait, dimension
        for dimension, until in self.holds.items():
            if until - now > longest and charge.get(dimension, 0.0) > 0.0:
                longest, binding = until - now, dimension
        return (longest, binding) if longest > _SLACK_SECONDS else _NO_WAIT

    def wait_behind(self, ahead: Charge, charge: Charge, now: float) -> tuple[float, Dimension | None]:
        """Seconds until `charge` can be reserved when all of `ahead` is first."""
        longest, binding = self.wait(charge, now)
        for dimension, bucket in self.buckets.items():
            if charge.get(dimension, 0.0) > 0.0:
                lacking = ahead.get(dimension, 0.0) + charge[dimension] - bucket.level
                if lacking / bucket.rate > longest:
                    longest, binding = lacking / bucket.rate, dimension
        return longest, binding

    def room(self, now: float) -> float:
        """The part that is left of the limit of which least is left: 1 where none is known, 0 at most under a hold, and
        below 0 in debt."""
        least = 1.0
        for bucket in self.buckets.values():
            bucket.advance(now)
            least = min(least, bucket.level / bucket.capacity)
        return min(least, 0.0) if any(until > now for until in self.holds.values()) else least

    def impossible(self, charge: Charge) -> Dimension | None:
        """The dimension whose whole limit is smaller than `charge`: no waiting makes it fit. None if it fits."""
        for dimension, bucket in self.buckets.items():
            if charge.get(dimension, 0.0) > bucket.limit.amount:
                return dimension
        return None

    def fit(self, charge: Charge, certain: Charge) -> dict[Dimension, float]:
        """`charge` with its guessed part cut down to the whole limit: a guess alone makes no request impossible."""
        fitted = dict(charge)
        for dimension, bucket in self.buckets.items():
            if dimension in fitted:
                fitted[dimension] = min(charge[dimension], max(bucket.limit.amount, certain[dimension]))
        return fitted

    def reserve(self, charge: Charge, now: float) -> Reservation:
        """Take `charge` out of every bucket. The caller has just seen `wait` return 0."""
        if self.learned:
            self._grow(charge, now)
        self._next_number = number = self._next_number + 1
        self._open[number] = charge
        if not self.buckets:
            return Reservation(number, now, charge, _NONE, _NONE)
        levels: dict[Dimension, float] = {}
        in_flight: dict[Dimension, float] = {}
        for dimension, bucket in self.buckets.items():
            amount = charge.get(dimension)
            if amount is not None:
                in_flight[dimension] = bucket.outstanding
                bucket.outstanding += amount
                bucket.take(number, amount, now)
                levels[dimension] = bucket.level - bucket.corrected
        return Reservation(number, now, charge, levels, in_flight)

    def settle(self, reservation: Reservation, actual: Charge, now: float, *, taken: bool = True) -> None:
        """Correct a reservation to what was used: once for each reservation; the worker's permit sees to that. `taken`:
        the provider did not refuse it."""
        for dimension, learned in self.learned.items():
            if reservation.at >= learned.at:
                used = actual[dimension] if taken else 0.0
                learned.taken += used - reservation.charge[dimension]
        number = reservation.number
        charge = self._open.pop(number)
        for dimension, bucket in self.buckets.items():
            reserved = charge.get(dimension)
            if reserved is not None:
                bucket.outstanding -= reserved
                bucket.advance(now)
                bucket.give_back(number, reserved - actual[dimension])

    def outstanding(self, dimension: Dimension) -> float:
        """What is reserved of a dimension and not settled yet, whether a limit is known there or not."""
        return sum(charge.get(dimension, 0.0) for charge in self._open.values())

    def _add(self, limit: Limit, now: float) -> Bucket:
        """A limit that is new here, with a full bucket."""
        bucket = self.buckets[limit.dimension] = bucket_for(limit, now)
        bucket.outstanding = self.outstanding(limit.dimension)
        return bucket

    def refused(self, dimension: Dimension, until: float, now: float) -> None:
        """The provider said no: hold `dimension` until `until`. A shorter hold does not shorten an earlier one."""
        self.holds[dimension] = max(until, self.holds.get(dimension, -math.inf))
        bucket = self.buckets.get(dimension)
        if bucket is not None:
            bucket.advance(now)
            bucket.correct(min(0.0, -bucket.level))

    def learn(
        self, dimension: Dimension, sent_at: float, held_until: float, now: float, told: float = 0.0
    ) -> Limit | None:
        """A request of `sent_at` was refused, in a dimension that is held now. Returns the limit that this taught: none
        where replies tell of it. `told` is what the lockfile says may go a second, 0 where it says nothing."""
        bucket = self.buckets.get(dimension)
        if bucket is not None and dimension not in self.learned:
            return None
        learned = self.learned.get(dimension)
        if learned is None:
            learned = self.learned[dimension] = Learned(at=now, held_until=held_until, grown_at=now, told=told)
            return None
        if not learned.refused(sent_at, held_until, now):
            return None
        return self._take_learned(dimension, learned, now)

    def _grow(self, charge: Charge, now: float) -> None:
        for dimension, learned in self.learned.items():
            learned.taken += charge.get(dimension, 0.0)
            if learned.grow(now):
                self._take_learned(dimension, learned, now)

    def _take_learned(self, dimension: Dimension, learned: Learned, now: float) -> Limit:
        assert learned.rate is not None, "it has taught something"
        # While it grows back, the whole is what it was, and comes more slowly.
        whole = max(learned.rate, learned.known)
        limit = Limit(
            dimension=dimension,
            amount=PERIOD_SECONDS * whole,
            period=PERIOD_SECONDS * (whole / learned.rate),
            counted=self.counted,
        )
        bucket = self.buckets.get(dimension)
        if bucket is None:
            bucket = self._add(limit, now)
            bucket.correct(-bucket.level)
        else:
            bucket.advance(now)
            bucket.resize(limit)
            bucket.correct(min(0.0, bucket.capacity - bucket.level))
        return limit

    def observe(self, update: LimitUpdate, reservation: Reservation, now: float) -> Limit | None:
        """Take in what a reply said of one dimension. Returns the limit when it is new or has changed."""
        if update.limit is not None and self.learned.pop(update.dimension, None) is not None:
            # Now it is told.
            self.buckets.pop(update.dimension, None)
        bucket = self.buckets.get(update.dimension)
        if bucket is None:
            return self._learn(update, reservation, now)
        if reservation.number < bucket.newest:
            return None
        bucket.newest = reservation.number
        bucket.rounding = update.rounding
        bucket.advance(now)
        changed = None
        told = (update.limit, update.period)
        if update.limit is not None and update.limit > 0 and told != (bucket.limit.amount, bucket.limit.period):
            changed = msgspec.structs.replace(bucket.limit, amount=update.limit, period=update.period)
            bucket.resize(changed)
        if update.remaining is not None and update.dimension in reservation.levels:
            step = self._correct(bucket, update, update.remaining, reservation)
            if changed is None:
                bucket.drift.add(step, bucket.limit.amount / bucket.limit.period, now)
        bucket.reckon()
        bucket.correct(min(0.0, bucket.capacity - bucket.level))
        return changed

    def _learn(self, update: LimitUpdate, reservation: Reservation, now: float) -> Limit | None:
        if update.limit is None or update.limit <= 0:
            return None
        limit = Limit(dimension=update.dimension, amount=update.limit, period=update.period, counted=self.counted)
        bucket = self._add(limit, now)
        # The reply's own request is in `remaining` already; of the others nobody knows, so none is counted there.
        own = reservation.charge.get(update.dimension, 0.0)
        in_flight = bucket.outstanding - own
        remaining = update.remaining if update.remaining is not None else update.limit - own
        bucket.correct(min(0.0, remaining - bucket.margin - in_flight - bucket.level))
        return limit

    @staticmethod
    def _correct(bucket: Bucket, update: LimitUpdate, remaining: float, reservation: Reservation) -> float:
        """`remaining` is the provider's level when that request arrived. Returns the step."""
        drift = remaining - bucket.margin - (reservation.levels[update.dimension] + bucket.corrected)
        if drift > 0.0:
            drift = max(0.0, drift - reservation.in_flight.get(update.dimension, 0.0))
        else:
            drift = min(0.0, drift + bucket.overtakers(reservation.number, reservation.at))
        if abs(drift) < update.rounding:
            drift = 0.0
        step = drift * UPWARD_STEP if drift > 0.0 else drift
        # Negative at a limit that has just been lowered: what is cut off counts as a correction too.
        step = min(step, bucket.capacity - bucket.level)
        bucket.correct(step)
        return step
