"""What errors mean in Anthropic's Messages format. Pure.

Sources: https://docs.claude.com/en/api/errors and /en/api/rate-limits, the error codes in the types of Anthropic's own
Python client, and the recorded and hand-written payload folders of the tests.
"""

import re
from collections.abc import Mapping

from llmring.codecs.codec import HttpReply
from llmring.codecs.faults import (
    CONTEXT_TOO_LONG,
    Fault,
    Rules,
    Verdict,
    judge,
    read_fault,
    text_rule,
    to_error,
)
from llmring.codecs.limits import LimitHeader, LimitHeaders, read_limits, used_up
from llmring.errors import (
    AuthFailed,
    BadRequest,
    ContentRefused,
    ContextTooLong,
    Dimension,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    TransportBroken,
    Unsupported,
)

VERSION = ("anthropic-version", "2023-06-01")
"""The header of every call. 2026-10-21 refuses temperature, top_p and top_k even at their defaults; this version lets
the model decide."""

# Anthropic rounds what remains of token limits to thousands.
_LIMITS: tuple[tuple[Dimension, str, float], ...] = (
    ("requests", "requests", 1.0),
    ("tokens", "tokens", 1000.0),
    ("input", "input-tokens", 1000.0),
    ("output", "output-tokens", 1000.0),
)
LIMIT_HEADERS: LimitHeaders = tuple(
    LimitHeader(
        dimension,
        f"anthropic-ratelimit-{name}-limit",
        f"anthropic-ratelimit-{name}-remaining",
        rounding=rounding,
    )
    for dimension, name, rounding in _LIMITS
)

RULES = Rules(
    words={
        "linked_organization_billing_unavailable": Verdict(QuotaExhausted),
        "organization_on_hold": Verdict(QuotaExhausted),
        "cmek_key_disabled": Verdict(QuotaExhausted),
        "billing_error": Verdict(QuotaExhausted),
        "ramp_limit_exceeded": Verdict(RateLimited, "ramp"),
        "overloaded_error": Verdict(Overloaded),
        "request_too_large": Verdict(ContextTooLong),
    },
    texts=(
        text_rule(
            (400, 403, 429),
            r"^you have reached your specified (?:workspace )?api usage limits|credit balance is too low"
            r"|workspace api usage limits",
            QuotaExhausted,
        ),
        text_rule((429,), r"usage increase rate|acceleration limit", RateLimited, "ramp"),
        CONTEXT_TOO_LONG,
        text_rule((404,), r"^model:", ModelGone),
        text_rule((400,), r"blocked by content filtering policy", ContentRefused),
        # The body was cut on its way to Anthropic.
        text_rule((400,), r"not valid json.{0,40}unexpected end of data", TransportBroken),
        # An older model, which has nothing between on and off: efforts, not budgets, are what it does not take.
        text_rule(
            (400,),
            r"^thinking(?:\.type)?: input tag 'adaptive'|adaptive thinking is not supported",
            Unsupported,
            parameter="output_config.effort",
        ),
        # Tool calls of another model, with a budget for thinking: no fault of the request.
        text_rule((400,), r"expected [`'\"]?(?:redacted_)?thinking\b.{0,80}, but found", Unsupported),
        text_rule(
            (400,),
            r"(?:is|are) not supported|does not support|prefill not supported|deprecated for this model"
            r"|extra inputs are not permitted",
            Unsupported,
        ),
    ),
    general_words={
        "rate_limit_error": Verdict(RateLimited),
        "api_error": Verdict(ServerFault),
        "timeout_error": Verdict(ServerFault),
        "authentication_error": Verdict(AuthFailed),
        "permission_error": Verdict(ModelGone),
        "invalid_request_error": Verdict(BadRequest),
        "not_found_error": Verdict(BadRequest),
    },
)

_UNIT_IN_TEXT = re.compile(r"\b(input|output|request) tokens\b|\b(requests) (?:has exceeded|per minute)", re.IGNORECASE)
_UNITS: Mapping[str, Dimension] = {
    "input": "input",
    "output": "output",
    "request": "tokens",
    "requests": "requests",
}


def classify(reply: HttpReply) -> ProviderError:
    """Which of our errors a reply is. Never raises."""
    fault = read_fault(reply)
    return to_error(fault, judge(fault, RULES), _dimension(fault, reply))


def _dimension(fault: Fault, reply: HttpReply) -> Dimension | None:
    """The limit that refused: the one of which nothing remains, else the one that the message names."""
    empty: tuple[Dimension, ...] = used_up(read_limits(reply.headers, LIMIT_HEADERS))
    if "input" in empty or "output" in empty:
        # `tokens` stands for whichever of the two is tighter.
        empty = tuple(dimension for dimension in empty if dimension != "tokens")
    if len(empty) == 1:
        return empty[0]
    found = _UNIT_IN_TEXT.search(fault.text)
    return _UNITS[(found[1] or found[2]).lower()] if found is not None else None
