"""When is work that waits out the weather given up? Pure; `now` and `*_at` are on the trio clock.

A refusal or an overload says nothing of the request, so a row of a map does not count them: it waits. Two things show
that waiting will not help:

    a route fails it REPEATS times in the same way, and has answered others each time in between: it is this request,
    where others were failed less often, or it goes on for LASTING_SECONDS
    its chain answers nobody for SILENT_SECONDS

Without the first condition's second half rows were lost to limits that were just being learned: 15 of a simulated run
(`python -m bench.simulate --only unknown`, seed 1), refused 4 times each within ten seconds. For a limit is of a minute
and refuses the head of the line again and again, a 429 is of the request only when it lasts.

A wait that a limit sets is not silence, for it says when it ends. But what was refused is not excused a second time
until somebody is answered: a provider that only ever says "in a minute" is silent.
"""

import math
from collections.abc import Sequence

from llmring.errors import ProviderError, RateLimited
from llmring.providers.readiness import Busy, Readiness

REPEATS = 4
LASTING_SECONDS = 60.0
SILENT_SECONDS = 600.0


class _Run:
    """The failures of one kind in a row on one route: how many there were, and how many of them count, for others were
    answered in between."""

    __slots__ = ("answers", "begun_at", "counted", "failures", "refusals", "way")

    def __init__(self, way: tuple[object, ...], answers: int, refusals: int, now: float) -> None:
        self.way = way
        self.begun_at = now
        self.answers = answers
        self.refusals = refusals
        self.failures = 1
        self.counted = 1

    def add(self, answers: int) -> None:
        self.failures += 1
        self.counted += answers > self.answers
        self.answers = answers

    def is_of_the_request(self, refusals: int, now: float, *, is_limit: bool) -> bool:
        others = (refusals - self.refusals) - (self.failures - 1)
        alone = not is_limit and others < self.failures
        return self.counted >= REPEATS and (alone or now - self.begun_at >= LASTING_SECONDS)


class Stall:
    """One request's watch over its routes. `repeated` says why a route was given up; None while none was."""

    def __init__(self, routes: int) -> None:
        self.repeated: str | None = None
        self._runs: list[_Run | None] = [None] * routes
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

    def failed(self, index: int, error: ProviderError, answers: int, refusals: int, now: float) -> bool:
        """A route has failed the request by weather; by now it has answered and failed so many of all. Whether it is
        given up."""
        if self._refused_at == math.inf:
            self._refused_at = now
            self._excused_until = max(self._excused_until, now + (error.retry_after or 0.0))
        way = (type(error), error.status)
        run = self._runs[index]
        if run is None or run.way != way:
            self._runs[index] = _Run(way, answers, refusals, now)
            return False
        run.add(answers)
        if not run.is_of_the_request(refusals, now, is_limit=isinstance(error, RateLimited)):
            return False
        self.repeated = f"{type(error).__name__} {run.failures} times, while others were answered"
        return True

    def ends(self, answered_at: float) -> float:
        """When it is given up for silence, as things stand."""
        return max(self._begun_at, answered_at, self._excused_until) + SILENT_SECONDS

    def silent(self, answered_at: float, now: float) -> str | None:
        """Why it is given up for silence now; None while it is not."""
        if now < self.ends(answered_at):
            return None
        return f"its models have answered nobody for {SILENT_SECONDS:g} s"
