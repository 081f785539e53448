"""When is work that waits out the weather given up? Pure; `now` and `*_at` are on the trio clock.

A refusal or an overload says nothing of the request, so a row of a map does not count them: it waits. Two things show
that waiting will not help:

    a route fails it REPEATS times in the same way, and has answered others each time in between: it is this request
    its chain answers nobody for SILENT_SECONDS

A wait that a limit sets is not silence, for it says when it ends. But what was refused is not excused a second time
until somebody is answered: a provider that only ever says "in a minute" is silent.
"""

import math
from collections.abc import Sequence

from llmring.errors import ProviderError
from llmring.providers.readiness import Busy, Readiness

REPEATS = 4
SILENT_SECONDS = 600.0


class Stall:
    """One request's watch over its routes. `repeated` says why a route was given up; None while none was."""

    def __init__(self, routes: int) -> None:
        self.repeated: str | None = None
        self._ways: list[tuple[object, ...] | None] = [None] * routes
        self._times = [0] * routes
        self._answers = [0] * routes
        self._begun_at = math.inf
        self._refused_at = math.inf
        self._excused_until = -math.inf

    def look(self, readiness: Sequence[Readiness], answered_at: float, now: float) -> None:
        """Take in what the routes say that are still to be asked, and when one of them has answered anybody last."""
        self._begun_at = min(self._begun_at, now)
        if answered_at > self._refused_at:
            self._refused_at = math.inf
        waits = [each.wait_seconds for each in readiness if isinstance(each, Busy)]
        if waits and self._refused_at == math.inf:
            self._excused_until = max(self._excused_until, now + min(waits))

    def failed(self, index: int, error: ProviderError, answers: int, now: float) -> bool:
        """A route, which has given so many `answers` by now, has failed the request by weather. Whether it is given
        up."""
        if self._refused_at == math.inf:
            self._refused_at = now
            self._excused_until = max(self._excused_until, now + (error.retry_after or 0.0))
        way = (type(error), error.code, error.status)
        if way != self._ways[index]:
            self._ways[index], self._times[index] = way, 1
        elif answers > self._answers[index]:
            self._times[index] += 1
        self._answers[index] = answers
        if self._times[index] < REPEATS:
            return False
        self.repeated = f"{type(error).__name__} {REPEATS} times, while others were answered"
        return True

    def ends(self, answered_at: float) -> float:
        """When it is given up for silence, as things stand."""
        return max(self._begun_at, answered_at, self._excused_until) + SILENT_SECONDS

    def silent(self, answered_at: float, now: float) -> str | None:
        """Why it is given up for silence now; None while it is not."""
        if now < self.ends(answered_at):
            return None
        return f"its models have answered nobody for {SILENT_SECONDS:g} s"
