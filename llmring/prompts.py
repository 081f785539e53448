"""A call as people write it, parsed: prompts, tools and tool choices into a ChatRequest. Pure.

Text, our own values and OpenAI's dictionaries are read; what cannot be read is refused with the number of the message
or tool that is wrong. Nothing is guessed, and nothing that was not set is filled in.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, get_args

import msgspec

from llmring.arguments import FLAG, NUMBER, TABLE, TEXT, WHOLE, Kinds, check_kind, check_seconds
from llmring.chat import (
    Cache,
    ChatRequest,
    Effort,
    JSONObject,
    Message,
    NamedTool,
    NativeTurn,
    ResponseFormat,
    Tool,
    ToolCall,
    ToolChoice,
)
from llmring.errors import InvalidRequest
from llmring.parts import CacheTTL, TextPart
from llmring.prompt_formats import to_cache, to_response_format
from llmring.prompt_parts import REGISTERED_PREFIX, to_content
from llmring.prompt_tools import to_tool_choice, to_tools

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
"""A prompt as callers write it: text, one message, or a conversation of messages or OpenAI-style dictionaries."""


class ChatOptions(TypedDict, total=False):
    """The optional part of a call; the fields are those of ChatRequest, and `system` puts a system message in front."""

    system: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logprobs: bool | None
    top_logprobs: int | None
    n: int | None
    tools: Sequence[Tool | Mapping[str, Any]]
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | str | Mapping[str, Any] | None
    reasoning_effort: Effort | None
    reasoning_tokens: int | None
    show_reasoning: bool | None
    cache: Cache | bool | str | Mapping[str, Any] | None
    files: Sequence[str]
    service_tier: str | None
    metadata: dict[str, str]
    user: str | None
    timeout: float | None
    strict_params: bool
    extra_params: JSONObject


def to_request(model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> ChatRequest:
    """Parse a call into a request. Raises InvalidRequest."""
    messages = to_messages(prompt, options.pop("system", None))
    spelled: dict[str, Any] = dict(options)
    for name, parse in _PARSERS.items():
        if name in spelled:
            spelled[name] = parse(spelled[name])
    unknown = spelled.keys() - set(ChatRequest.__struct_fields__)
    if unknown:
        raise TypeError(f"chat() has no option {min(unknown)!r}; extra_params holds what is the provider's own")
    return ChatRequest(model=model, messages=messages, **spelled)


def _to_stop(stop: object) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else _to_texts("stop", stop if stop is not None else ())


def _to_files(files: object) -> tuple[str, ...]:
    return _to_texts("files", files)


def _to_texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidRequest(f"{name} must be a list of texts, not {type(given).__name__}")
    texts = tuple(given)
    for number, text in enumerate(texts, 1):
        check_kind(f"{name}, number {number},", TEXT, text)
    return texts


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "stop": _to_stop,
    "tools": to_tools,
    "tool_choice": to_tool_choice,
    "response_format": to_response_format,
    "cache": to_cache,
    "files": _to_files,
}


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
        check_kind("system", TEXT, system)
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


class _CacheControlIn(msgspec.Struct):
    type: str = "ephemeral"
    ttl: CacheTTL = "5m"


class _MetadataIn(msgspec.Struct):
    """Where llmring 1 took Anthropic's mark from."""

    cache_control: _CacheControlIn | None = None


class _MessageIn(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Any] | None = None
    tool_calls: list[_ToolCallIn] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    is_error: bool = False
    cache: CacheTTL | None = None
    native: NativeTurn | None = None
    metadata: _MetadataIn | None = None
    # What OpenAI's own replies hold beside these; a reply's message can be sent back as it is.
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: JSONObject | None = None
    function_call: JSONObject | None = None


