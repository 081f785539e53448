"""May a call that has failed be sent once more? A share of an alias's calls may, and one a second. Pure; takes `now`.

What a budget is for are storms: a provider that fails half of its calls is not helped by being sent each of them twice.
It is no brake on failover. Drawn from it are a second try at a model that has failed the call, and an attempt at one
whose breaker is open; free are a call's first attempt, its first one at a model in use, and a try after a 429, which
goes when the limit lets it. See failover.py.

Finagle's and linkerd's budgets, which this follows, count every attempt behind the first. With a burst of a hundred
calls at a model that has just gone down, half would then be lost beside a model that is well.

Retries are counted over the 30 seconds before each of them, to the second, and always too many rather than too few: no
30 seconds that end with a retry hold more than a fifth of the calls that began in them, and 30.
"""

import math

WINDOW_SECONDS = 30
SHARE = 0.2
LEAST_PER_SECOND = 1.0


class RetryBudget:
    """Of one alias. The calls of a map are not counted and draw nothing: they wait."""

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[int, int]] = {}
        """Calls and retries of every second that had any."""

    def called(self, now: float) -> None:
        """A call has sent its first request."""
        self._add(now, 1, 0)

    def allows(self, now: float) -> bool:
        """Whether one more retry is within the budget."""
        # Of the second that the window begins in, the retries count and the calls do not.
        first = math.floor(now) - WINDOW_SECONDS
        calls = sum(calls for second, (calls, _) in self._seconds.items() if second > first)
        retries = sum(retries for second, (_, retries) in self._seconds.items() if second >= first)
        return retries + 1 <= SHARE * calls + LEAST_PER_SECOND * WINDOW_SECONDS

    def draw(self, now: float) -> None:
        """A retry will be sent. The caller has just seen that it is allowed."""
        self._add(now, 0, 1)

    def _add(self, now: float, calls: int, retries: int) -> None:
        second = math.floor(now)
        before = self._seconds.get(second, (0, 0))
        self._seconds[second] = (before[0] + calls, before[1] + retries)
        if len(self._seconds) > 2 * WINDOW_SECONDS:
            oldest = second - WINDOW_SECONDS
            self._seconds = {one: counts for one, counts in self._seconds.items() if one >= oldest}
