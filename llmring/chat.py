"""What goes in and what comes out: messages, tools, requests, responses, chunks, usage, cost.

Values only. Every provider's codec translates to and from these; nothing here knows a provider.
"""

from decimal import Decimal
from typing import Any, Literal

import msgspec

from llmring.errors import Attempt
from llmring.refs import ModelRef

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "error", "other"]
JSONObject = dict[str, Any]
"""A JSON object as msgspec decodes it: the edge where types end."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model asks for. `arguments` is JSON text, as OpenAI spells it; `{}` when there are none."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `content` is None only on an assistant turn that holds nothing but tool calls.

    A tool result is `role="tool"` with `tool_call_id`; `is_error` says that the tool failed.
    """

    role: Role
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call. `parameters` is a JSON schema of type object; None for no parameters."""

    name: str
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True, kw_only=True):
    """Tool choice: this one must be called."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat call. `model` is an alias or `provider:model`. What is None is not sent.

    `max_tokens` bounds the answer in tokens. `timeout` bounds the whole call in seconds, waiting in line included;
    None: the router's default. `extra_params` are merged into the provider's JSON body last, as they are.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    timeout: float | None = None
    extra_params: JSONObject = {}


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer, in disjoint counters: each token is in exactly one of them, so each is billed once.

    `input_tokens` are the uncached ones, `output_tokens` those outside of reasoning. The providers' own totals, which
    overlap in different ways, are the properties.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_write_other_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens + self.cache_write_other_tokens

    @property
    def total_input_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_output_tokens(self) -> int:
        return self.output_tokens + self.reasoning_tokens

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.total_output_tokens


class CostBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars by kind of token. `long_context_input` is the part of `input` billed at the long-context rate."""

    input: Decimal = Decimal(0)
    cache_read: Decimal = Decimal(0)
    cache_write_5m: Decimal = Decimal(0)
    cache_write_1h: Decimal = Decimal(0)
    cache_write_other: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    reasoning: Decimal = Decimal(0)
    long_context_input: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return (
            self.input
            + self.cache_read
            + self.cache_write_5m
            + self.cache_write_1h
            + self.cache_write_other
            + self.output
            + self.reasoning
        )


CostStatus = Literal["priced", "no_usage", "model_not_in_registry", "no_pricing_in_registry"]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer cost in dollars. `usd` and `breakdown` are None unless `status` is "priced": unknown, not free."""

    status: CostStatus
    usd: Decimal | None = None
    breakdown: CostBreakdown | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a codec reads from one provider's answer, before the router adds what only it knows.

    `served_model` is the model's name as the provider gives it, `raw_finish_reason` its own word for why it ended.
    """

    content: str
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    usage: Usage | None = None
    served_model: str | None = None
    response_id: str | None = None
    request_id: str | None = None


class ChatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    `model` is who answered; `attempts` lists every try and skip on the way, the answering one last. `usage` is None
    when the provider sent none. A `content` of "" with finish_reason "tool_calls" is normal.
    """

    content: str
    model: ModelRef
    alias: str
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    usage: Usage | None = None
    cost: Cost
    served_model: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a streamed answer.

    Text arrives in `content`. The last chunk has `finish_reason`, and with it the assembled `tool_calls`, `usage` and
    `cost`. `restarted` marks the point where another model began again from the start (`on_break="restart"`): what came
    before it is void.
    """

    content: str = ""
    model: ModelRef
    finish_reason: FinishReason | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    cost: Cost | None = None
    restarted: bool = False
