"""From what a plan has kept of its decisions to the trace that people and `llmring replay` read. Pure.

The request's path pays for tuples only; structs are made when somebody asks. Nothing here holds the request itself: an
answer that is kept would keep its prompt alive.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.lockfile import Binding
from llmring.pricing import Prices, price
from llmring.providers.readiness import Busy, Readiness, Ready, Shut
from llmring.providers.regime import Charge
from llmring.refs import ModelRef
from llmring.router.failover import Fail, Go, Plan, Step, Wait
from llmring.router.ordering import Room
from llmring.trace import Considered, Decision, Source, Trace, TracedRoute, Verdict
from llmring.usage import Usage

Outlook = tuple[int, int, float | None, Prices | None]
"""A request at one model before it is sent: tokens in, tokens expected out, seconds expected, the model's prices."""

_OWN_WORDS = ("no key for ", "ImpossibleRequest: ")
"""Reasons with a colon that are ours to the end; behind that of any other stands what a provider said."""


_LONG_AGO_SECONDS = -1e9
_ALONE: Room = (1.0, 0)


class Start(msgspec.Struct, kw_only=True):
    """What was known when a request began, for each route in the order they are asked in. `written` has their places in
    the binding, None for the same order. `rooms` are what the keys of models had left and under way, empty where no
    model has several. `again` is the trace of the request that asked once more."""

    profile: str
    binding: Binding
    charges: tuple[Charge, ...]
    outlooks: tuple[Outlook, ...]
    written: Sequence[int] | None = None
    draws: tuple[float, ...] = ()
    rooms: Sequence[Room] = ()
    again: Source | None = None


def trace_of(plan: Plan, start: Start) -> Trace:
    """The trace of a request, as far as it has come."""
    binding, places = start.binding, range(len(plan.models))
    keys = plan.keys or (None,) * len(places)
    rooms = start.rooms or (_ALONE,) * len(places)
    routes = tuple(
        _route(ref, outlook, charge, binding.weights.get(ref, 1.0), key, room)
        for ref, outlook, charge, key, room in zip(plan.models, start.outlooks, start.charges, keys, rooms, strict=True)
    )
    began_at = plan.steps[0].now if plan.steps else 0.0
    return Trace(
        alias=plan.alias,
        profile=start.profile,
        order=binding.order,
        began_at=began_at,
        seconds=_from(plan.deadline, began_at),
        patient=plan.patient,
        spill=plan.spill,
        routes=routes,
        written=tuple(start.written) if start.written is not None else tuple(places),
        draws=start.draws,
        decisions=tuple(_decision(step, routes, began_at) for step in plan.steps),
        left_out=plan.left_out,
        again=start.again() if start.again is not None else None,
    )


def cost_usd(outlook: Outlook) -> Decimal | None:
    """What a request is expected to cost in dollars."""
    input_tokens, output_tokens, _, prices = outlook
    parts = None
    if prices is not None:
        parts = price(Usage(input_tokens=input_tokens, output_tokens=output_tokens), prices)
    return parts.total if parts is not None else None


def _route(ref: ModelRef, outlook: Outlook, charge: Charge, weight: float, key: str | None, room: Room) -> TracedRoute:
    return TracedRoute(
        model=ref,
        input_tokens=outlook[0],
        output_tokens=outlook[1],
        cost_usd=cost_usd(outlook),
        seconds=outlook[2],
        weight=weight,
        charge={str(name): amount for name, amount in charge.items()},
        key=key,
        room=room[0],
        in_flight=room[1],
    )


def _decision(step: Step, routes: Sequence[TracedRoute], began_at: float) -> Decision:
    considered = tuple(_considered(route, answer) for route, answer in zip(routes, step.readiness, strict=True))
    at, verdict = step.now - began_at, _verdict(step, began_at)
    answered_at = _from(step.answered_at, began_at) if step.answered_at > -math.inf else None
    match step.decision:
        case Go(index):
            return Decision(
                at=at,
                considered=considered,
                action="go",
                routes=(index,),
                answered_at=answered_at,
                taken=step.taken,
                trial=step.decision.trial,
                used_up=step.used_up,
                verdict=verdict,
            )
        case Wait(indexes=indexes, until=until):
            return Decision(
                at=at,
                considered=considered,
                action="wait",
                routes=indexes,
                until=_from(until, began_at),
                answered_at=answered_at,
                taken=step.taken,
                used_up=step.used_up,
                verdict=verdict,
            )
        case Fail(error):
            return Decision(
                at=at,
                considered=considered,
                action="fail",
                error=type(error).__name__,
                answered_at=answered_at,
                used_up=step.used_up,
            )


def _considered(route: TracedRoute, answer: Readiness) -> Considered:
    match answer:
        case Ready():
            return Considered(
                model=route.model, readiness="ready", wait_seconds=0.0, cost_usd=route.cost_usd, key=route.key
            )
        case Busy(wait_seconds=busy, why=why, failing=failing):
            return Considered(
                model=route.model,
                readiness="busy",
                why=_ours(why),
                wait_seconds=busy,
                cost_usd=route.cost_usd,
                failing=failing,
                key=route.key,
            )
        case Shut(wait_seconds=shut, why=why, error=error, trial_seconds=trial):
            return Considered(
                model=route.model,
                readiness="shut",
                why=_ours(why),
                wait_seconds=shut,
                cost_usd=route.cost_usd,
                error=type(error).__name__ if error is not None else None,
                failing=trial is not None,
                trial_seconds=trial,
                key=route.key,
            )


def _verdict(step: Step, began_at: float) -> Verdict | None:
    attempt, then = step.attempt, step.then
    if attempt is None or then is None:
        return None
    error = attempt.error
    return Verdict(
        outcome=type(error).__name__ if error is not None else "answered",
        then=then,
        status=error.status if error is not None else None,
        sent=attempt.sent,
        waited_seconds=attempt.waited_seconds,
        took_seconds=attempt.took_seconds,
        at=_from(step.failed_at, began_at) if step.failed_at is not None else None,
        draw=step.draw,
        retry_after=error.retry_after if error is not None else None,
        answers=step.answers,
        refusals=step.refusals,
        ruled_out=step.ruled_out,
    )


def _ours(why: str) -> str:
    """A reason without what a provider said: it may quote the key, or the prompt."""
    return why if why.startswith(_OWN_WORDS) else why.partition(": ")[0]


def _from(at: float, began_at: float) -> float | None:
    """Seconds from the beginning; None for never. JSON has no infinite numbers."""
    return None if at == math.inf else max(at - began_at, _LONG_AGO_SECONDS)
