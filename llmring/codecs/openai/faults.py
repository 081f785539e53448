"""What errors mean in OpenAI's chat completions format, from OpenAI and from compatible servers. Pure.

Sources: OpenAI's guide to error codes, the payload folders of the tests, and documentation of the servers named at the
rules.
"""

import re
from collections.abc import Mapping

import msgspec

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
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.codecs.openai.limits import empty, until_reset
from llmring.codecs.replies import MAX_DELAY_SECONDS
from llmring.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContentRefused,
    ContextTooLong,
    Dimension,
    ImpossibleRequest,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    Unsupported,
)

RULES = Rules(
    words={
        "insufficient_quota": Verdict(QuotaExhausted),
        "credit_balance_exhausted": Verdict(QuotaExhausted),
        "organization_usage_limit_exceeded": Verdict(QuotaExhausted),
        "billing_hard_limit_reached": Verdict(QuotaExhausted),
        "billing_not_active": Verdict(QuotaExhausted),
        "in_flight_budget_exhausted": Verdict(RateLimited),  # OpenRouter, with 402
        "slow_down": Verdict(RateLimited, "ramp"),
        "server_is_overloaded": Verdict(Overloaded),
        "overloaded_error": Verdict(Overloaded),
        "model_not_found": Verdict(ModelGone),
        "model_decommissioned": Verdict(ModelGone),  # Groq
        "deploymentnotfound": Verdict(ModelGone),  # Azure
        "invalid_model": Verdict(ModelGone),  # Mistral
        "context_length_exceeded": Verdict(ContextTooLong),
        "too_many_prompt_tokens": Verdict(ContextTooLong),  # Perplexity
        "exceed_context_size_error": Verdict(ContextTooLong),  # llama.cpp
        "unsupported_parameter": Verdict(Unsupported),
        "unsupported_value": Verdict(Unsupported),
        "unknown_parameter": Verdict(Unsupported),
        "content_policy_violation": Verdict(ContentRefused),
        "content_filter": Verdict(ContentRefused),
        "responsibleaipolicyviolation": Verdict(ContentRefused),  # Azure
        "invalid_prompt": Verdict(ContentRefused),
        "invalid_api_key": Verdict(AuthFailed),
        # Groq: the model wrote a call that its tool does not take; asking again often helps.
        "tool_use_failed": Verdict(BadReply),
    },
    texts=(
        # OpenAI with 429, Groq with 413: "Request too large for ... : Limit 30000, Requested 45000".
        text_rule((413, 429), r"request too large .{0,400}limit:? ?\d+.{0,80}requested:? ?\d+", ImpossibleRequest),
        # OpenAI's limits by day, "requests per day (RPD)"; Groq also has "tokens per day (TPD)".
        # OpenRouter's by day, "free-models-per-day-high-balance".
        text_rule((429,), r"\((?:RPD|TPD)\)|(?:requests|tokens) per day|free-models-per-day", RateLimited, "daily"),
        text_rule((429,), r"exceeded your current quota|insufficient balance", QuotaExhausted),
        # OpenAI's "Slow Down", where it comes without its code.
        text_rule((429, 503), r"sudden increase in (?:your )?request", RateLimited, "ramp"),
        # xAI: "Your newly created team doesn't have any credits yet".
        text_rule((403,), r"(?:doesn't|does not) have any credits|spending limit", QuotaExhausted),
        # xAI answers a wrong key with 400.
        text_rule((400, 403), r"(?:incorrect|invalid) api key|api key not valid", AuthFailed),
        # OpenRouter: "... requires moderation ... Your input was flagged". DeepSeek: "Content Exists Risk".
        text_rule((400, 403), r"input was flagged|content exists risk|prompt was flagged", ContentRefused),
        CONTEXT_TOO_LONG,
        # LM Studio: "Invalid tool_choice type: 'object'. Supported string values: ...".
        text_rule((400, 422), r"tool_choice.{0,80}supported string values", Unsupported, parameter="tool_choice"),
        text_rule((400, 422), r"response_format\.type' must be", Unsupported, parameter="response_format"),
        # DeepSeek, of images: "unknown variant `image_url`, expected `text`".
        text_rule((400, 422), r"unknown variant `(?:image_url|input_audio|file)`", Unsupported, parameter="messages"),
        # vLLM, xAI, Ollama; DeepSeek: "Model Not Exist"; OpenRouter: "No endpoints found for", "not a valid model ID".
        text_rule(
            (400, 404),
            r"\bmodel\b.{0,200}(?:not exist|not found|decommissioned|has been deprecated)"
            r"|invalid model|no endpoints found|not a valid model",
            ModelGone,
        ),
        text_rule(
            (400, 422),
            r"(?:is|are) (?:not supported|unsupported)|does not support|deprecated for this model"
            r"|extra inputs are not permitted|unrecognized request argument",
            Unsupported,
        ),
    ),
    general_words={
        "rate_limit_exceeded": Verdict(RateLimited),
        "rate_limit_error": Verdict(RateLimited),
        "ratelimitreached": Verdict(RateLimited),  # Azure
        "requests": Verdict(RateLimited),
        "tokens": Verdict(RateLimited),
        "service_unavailable": Verdict(Overloaded),
        "server_error": Verdict(ServerFault),
        "api_error": Verdict(ServerFault),
        "authentication_error": Verdict(AuthFailed),
        "permission_error": Verdict(ModelGone),
        "invalid_request_error": Verdict(BadRequest),
    },
)

_UNIT_IN_TEXT = re.compile(r"\((RPM|TPM|RPD|TPD)\)|(requests|tokens|free-models)[ -]per[ -](min|day)", re.IGNORECASE)
# Azure: "... have exceeded token rate limit of your current ... pricing tier", "... call rate limit ...".
_AZURE_UNIT = re.compile(r"exceeded (call|token) rate limit", re.IGNORECASE)
_UNITS: Mapping[str, Dimension] = {
    "rpm": "requests",
    "tpm": "tokens",
    "rpd": "day",
    "tpd": "tokens",
    # OpenRouter's free models.
    "fpm": "requests",
    "fpd": "day",
}


def classify(reply: HttpReply, dialect: Dialect = OPENAI) -> ProviderError:
    """Which of our errors a reply is. Never raises."""
    fault = read_fault(reply)
    verdict = judge(fault, RULES)
    if verdict.error is RateLimited and fault.retry_after is None:
        delay = until_reset(reply, dialect)
        fault = msgspec.structs.replace(fault, retry_after=min(delay, MAX_DELAY_SECONDS) if delay else None)
    return to_error(fault, verdict, _dimension(fault, reply, dialect))


def _dimension(fault: Fault, reply: HttpReply, dialect: Dialect) -> Dimension | None:
    """The limit that refused: as the message names it, which alone tells a day's limit, then the type, then headers."""
    found = _UNIT_IN_TEXT.search(fault.text)
    if found is not None:
        return _UNITS[(found[1] or f"{found[2][0]}p{found[3][0]}").lower()]
    azure = _AZURE_UNIT.search(fault.text)
    if azure is not None:
        return "tokens" if azure[1].lower() == "token" else "requests"
    if "requests" in fault.words:
        return "requests"
    if "tokens" in fault.words:
        return "tokens"
    without = empty(reply.headers, dialect)
    return without[0] if len(without) == 1 else None
