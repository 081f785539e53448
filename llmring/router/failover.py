"""What to do next with one request: pure; takes readiness and `now`, gives a decision.

    the first Ready route in order; if none is Ready, the shortest wait that fits the deadline;
    if nothing can be waited for, fail at once with every reason and the earliest retry time.

A route that failed in a way that may pass is tried once more after a short pause (429: up to three times more, each
after the provider's own delay), but only when no other route is ready. So one request sends at most 4 HTTP requests a
route, and at most 2 where nobody answers 429.

Routes of one model with several keys are siblings. What is the key's (`is_of_key`) leaves its siblings as they were;
any other failure is a try and a pause of all of them, so that a provider that is down is not asked once with each key,
and the second try goes to a sibling that has not failed. A refused key ends the request only with its last sibling.
"""

import math
from collections.abc import Callable, Sequence
from copy import copy

import msgspec

from llmring.errors import AllModelsFailed, Attempt, LLMRingError, ProviderError, RateLimited, RowStalled
from llmring.providers.readiness import Busy, Readiness, Ready, Shut
from llmring.refs import ModelRef
from llmring.router.stall import Stall
from llmring.trace import Spill, Then

PAUSE_FIRST_SECONDS = 0.5
PAUSE_MOST_SECONDS = 8.0
PAUSE_LEAST_SECONDS = 0.05
"""Before a route is tried again: full jitter over a doubling span, never nothing."""

ATTEMPT_SECONDS = 300.0
"""The longest one attempt may take for a whole answer."""

UNTRIED_SECONDS = 10.0
"""Kept back from an attempt for each route that has not been tried."""

MOST_STEPS = 256
"""Kept of one request for its trace; of a longer way, the beginning and the end."""


