"""What to do next with one request: pure; takes readiness and `now`, gives a decision.

    the first Ready route in order; if none is Ready, the shortest wait that fits the deadline;
    if nothing can be waited for, fail at once with every reason and the earliest retry time.

A route that failed in a way that may pass is tried once more after a short pause (429: up to three times more, each
after the provider's own delay), but only when no other route is ready. So one request sends at most 4 HTTP requests a
route, and at most 2 where nobody answers 429; and one more, a trial, where breakers are open.

Panic: fewer than half of the routes that could help are in use, the breakers of the others are open. A breaker may be
wrong, and to wait for all of them is the worst that can be had; so the one that recovers first is tried all the same,
unless one in use can be had sooner. The breaker allows one trial at a time, a second apart, so that a provider that is
down is not stormed; a request makes one a route, which costs it no try; and who waits looks again after 1, 2, 4, ...
seconds, so that thousands do not wake for one place. Patient work needs none of this: it may wait for the probe, which
comes 20 s later at the most, and finds the way open; tried in panic, its rows would find a thousand times what one call
finds.

The retry budget (retry_budget.py) is drawn from when a route is to be asked that has failed this request, other than
by a 429, or whose breaker is open, unless it is the request's first attempt. Is it used up, such routes are left out.
A first attempt at a route in use is free: failover is no storm. So is patient work, which is held back by the breakers
and waits out the rest.

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

_SLACK_SECONDS = 1e-6
"""A pause shorter than this is over: a replay reckons times from the beginning of a request, and rounds otherwise."""

ATTEMPT_SECONDS = 300.0
"""The longest one attempt may take for a whole answer."""

UNTRIED_SECONDS = 10.0
"""Kept back from an attempt for each route that has not been tried."""

LOOK_SECONDS = 1.0
"""After which a request that waits in panic looks for a trial again; doubled every time."""

MOST_STEPS = 256
"""Kept of one request for its trace; of a longer way, the beginning and the end."""


class Go(msgspec.Struct, frozen=True):
    """Send on this route now. `trial`: though its breaker is open."""

    index: int
    trial: bool = False


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
    `answers` and `refusals` are what others met there. `used_up` is what was known of the retry budget; with `draws`
    the decision takes one retry out of it."""

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
    used_up: bool = False
    draws: bool = False


