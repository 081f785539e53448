"""One limit in use: how much of it is there now, and when there will be enough. Pure; takes `now` (seconds).

    Bucket   refills all the time: in every T seconds it admits at most capacity + rate * T
    Window   what was taken comes back a period later: in every period it admits at most the limit

(a request larger than the whole capacity is admitted when that is full, and counts against what comes after.)
"""

import math
from bisect import bisect_right
from collections import OrderedDict

import msgspec

from llmring.errors import Dimension
from llmring.lockfile.providers import Counted
from llmring.providers.drift import Drift

MARGIN_SECONDS = 0.25
"""The provider's clock starts when our first request reaches it, ours when it leaves; later requests may be faster on
their way than the first. Without a margin that difference comes back as refusals at full rate. It is kept off the
capacity once, so it costs this many seconds a run, not a share of the rate."""


_KEPT_TOTALS = 64


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So much of a dimension per `period` seconds. `counted` says what that means to the provider."""

    dimension: Dimension
    amount: float
    period: float = 60.0
    counted: Counted = "continuously"


class Bucket:
    """`level` is what is there now, `capacity` what it can hold, `kept` what is better left in it; `rounding` is the
    step in which replies tell it. `outstanding` is what is reserved of it and not settled: the budget keeps it."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.corrected = 0.0
        self.outstanding = 0.0
        self.newest = -1
        self.rounding = 1.0
        self.kept = 0.0
        self.drift = Drift(now)
        self._at = now
        self.resize(limit)
        self.level = self.capacity

    @property
    def rate(self) -> float:
        """What comes in a second, for us."""
        return self._refill - self.drift.shortfall

    def resize(self, limit: Limit) -> None:
        """Take a new limit. The level stays, for the caller to cut."""
        self.limit = limit
        self._refill = limit.amount / limit.period
        self.drift.bound(self._refill)
        self.capacity = max(limit.amount - self._refill * MARGIN_SECONDS, min(limit.amount, 1.0))

    @property
    def margin(self) -> float:
        return self.limit.amount - self.capacity

    def advance(self, now: float) -> None:
        passed = now - self._at
        if passed == 0.0:
            # A request looks, takes and settles in one moment or two.
            return
        self._at = now
        if passed > 0.0 and self.level < self.capacity:
            level = self.level + self.rate * passed
            self.level = min(self.capacity, level)

    def refilled(self, level: float, seconds: float) -> float:
        """What is there so many seconds after it was `level`, if nobody takes anything; may be above the capacity."""
        return level + self.rate * seconds

    def take(self, number: int, amount: float, now: float) -> None:
        """Take `amount` for the reservation of that number."""
        self.advance(now)
        self.level -= amount

    def give_back(self, number: int, amount: float) -> None:
        """A reservation took so much less in the end; more, where `amount` is below 0."""
        level = self.level + amount
        self.level = min(self.capacity, level)

    def wait(self, amount: float, keep: float = 0.0) -> float:
        """Seconds until `amount` is there, and `keep` of the capacity beside it. More than the capacity waits for a
        full bucket and then goes into debt."""
        needed = amount + (self.kept if keep == 0.0 else max(keep * self.capacity, self.kept))
        lacking = (min(self.capacity, needed)) - self.level
        return lacking / self.rate if lacking > 0.0 else 0.0

    def reckon(self) -> None:
        """Settle what is better left in it: what it is usually off by, and half a step of what replies tell."""
        self.kept = self.drift.cushion(self.capacity) + (self.rounding / 2.0 if self.rounding > 1.0 else 0.0)

    def correct(self, step: float) -> None:
        """Move the level on the provider's word. Replies to requests sent before are read in the light of it."""
        self.level += step
        self.corrected += step

    def overtakers(self, number: int, at: float) -> float:
        """What requests took that left after that reservation and may have arrived before it. Here it does not matter:
        what a low reading takes too much of is refilled at once."""
        return 0.0


class Window(Bucket):
    """For a provider that counts what came in the last period, or by the period from the first request on.

    What is taken comes back a period and a margin later. A correction comes back like something taken now.
    """

    def __init__(self, limit: Limit, now: float) -> None:
        self._taken: OrderedDict[int, list[float]] = OrderedDict()
        self._corrections = 0
        self._totals: list[tuple[float, int, float]] = []
        """When a reservation was made, its number, and what all of them had taken by then: of the last period."""
        self.capacity = self.level = limit.amount
        super().__init__(limit, now)

    @property
    def rate(self) -> float:
        """The mean."""
        return self._refill

    def resize(self, limit: Limit) -> None:
        """The level moves with the limit: what was taken in the last period is taken of the new one too."""
        self.limit = limit
        self._refill = limit.amount / limit.period
        super().correct(limit.amount - self.capacity)
        self.capacity = limit.amount

    def advance(self, now: float) -> None:
        self._at = now
        while self._taken:
            number, (back_at, amount) = next(iter(self._taken.items()))
            if back_at > now:
                return
            del self._taken[number]
            self.level = min(self.capacity, self.level + amount)
        # Sums of fractions do not come back to the whole by themselves.
        self.level = self.capacity

    def refilled(self, level: float, seconds: float) -> float:
        """Nobody knows when what is missing was taken: it may all have been at the last moment."""
        return self.capacity if seconds >= self.limit.period + MARGIN_SECONDS else level

    def take(self, number: int, amount: float, now: float) -> None:
        super().take(number, amount, now)
        self._taken[number] = [now + self.limit.period + MARGIN_SECONDS, amount]
        total = self._totals[-1][2] if self._totals else 0.0
        self._totals.append((now, number, total + amount))
        if len(self._totals) > 2 * len(self._taken) + _KEPT_TOTALS:
            del self._totals[: len(self._totals) // 2]

    def give_back(self, number: int, amount: float) -> None:
        taken = self._taken.get(number)
        if taken is not None:
            # What the provider's word has brought back already does not come back once more.
            part = min(amount, max(0.0, taken[1]))
            taken[1] -= part
            super().give_back(number, part)

    def wait(self, amount: float, keep: float = 0.0) -> float:
        # Without what is better left: it would be lost in every period, not once.
        lacking = min(self.capacity, amount + keep * self.capacity) - self.level
        if lacking <= 0.0:
            return 0.0
        until = self._at
        for back_at, part in self._taken.values():
            until, lacking = back_at, lacking - part
            if lacking <= 0.0:
                break
        return until - self._at

    def overtakers(self, number: int, at: float) -> float:
        """Here a low reading would cost what it takes for a whole period."""
        own = bisect_right(self._totals, (at, number, math.inf)) - 1
        last = bisect_right(self._totals, (at + MARGIN_SECONDS, math.inf)) - 1
        return self._totals[last][2] - self._totals[own][2] if own >= 0 else 0.0

    def correct(self, step: float) -> None:
        super().correct(step)
        if step < 0.0:
            self._corrections -= 1
            self._taken[self._corrections] = [self._at + self.limit.period + MARGIN_SECONDS, -step]
            return
        for taken in self._taken.values():
            # The oldest have come back there already.
            part = min(step, max(0.0, taken[1]))
            taken[1] -= part
            step -= part


def bucket_for(limit: Limit, now: float) -> Bucket:
    """A full one."""
    return Bucket(limit, now) if limit.counted == "continuously" else Window(limit, now)
