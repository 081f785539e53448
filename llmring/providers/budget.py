"""Token buckets: may this request go now, and if not, when exactly? Pure; every call takes `now` (trio clock, seconds).

One `Budget` is a vector of continuously refilled buckets, one a dimension (requests, tokens, input, output, day), plus
holds: a dimension whose provider said "not before". A request reserves in all dimensions or in none, and is settled
exactly once; a level may go below zero, and that debt is paid by waiting.

In every window of T seconds a bucket admits at most capacity + rate * T, whatever the interleaving.
"""

import math
from collections.abc import Iterable

import msgspec

from llmring.errors import Dimension
from llmring.providers.codec import LimitUpdate
from llmring.providers.regime import Charge

MARGIN_SECONDS = 0.25
"""The provider's clock starts when our first request reaches it, ours when it leaves; later requests may be faster on
their way than the first. Without a margin that difference comes back as refusals at full rate. It is kept off the
capacity once, so it costs this many seconds a run, not a share of the rate."""

UPWARD_STEP = 0.2
"""How far a level moves towards a reading that is higher than ours: replies overtake one another, so a high reading may
only mean that other requests have not arrived yet. A lower one is taken at once."""

_SLACK = 1e-9


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So much of a dimension per `period` seconds, refilled continuously."""

    dimension: Dimension
    amount: float
    period: float = 60.0


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken for one request. `levels` are the levels right after, net of corrections, for `observe`."""

    number: int
    charge: Charge
    levels: Charge


class Bucket:
    """One dimension. `level` is what is there now; `capacity` what it can hold."""

    __slots__ = ("_at", "capacity", "corrected", "level", "limit", "newest", "rate")

    def __init__(self, limit: Limit, now: float) -> None:
        self.corrected = 0.0
        self.newest = -1
        self._at = now
        self.level = math.inf
        self.resize(limit)

    def resize(self, limit: Limit) -> None:
        self.limit = limit
        self.rate = limit.amount / limit.period
        self.capacity = max(limit.amount - self.rate * MARGIN_SECONDS, min(limit.amount, 1.0))
        self.level = min(self.level, self.capacity)

    @property
    def margin(self) -> float:
        return self.limit.amount - self.capacity

    def advance(self, now: float) -> None:
        self.level = min(self.capacity, self.level + self.rate * max(0.0, now - self._at))
        self._at = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there. More than the capacity waits for a full bucket and then goes into debt."""
        missing = min(amount, self.capacity) - self.level
        return missing / self.rate if missing > _SLACK else 0.0


class Budget:
    """The buckets and holds of one limit group. A dimension without a bucket is not limited."""

    def __init__(self, limits: Iterable[Limit], now: float) -> None:
        self.buckets: dict[Dimension, Bucket] = {limit.dimension: Bucket(limit, now) for limit in limits}
        self.holds: dict[Dimension, float] = {}
        self.outstanding: dict[Dimension, float] = {}
        self._next_number = 0

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
        return longest, binding

    def impossible(self, charge: Charge) -> Dimension | None:
        """The dimension whose whole limit is smaller than `charge`: no waiting makes it fit. None if it fits."""
        for dimension, bucket in self.buckets.items():
            if charge.get(dimension, 0.0) > bucket.limit.amount:
                return dimension
        return None

    def reserve(self, charge: Charge, now: float) -> Reservation:
        """Take `charge` out of every bucket. The caller has just seen `wait` return 0."""
        levels: dict[Dimension, float] = {}
        for dimension, amount in charge.items():
            self.outstanding[dimension] = self.outstanding.get(dimension, 0.0) + amount
            bucket = self.buckets.get(dimension)
            if bucket is not None:
                bucket.advance(now)
                bucket.level -= amount
                levels[dimension] = bucket.level - bucket.corrected
        self._next_number += 1
        return Reservation(number=self._next_number, charge=charge, levels=levels)

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
            bucket.level = min(bucket.level, 0.0)

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
            self._correct(bucket, update.remaining, reservation.levels[update.dimension], update.rounding)
        return changed

    def _learn(self, update: LimitUpdate, reservation: Reservation, now: float) -> Limit | None:
        if update.limit is None or update.limit <= 0:
            return None
        limit = Limit(dimension=update.dimension, amount=update.limit, period=update.period)
        bucket = Bucket(limit, now)
        if update.remaining is not None:
            # The reply's own request is in `remaining` already; of the others nobody knows, so none is counted there.
            own = reservation.charge.get(update.dimension, 0.0)
            in_flight = self.outstanding.get(update.dimension, 0.0) - own
            bucket.level = min(bucket.capacity, update.remaining - bucket.margin - in_flight)
        self.buckets[update.dimension] = bucket
        return limit

    @staticmethod
    def _correct(bucket: Bucket, remaining: float, level_then: float, rounding: float) -> None:
        """`remaining` is the provider's level when that request arrived; `level_then` ours, net of corrections."""
        drift = remaining - bucket.margin - (level_then + bucket.corrected)
        if abs(drift) < rounding:
            return
        step = drift if drift < 0 else drift * UPWARD_STEP
        step = min(step, bucket.capacity - bucket.level)
        bucket.level += step
        bucket.corrected += step
