"""A decision trace: what the router saw, decided and met on one request's way. Values only, and their sentences.

It holds everything that the decisions were made of, so that they can be made again (router/replay.py), and neither a
prompt, nor a key, nor a provider's own words, which may quote both.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from llmring.refs import ModelRef

Readiness = Literal["ready", "busy", "shut"]
Action = Literal["go", "wait", "fail"]
Order = Literal["ordered", "cheapest", "fastest", "spread"]
Spill = Literal["auto", "on_failure", "never"]
"""When the next models are used: as soon as the first makes one wait; only when it has failed, or is out of use; not at
all."""

Then = Literal["answered", "failed", "again", "raised"]


def with_key(model: ModelRef, key: str | None) -> str:
    """A model in a sentence, and where its provider has several keys, the name of the key's variable."""
    return str(model) if key is None else f"{model} ({key})"


class TracedRoute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model of the alias, as it was when the request began.

    `input_tokens` are counted, `output_tokens` what an answer is expected to have, `cost_usd` what both cost and
    `seconds` how long they take; None: not known. `charge` is what the request takes out of each limit. Where its
    provider has several keys, the model is there once with each: `key` is the name of the variable, `room` the part
    that was left of its scarcest limit, `in_flight` how many requests were under way with the key.
    """

    model: ModelRef
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None = None
    seconds: float | None = None
    weight: float = 1.0
    charge: Mapping[str, float] = {}
    key: str | None = None
    room: float = 1.0
    in_flight: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return with_key(self.model, self.key)


class Considered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model in the moment of a decision. `wait_seconds` is the least possible wait; None where no time helps, 0 where
    only the end of another request can tell. `error`: the class of the failure that may not be passed over. `failing`:
    its breaker keeps it out of use, and what is waited for is its probe; `trial_seconds`: it is open, and after so many
    seconds might be tried all the same."""

    model: ModelRef
    readiness: Readiness
    why: str = ""
    wait_seconds: float | None = None
    cost_usd: Decimal | None = None
    error: str | None = None
    failing: bool = False
    trial_seconds: float | None = None
    key: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of an attempt. `outcome` is "answered" or the error's class, `status` its HTTP status.

    `then`: the request went on to other models (`failed`), was sent once more without what the model does not take
    (`again`), or ended with the error (`raised`). Of one that `failed`, `at` is when, in seconds after the first
    decision of its request, and `draw` in [0, 1) made the length of the pause behind it; `ruled_out` are the routes
    that would have failed alike. `retry_after` is the delay that the provider named, in seconds; `answers` and
    `refusals` are how many requests of all the route had answered by then, and failed by weather.
    """

    outcome: str
    then: Then
    status: int | None = None
    sent: bool = True
    waited_seconds: float = 0.0
    took_seconds: float = 0.0
    at: float | None = None
    draw: float | None = None
    retry_after: float | None = None
    answers: int = 0
    refusals: int = 0
    ruled_out: tuple[int, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision, `at` seconds after the first one of its request.

    `routes` counts from 0: the one that was asked (`go`), or those in whose lines the request stood (`wait`) until
    `until` at the latest, None without an end. `taken` is the route that was asked in the end, None where none was.
    `error` is the class of the error that ended the request (`fail`). `answered_at` is when one of its models had
    answered anybody last, in seconds from the same moment on; None: never. `trial`: the breaker of the one that was
    asked was open, as were those of most others. `used_up`: the retry budget allowed no further try.
    """

    at: float
    considered: tuple[Considered, ...]
    action: Action
    routes: tuple[int, ...] = ()
    until: float | None = None
    error: str | None = None
    answered_at: float | None = None
    taken: int | None = None
    trial: bool = False
    used_up: bool = False
    verdict: Verdict | None = None


