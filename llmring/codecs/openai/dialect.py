"""How servers that speak OpenAI's chat completions differ, as data. Pure.

A `Dialect` says what a server takes and what it calls it; the codec has no other knowledge of servers. Sources: the
providers' API references as of 2026-11, recorded exchanges, and what is named at the rows.
"""

from typing import Literal

import msgspec

from llmring.codecs.limits import LimitHeader, LimitHeaders
from llmring.errors import Dimension

FORMAT = "openai-chat"

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]

_HOUR, _DAY, _MONTH = 3600.0, 86_400.0, 30 * 86_400.0


def _row(dimension: Dimension, name: str, period: float = 60.0, period_name: str = "") -> LimitHeader:
    limit, remaining = f"x-ratelimit-limit-{name}", f"x-ratelimit-remaining-{name}"
    return LimitHeader(dimension, limit, remaining, period=period, period_name=period_name)


LIMIT_HEADERS: LimitHeaders = (
    # OpenAI, Azure, xAI and most others; the period is told by Azure and GitHub Models (seen 2026-05).
    _row("requests", "requests", period_name="x-ratelimit-renewalperiod-requests"),
    _row("tokens", "tokens", period_name="x-ratelimit-renewalperiod-tokens"),
    # OpenAI's guide to rate limits, since 2026-06: the project's, beside the organization's.
    _row("tokens", "project-tokens"),
    # Mistral (recorded, 2026-08). Its x-ratelimit-tokens-query-cost is what one request took: all of its usage, as the
    # charge rule has it already.
    _row("requests", "req-10-second", 10.0),
    _row("requests", "req-minute"),
    _row("tokens", "tokens-minute"),
    _row("tokens", "tokens-5-minute", 300.0),
    _row("tokens", "tokens-month", _MONTH),
    # Cerebras, https://inference-docs.cerebras.ai/support/rate-limits; SambaNova's day.
    _row("requests", "requests-minute"),
    _row("requests", "requests-hour", _HOUR),
    _row("day", "requests-day", _DAY),
    _row("tokens", "tokens-hour", _HOUR),
    _row("tokens", "tokens-day", _DAY),
)
# https://console.groq.com/docs/rate-limits: requests by the day, tokens by the minute.
_GROQ_HEADERS: LimitHeaders = (_row("day", "requests", _DAY), _row("tokens", "tokens"))
# Limits are by the second, says its documentation; were they by the minute, this would only pace too little.
_TOGETHER_HEADERS: LimitHeaders = (
    LimitHeader("requests", "x-ratelimit-limit", "x-ratelimit-remaining", period=1.0),
    LimitHeader("tokens", "x-tokenlimit-limit", "x-tokenlimit-remaining", period=1.0),
)