class Go(msgspec.Struct, frozen=True):
    """Send on this route now."""

    index: int


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Stand in line at these routes, and ask again at `until` at the latest (trio clock)."""

    indexes: tuple[int, ...]
    until: float


class Fail(msgspec.Struct, frozen=True):
    """Give up."""

    error: LLMRingError


Decision = Go | Wait | Fail


class Step(msgspec.Struct):
    """A decision, what it was made of, and what came of it: `taken` is the route that was asked, `attempt` how that
    ended and `then` what the request did next. After a failure, `failed_at` is when, `draw` made the pause, and
    `answers` and `refusals` are what others met there."""

    now: float
    readiness: Sequence[Readiness]
    answered_at: float
    decision: Decision
    taken: int | None = None
    attempt: Attempt | None = None
    then: Then | None = None
    failed_at: float | None = None
    draw: float | None = None
    answers: int = 0
    refusals: int = 0
    ruled_out: tuple[int, ...] = ()


class Plan:
    """One request's way through the routes of its alias.

    `deadline` is on the trio clock. `patient`: refusals do not use up a route's tries, for work that nobody waits for;
    see stall.py for when it is given up all the same. `spill` "never", that the first route alone is used, is a matter
    of the routes that a plan is given. What it decides depends on nothing but its arguments and `random()`; `steps`
    keeps both, decision by decision. `keys` are the names of the routes' keys; empty where no two are of one model.
    """

    def __init__(
        self,
        alias: str,
        models: Sequence[ModelRef],
        keys: Sequence[str | None] = (),
        *,
        deadline: float,
        random: Callable[[], float],
        patient: bool = False,
        spill: Spill = "auto",
    ) -> None:
        self.alias = alias
        self.deadline = deadline
        self.attempts: list[Attempt] = []
        self.steps: list[Step] = []
        self.left_out = 0
        self.models = models
        self.keys = keys
        self._siblings = _siblings(models) if keys else None
        self._tries = [0] * len(models)
        self._refused: set[int] = set()
        self._random = random
        self.patient = patient
        self._failures = [0] * len(models)
        self._spent = [False] * len(models)
        self._paused_until = [-math.inf] * len(models)
        self._skipped: set[int] = set()
        self.spill: Spill = spill
        self._failed = [False] * len(models)
        self._stall = Stall(len(models)) if patient else None

    @property
    def is_over(self) -> bool:
        """Whether no route is left to be asked."""
        return all(self._spent)

    def next(self, readiness: Sequence[Readiness], now: float, answered_at: float = -math.inf) -> Decision:
        """Decide. `readiness` is that of every route in order, taken in this moment; `answered_at` is when one of them
        has answered anybody last."""
        decision = self._decide(readiness, now, answered_at)
        taken = decision.index if type(decision) is Go else None
        self.steps.append(Step(now, readiness, answered_at, decision, taken))
        if len(self.steps) > MOST_STEPS:
            del self.steps[MOST_STEPS // 2]
            self.left_out += 1
        return decision

    def _decide(self, readiness: Sequence[Readiness], now: float, answered_at: float) -> Decision:
        if self._stall is not None:
            left = [answer for answer, spent in zip(readiness, self._spent, strict=True) if not spent]
            self._stall.look(left, answered_at, now)
        waits: list[tuple[int, float]] = []
        last: ModelRef | None = None
        for index, answer in enumerate(readiness):
            if self._spent[index] or last not in (None, self.models[index]):
                continue
            paused = self._paused_until[index] - now
            match answer:
                case Shut(error=ProviderError() as error):
                    if self._all_refused(index, readiness):
                        return Fail(_again(error))
                case Ready() if paused <= 0.0 and now < self.deadline:
                    chosen = self._least_tried(index, readiness, now)
                    self.note_skips(readiness[:chosen])
                    return Go(chosen)
                case Ready():
                    waits.append((index, max(0.0, paused)))
                case Busy(wait_seconds=wait) | Shut(wait_seconds=float(wait)):
                    waits.append((index, max(wait, paused)))
            if self.spill == "on_failure" and isinstance(answer, Busy | Ready) and not self._failed[index]:
                last = self.models[index]
        in_time = [index for index, wait in waits if now + wait < self.deadline]
        if not in_time:
            return Fail(self._all_failed(readiness, waits, now))
        silent = self._stall.silent(answered_at, now) if self._stall is not None else None
        if silent is not None:
            return Fail(RowStalled(self.alias, self.attempts, silent))
        return self._wait(in_time, answered_at, now)

    def _all_refused(self, index: int, readiness: Sequence[Readiness]) -> bool:
        """Whether no key of this route's model is left that may be right."""
        answers = [readiness[other] for other in self._same(index)]
        return all(isinstance(answer, Shut) and answer.error is not None for answer in answers)

    def _least_tried(self, index: int, readiness: Sequence[Readiness], now: float) -> int:
        """Of this route and its siblings that could go as well, the one that has failed this request least."""
        if self._siblings is None:
            return index
        ready = [
            other
            for other in self._same(index)
            if isinstance(readiness[other], Ready) and not self._spent[other] and self._paused_until[other] <= now
        ]
        return min(ready, key=lambda other: (self._tries[other], other))

    def _same(self, index: int) -> Sequence[int]:
        """The routes of this one's model."""
        return (index,) if self._siblings is None else self._siblings[index]

    def another_key(self, index: int) -> bool:
        """Whether the model has a key that has not been refused to this request."""
        return any(other not in self._refused for other in self._same(index) if other != index)

    def _wait(self, indexes: list[int], answered_at: float, now: float) -> Wait:
        in_line = tuple(index for index in indexes if self._paused_until[index] <= now)
        ends = [self._paused_until[index] for index in indexes if self._paused_until[index] > now]
        if self._stall is not None:
            ends.append(self._stall.ends(answered_at))
        return Wait(indexes=in_line, until=min([self.deadline, *ends]))

    def given(self, index: int) -> None:
        """The wait that was decided on has ended: a route lets the request go."""
        step = self.steps[-1]
        step.taken = index
        self.note_skips(step.readiness[:index])

    def failed(
        self,
        index: int,
        error: ProviderError,
        waited_seconds: float,
        took_seconds: float,
        now: float,
        answers: int = 0,
        refusals: int = 0,
    ) -> None:
        """An attempt on a route has failed in a way that fails over. `answers` and `refusals`: how many requests of all
        the route has answered so far, and failed by weather."""
        draw = self._random()
        self._record(index, error, waited_seconds, took_seconds, "failed")
        if self.steps:
            step = self.steps[-1]
            step.failed_at, step.draw, step.answers, step.refusals = now, draw, answers, refusals
        span = min(PAUSE_FIRST_SECONDS * 2.0 ** self._failures[index], PAUSE_MOST_SECONDS)
        self._tries[index] += 1
        if error.holds == "key":
            self._refused.add(index)
        same = (index,) if error.is_of_key else self._same(index)
        for other in same:
            self._failed[other] = self._failed[other] or not isinstance(error, RateLimited)
            if self._stall is None or not error.is_weather:
                self._failures[other] += 1
                self._spent[other] = self._spent[other] or self._failures[other] >= error.tries
            self._paused_until[other] = now + max(PAUSE_LEAST_SECONDS, span * draw)
        if self._stall is not None and error.is_weather:
            self._spent[index] = self._stall.failed(index, error, answers, refusals, now)

    def rule_out(self, indexes: Sequence[int], why: str) -> None:
        """These routes would fail as the last one did: they are not tried."""
        if self.steps:
            self.steps[-1].ruled_out = tuple(indexes)
        for index in indexes:
            if not self._spent[index]:
                self._spent[index] = True
                self.attempts.append(self._passed_over(index, f"skipped: {why}"))

    def note(self, index: int, error: ProviderError, waited_seconds: float, took_seconds: float) -> None:
        """An attempt has failed in a way that the next one will not, and the route is as good as untried; or in a way
        that ends the request."""
        self._record(index, error, waited_seconds, took_seconds, "again" if error.fails_over else "raised")

    def succeeded(self, index: int, waited_seconds: float, took_seconds: float) -> None:
        """The route has answered."""
        self._record(index, None, waited_seconds, took_seconds, "answered")

    def _record(self, index: int, error: ProviderError | None, waited: float, took: float, then: Then) -> None:
        attempt = Attempt(
            model=self.models[index],
            outcome=error.described() if error is not None else "answered",
            error=error,
            sent=error is None or error.sent,
            waited_seconds=waited,
            took_seconds=took,
            key=self._key(index),
        )
        self.attempts.append(attempt)
        if self.steps:
            self.steps[-1].attempt, self.steps[-1].then = attempt, then

    def attempt_seconds(self, index: int, now: float) -> float:
        """How long an attempt on a route may take: what is left, less a share for every route not tried yet."""
        left = max(0.0, self.deadline - now)
        others = [
            other
            for other in range(len(self.models))
            if other != index and not self._spent[other] and self._failures[other] == 0
        ]
        untried = len(others)
        if self._siblings is not None:
            untried = len({self.models[other] for other in others} - {self.models[index]})
        return min(ATTEMPT_SECONDS, max(left - UNTRIED_SECONDS * untried, left / (untried + 1)))

    def note_skips(self, readiness: Sequence[Readiness]) -> None:
        """Remember, once a route, why the first ones were passed over."""
        for index, answer in enumerate(readiness):
            if not self._spent[index] and self._failures[index] == 0 and index not in self._skipped:
                self._skipped.add(index)
                self.attempts.append(self._passed_over(index, f"skipped: {_why(answer)}"))

    def _passed_over(self, index: int, why: str) -> Attempt:
        return Attempt(model=self.models[index], outcome=why, key=self._key(index))

    def _key(self, index: int) -> str | None:
        return self.keys[index] if self.keys else None

    def _all_failed(
        self, readiness: Sequence[Readiness], waits: Sequence[tuple[int, float]], now: float
    ) -> LLMRingError:
        if self._stall is not None and self._stall.repeated is not None and self.is_over:
            return RowStalled(self.alias, self.attempts, self._stall.repeated)
        errors = [attempt.error for attempt in self.attempts if attempt.sent]
        if errors and not waits and all(isinstance(error, ProviderError) and error.is_verdict for error in errors):
            assert errors[-1] is not None, "a verdict"
            return errors[-1]
        unanswered = [
            self._passed_over(index, f"not waited for: {_why(answer, late=now >= self.deadline)}")
            for index, answer in enumerate(readiness)
            if not self._spent[index]
        ]
        soonest = min((wait for _, wait in waits), default=None)
        return AllModelsFailed(
            self.alias,
            [*self.attempts, *unanswered],
            retry_at=None if soonest is None else now + soonest,
            retry_after=soonest,
        )


def _siblings(models: Sequence[ModelRef]) -> list[list[int]]:
    """For each route those of the same model, itself among them."""
    by_model: dict[ModelRef, list[int]] = {}
    for index, model in enumerate(models):
        by_model.setdefault(model, []).append(index)
    return [by_model[model] for model in models]


def _again(error: ProviderError) -> ProviderError:
    """An error told once more, of a request that was not sent.

    A copy: raised in many tasks, one exception would collect all their tracebacks.
    """
    told = copy(error)
    told.sent = False
    return told


def _why(answer: Readiness, *, late: bool = False) -> str:
    match answer:
        case Ready():
            return "the deadline has passed" if late else "pause after a failure"
        case Busy(wait_seconds=wait, why=why) | Shut(wait_seconds=float(wait), why=why):
            return f"{why} for {wait:.3g} s" if wait > 0.0 else why
        case Shut(why=why):
            return why
