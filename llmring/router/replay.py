"""Recorded requests once more: the same decisions from the same inputs, or those of another lockfile. Pure.

`difference` makes every decision again from what the record says was seen; it must come out as it was. `replay` lets
the request go along other routes, on a clock of its own:

    readiness   of a model in the record: as recorded, less the time that has passed; of any other: always ready
    attempts    the first try of a model ends as its first try in the record, and so on; what was not tried answers
    budget      of retries: used up from when the record says so
    waits       end when the record shows the model free, at the soonest when its limits had said
    keys        of a model with several are those of the record, in the order in which it had them
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import msgspec

from llmring.errors import ConfigError, ProviderError
from llmring.lockfile import Binding, Lockfile
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.refs import ModelRef
from llmring.router.failover import Decision as Decided
from llmring.router.failover import Fail, Go, Plan, Wait
from llmring.router.ordering import ARRANGE, Candidate, arrange_keys
from llmring.router.records import error_class
from llmring.trace import Considered, Decision, Trace, TracedRoute, Verdict

_SAME_SECONDS = 1e-6
"""Times that a replay adds up may differ in their last digits from those that a clock had shown."""

_MOST_STEPS = 10_000
_NO_DRAW = 0.5
"""For random numbers that the record does not have."""

CostOf = Callable[[ModelRef, TracedRoute], Decimal | None]
"""What a request like this route's is expected to cost at a model, in dollars."""


_Place = tuple[ModelRef, str | None]
"""A model, and the name of the key it is asked with where there are several."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ends along other routes: `model` has answered, else `error` is the class of the error. `assumed`:
    a model was asked, or waited for, of which the record does not know whether it was free."""

    model: ModelRef | None = None
    error: str | None = None
    waited_seconds: float = 0.0
    assumed: bool = False


# As it was.


def difference(trace: Trace) -> str | None:
    """Where the decisions, made again, first differ from the recorded ones; None where they do not.

    Of a way that was not kept whole nothing can be said: the caller looks at `left_out`.
    """
    written = _arranged(trace)
    if written != trace.written:
        return f"the models are asked in the order {list(written)} of the lockfile, not {list(trace.written)}"
    verdicts = (one.verdict for one in trace.decisions if one.verdict is not None)
    draws = (verdict.draw for verdict in verdicts if verdict.draw is not None)
    deadline = trace.began_at + trace.seconds if trace.seconds is not None else math.inf
    plan = _plan(trace, [(one.model, one.key) for one in trace.routes], deadline, lambda: next(draws, _NO_DRAW))
    for number, recorded in enumerate(trace.decisions, 1):
        readiness = [_readiness(one) for one in recorded.considered]
        answered_at = trace.began_at + recorded.answered_at if recorded.answered_at is not None else -math.inf
        made = plan.next(readiness, trace.began_at + recorded.at, answered_at, used_up=recorded.used_up)
        if not _is_same(made, recorded, trace.began_at):
            return f"decision {number}, at {recorded.at:.3f} s, is {_told(made)}, not {_recorded(recorded)}"
        _go_on(plan, recorded, trace.began_at)
    return difference(trace.again) if trace.again is not None else None


def _arranged(trace: Trace) -> tuple[int, ...]:
    in_file = [route for _, route in sorted(zip(trace.written, trace.routes, strict=True), key=lambda pair: pair[0])]
    candidates = [Candidate(cost_usd=one.cost_usd, seconds=one.seconds, weight=one.weight) for one in in_file]
    draws = iter(trace.draws)
    models, rooms = [one.model for one in in_file], [(one.room, one.in_flight) for one in in_file]
    return tuple(arrange_keys(trace.order, models, candidates, rooms, lambda: next(draws, _NO_DRAW)))


