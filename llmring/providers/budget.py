"""Token buckets: may this request go now, and if not, when exactly? Pure; every call takes `now` (trio clock, seconds).

One `Budget` is a vector of continuously refilled buckets, one a dimension (requests, tokens, input, output, day), plus
holds: a dimension whose provider said "not before". A request reserves in all dimensions or in none, and is settled
exactly once; a level may go below zero, and that debt is paid by waiting.

In every window of T seconds a bucket admits at most capacity + rate * T, whatever the interleaving; limit + rate * T
where single requests are larger than the capacity.
"""

import math
from collections.abc import Iterable, Iterator

import msgspec

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension
from llmring.providers.regime import Charge
from llmring.status import LimitStatus

MARGIN_SECONDS = 0.25
"""The provider's clock starts when our first request reaches it, ours when it leaves; later requests may be faster on
their way than the first. Without a margin that difference comes back as refusals at full rate. It is kept off the
capacity once, so it costs this many seconds a run, not a share of the rate."""

UPWARD_STEP = 0.2
"""How far a level moves towards a reading that is higher than ours. A lower one is taken at once.

Requests overtake one another, so a high reading may only mean that others, sent before, have not arrived yet: what they
reserved is first taken off. Without that, 5 % of the requests of a saturated run were refused (simulated, uplink delays
of 0 to 200 ms, 600 requests a minute); with it, none."""

_SLACK_SECONDS = 1e-6
"""A wait shorter than this is none: it comes from rounding, and adding it to a clock need not move the clock at all, so
that a sleeper would wake in the same moment for ever. A clock that shows days counts in steps of 1e-11 s."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So much of a dimension per `period` seconds, refilled continuously."""

    dimension: Dimension
    amount: float
    period: float = 60.0


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken for one request.

    For `observe`: `levels` are the levels right after, net of corrections; `in_flight` is what requests before it had
    reserved and not yet settled, so that the provider may not have seen them when this one arrived.
    """

    number: int
    charge: Charge
    levels: Charge
    in_flight: Charge


class Bucket:
    """One dimension. `level` is what is there now; `capacity` what it can hold."""

    __slots__ = ("_at", "capacity", "corrected", "level", "limit", "newest", "rate")

    def __init__(self, limit: Limit, now: float) -> None:
        self.corrected = 0.0
        self.newest = -1
        self._at = now
        self.resize(limit)
        self.level = self.capacity

    def resize(self, limit: Limit) -> None:
        """Take a new limit. The level stays, for the caller to correct and to cut."""
        self.limit = limit
        self.rate = limit.amount / limit.period
        self.capacity = max(limit.amount - self.rate * MARGIN_SECONDS, min(limit.amount, 1.0))

    @property
    def margin(self) -> float:
        return self.limit.amount - self.capacity

    def advance(self, now: float) -> None:
        self.level = min(self.capacity, self.level + self.rate * max(0.0, now - self._at))
        self._at = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there. More than the capacity waits for a full bucket and then goes into debt."""
        return max(0.0, min(amount, self.capacity) - self.level) / self.rate

    def correct(self, step: float) -> None:
        """Move the level on the provider's word. Replies to requests sent before are read in the light of it."""
        self.level += step
        self.corrected += step