class _Way(msgspec.Struct):
    """A route that may be had after so many seconds, or tried after `trial` though its breaker is open."""

    index: int
    wait: float
    failing: bool
    trial: float | None


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
        self.has_sent = False
        """Whether a first attempt has failed: what comes now is more than one request for one call."""
        self._granted = False
        self._tried: set[int] = set()
        self._is_trial = False
        self._looks = 0
        self._stall = Stall(len(models)) if patient else None

    @property
    def is_over(self) -> bool:
        """Whether no route is left to be asked."""
        return all(self._spent)

    def is_left(self, index: int) -> bool:
        """Whether a route may be asked yet."""
        return not self._spent[index]

    def next(
        self, readiness: Sequence[Readiness], now: float, answered_at: float = -math.inf, *, used_up: bool = False
    ) -> Decision:
        """Decide. `readiness` is that of every route in order, taken in this moment; `answered_at` is when one of them
        has answered anybody last; `used_up`, that the retry budget allows none."""
        decision, chosen = self._decide(readiness, now, answered_at, used_up=used_up)
        draws = not self._granted and any(self._is_retry(index, readiness[index]) for index in chosen)
        self._granted = self._granted or draws
        self.steps.append(Step(now, readiness, answered_at, decision, used_up=used_up, draws=draws))
        if len(self.steps) > MOST_STEPS:
            del self.steps[MOST_STEPS // 2]
            self.left_out += 1
        if type(decision) is Go:
            self._begin(decision.index, is_trial=decision.trial)
        return decision

    def _decide(
        self, readiness: Sequence[Readiness], now: float, answered_at: float, *, used_up: bool
    ) -> tuple[Decision, Sequence[int]]:
        """The decision, and the routes that may be asked by it."""
        if self._stall is not None:
            left = [answer for answer, spent in zip(readiness, self._spent, strict=True) if not spent]
            self._stall.look(left, answered_at, now)
        ways: list[_Way] = []
        barred: list[_Way] = []
        last: ModelRef | None = None
        for index, answer in enumerate(readiness):
            if self._spent[index] or last not in (None, self.models[index]):
                continue
            is_barred = used_up and not self._granted and self._is_retry(index, answer)
            way = self._way(index, answer, now)
            if isinstance(answer, Shut) and answer.error is not None and self._all_refused(index, readiness):
                return Fail(_again(answer.error)), ()
            if (
                isinstance(answer, Ready)
                and way is not None
                and way.wait <= 0.0
                and now < self.deadline
                and not is_barred
            ):
                chosen = self._least_tried(index, readiness, now)
                self.note_skips(readiness[:chosen])
                return Go(chosen), (chosen,)
            if way is not None:
                (barred if is_barred else ways).append(way)
            if self.spill == "on_failure" and isinstance(answer, Busy | Ready) and not self._failed[index]:
                last = self.models[index]
        return self._among(ways, barred, readiness, now, answered_at)

    def _pause(self, index: int, now: float) -> float:
        """Seconds until a route's pause is over; 0 or less: it is."""
        left = self._paused_until[index] - now
        return left if left > _SLACK_SECONDS else min(left, 0.0)

    def _way(self, index: int, answer: Readiness, now: float) -> _Way | None:
        """How a route can be had; None: no time helps."""
        paused = self._pause(index, now)
        match answer:
            case Ready():
                return _Way(index, max(0.0, paused), failing=False, trial=None)
            case Busy(wait_seconds=wait, failing=failing):
                return _Way(index, max(wait, paused), failing=failing, trial=None)
            case Shut(wait_seconds=float(wait), error=None, trial_seconds=trial):
                may_try = trial is not None and index not in self._tried
                trial = max(trial, paused) if trial is not None and may_try else None
                return _Way(index, max(wait, paused), failing=True, trial=trial)
            case Shut():
                return None

    def _among(
        self,
        ways: list[_Way],
        barred: list[_Way],
        readiness: Sequence[Readiness],
        now: float,
        answered_at: float,
    ) -> tuple[Decision, Sequence[int]]:
        """None is ready: try one in panic, wait, or fail."""
        in_time = [way for way in ways if now + way.wait < self.deadline]
        look_at = math.inf
        if not self.patient and _is_panic(readiness, self.deadline - now):
            trials = [way for way in ways if way.trial is not None]
            way = _best_trial(trials, in_time)
            if way is not None and now < self.deadline:
                self.note_skips(readiness[: way.index])
                return Go(way.index, trial=True), (way.index,)
            look_at = now + min((way.trial for way in trials if way.trial is not None), default=math.inf)
        if not in_time and look_at < self.deadline:
            return Wait(indexes=(), until=look_at), ()
        if not in_time:
            return Fail(self._all_failed(readiness, ways, barred, now)), ()
        silent = self._stall.silent(answered_at, now) if self._stall is not None else None
        if silent is not None:
            return Fail(RowStalled(self.alias, self.attempts, silent)), ()
        indexes = [way.index for way in in_time]
        look_at = max(look_at, now + LOOK_SECONDS * 2.0**self._looks) if look_at < math.inf else math.inf
        wait = self._wait(indexes, answered_at, now, look_at)
        self._looks += wait.until == look_at < math.inf
        return wait, indexes

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
            if isinstance(readiness[other], Ready) and not self._spent[other] and self._pause(other, now) <= 0.0
        ]
        return min(ready, key=lambda other: (self._tries[other], other))

    def _same(self, index: int) -> Sequence[int]:
        """The routes of this one's model."""
        return (index,) if self._siblings is None else self._siblings[index]

    def another_key(self, index: int) -> bool:
        """Whether the model has a key that has not been refused to this request."""
        return any(other not in self._refused for other in self._same(index) if other != index)

    def _wait(self, indexes: list[int], answered_at: float, now: float, look_at: float) -> Wait:
        in_line = tuple(index for index in indexes if self._pause(index, now) <= 0.0)
        ends = [self._paused_until[index] for index in indexes if index not in in_line]
        if self._stall is not None:
            ends.append(self._stall.ends(answered_at))
        return Wait(indexes=in_line, until=min([self.deadline, look_at, *ends]))

    def _is_retry(self, index: int, answer: Readiness) -> bool:
        """Whether to ask a route would draw from the retry budget."""
        if self.patient or not self.has_sent:
            return False
        return self._failed[index] or _is_failing(answer)

    def _begin(self, index: int, *, is_trial: bool = False) -> None:
        """A route is asked now."""
        step = self.steps[-1]
        step.taken = index
        if self._is_retry(index, step.readiness[index]):
            self._granted = False
        self._is_trial = is_trial
        if is_trial:
            self._tried.add(index)

    def given(self, index: int) -> None:
        """The wait that was decided on has ended: a route lets the request go."""
        self._begin(index)
        self.note_skips(self.steps[-1].readiness[:index])

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
        self.has_sent = True
        self._tries[index] += 1
        if error.holds == "key":
            self._refused.add(index)
        # A trial has found what the breaker had said: no try is lost.
        costs_nothing = self._is_trial and error.trips_breaker
        same = (index,) if error.is_of_key else self._same(index)
        for other in same:
            self._failed[other] = self._failed[other] or not isinstance(error, RateLimited)
            if not costs_nothing and (self._stall is None or not error.is_weather):
                self._failures[other] += 1
                self._spent[other] = self._spent[other] or self._failures[other] >= error.tries
            self._paused_until[other] = now + max(PAUSE_LEAST_SECONDS, span * draw)
        if self._stall is not None and error.is_weather and not costs_nothing:
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
        self.has_sent = True
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
            is_untried = self._failures[index] == 0 and index not in self._tried
            if not self._spent[index] and is_untried and index not in self._skipped:
                self._skipped.add(index)
                self.attempts.append(self._passed_over(index, f"skipped: {_why(answer)}"))

    def _passed_over(self, index: int, why: str) -> Attempt:
        return Attempt(model=self.models[index], outcome=why, key=self._key(index))

    def _key(self, index: int) -> str | None:
        return self.keys[index] if self.keys else None

    def _all_failed(
        self, readiness: Sequence[Readiness], ways: Sequence[_Way], barred: Sequence[_Way], now: float
    ) -> LLMRingError:
        if self._stall is not None and self._stall.repeated is not None and self.is_over:
            return RowStalled(self.alias, self.attempts, self._stall.repeated)
        later = [*ways, *barred]
        errors = [attempt.error for attempt in self.attempts if attempt.sent]
        if errors and not later and all(isinstance(error, ProviderError) and error.is_verdict for error in errors):
            assert errors[-1] is not None, "a verdict"
            return errors[-1]
        without = {way.index for way in barred}
        unanswered = [
            self._passed_over(
                index,
                "not asked again: retry budget used up"
                if index in without
                else f"not waited for: {_why(answer, late=now >= self.deadline)}",
            )
            for index, answer in enumerate(readiness)
            if not self._spent[index]
        ]
        soonest = min((way.wait for way in later), default=None)
        return AllModelsFailed(
            self.alias,
            [*self.attempts, *unanswered],
            retry_at=None if soonest is None else now + soonest,
            retry_after=soonest,
        )


