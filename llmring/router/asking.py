"""One answer for one request: along the routes, and once more where the answer does not fit its schema.

The model that answered is given its answer back with what is wrong about it. Both answers are paid for, so both count.
"""

import msgspec
import trio

from llmring.chat import Completion, Note
from llmring.errors import AllModelsFailed, BudgetExceeded, ConfigError, ProviderError, ReceiptError
from llmring.providers.route import Permit
from llmring.providers.structured import asked_again, is_invalid
from llmring.providers.worker import ProviderWorker
from llmring.router.admission import CalledBack
from llmring.router.dispatcher import Dispatcher
from llmring.router.going import go
from llmring.router.journey import Journey


async def ask(dispatcher: Dispatcher, journey: Journey) -> Completion:
    """Take `journey` to its answer. Raises what `go` raises."""
    completion = await go(journey, _attempt)
    if completion.finish_reason == "stop" and is_invalid(completion):
        return await _ask_again(dispatcher, journey, completion)
    return completion


async def _attempt(worker: ProviderWorker, permit: Permit, journey: Journey) -> Completion:
    seconds = journey.plan.attempt_seconds(journey.index, trio.current_time())
    account = journey.terms.account
    try:
        completion = await worker.attempt(permit, journey.request, seconds)
    except BaseException as error:
        if account is not None:
            account.failed(error, permit.route)
        raise
    if account is not None:
        account.answered(completion, permit.route)
    if journey.attempt is not None:
        journey.attempt.answered(completion)
    return completion


async def _ask_again(dispatcher: Dispatcher, journey: Journey, first: Completion) -> Completion:
    """The corrected answer, or the first one as it is when none can be had."""
    again = msgspec.structs.replace(asked_again(journey.request, first), model=str(journey.route.ref))
    try:
        terms = msgspec.structs.replace(journey.terms, payer=journey.terms.payer or journey.request.model)
        second = dispatcher.journey(again, journey.profile, journey.plan.deadline, journey.call, terms)
    except ConfigError:
        # The lockfile was edited meanwhile, and no longer knows the model.
        return first
    journey.start.again = second.trace
    second.origin, second.tried = journey.origin or journey, journey.tried
    try:
        completion = await go(second, _attempt)
    except (ProviderError, AllModelsFailed, BudgetExceeded, CalledBack, ReceiptError):
        journey.plan.attempts += second.plan.attempts
        return first
    journey.plan.attempts += second.plan.attempts
    why = next(note.why for note in first.notes if note.action == "invalid")
    note = Note(parameter="response_format", action="changed", why=f"asked twice, for at first {why}")
    earlier = (first.usage,) if first.usage is not None else ()
    return msgspec.structs.replace(completion, earlier=earlier, notes=(*completion.notes, note))