class Budget:
    """The buckets and holds of one limit group. A dimension without a bucket is not limited."""

    def __init__(self, limits: Iterable[Limit], now: float) -> None:
        self.buckets: dict[Dimension, Bucket] = {limit.dimension: Bucket(limit, now) for limit in limits}
        self.holds: dict[Dimension, float] = {}
        self.outstanding: dict[Dimension, float] = {}
        self._next_number = 0

    def inherit(self, previous: "Budget", now: float) -> None:
        """Begin at the levels of another budget for the same limits: never fuller than that one is."""
        for dimension, bucket in self.buckets.items():
            before = previous.buckets.get(dimension)
            if before is not None:
                before.advance(now)
                bucket.level = min(bucket.level, before.level)
        self.holds.update(previous.holds)

    def status(self, now: float, *, shared: bool) -> Iterator[LimitStatus]:
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
            )

    def wait(self, charge: Charge, now: float) -> tuple[float, Dimension | None]:
        """Seconds until `charge` can be reserved, and the dimension that binds; (0.0, None) when it can be now."""
        longest, binding = 0.0, None
        for dimension, bucket in self.buckets.items():
            amount = charge.get(dimension, 0.0)
            if amount > 0.0:
                bucket.advance(now)
                wait = bucket.wait(amount)
                if wait > longest:
                    longest, binding = wait, dimension
        for dimension, until in self.holds.items():
            if until - now > longest and charge.get(dimension, 0.0) > 0.0:
                longest, binding = until - now, dimension
        return (longest, binding) if longest > _SLACK_SECONDS else (0.0, None)

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
        levels: dict[Dimension, float] = {}
        in_flight = dict(self.outstanding)
        for dimension, amount in charge.items():
            self.outstanding[dimension] = self.outstanding.get(dimension, 0.0) + amount
            bucket = self.buckets.get(dimension)
            if bucket is not None:
                bucket.advance(now)
                bucket.level -= amount
                levels[dimension] = bucket.level - bucket.corrected
        self._next_number += 1
        return Reservation(number=self._next_number, charge=charge, levels=levels, in_flight=in_flight)

    def settle(self, reservation: Reservation, actual: Charge, now: float) -> None:
        """Correct a reservation to what was used: once for each reservation; the worker's permit sees to that."""
        for dimension, reserved in reservation.charge.items():
            self.outstanding[dimension] -= reserved
            bucket = self.buckets.get(dimension)
            if bucket is not None:
                bucket.advance(now)
                bucket.level = min(bucket.capacity, bucket.level + reserved - actual[dimension])

    def refused(self, dimension: Dimension, until: float, now: float) -> None:
        """The provider said no: hold `dimension` until `until`. A shorter hold does not shorten an earlier one."""
        self.holds[dimension] = max(until, self.holds.get(dimension, -math.inf))
        bucket = self.buckets.get(dimension)
        if bucket is not None:
            bucket.advance(now)
            bucket.correct(min(0.0, -bucket.level))

    def observe(self, update: LimitUpdate, reservation: Reservation, now: float) -> Limit | None:
        """Take in what a reply said of one dimension. Returns the limit when it is new or has changed."""
        bucket = self.buckets.get(update.dimension)
        if bucket is None:
            return self._learn(update, reservation, now)
        if reservation.number < bucket.newest:
            return None
        bucket.newest = reservation.number
        bucket.advance(now)
        changed = None
        if update.limit is not None and update.limit > 0 and update.limit != bucket.limit.amount:
            changed = Limit(dimension=update.dimension, amount=update.limit, period=update.period)
            bucket.resize(changed)
        if update.remaining is not None and update.dimension in reservation.levels:
            self._correct(bucket, update, update.remaining, reservation)
        bucket.level = min(bucket.level, bucket.capacity)
        return changed

    def _learn(self, update: LimitUpdate, reservation: Reservation, now: float) -> Limit | None:
        if update.limit is None or update.limit <= 0:
            return None
        limit = Limit(dimension=update.dimension, amount=update.limit, period=update.period)
        bucket = Bucket(limit, now)
        # The reply's own request is in `remaining` already; of the others nobody knows, so none is counted there.
        own = reservation.charge.get(update.dimension, 0.0)
        in_flight = self.outstanding.get(update.dimension, 0.0) - own
        remaining = update.remaining if update.remaining is not None else update.limit - own
        bucket.level = min(bucket.capacity, remaining - bucket.margin - in_flight)
        self.buckets[update.dimension] = bucket
        return limit

    @staticmethod
    def _correct(bucket: Bucket, update: LimitUpdate, remaining: float, reservation: Reservation) -> None:
        """`remaining` is the provider's level when that request arrived."""
        drift = remaining - bucket.margin - (reservation.levels[update.dimension] + bucket.corrected)
        if drift > 0.0:
            drift = max(0.0, drift - reservation.in_flight.get(update.dimension, 0.0))
        if abs(drift) < update.rounding:
            drift = 0.0
        step = drift * UPWARD_STEP if drift > 0.0 else drift
        # Negative at a limit that has just been lowered: what is cut off counts as a correction too.
        bucket.correct(min(step, bucket.capacity - bucket.level))
