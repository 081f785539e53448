"""A call as people write it, parsed: prompts, tools and tool choices into a ChatRequest. Pure.

Text, our own values and OpenAI's dictionaries are read; what cannot be read is refused with the number of the message
or tool that is wrong. Nothing is guessed, and nothing that was not set is filled in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from llmring.chat import ChatRequest, JSONObject, Message, NamedTool, Tool, ToolCall, ToolChoice
from llmring.errors import InvalidRequest

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
"""A prompt as callers write it: text, one message, or a conversation of messages or OpenAI-style dictionaries."""


class ChatOptions(TypedDict, total=False):
    """The optional part of a call; the fields are those of ChatRequest, and `system` puts a system message in front."""

    system: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    tools: Sequence[Tool | Mapping[str, Any]]
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    timeout: float | None
    extra_params: JSONObject


def to_request(model: str, prompt: Prompt, **options: Unpack[ChatOptions]) -> ChatRequest:
    """Parse a call into a request. Raises InvalidRequest."""
    stop = options.get("stop") or ()
    return ChatRequest(
        model=model,
        messages=to_messages(prompt, options.get("system")),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        max_tokens=options.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=to_tools(options.get("tools", ())),
        tool_choice=to_tool_choice(options.get("tool_choice")),
        timeout=options.get("timeout"),
        extra_params=options.get("extra_params", {}),
    )


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
