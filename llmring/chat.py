"""What goes in and what comes out: messages, tools, requests, responses, chunks, usage, cost.

Values only. Every provider's codec translates to and from these; nothing here knows a provider.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from llmring.errors import Attempt, InvalidRequest
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


Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
"""A prompt as callers write it: text, one message, or a conversation of messages or OpenAI-style dictionaries."""


def to_messages(prompt: Prompt, system: str | None = None) -> tuple[Message, ...]:
    """Parse a prompt. Raises InvalidRequest that names the message that is wrong and why."""
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message(role="user", content=prompt),)
    elif isinstance(prompt, Message):
        messages = (prompt,)
    elif isinstance(prompt, Sequence):
        messages = tuple(_to_message(item, number) for number, item in enumerate(prompt, 1))
    else:
        raise InvalidRequest(f"a prompt is text, a message or a list of messages, not {type(prompt).__name__}")
    if not messages:
        raise InvalidRequest("the prompt holds no messages")
    if system is not None:
        messages = (Message(role="system", content=system), *messages)
    return messages


class _FunctionIn(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _ToolCallIn(msgspec.Struct):
    """Ours is flat, OpenAI's nests `function`: both are read."""

    id: str
    name: str | None = None
    arguments: str = "{}"
    function: _FunctionIn | None = None


class _TextPartIn(msgspec.Struct):
    type: Literal["text"]
    text: str


class _MessageIn(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPartIn] | None = None
    tool_calls: list[_ToolCallIn] | None = None
    tool_call_id: str | None = None
    is_error: bool = False


def _to_message(item: object, number: int) -> Message:
    if isinstance(item, Message):
        return item
    try:
        given = msgspec.convert(item, _MessageIn)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"message {number}: {error}") from error
    content = given.content
    if isinstance(content, list):
        content = "".join(part.text for part in content)
    return Message(
        role="system" if given.role == "developer" else given.role,
        content=content,
        tool_calls=tuple(_to_tool_call(call, number) for call in given.tool_calls or ()),
        tool_call_id=given.tool_call_id,
        is_error=given.is_error,
    )


def _to_tool_call(call: _ToolCallIn, number: int) -> ToolCall:
    if call.function is not None:
        return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
    if call.name is None:
        raise InvalidRequest(f"message {number}: tool call {call.id!r} has no name")
    return ToolCall(id=call.id, name=call.name, arguments=call.arguments)


class _FunctionToolIn(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None


class _ToolIn(msgspec.Struct):
    """OpenAI's form (`type`, `function`) and the flat one: both are read."""

    type: Literal["function"] = "function"
    function: _FunctionToolIn | None = None
    name: str | None = None
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None


def to_tools(tools: Sequence[Tool | Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Parse tools in OpenAI's form or flat. Raises InvalidRequest that names the tool that is wrong and why."""
    return tuple(_to_tool(tool, number) for number, tool in enumerate(tools, 1))


def _to_tool(item: object, number: int) -> Tool:
    if isinstance(item, Tool):
        return item
    try:
        given = msgspec.convert(item, _ToolIn)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"tool {number}: {error}") from error
    source = given.function if given.function is not None else given
    if source.name is None:
        raise InvalidRequest(f"tool {number} has no name")
    return Tool(name=source.name, description=source.description, parameters=source.parameters, strict=source.strict)


class _NamedToolIn(msgspec.Struct):
    """OpenAI's form: `{"type": "function", "function": {"name": ...}}`, without `type` too, or flat."""

    function: NamedTool | None = None
    name: str | None = None


def to_tool_choice(choice: ToolChoice | str | Mapping[str, Any] | None) -> ToolChoice | None:
    """Parse a tool choice: auto, none, required (or "any"), or one tool by name. Raises InvalidRequest."""
    match choice:
        case None | NamedTool() | "auto" | "none" | "required":
            return choice
        case "any":
            return "required"
        case Mapping():
            try:
                given = msgspec.convert(choice, _NamedToolIn)
            except msgspec.ValidationError as error:
                raise InvalidRequest(f"tool_choice: {error}") from error
            name = given.function.name if given.function is not None else given.name
            if name is not None:
                return NamedTool(name=name)
    raise InvalidRequest("tool_choice is 'auto', 'none', 'required' or {'function': {'name': ...}}")


def check_request(request: ChatRequest) -> None:
    """Refuse what no provider would take. Raises InvalidRequest."""
    if not request.messages:
        raise InvalidRequest("the request holds no messages")
    for number, message in enumerate(request.messages, 1):
        _check_message(message, number)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidRequest(f"max_tokens must be at least 1, not {request.max_tokens}")
    if request.timeout is not None and not request.timeout > 0:
        raise InvalidRequest(f"timeout must be a positive number of seconds, not {request.timeout}")
    names = {tool.name for tool in request.tools}
    if isinstance(request.tool_choice, NamedTool) and request.tool_choice.name not in names:
        raise InvalidRequest(f"tool_choice names {request.tool_choice.name!r}, which is not among the tools")


def _check_message(message: Message, number: int) -> None:
    if message.role == "tool" and message.tool_call_id is None:
        raise InvalidRequest(f"message {number}: a tool result needs the tool_call_id of its call")
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise InvalidRequest(f"message {number}: a {message.role} message needs content")
