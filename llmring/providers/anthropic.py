"""Anthropic's Messages format: the codec.

Sans-IO: requests are spelled here; replies are read in `anthropic_reply`, streams in `anthropic_stream`, errors are
judged in `anthropic_faults`. Format: https://docs.claude.com/en/api/messages.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, Message, NamedTool, Tool, ToolCall, ToolChoice
from llmring.errors import InvalidRequest, ProviderError, Unsupported
from llmring.providers import anthropic_faults, anthropic_reply
from llmring.providers.anthropic_stream import AnthropicAnswer
from llmring.providers.capabilities import Model
from llmring.providers.codec import HttpCall, HttpReply, LimitUpdate
from llmring.providers.replies import read_limits, request_id, to_call
from llmring.providers.streams import StreamReader

# The version 2026-10-21 refuses temperature, top_p and top_k even at their defaults; this one lets the model decide.
API_VERSION = "2023-06-01"

DEFAULT_MAX_TOKENS = 4096
"""Sent when the caller set no bound, because Anthropic requires one. Every model since Claude 3 takes it."""

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])

_Blocks = list[dict[str, Any]]


PARAMETERS = frozenset({"temperature", "top_p", "max_tokens", "stop", "tool_choice"})


class AnthropicCodec(msgspec.Struct, frozen=True):
    """The codec. The base URL is the host."""

    @property
    def format(self) -> str:
        return "anthropic"

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", key),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        messages = _messages(request.messages)
        if not messages:
            raise Unsupported("Anthropic needs a user message that is not blank; the request holds none")
        body: dict[str, Any] = {
            "model": model.name,
            "max_tokens": DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens,
            "messages": messages,
        }
        optional: dict[str, Any] = {
            "system": _system(request.messages) or None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop_sequences": list(request.stop) or None,
            "tools": [_tool(tool) for tool in request.tools] or None,
            "tool_choice": _tool_choice(request.tool_choice),
            "stream": True if stream else None,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        return to_call("/v1/messages", body | request.extra_params, (("anthropic-version", API_VERSION),))

    def decode(self, reply: HttpReply) -> Completion:
        return anthropic_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return anthropic_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        return read_limits(headers, anthropic_faults.LIMIT_HEADERS)

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return anthropic_reply.decode(HttpReply(status=200, headers=headers, body=body))

        return StreamReader(AnthropicAnswer(headers), read_whole, request_id(headers))


def _system(messages: Iterable[Message]) -> _Blocks:
    """All system messages, in order. They stand outside of the conversation here, wherever the caller put them."""
    return [block for message in messages if message.role == "system" for block in _text(message.text)]


def _messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The conversation in turns that alternate.

    Neighbours of one role become one turn, as Anthropic would join them itself; all results of a round of tool calls
    must be in one user message, before its text.
    """
    turns: list[tuple[str, _Blocks]] = []
    for message in messages:
        blocks = _blocks(message)
        if not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    for _, blocks in turns:
        blocks.sort(key=lambda block: block["type"] != "tool_result")
    _strip_end(turns)
    return [{"role": role, "content": blocks} for role, blocks in turns]


def _blocks(message: Message) -> _Blocks:
    match message.role:
        case "system":
            return []
        case "user":
            return _text(message.text)
        case "assistant":
            return _text(message.text) + [_tool_use(call) for call in message.tool_calls]
        case "tool":
            return [_tool_result(message)]


def _text(content: str | None) -> _Blocks:
    """A text block; none for blank text, which Anthropic refuses."""
    return [{"type": "text", "text": content}] if content is not None and content.strip() else []


def _strip_end(turns: list[tuple[str, _Blocks]]) -> None:
    """Anthropic refuses a conversation that ends in an assistant's text with blanks behind it."""
    if turns and turns[-1][0] == "assistant" and turns[-1][1][-1]["type"] == "text":
        last = turns[-1][1][-1]
        last["text"] = last["text"].rstrip()


def _tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call)}


def _arguments(call: ToolCall) -> dict[str, Any]:
    if not call.arguments.strip():
        return {}
    try:
        return _ARGUMENTS.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Without its cause, which may quote the arguments.
        raise InvalidRequest(f"the arguments of tool call {call.id!r} are not a JSON object") from None


def _tool_result(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    if message.text:
        result["content"] = message.text
    if message.is_error:
        result["is_error"] = True
    return result


def _tool(tool: Tool) -> dict[str, Any]:
    schema = {"type": "object"} | (tool.parameters if tool.parameters is not None else {"properties": {}})
    optional = {"description": tool.description, "strict": tool.strict}
    spelled: dict[str, Any] = {"name": tool.name, "input_schema": schema}
    return spelled | {name: value for name, value in optional.items() if value is not None}


def _tool_choice(choice: ToolChoice | None) -> dict[str, str] | None:
    if choice is None:
        return None
    if isinstance(choice, NamedTool):
        return {"type": "tool", "name": choice.name}
    return {"type": _CHOICES[choice]}