class Batched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The batch that a request went in as a row. `id` is the provider's name for it, None where it was refused as a
    whole; `handed_in_at` is when its handing in began, `read_at` when this row's result was read. `taken_up`: another
    process had handed it in, of which the journal alone tells: not which other models there were then."""

    handed_in_at: datetime
    read_at: datetime
    id: str | None = None
    taken_up: bool = False


class Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All decisions of one request. `str(trace)` tells them in sentences.

    `routes` are in the order they were asked in; `written` has the place of each in the lockfile, and `draws` are the
    random numbers of the order "spread". `began_at` is on the trio clock; `seconds` is the time limit from then, None
    without one. `patient`: refusals did not use up tries (map), and `spill` says when it may leave its first model;
    with "never" that is the only one here. `left_out` decisions in the middle of a very long way
    were not kept. `again` is the way of the second request, where the first answer did not fit its schema. `batched`:
    it was not sent by itself but in a batch, by the one decision that is here; of its models those are ready that have
    a batch API and a key, and `seconds` of a route and `charge` are not known.
    """

    alias: str
    profile: str
    order: Order
    began_at: float
    seconds: float | None
    patient: bool = False
    spill: Spill = "auto"
    routes: tuple[TracedRoute, ...]
    written: tuple[int, ...]
    draws: tuple[float, ...] = ()
    decisions: tuple[Decision, ...]
    left_out: int = 0
    again: "Trace | None" = None
    batched: Batched | None = None

    @property
    def outcome(self) -> str:
        """How it ended: "answered", the class of its error, or "cut off" where its caller left, or it still goes on."""
        last = self.decisions[-1] if self.decisions else None
        if last is not None and last.error is not None:
            return last.error
        if last is None or last.verdict is None or last.verdict.then not in ("answered", "raised"):
            return "cut off"
        return last.verdict.outcome

    @property
    def model(self) -> ModelRef | None:
        """Who has answered."""
        taken = self.decisions[-1].taken if self.outcome == "answered" else None
        return None if taken is None else self.routes[taken].model

    def explain(self) -> str:
        """In lines for people."""
        lines = [self._head(), *(f"  {number}. {_route_text(route)}" for number, route in enumerate(self.routes, 1))]
        for decision in self.decisions:
            lines += self._decided(decision)
        if self.left_out:
            lines.append(f"{self.left_out:,} decisions in the middle were not kept")
        if self.again is not None:
            lines += ["the answer did not fit its schema, so the model was asked once more:", self.again.explain()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.explain()

    def _head(self) -> str:
        models, keys = len({route.model for route in self.routes}), len(self.routes)
        count = f"{models} model{'s' if models != 1 else ''}"
        count = f"{count} with {keys} keys" if keys > models else count
        limit = f"{self.seconds:.4g} s at most" if self.seconds is not None else "no time limit"
        order = "as they are written" if self.order == "ordered" else f"{self.order} first"
        order = "spread by weight" if self.order == "spread" else order
        return f"{self.alias!r} of profile {self.profile!r}: {count}, {order}; {limit}"

    def _decided(self, decision: Decision) -> list[str]:
        seen = "; ".join(map(_considered_text, decision.considered))
        lines = [f"at {decision.at:.3f} s {seen}", f"  -> {self._action(decision)}"]
        if decision.verdict is not None and decision.taken is not None:
            told = _verdict_text if self.batched is None else _read_text
            lines.append(f"  {self.routes[decision.taken].name} {told(decision.verdict)}")
        return lines

    def _action(self, decision: Decision) -> str:
        names = [self.routes[index].name for index in decision.routes]
        match decision.action:
            case "go" if self.batched is not None:
                return f"{names[0]} is asked in {_batch_text(self.batched)}"
            case "go":
                return f"{names[0]} is {'tried all the same' if decision.trial else 'asked'}"
            case "fail":
                return f"it ends here: {decision.error}{', the retry budget is used up' if decision.used_up else ''}"
            case "wait":
                where = f"waits in line at {' and '.join(names)}" if names else "waits for a pause to end"
                until = f", until {decision.until:.3f} s at the latest" if decision.until is not None else ""
                if decision.taken is None:
                    return f"{where}{until}"
                return f"{where}{until}; {self.routes[decision.taken].name} lets it go"


def _route_text(route: TracedRoute) -> str:
    cost = f"${route.cost_usd.normalize():f} expected" if route.cost_usd is not None else "its cost is not known"
    time = f", {route.seconds:.3g} s" if route.seconds is not None else ""
    return f"{route.name}: {cost}{time} ({route.input_tokens:,} tokens in, {route.output_tokens:,} out)"


def _considered_text(seen: Considered) -> str:
    name = with_key(seen.model, seen.key)
    if seen.readiness == "ready":
        return f"{name} is ready"
    wait = f" for {seen.wait_seconds:.3g} s" if seen.wait_seconds else ""
    return f"{name} is {seen.readiness}{wait}, {seen.why}"


def _verdict_text(verdict: Verdict) -> str:
    waited = f", after {verdict.waited_seconds:.3g} s of waiting" if verdict.waited_seconds > 0.0 else ""
    took = f"in {verdict.took_seconds:.3g} s{waited}"
    if verdict.then == "answered":
        return f"answered {took}"
    status = f" (HTTP {verdict.status})" if verdict.status is not None else ""
    then = {"again": ": asked again without what it does not take", "raised": ": another model would not help"}
    others = ", and so would those with no larger window" if verdict.ruled_out else ""
    return f"failed {took} with {verdict.outcome}{status}{then.get(verdict.then, '')}{others}"


def _batch_text(batched: Batched) -> str:
    name = f"batch {batched.id}" if batched.id is not None else "a batch that was not taken"
    by = " by an earlier process" if batched.taken_up else ""
    return f"{name}, handed in{by} at {batched.handed_in_at:%Y-%m-%d %H:%M:%S} UTC"


def _read_text(verdict: Verdict) -> str:
    """What came of a row of a batch, in which nobody knows how long the answer itself took."""
    after = f"read {verdict.took_seconds:.3g} s later"
    if verdict.then == "answered":
        return f"answered, {after}"
    status = f" (HTTP {verdict.status})" if verdict.status is not None else ""
    return f"failed with {verdict.outcome}{status}, {after}"


Source = Callable[[], Trace]
_PLACE = "_trace"


def attach(owner: Any, source: Source) -> None:
    """Give an answer its trace, which is made when it is first asked for: most never are, and a struct a model takes
    longer than the decision itself. Kept beside the fields, so it is no part of what is encoded, compared or copied."""
    owner.__dict__[_PLACE] = source


def attached(owner: Any) -> Trace | None:
    """The trace that `attach` gave."""
    found: Trace | Source | None = owner.__dict__.get(_PLACE)
    if found is None or isinstance(found, Trace):
        return found
    owner.__dict__[_PLACE] = made = found()
    return made