def _plan(trace: Trace, places: Sequence[_Place], deadline: float, random: Callable[[], float]) -> Plan:
    models, keys = [model for model, _ in places], [key for _, key in places]
    return Plan(
        trace.alias,
        models,
        keys if len(set(models)) < len(models) else (),
        deadline=deadline,
        random=random,
        patient=trace.patient,
        spill=trace.spill,
    )


def _readiness(seen: Considered, passed_seconds: float = 0.0) -> Readiness:
    """What was seen, so many seconds later."""
    wait = seen.wait_seconds
    if seen.readiness == "ready" or (passed_seconds > 0.0 and wait and wait - passed_seconds <= _SAME_SECONDS):
        return READY
    left = wait - passed_seconds if wait else wait
    if seen.readiness == "busy":
        return Busy(wait_seconds=math.inf if left is None else left, why=seen.why, failing=seen.failing)
    error = _error(seen.error) if seen.error is not None else None
    trial = max(0.0, seen.trial_seconds - passed_seconds) if seen.trial_seconds is not None else None
    return Shut(wait_seconds=left, why=seen.why, error=error, trial_seconds=trial)


def _error(name: str, status: int | None = None, retry_after: float | None = None) -> ProviderError:
    kind = error_class(name)
    assert kind is not None, "records are read with known classes only"
    return kind("as recorded", status=status, retry_after=retry_after)


def _is_same(made: Decided, recorded: Decision, began_at: float) -> bool:
    match made:
        case Go(index, trial=trial):
            return (recorded.action, recorded.routes, recorded.trial) == ("go", (index,), trial)
        case Wait(indexes=indexes, until=until):
            wanted = math.inf if recorded.until is None else recorded.until
            same = until - began_at == wanted or abs(until - began_at - wanted) <= _SAME_SECONDS
            return recorded.action == "wait" and recorded.routes == indexes and same
        case Fail(error):
            return recorded.action == "fail" and recorded.error == type(error).__name__


def _go_on(plan: Plan, recorded: Decision, began_at: float) -> None:
    """Let the plan know what came of a decision."""
    if recorded.taken is None:
        return
    if recorded.action == "wait":
        plan.given(recorded.taken)
    if recorded.verdict is not None:
        at = recorded.verdict.at if recorded.verdict.at is not None else recorded.at
        _tell(plan, recorded.taken, recorded.verdict, began_at + at)
        if recorded.verdict.ruled_out:
            plan.rule_out(recorded.verdict.ruled_out, "as recorded")


def _tell(plan: Plan, index: int, verdict: Verdict, now: float) -> None:
    waited, took = verdict.waited_seconds, verdict.took_seconds
    match verdict.then:
        case "answered":
            plan.succeeded(index, waited, took)
        case "failed":
            plan.failed(index, _met(verdict), waited, took, now, verdict.answers, verdict.refusals)
        case "again" | "raised":
            plan.note(index, _met(verdict), waited, took)


def _met(verdict: Verdict) -> ProviderError:
    error = _error(verdict.outcome, verdict.status, verdict.retry_after)
    error.sent = verdict.sent
    return error


def _told(made: Decided) -> str:
    match made:
        case Go(index):
            return f"go to {index}"
        case Wait(indexes=indexes):
            return f"wait for {list(indexes)}"
        case Fail(error):
            return f"fail with {type(error).__name__}"


def _recorded(recorded: Decision) -> str:
    if recorded.action == "fail":
        return f"fail with {recorded.error}"
    return f"go to {recorded.routes[0]}" if recorded.action == "go" else f"wait for {list(recorded.routes)}"


# Along other routes.


def replay(trace: Trace, lockfile: Lockfile, profile: str | None, cost_of: CostOf) -> Replayed:
    """Take a recorded request along the routes that `lockfile` has for its alias.

    `profile`: by default the recorded one, where the lockfile has it.
    """
    if profile is None and trace.profile in lockfile.profiles:
        profile = trace.profile
    try:
        binding = lockfile.binding(trace.alias, profile)
    except ConfigError as error:
        return Replayed(error=type(error).__name__)
    return _Way(trace, _chain(trace, binding, cost_of)).go()


