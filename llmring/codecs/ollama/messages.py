"""Messages in Ollama's spelling: the text of a message is one string, and its images stand beside it. Pure.

Format: https://docs.ollama.com/api/chat. There are no parts and no addresses; a text document becomes text, other
documents and audio cannot be said. A tool's result stands under the name of the function that was called.
"""

import binascii
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from llmring.chat import JSONObject, Message, ToolCall
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, RegisteredFile, Source, TextPart

FORMAT = "ollama"
"""The name of the wire format, as in NativeTurn.format."""

# What new_tool_call_id makes, where a server gave none.
_OUR_ID = re.compile(r"call_[0-9a-f]{24}")
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])

# Kinds of text that are not `text/*` by name.
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})


def to_messages(messages: Iterable[Message]) -> list[JSONObject]:
    """The conversation. Raises Unsupported for what Ollama cannot be told, InvalidRequest for what is not what it says
    it is."""
    names: dict[str, str] = {}
    spelled: list[JSONObject] = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        spelled += _own(message) or [_message(message, names)]
    return spelled


def _own(message: Message) -> list[JSONObject]:
    """The turn as Ollama wrote it."""
    native = message.native
    return list(native.items) if native is not None and native.format == FORMAT else []


def _message(message: Message, names: dict[str, str]) -> JSONObject:
    spelled: JSONObject = {"role": message.role, "content": _text(message.parts)}
    images = [_data(part.source) for part in message.parts if isinstance(part, ImagePart)]
    if images:
        spelled["images"] = images
    if message.tool_calls:
        spelled["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.role == "tool" and message.tool_call_id is not None:
        spelled |= {"tool_name": names[message.tool_call_id]} if message.tool_call_id in names else {}
        spelled |= _id("tool_call_id", message.tool_call_id)
    return spelled


def _text(parts: Iterable[Part]) -> str:
    """All texts as they are, and documents in paragraphs of their own."""
    paragraphs: list[str] = []
    goes_on = False
    for part in parts:
        if isinstance(part, ImagePart):
            continue
        is_text = isinstance(part, TextPart)
        if goes_on and is_text:
            paragraphs[-1] += _text_of(part)
        else:
            paragraphs.append(_text_of(part))
        goes_on = is_text
    return "\n\n".join(paragraphs)


def _text_of(part: Part) -> str:
    match part:
        case TextPart(text=text):
            return text
        case DocumentPart(source=Inline(media_type=kind) as source, name=name) if _is_text(kind):
            title = f' name="{name}"' if name else ""
            return f"<document{title}>\n{_decoded(source)}\n</document>"
        case DocumentPart():
            raise Unsupported("Ollama takes no documents but texts", parameter="messages")
        case _:
            raise Unsupported("Ollama takes no audio", parameter="messages")


def _is_text(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXT_TYPES


def _decoded(source: Inline) -> str:
    try:
        return binascii.a2b_base64(source.data).decode("utf-8-sig")
    except ValueError:
        # Without its cause, which may quote the document.
        raise InvalidRequest(f"a document of type {source.media_type} is not UTF-8 text in base64") from None


def _data(source: Source) -> str:
    """An image's bare base64."""
    match source:
        case Inline(data=data):
            return data
        case Link():
            raise Unsupported("Ollama takes images by their bytes, not by an address", parameter="messages")
        case ProviderFile(id=file_id) | RegisteredFile(id=file_id):
            raise Unsupported(f"Ollama keeps no files, so it has none of id {file_id!r}", parameter="messages")


def _call(call: ToolCall) -> JSONObject:
    return _id("id", call.id) | {"function": {"name": call.name, "arguments": _arguments(call)}}


def _id(field: str, call_id: str) -> JSONObject:
    """An id, unless it is one that we made up."""
    return {} if _OUR_ID.fullmatch(call_id) else {field: call_id}


def _arguments(call: ToolCall) -> JSONObject:
    if not call.arguments.strip():
        return {}
    try:
        return _ARGUMENTS.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Without its cause, which may quote the arguments.
        raise InvalidRequest(f"the arguments of tool call {call.id!r} are not a JSON object") from None
