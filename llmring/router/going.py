"""Takes a request along its routes: looks which can be asked, waits, sends, and after a failure goes on to the next.

A request stays in its caller's task. What to do next is decided in failover.py; here it is done.
"""

from collections.abc import Sequence
from copy import copy

import msgspec
import trio

from llmring.chat import ChatRequest, Note
from llmring.errors import AllModelsFailed, BudgetExceeded, ContextTooLong, LLMRingError, ProviderError, Unsupported
from llmring.providers.fit import ABSENT, can_go_without, field_of, without_native
from llmring.providers.line import Waiter
from llmring.providers.readiness import Busy, Readiness, Ready, Shut
from llmring.providers.route import Permit
from llmring.providers.worker import ProviderWorker
from llmring.router.admission import CalledBack
from llmring.router.failover import Decision, Fail, Go, Wait
from llmring.router.journey import Answer, Journey, Send
from llmring.telemetry.spans import AttemptSpan

_LOOK_EVERY_SECONDS = 1.0
"""At money that is short, while others may be had first."""


async def go(journey: Journey, send: Send[Answer]) -> Answer:
    """Try route after route until one answers. Raises AllModelsFailed, BudgetExceeded, the error that ends it by
    policy, or CalledBack."""
    if journey.payment is None:
        return await _go(journey, send)
    try:
        return await _go(journey, send)
    except BaseException:
        # What was set aside and not sent.
        journey.payment.close()
        raise


async def _go(journey: Journey, send: Send[Answer]) -> Answer:
    await trio.lowlevel.checkpoint_if_cancelled()
    while True:
        permit, asked_at = await _admitted(journey)
        journey.sent_at = trio.current_time()
        if not journey.plan.has_sent and not journey.plan.patient:
            journey.retries.called(journey.sent_at)
        journey.left_out = journey.route.model.capabilities.refused
        journey.waited_seconds = journey.sent_at - asked_at
        worker = journey.workers[journey.index]
        journey.attempt = _attempt(journey, worker, permit)
        try:
            with journey.attempt:
                result = await _send(journey, worker, permit, send)
        except ProviderError as error:
            if not error.fails_over and not (error.is_of_key and journey.plan.another_key(journey.index)):
                took = trio.current_time() - journey.sent_at
                # A copy: the one that is raised collects frames.
                journey.plan.note(journey.index, copy(error), journey.waited_seconds, took)
                raise
            if not _learned(journey, error):
                failed(journey, error)
        else:
            took = trio.current_time() - journey.sent_at
            journey.plan.succeeded(journey.index, journey.waited_seconds, took)
            return result


async def _send(journey: Journey, worker: ProviderWorker, permit: Permit, send: Send[Answer]) -> Answer:
    """Send, and tell whoever wants to know how it ended, also when it was cancelled."""
    journey.tried += 1
    payment = journey.payment
    try:
        result = await send(worker, permit, journey)
    except BaseException as error:
        if payment is not None:
            payment.ended(None, error)
        journey.ended(journey, None, error)
        raise
    if payment is not None:
        payment.ended(result)
    journey.ended(journey, result, None)
    return result


def _attempt(journey: Journey, worker: ProviderWorker, permit: Permit) -> AttemptSpan:
    try:
        return journey.call.attempt(worker.endpoint, permit, journey.request, journey.waited_seconds)
    except BaseException:
        # A sampler or a span processor of the program's is broken: that takes no room from others.
        permit.settle("not_sent", trio.current_time())
        raise


def _learned(journey: Journey, error: ProviderError) -> bool:
    """Whether the model has said which parameter it does not take, and can be asked again without it."""
    if not isinstance(error, Unsupported) or error.parameter is None or journey.request.strict_params:
        return False
    field = field_of(error.parameter)
    if field is None or not can_go_without(journey.request, field):
        return False
    if field == "native":
        # Of this conversation, not of the model: the next one's may be whole.
        journey.request = without_native(journey.request)
    elif error.code == "unsupported_value" and _is_given(journey.request, field):
        # A word that the model does not know, not a parameter.
        journey.request = msgspec.structs.replace(journey.request, **{field: getattr(ABSENT, field)})
        journey.notes.append(Note(parameter=field, action="dropped", why="the model does not take this value"))
    elif field in journey.left_out:
        return False
    else:
        # Of those under way together, all may be refused: each is asked again, whoever was the first to learn.
        journey.route.refuse(field)
    now = trio.current_time()
    _forget_frames(error)
    journey.plan.note(journey.index, error, journey.waited_seconds, now - journey.sent_at)
    return True


def failed(journey: Journey, error: ProviderError) -> None:
    """The newest attempt has failed in a way that fails over."""
    now = trio.current_time()
    _forget_frames(error)
    took = now - journey.sent_at
    answers, refusals = journey.route.means.count, journey.route.weathered
    journey.plan.failed(journey.index, error, journey.waited_seconds, took, now, answers, refusals)
    if isinstance(error, ContextTooLong):
        journey.plan.rule_out(_no_larger(journey), "its context window is no larger")


def broke(journey: Journey, error: ProviderError) -> None:
    """The attempt that had answered broke after all: a stream, cut in the middle."""
    journey.plan.attempts.pop()
    failed(journey, error)


async def _admitted(journey: Journey) -> tuple[Permit, float]:
    """The right to send, and since when it was waited for. Raises CalledBack."""
    admission = journey.terms.admission
    if admission is None:
        return await _turn(journey)
    try:
        with admission.waiting():
            permit, asked_at = await _turn(journey)
        if admission.is_over:
            permit.settle("not_sent", trio.current_time())
            raise CalledBack
    except CalledBack as called:
        called.attempts = tuple(journey.plan.attempts)
        raise
    return permit, asked_at