def _to_message(item: object, number: int) -> Message:
    if isinstance(item, Message):
        return item
    try:
        given = msgspec.convert(item, _MessageIn)
        content = to_content(given.content)
    except (msgspec.ValidationError, InvalidRequest) as error:
        raise InvalidRequest(f"message {number}: {error}") from None
    return Message(
        role="system" if given.role == "developer" else given.role,
        content=content,
        tool_calls=tuple(_to_tool_call(call, number) for call in given.tool_calls or ()),
        tool_call_id=given.tool_call_id,
        is_error=given.is_error,
        cache=given.cache or _mark(given.metadata),
        native=given.native,
    )


def _mark(metadata: _MetadataIn | None) -> CacheTTL | None:
    return metadata.cache_control.ttl if metadata is not None and metadata.cache_control is not None else None


def _to_tool_call(call: _ToolCallIn, number: int) -> ToolCall:
    if call.function is not None:
        return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
    if call.name is None:
        raise InvalidRequest(f"message {number}: tool call {call.id!r} has no name")
    return ToolCall(id=call.id, name=call.name, arguments=call.arguments)


def check_request(request: ChatRequest) -> None:
    """Refuse what no provider would take. Raises InvalidRequest."""
    if not request.messages:
        raise InvalidRequest("the request holds no messages")
    for number, message in enumerate(request.messages, 1):
        _check_message(message, number)
    for name, kinds in _KINDS.items():
        value = getattr(request, name)
        if value is not None or name in _NEVER_NONE:
            check_kind(name, kinds, value)
            # JSON has no spelling for them.
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidRequest(f"{name} must be a number, not {value}")
    for name, least in _LEAST.items():
        value = getattr(request, name)
        if value is not None and value < least:
            raise InvalidRequest(f"{name} must be at least {least}, not {value}")
    if request.timeout is not None:
        check_seconds("timeout", request.timeout)
    if request.reasoning_effort is not None and request.reasoning_effort not in get_args(Effort):
        raise InvalidRequest(f"reasoning_effort is one of {', '.join(get_args(Effort))}")
    _check_tools(request)
    for file_id in request.files:
        if not file_id.startswith(REGISTERED_PREFIX):
            raise InvalidRequest(f"files are ids of register_file, which begin with {REGISTERED_PREFIX!r}")


def _check_tools(request: ChatRequest) -> None:
    names = [tool.name for tool in request.tools]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InvalidRequest(f"two tools are called {twice!r}")
    if isinstance(request.tool_choice, NamedTool) and request.tool_choice.name not in names:
        raise InvalidRequest(f"tool_choice names {request.tool_choice.name!r}, which is not among the tools")


_KINDS: Mapping[str, Kinds] = {
    "temperature": NUMBER,
    "top_p": NUMBER,
    "top_k": WHOLE,
    "max_tokens": WHOLE,
    "seed": WHOLE,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "logprobs": FLAG,
    "top_logprobs": WHOLE,
    "n": WHOLE,
    "parallel_tool_calls": FLAG,
    "reasoning_tokens": WHOLE,
    "show_reasoning": FLAG,
    "service_tier": TEXT,
    "user": TEXT,
    "metadata": TABLE,
    "extra_params": TABLE,
}
_NEVER_NONE = frozenset({"metadata", "extra_params"})

_LEAST: Mapping[str, int] = {"max_tokens": 1, "top_k": 0, "top_logprobs": 0, "n": 1, "reasoning_tokens": 0}


def _check_message(message: Message, number: int) -> None:
    if message.role == "tool" and message.tool_call_id is None:
        raise InvalidRequest(f"message {number}: a tool result needs the tool_call_id of its call")
    if not isinstance(message.content, str | Sequence | None):
        raise InvalidRequest(f"message {number}: content must be text or parts, not {type(message.content).__name__}")
    if message.content is None and not (message.role == "assistant" and (message.tool_calls or message.native)):
        raise InvalidRequest(f"message {number}: a {message.role} message needs content")
    if (
        message.role == "system"
        and isinstance(message.content, tuple)
        and not all(isinstance(part, TextPart) for part in message.content)
    ):
        raise InvalidRequest(f"message {number}: a system message holds text only")
