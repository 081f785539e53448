"""What callers of the router write, made into values or refused before anything is sent. Pure."""

from decimal import Decimal, InvalidOperation

from llmring.arguments import as_text, check_share, check_word
from llmring.chat import ChatRequest, JSONSchema
from llmring.errors import InvalidRequest
from llmring.prompts import check_request
from llmring.providers.fairness import SHARES, Flow, Priority
from llmring.providers.structured import check_schema


def check(request: ChatRequest) -> None:
    """Refuse what no provider would take. Raises InvalidRequest."""
    as_text("model", request.model)
    check_request(request)
    if isinstance(request.response_format, JSONSchema):
        check_schema(request.response_format)


def check_profile(profile: str | None) -> None:
    """Raises InvalidRequest."""
    if profile is not None:
        as_text("profile", profile)


def flow_of(priority: Priority, tenant: str, weight: float) -> Flow:
    """Raises InvalidRequest."""
    check_word("priority", SHARES, priority)
    check_share("weight", weight)
    return Flow(priority, as_text("tenant", tenant), weight)


def dollars(budget: Decimal | float | str) -> Decimal:
    """A cap in dollars; a float as it is written, not as it is stored. Raises InvalidRequest."""
    try:
        usd = Decimal(str(budget))
    except InvalidOperation:
        raise InvalidRequest(f"budget must be dollars, not {budget!r}") from None
    if not usd.is_finite() or usd < 0:
        raise InvalidRequest(f"budget must be at least 0 dollars, not {budget!r}")
    return usd