async def _turn(journey: Journey) -> tuple[Permit, float]:
    """First its money is waited for, then its turn."""
    account = journey.terms.account
    while True:
        if account is not None and not journey.plan.is_over:
            await account.reserve(journey.request, journey.routes)
        asked_at = trio.current_time()
        permit = await _permit(journey)
        if account is None or account.covers(journey.request, permit.route):
            return permit, asked_at
        permit.settle("not_sent", trio.current_time())
        if journey.payment is not None:
            journey.payment.close()


async def _permit(journey: Journey) -> Permit:
    """The right to send, and the money for it."""
    charges, flow, payment = journey.charges, journey.terms.flow, journey.payment
    while True:
        now = trio.current_time()
        readiness, unasked = _look(journey, now)
        if payment is not None and unasked is not None and now < journey.plan.deadline:
            await payment.ask(unasked, journey.plan.deadline)
            continue
        match _decide(journey, readiness, now):
            case Go(index):
                journey.index = index
                permit = journey.routes[index].admit(charges[index], now, flow)
                if payment is not None:
                    is_paid = payment.reserve(index, permit)
                    assert is_paid, "it was looked at in this moment"
                return permit
            case Wait(indexes=indexes, until=until):
                if payment is not None and payment.blocked.intersection(indexes):
                    if payment.blocked.issuperset(indexes):
                        await payment.wait(until)
                        continue
                    # Others can be had first: the money is looked at again beside that.
                    indexes = tuple(index for index in indexes if index not in payment.blocked)
                    until = min(until, now + _LOOK_EVERY_SECONDS)
                waiter: Waiter[Permit] = Waiter(journey.number, journey.plan.deadline, flow)
                places = [(journey.routes[index].line, charges[index]) for index in indexes]
                journey.call.waits(journey.plan.models, readiness, indexes)
                given = await waiter.wait(places, until)
                seconds = trio.current_time() - now
                if given is not None:
                    index = journey.routes.index(given.route)
                    if payment is not None and not payment.reserve(index, given):
                        # Others were faster at the money.
                        given.settle("not_sent", trio.current_time())
                        journey.call.goes(seconds)
                        continue
                    journey.index = index
                    journey.plan.given(index)
                    journey.call.goes(seconds, given.route.ref, readiness[index])
                    return given
                journey.call.goes(seconds)
            case Fail(error):
                raise _told(journey, error)


def _look(journey: Journey, now: float) -> tuple[Sequence[Readiness], int | None]:
    """How the routes stand, with the money for them. And the first that nothing keeps back but money which the ledger
    has not been asked for yet, where there is one before those that are ready."""
    plan, flow, payment = journey.plan, journey.terms.flow, journey.payment
    readiness = [
        route.readiness(charge, now, flow, plan.deadline)
        for route, charge in zip(journey.routes, journey.charges, strict=True)
    ]
    if payment is None:
        return readiness, None
    payment.begin_look()
    money = [payment.look(index) for index in range(len(readiness))]
    unasked: int | None = None
    for index, found in enumerate(readiness):
        if isinstance(found, Ready) and plan.is_left(index):
            if isinstance(money[index], Busy) and payment.is_to_be_asked(index):
                unasked = index
            if unasked is not None or money[index] is None:
                break
    return [_with_money(*one) for one in zip(readiness, money, strict=True)], unasked


def _decide(journey: Journey, readiness: Sequence[Readiness], now: float) -> Decision:
    plan = journey.plan
    used_up = plan.has_sent and not plan.patient and not journey.retries.allows(now)
    answered_at = max(route.answered_at for route in journey.routes)
    decision = plan.next(readiness, now, answered_at, used_up=used_up)
    if plan.steps[-1].draws:
        journey.retries.draw(now)
    return decision


def _with_money(found: Readiness, money: Busy | Shut | None) -> Readiness:
    """How a route stands for a request that `money` keeps from it. What is shut besides is not to be tried either."""
    if money is None:
        return found
    if isinstance(found, Shut):
        waits = found.wait_seconds if isinstance(money, Busy) else None
        return Shut(wait_seconds=waits, why=money.why, error=found.error)
    return money


def _told(journey: Journey, error: LLMRingError) -> LLMRingError:
    """What to raise for a decision to fail: with its trace, and where money was short and nothing was sent, that."""
    if isinstance(error, AllModelsFailed):
        error.trace = journey.trace()
        short = journey.payment.refusal() if journey.payment is not None and not journey.plan.has_sent else None
        if isinstance(short, BudgetExceeded):
            short.trace = error.trace
        return short or error
    return error


def _is_given(request: ChatRequest, field: str) -> bool:
    """Whether the request itself has a value for a field. A budget for thinking may be on the wire for an effort: to
    take away what is not there would have the model asked again for ever."""
    return field in ABSENT.__struct_fields__ and bool(getattr(request, field) != getattr(ABSENT, field))


def _forget_frames(error: ProviderError) -> None:
    """Attempts outlive the call, in answers and reports; a traceback would keep its frames alive, prompt and key and
    all, and so would the network's own error behind it."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _no_larger(journey: Journey) -> list[int]:
    """The routes whose context window is known to be no larger than that of the newest attempt's route."""
    windows = [route.model.capabilities.max_input_tokens for route in journey.routes]
    failed = windows[journey.index]
    return [index for index, window in enumerate(windows) if window is not None and failed and window <= failed]
