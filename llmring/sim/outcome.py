"""What becomes of a request that was read, apart from limits and from its way out: the fault that strikes it, or what
the model says. The same online and in a batch.
"""

import msgspec

from llmring.sim.faults import Fault, named_fault, refused_parameter
from llmring.sim.limits import Refused
from llmring.sim.provider import Provider
from llmring.sim.reply import answer
from llmring.sim.wire import Answer, Ask, Problem


def struck(provider: Provider, ask: Ask, body: bytes, now: float) -> Fault | Problem | None:
    """The fault on a request, or the problem that there is no such model. Counts it, so call it once a request."""
    named = named_fault(ask.model)
    if named == "unknown" or not provider.has_model(ask.model):
        return Problem(kind="unknown_model", model=ask.model)
    if named is None:
        return provider.faults.choose(ask.model, now, body)
    return None if named.parameters and refused_parameter(named, body) is None else named


def forced(fault: Fault, ask: Ask, body: bytes) -> Problem:
    """What a fault among the refusals says."""
    match fault.kind:
        case "insufficient_quota":
            return Problem(kind="insufficient_quota", model=ask.model)
        case "context":
            return Problem(kind="context", model=ask.model, requested_tokens=ask.input_tokens)
        case "unsupported_parameter":
            parameter = refused_parameter(fault, body) or fault.parameters[0]
            return Problem(kind="unsupported_parameter", model=ask.model, parameter=parameter)
        case _:
            wait = 1.0 if fault.retry_after is None else fault.retry_after
            refused = Refused(dimension="requests", limit=1, used=1, requested=1, wait_seconds=wait)
            return Problem(kind="rate_limited", model=ask.model, refused=refused, retry_after=wait)


def failed(fault: Fault | None) -> Problem | None:
    """The error a status fault answers with; None for the other kinds."""
    retry_after = None if fault is None else fault.retry_after
    match fault.kind if fault is not None else None:
        case "status" | "status_500":
            return Problem(kind="server_error", status=fault.status if fault else None, retry_after=retry_after)
        case "status_503":
            return Problem(kind="overloaded", status=503, retry_after=retry_after)
        case "status_529" | "overloaded":
            return Problem(kind="overloaded", status=529, retry_after=retry_after)
        case _:
            return None


def said(provider: Provider, key: str, ask: Ask, now: float) -> Answer:
    """What the model answers, and what the cache did for it."""
    whole = answer(ask, provider.config.reply_tokens, provider.config.thinking_tokens)
    return msgspec.structs.replace(whole, cache=provider.memory.use_cache(ask, key, now))
