"""Messages in Gemini's spelling: contents, which are turns of parts, and the system instruction. Pure.

Format: https://ai.google.dev/api/caching#Content. Three of its rules shape this file. The results of all calls of one
turn stand in one content directly behind that turn, under the functions' names. An id of a call that Gemini did not
give is not sent. And Gemini 3 refuses a function call without a thought signature, so one that it did not write itself
says that it has none (https://ai.google.dev/gemini-api/docs/thought-signatures).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from llmring.chat import JSONObject, Message, ToolCall
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import DocumentPart, Inline, Link, Part, ProviderFile, RegisteredFile, TextPart

FORMAT = "google"
"""The name of the wire format, as in NativeTurn.format."""

NO_SIGNATURE = "skip_thought_signature_validator"

_NEW_GEMINI = re.compile(r"(?:models/)?gemini-(?!pro$|pro-vision|[12][.-])")
# What new_tool_call_id makes. OpenAI's ids have capitals as well, so that none of 24 characters looks like these.
_OUR_ID = re.compile(r"call_[0-9a-f]{24}")
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])

# Kinds of text that are not `text/*` by name.
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})
# `mimeType` of linked files, by the end of the address; none is sent for others.
_TYPE_OF_SUFFIX = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/plain",
    "csv": "text/plain",
    "html": "text/html",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
}

_Parts = list[JSONObject]


def is_gemini_3(model: str) -> bool:
    """Whether a name is of Gemini 3 or later; names without a number (gemini-flash-latest) stand for the newest."""
    return bool(_NEW_GEMINI.match(model))


def system_instruction(messages: Iterable[Message]) -> JSONObject | None:
    """All system messages, in order. They stand outside of the conversation here, wherever the caller put them."""
    parts = [part for message in messages if message.role == "system" for part in message.parts]
    if any(not isinstance(part, TextPart) for part in parts):
        raise Unsupported("Gemini's system instruction is text alone", parameter="messages")
    texts = [{"text": part.text} for part in parts if isinstance(part, TextPart) and part.text]
    return {"parts": texts} if texts else None


def to_contents(messages: Iterable[Message], model: str) -> list[JSONObject]:
    """The conversation. Raises Unsupported for what Gemini cannot be told, InvalidRequest for a result without a
    call."""
    spelled: list[JSONObject | _Round] = []
    calls: dict[str, _Call] = {}
    for message in messages:
        match message.role:
            case "user":
                spelled.append(_content("user", _parts(message)))
            case "assistant":
                turn = _Round()
                parts = _own_parts(message)
                if parts is None:
                    parts = [*_parts(message), *_function_calls(message, is_gemini_3(model))]
                calls |= _calls(message, parts, turn)
                spelled += [_content("model", parts), turn]
            case "tool":
                _add_result(message, calls)
    contents = [content for item in spelled for content in (item.contents() if isinstance(item, _Round) else (item,))]
    return [content for content in contents if content["parts"]]


class _Round:
    """The results of one turn's calls, by the place of the call, and the media that came with them."""

    def __init__(self) -> None:
        self.results: dict[int, JSONObject] = {}
        self.media: _Parts = []

    def contents(self) -> Iterator[JSONObject]:
        """In the order of the calls: Gemini 2 gives them no ids, and tells two results of one function apart by it."""
        yield _content("user", [self.results[place] for place in sorted(self.results)])
        yield _content("user", self.media)


class _Call(msgspec.Struct, frozen=True):
    """A call that a result may answer. `id` is None when Gemini knows none."""

    name: str
    id: str | None
    place: int
    turn: _Round


def _content(role: str, parts: _Parts) -> JSONObject:
    return {"role": role, "parts": parts}


def _own_parts(message: Message) -> _Parts | None:
    """The parts as Gemini wrote them."""
    native = message.native
    return list(native.items) if native is not None and native.format == FORMAT else None


def _calls(message: Message, parts: _Parts, turn: _Round) -> dict[str, _Call]:
    """The function calls among the parts, by the ids that results name them by."""
    spelled = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), dict)]
    ids = [call.id for call in message.tool_calls]
    found: dict[str, _Call] = {}
    for place, call in enumerate(spelled):
        known_as = ids[place] if place < len(ids) else call.get("id")
        if known_as:
            found[known_as] = _Call(call.get("name") or "", call.get("id"), place, turn)
    return found


def _function_calls(message: Message, wants_signature: bool) -> Iterator[JSONObject]:
    for place, call in enumerate(message.tool_calls):
        spelled: JSONObject = {"name": call.name, "args": _arguments(call)}
        if not _OUR_ID.fullmatch(call.id):
            spelled["id"] = call.id
        # Of several calls in one turn, Gemini signs the first alone.
        yield {"functionCall": spelled} | ({"thoughtSignature": NO_SIGNATURE} if wants_signature and not place else {})


def _arguments(call: ToolCall) -> JSONObject:
    if not call.arguments.strip():
        return {}
    try:
        return _ARGUMENTS.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Without its cause, which may quote the arguments.
        raise InvalidRequest(f"the arguments of tool call {call.id!r} are not a JSON object") from None


def _add_result(message: Message, calls: dict[str, _Call]) -> None:
    call = calls.get(message.tool_call_id or "")
    if call is None:
        raise InvalidRequest(f"the tool result {message.tool_call_id!r} answers no call of the conversation")
    response: JSONObject = {"name": call.name, "response": {"error" if message.is_error else "result": message.text}}
    if call.id is not None:
        response["id"] = call.id
    call.turn.results[call.place] = {"functionResponse": response}
    media = [_part(part) for part in message.parts if not isinstance(part, TextPart)]
    if media:
        # Only Gemini 3 takes media in a result itself, and not every kind; all take it behind the results.
        call.turn.media += [{"text": f"Of the result of {call.name}:"}, *media]


def _parts(message: Message) -> _Parts:
    return [_part(part) for part in message.parts if not isinstance(part, TextPart) or part.text]


def _part(part: Part) -> JSONObject:
    if isinstance(part, TextPart):
        return {"text": part.text}
    match part.source:
        case Inline(media_type=media_type, data=data):
            kind = _text_type(media_type) if isinstance(part, DocumentPart) else media_type
            return {"inlineData": {"mimeType": kind, "data": data}}
        case Link(url=url):
            return _file_data(url, type_of(url))
        case ProviderFile(uri=str() as uri, media_type=media_type):
            return _file_data(uri, media_type)
        case ProviderFile(id=file_id):
            raise Unsupported(f"Gemini finds a file by its uri, and {file_id!r} has none", parameter="messages")
        case RegisteredFile(id=file_id):
            raise Unsupported(f"file {file_id!r} has not been uploaded to Gemini", parameter="messages")


def _file_data(uri: str, media_type: str | None) -> JSONObject:
    return {"fileData": {"fileUri": uri} | ({"mimeType": media_type} if media_type else {})}


def _text_type(media_type: str) -> str:
    """Gemini reads all text alike, but refuses names of it that it does not know."""
    is_text = media_type.startswith("text/") or media_type in _TEXT_TYPES
    return "text/plain" if is_text else media_type


def type_of(url: str) -> str | None:
    """What Gemini is told of a link, by how it ends; None where that tells nothing, and Gemini looks for itself."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    return _TYPE_OF_SUFFIX.get(path.rpartition(".")[2].lower())
