"""What a bucket gets wrong in the long run, and how far it is off in between. Pure; takes `now` (seconds).

A level is corrected by what replies say. Corrections that come again and again one way have a cause that goes on:
another program with the same key, or requests that the provider counts as larger than we do. Their rate is taken off
the refill before they are needed. What they scatter by is kept free, so that the next surprise is no refusal.
"""

import math

PERIOD_SECONDS = 5.0
"""How often the rate is reckoned."""

GAIN = 0.5
"""Of what was still to be corrected in the last period."""

MOST_SHARE = 0.9
"""Of the refill at most is taken off: whoever asks nothing learns nothing."""

_WEIGHT = 0.05
CUSHION_DEVIATIONS = 6.0
CUSHION_SHARE = 0.1
"""Of the capacity at most is kept free. It is kept once, so it costs a run seconds, not a share of its rate."""


class Drift:
    """`shortfall` a second is missing in the refill; `cushion` is better left in the bucket."""

    __slots__ = ("_scatter", "_since", "_square", "_sum", "shortfall")

    def __init__(self, now: float) -> None:
        self.shortfall = 0.0
        self._since = now
        self._sum = 0.0
        self._square = 0.0
        self._scatter = 0.0

    def add(self, step: float, rate: float, now: float) -> None:
        """A level that refills at `rate` was moved by `step` on the provider's word; 0 where it was right."""
        self._sum += step
        surprise = min(0.0, step)
        self._square += _WEIGHT * (surprise * surprise - self._square)
        self._scatter = CUSHION_DEVIATIONS * math.sqrt(self._square)
        passed = now - self._since
        if passed >= PERIOD_SECONDS:
            missing = max(-rate, min(rate, -self._sum / passed))
            self.shortfall = max(0.0, min(MOST_SHARE * rate, self.shortfall + GAIN * missing))
            self._since, self._sum = now, 0.0

    def bound(self, rate: float) -> None:
        """The level refills at `rate` from now on: what was missing at a higher one cannot be more than that."""
        self.shortfall = min(self.shortfall, MOST_SHARE * rate)

    def cushion(self, capacity: float) -> float:
        """How much of a bucket of so much to leave in it."""
        return min(CUSHION_SHARE * capacity, self._scatter) if self._scatter > 0.0 else 0.0
