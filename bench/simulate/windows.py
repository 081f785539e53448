"""How a simulated provider counts: four ways in which "N a minute" is meant. Pure; every call takes `now` in seconds.

Written for the measurements alone and independently of the router's own budgets: these decide what is refused.
"""

import math
from collections import deque
from typing import Literal, Protocol

Counting = Literal["continuous", "fixed", "sliding", "steps"]
"""A bucket that refills all the time; a window that the first request opens; the last 60 seconds at any time; a bucket
that refills once a second."""

PERIOD_SECONDS = 60.0
DAY_SECONDS = 86_400.0


class Window(Protocol):
    """One limit. `left` is what is there now; it may be below 0 where use is charged after the fact."""

    amount: float

    def left(self, now: float) -> float: ...

    def take(self, amount: float, now: float) -> None: ...

    def resize(self, amount: float, now: float) -> None: ...

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there."""
        ...


class Continuous:
    """`step` seconds pass between two refills; 0: it refills all the time."""

    def __init__(self, amount: float, step: float = 0.0) -> None:
        self.amount = amount
        self._level = amount
        self._step = step
        self._at = 0.0

    def left(self, now: float) -> float:
        at = math.floor(now / self._step) * self._step if self._step else now
        self._level = min(self.amount, self._level + self.amount / PERIOD_SECONDS * (at - self._at))
        self._at = at
        return self._level

    def take(self, amount: float, now: float) -> None:
        self.left(now)
        self._level -= amount

    def resize(self, amount: float, now: float) -> None:
        self.left(now)
        self.amount = amount
        self._level = min(self._level, amount)

    def wait(self, amount: float, now: float) -> float:
        return max(0.0, amount - self.left(now)) * PERIOD_SECONDS / self.amount


class Fixed:
    """The first request opens a window of a minute; when it is over, the next request opens another one."""

    def __init__(self, amount: float, period: float = PERIOD_SECONDS) -> None:
        self.amount = amount
        self._period = period
        self._used = 0.0
        self._until = -math.inf

    def left(self, now: float) -> float:
        if now >= self._until:
            return self.amount
        return self.amount - self._used

    def take(self, amount: float, now: float) -> None:
        if now >= self._until:
            self._until = now + self._period
            self._used = 0.0
        self._used += amount

    def resize(self, amount: float, now: float) -> None:
        self.amount = amount

    def wait(self, amount: float, now: float) -> float:
        return 0.0 if self.left(now) >= amount else self._until - now


class Sliding:
    """No more than the amount in any 60 seconds."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self._taken: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def left(self, now: float) -> float:
        while self._taken and self._taken[0][0] <= now - PERIOD_SECONDS:
            self._used -= self._taken.popleft()[1]
        return self.amount - self._used

    def take(self, amount: float, now: float) -> None:
        self._taken.append((now, amount))
        self._used += amount

    def resize(self, amount: float, now: float) -> None:
        self.amount = amount

    def wait(self, amount: float, now: float) -> float:
        left = self.left(now)
        for at, taken in self._taken:
            if left >= amount:
                break
            left += taken
            if left >= amount:
                return at + PERIOD_SECONDS - now
        return 0.0


def daily(amount: float) -> Window:
    """A limit of `amount` a day, full."""
    return Fixed(amount, DAY_SECONDS)


def window(counting: Counting, amount: float) -> Window:
    """A limit of `amount` a minute, full."""
    match counting:
        case "continuous":
            return Continuous(amount)
        case "steps":
            return Continuous(amount, step=1.0)
        case "fixed":
            return Fixed(amount)
        case "sliding":
            return Sliding(amount)