def _chain(trace: Trace, binding: Binding, cost_of: CostOf) -> list[_Place]:
    """The models of a binding in the order that it asks for, each with the keys that the record has for it."""
    known: dict[ModelRef, TracedRoute] = {}
    keys: dict[ModelRef, list[_Place]] = {}
    for route in trace.routes:
        known.setdefault(route.model, route)
        keys.setdefault(route.model, []).append((route.model, route.key))
    like = trace.routes[0]
    candidates: list[Candidate] = []
    for ref in binding.models:
        found = known.get(ref)
        cost = found.cost_usd if found is not None else None
        candidates.append(
            Candidate(
                cost_usd=cost if cost is not None else cost_of(ref, found or like),
                seconds=found.seconds if found is not None else None,
                weight=binding.weights.get(ref, 1.0),
            )
        )
    draws = iter(trace.draws)
    places = ARRANGE[binding.order](candidates, lambda: next(draws, _NO_DRAW))
    models = [binding.models[place] for place in (places if trace.spill != "never" else places[:1])]
    return [place for ref in models for place in keys.get(ref, [(ref, None)])]


class _Seen(msgspec.Struct, frozen=True):
    """A model as a decision saw it, after so many attempts at it."""

    at: float
    attempts: int
    considered: Considered


class _Past:
    """What a record knows of its models, with each key: what was seen when, when a line let the request go, and how
    attempts ended. Times are in seconds after the first decision; `attempts` are those that the replay has made of them
    so far."""

    def __init__(self, trace: Trace) -> None:
        self.seen: dict[_Place, list[_Seen]] = {(route.model, route.key): [] for route in trace.routes}
        self.given: dict[_Place, list[float]] = defaultdict(list)
        self.verdicts: dict[_Place, list[Verdict]] = defaultdict(list)
        self.attempts: Counter[_Place] = Counter()
        self.ends = 0.0
        self._used_up_at = min((one.at for one in trace.decisions if one.used_up), default=math.inf)
        asked: float | None = None
        for decision in trace.decisions:
            asked = decision.at if asked is None else asked
            self.ends = max(self.ends, decision.at)
            for one in decision.considered:
                place = (one.model, one.key)
                self.seen[place].append(_Seen(decision.at, len(self.verdicts[place]), one))
            if decision.taken is None or decision.verdict is None:
                continue
            taken = trace.routes[decision.taken]
            self.verdicts[taken.model, taken.key].append(decision.verdict)
            sent = asked + decision.verdict.waited_seconds
            self.ends = max(self.ends, sent + decision.verdict.took_seconds)
            if decision.action == "wait":
                self.given[taken.model, taken.key].append(sent)
            asked = None

    def used_up(self, at: float) -> bool:
        """Whether the retry budget is used up: from when it was, to the end."""
        return at >= self._used_up_at - _SAME_SECONDS

    def attempt(self, place: _Place) -> Verdict | None:
        """How the next attempt at a model ends; None where the record has none."""
        number = self.attempts[place]
        self.attempts[place] += 1
        verdicts = self.verdicts[place]
        return verdicts[number] if number < len(verdicts) else None

    def readiness(self, place: _Place, at: float) -> Readiness:
        if place not in self.seen:
            return READY
        last = self._last_seen(place, at)
        if any(last.at <= given <= at + _SAME_SECONDS for given in self.given[place]):
            return READY
        seen = last.considered
        if seen.readiness == "busy" and not seen.wait_seconds and at >= self.ends:
            # Only the end of another request could tell, and the record ends before.
            return READY
        return _readiness(seen, at - last.at)

    def _last_seen(self, place: _Place, at: float) -> _Seen:
        """Of what was seen in one moment, that which comes behind as many attempts."""
        found, *later = self.seen[place]
        for seen in later:
            if seen.at < at - _SAME_SECONDS or (
                seen.at <= at + _SAME_SECONDS and seen.attempts <= self.attempts[place]
            ):
                found = seen
        return found

    def free_at(self, place: _Place, at: float) -> float:
        """When a line that the request stands in lets it go."""
        answer = self.readiness(place, at)
        least = at + (answer.wait_seconds or 0.0) if isinstance(answer, Busy | Shut) else at
        given = [time for time in self.given[place] if time > at]
        ready = [seen.at for seen in self.seen[place] if seen.at > at and seen.considered.readiness == "ready"]
        if given or ready:
            return min(given + ready)
        return least if least > at else max(at, self.ends)


