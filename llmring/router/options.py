"""What callers of the router write, made into values or refused before anything is sent. Pure."""

import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from llmring.chat import ChatRequest, JSONSchema
from llmring.errors import InvalidRequest
from llmring.prompts import check_request
from llmring.providers.fairness import SHARES, Flow, Priority
from llmring.providers.structured import check_schema


def check(request: ChatRequest) -> None:
    """Refuse what no provider would take. Raises InvalidRequest."""
    check_request(request)
    if isinstance(request.response_format, JSONSchema):
        check_schema(request.response_format)


def check_word(name: str, given: str, words: Sequence[str]) -> None:
    """Raises InvalidRequest for an option that is none of `words`."""
    if given not in words:
        raise InvalidRequest(f"{name} must be one of {', '.join(words)}, not {given!r}")


def flow_of(priority: Priority, tenant: str, weight: float) -> Flow:
    """Raises InvalidRequest."""
    if priority not in SHARES:
        raise InvalidRequest(f"priority must be one of {', '.join(map(repr, SHARES))}, not {priority!r}")
    if not 0.0 < weight < math.inf:
        raise InvalidRequest(f"weight must be a number above 0, not {weight!r}")
    return Flow(priority, tenant, weight)


def dollars(budget: Decimal | float | str) -> Decimal:
    """A cap in dollars; a float as it is written, not as it is stored. Raises InvalidRequest."""
    try:
        usd = Decimal(str(budget))
    except InvalidOperation:
        raise InvalidRequest(f"budget must be dollars, not {budget!r}") from None
    if not usd.is_finite() or usd < 0:
        raise InvalidRequest(f"budget must be at least 0 dollars, not {budget!r}")
    return usd