def _is_failing(answer: Readiness) -> bool:
    """Whether its breaker keeps it out of use."""
    match answer:
        case Ready():
            return False
        case Busy(failing=failing):
            return failing
        case Shut(trial_seconds=trial):
            return trial is not None


def _is_panic(readiness: Sequence[Readiness], seconds: float) -> bool:
    """Whether fewer than half of the routes that could help within so many seconds are in use."""
    failing = sum(map(_is_failing, readiness))
    in_use = sum(
        isinstance(answer, Ready) or (isinstance(answer, Busy) and answer.wait_seconds < seconds)
        for answer in readiness
        if not _is_failing(answer)
    )
    return in_use < failing


def _best_trial(trials: Sequence[_Way], in_time: Sequence[_Way]) -> _Way | None:
    """Of those that may be tried now the first to recover; None where one in use can be had sooner."""
    now = [way for way in trials if way.trial is not None and way.trial <= 0.0]
    best = min(now, key=lambda way: way.wait, default=None)
    in_use = min((way.wait for way in in_time if not way.failing), default=math.inf)
    return best if best is not None and best.wait <= in_use else None


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
    told.usage = told.cost = None
    return told


def _why(answer: Readiness, *, late: bool = False) -> str:
    match answer:
        case Ready():
            return "the deadline has passed" if late else "pause after a failure"
        case Busy(wait_seconds=wait, why=why) | Shut(wait_seconds=float(wait), why=why):
            return f"{why} for {wait:.3g} s" if wait > 0.0 else why
        case Shut(why=why):
            return why