class _Way:
    """One request on its way along other routes, on a clock that begins at 0."""

    def __init__(self, trace: Trace, places: list[_Place]) -> None:
        self._trace = trace
        self._places = places
        self._past = _Past(trace)
        self._draw = _NO_DRAW
        deadline = trace.seconds if trace.seconds is not None else math.inf
        self._plan = _plan(trace, places, deadline, lambda: self._draw)
        self._at = 0.0
        self._asked = 0.0
        self._waited = 0.0
        self._assumed = False

    def go(self) -> Replayed:
        for _ in range(_MOST_STEPS):
            index = self._decide()
            if isinstance(index, Replayed):
                return index
            if index is not None:
                self._waited += self._at - self._asked
                ended = self._attempt(index)
                if ended is not None:
                    return ended
                self._asked = self._at
        return self._ended(error="no end")

    def _decide(self) -> int | Replayed | None:
        """The route that is asked; None when the routes have to be looked at again."""
        readiness = [self._past.readiness(place, self._at) for place in self._places]
        # Whether others were answered meanwhile the record cannot say: nothing is given up for silence.
        match self._plan.next(readiness, self._at, self._at, used_up=self._past.used_up(self._at)):
            case Go(index):
                return index
            case Fail(error):
                self._waited += self._at - self._asked
                return self._ended(error=type(error).__name__)
            case Wait(indexes=indexes, until=until):
                first = min(indexes, key=self._free_at, default=None)
                if first is None or self._free_at(first) > until:
                    self._at = until
                    return None
                place = self._places[first]
                self._at = self._free_at(first)
                self._assumed |= not self._past.given[place] and self._at >= self._past.ends
                self._plan.given(first)
                return first

    def _free_at(self, index: int) -> float:
        return self._past.free_at(self._places[index], self._at)

    def _attempt(self, index: int) -> Replayed | None:
        """Ask a route. None when the request goes on."""
        place = self._places[index]
        self._assumed |= place not in self._past.seen
        verdict = self._past.attempt(place)
        if verdict is None or verdict.then == "answered":
            return self._ended(model=place[0])
        if verdict.then == "raised":
            return self._ended(error=verdict.outcome)
        self._at += verdict.took_seconds
        self._draw = verdict.draw if verdict.draw is not None else _NO_DRAW
        _tell(self._plan, index, verdict, self._at)
        gone = {self._trace.routes[place].model for place in verdict.ruled_out}
        if gone:
            self._plan.rule_out([other for other, (ref, _) in enumerate(self._places) if ref in gone], "as recorded")
        return None

    def _ended(self, model: ModelRef | None = None, error: str | None = None) -> Replayed:
        return Replayed(model=model, error=error, waited_seconds=self._waited, assumed=self._assumed)


def waited_seconds(trace: Trace) -> float:
    """How long a recorded request stood in line and paused."""
    return sum(_waits(trace.decisions))


def _waits(decisions: Iterable[Decision]) -> Iterable[float]:
    asked: float | None = None
    for decision in decisions:
        asked = decision.at if asked is None else asked
        if decision.verdict is not None:
            yield decision.verdict.waited_seconds
            asked = None
        elif decision.action == "fail":
            yield decision.at - asked