_COMMON = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "tool_choice",
        "response_format",
    }
)
_LOGPROBS = frozenset({"logprobs", "top_logprobs"})
_USUAL = _COMMON | _LOGPROBS | {"seed", "n", "parallel_tool_calls", "reasoning_effort", "user"}


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of server. The defaults are those of a compatible server of which nothing is known.

    `parameters` are the optional fields of ChatRequest that it takes. `user_field`, `seed_field` and `required_word`
    are its names for them. `named_tools`: one tool may be named as the choice. `reasoning` is how it is told how much
    to think; `replays` is the field of an answer that it wants back in the next request, "" for none.

    `schemas` and `json_mode` are the response formats it has; `strict_schemas` asks for schemas and strict tools in the
    part of JSON schema that OpenAI enforces. `states_strict` sends `strict` with every tool, set or not.

    `documents` is how a PDF is sent, `document_links` whether the server fetches one; `audio` how sound is sent.
    `media_in_tools` lets a tool's result hold images; elsewhere they follow in a user message. `cache_marks` sends
    Anthropic's `cache_control`. `one_system` joins all system messages into one at the start. `tool_id_length` is that
    of tool call ids, 0 for any. `stream_options`: it knows them. `keeps_metadata` "stored": only with answers that it
    is told to store. `resets_at_moment`: its x-ratelimit-reset is a moment, in milliseconds since 1970. `api_version`
    is Azure's: with it the model is a deployment in the path, and the base URL is the resource's own.
    """

    parameters: frozenset[str] = _USUAL
    max_tokens_field: MaxTokensField = "max_tokens"
    auth: Literal["bearer", "api-key"] = "bearer"
    user_field: Literal["user", "safety_identifier"] = "user"
    seed_field: Literal["seed", "random_seed"] = "seed"
    required_word: Literal["required", "any"] = "required"
    named_tools: bool = True
    reasoning: Literal["effort", "openrouter", "deepseek", "groq"] = "effort"
    replays: Literal["", "reasoning_content", "reasoning_details"] = ""
    schemas: bool = True
    json_mode: bool = True
    strict_schemas: bool = True
    states_strict: bool = False
    documents: Literal["file", "document_url", ""] = "file"
    document_links: bool = False
    audio: Literal["object", "base64", ""] = "object"
    media_in_tools: bool = False
    cache_marks: bool = False
    one_system: bool = False
    tool_id_length: int = 0
    stream_options: bool = True
    keeps_metadata: Literal["always", "stored"] = "always"
    limit_headers: LimitHeaders = LIMIT_HEADERS
    resets_at_moment: bool = False
    api_version: str | None = None


COMPATIBLE = Dialect()

OPENAI = Dialect(
    parameters=_USUAL | {"service_tier", "metadata", "cache"},
    max_tokens_field="max_completion_tokens",
    user_field="safety_identifier",
    states_strict=True,
    keeps_metadata="stored",
)

# Its deployments and api-versions lag behind OpenAI: what one of them refuses is learned from its answer.
AZURE = Dialect(
    parameters=_USUAL | {"metadata", "cache"},
    max_tokens_field="max_completion_tokens",
    auth="api-key",
    keeps_metadata="stored",
)

# https://console.groq.com/docs/openai: logprobs and n are refused.
GROQ = Dialect(
    parameters=_COMMON | {"seed", "parallel_tool_calls", "reasoning_effort", "show_reasoning", "user", "service_tier"},
    max_tokens_field="max_completion_tokens",
    reasoning="groq",
    documents="",
    audio="",
    limit_headers=_GROQ_HEADERS,
)

# Unknown fields are refused with 422, `stream_options` among them; a stream reports usage unasked.
MISTRAL = Dialect(
    parameters=_COMMON | {"seed", "n", "parallel_tool_calls", "reasoning_effort", "metadata", "cache"},
    seed_field="random_seed",
    required_word="any",
    documents="document_url",
    document_links=True,
    audio="base64",
    # It refuses a user message behind a tool's result.
    media_in_tools=True,
    tool_id_length=9,
    stream_options=False,
)

# https://api-docs.deepseek.com/guides/thinking_mode: in a conversation with tools the thoughts must come back.
DEEPSEEK = Dialect(
    parameters=_COMMON | _LOGPROBS | {"reasoning_effort"},
    reasoning="deepseek",
    replays="reasoning_content",
    schemas=False,
    strict_schemas=False,
    documents="",
    audio="",
)

# https://openrouter.ai/docs/use-cases/reasoning-tokens and /docs/features/multimodal/pdfs
OPENROUTER = Dialect(
    parameters=(_USUAL - {"n"}) | {"top_k", "reasoning_tokens", "show_reasoning", "cache"},
    reasoning="openrouter",
    replays="reasoning_details",
    document_links=True,
    cache_marks=True,
    resets_at_moment=True,
)

# Its logprobs are a number, and come back in another form.
TOGETHER = Dialect(
    parameters=_COMMON | {"top_k", "seed", "n", "reasoning_effort"},
    strict_schemas=False,
    documents="",
    audio="",
    limit_headers=_TOGETHER_HEADERS,
)

XAI = Dialect(max_tokens_field="max_completion_tokens", documents="", audio="")

# The templates of many models refuse a second system message, or one that is not the first.
VLLM = Dialect(parameters=_USUAL | {"top_k"}, strict_schemas=False, documents="", one_system=True)

# `tool_choice` as an object, and json_object, are refused: its bug tracker, issues 670 and 189.
LMSTUDIO = Dialect(
    parameters=_COMMON | {"top_k", "seed", "reasoning_effort"},
    named_tools=False,
    json_mode=False,
    strict_schemas=False,
    documents="",
    audio="",
    one_system=True,
)

# It falls back to "auto" for a `tool_choice` that is an object.
LLAMACPP = Dialect(
    parameters=_COMMON | _LOGPROBS | {"top_k", "seed", "parallel_tool_calls"},
    named_tools=False,
    strict_schemas=False,
    documents="",
    one_system=True,
)
