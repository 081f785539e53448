"""Messages as chat completions spells them. Pure.

What the format cannot say is refused with Unsupported, so that another model may take it. What is sent differently
from how it was given, such as an image in a tool's result, is told in a note.
"""

import hashlib
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from llmring.chat import JSONObject, Message, Note, ToolCall
from llmring.codecs.openai.dialect import FORMAT, Dialect
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import AudioPart, CacheTTL, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart

_AUDIO_FORMATS: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_TEXT_TYPES = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)


class Spelled(msgspec.Struct, frozen=True, kw_only=True):
    """Messages as they are sent, and what was changed for it."""

    messages: list[JSONObject]
    notes: tuple[Note, ...] = ()


def spell(messages: Sequence[Message], dialect: Dialect) -> Spelled:
    """Spell a conversation. Raises Unsupported for content that the server has no form for."""
    spelled: list[JSONObject] = []
    attached: list[JSONObject] = []
    notes: list[Note] = []
    if dialect.one_system:
        messages = _with_one_system(messages, notes)
    for message in messages:
        if message.role != "tool" and attached:
            spelled.append({"role": "user", "content": attached})
            attached = []
        spelled += _spell(message, dialect, attached)
    if attached:
        spelled.append({"role": "user", "content": attached})
    if any(message.role == "tool" and _media(message) for message in messages) and not dialect.media_in_tools:
        notes.append(_changed("what a tool returned besides text is sent in a user message behind its result"))
    return Spelled(messages=spelled, notes=tuple(notes))


def _changed(why: str) -> Note:
    return Note(parameter="messages", action="changed", why=why)


def _with_one_system(messages: Sequence[Message], notes: list[Note]) -> Sequence[Message]:
    """The conversation with all its system messages in one, at the start."""
    system = [message for message in messages if message.role == "system"]
    if not system or (len(system) == 1 and messages[0] is system[0]):
        return messages
    if any(message.role != "system" for message in messages[: len(system)]):
        notes.append(_changed("the server takes a system message only at the start, so all of them stand there"))
    joined = "\n\n".join(_text_alone(message) for message in system)
    others = [message for message in messages if message.role != "system"]
    return [Message(role="system", content=joined), *others]


def _spell(message: Message, dialect: Dialect, attached: list[JSONObject]) -> list[JSONObject]:
    """One message; what a tool's result cannot hold is put into `attached`."""
    native = message.native
    if native is not None and native.format == FORMAT:
        return list(native.items)
    match message.role:
        case "assistant":
            _text_alone(message)
            return [assistant(_content(message, dialect), message.tool_calls, dialect)]
        case "tool":
            return [_result(message, dialect, attached)]
        case "system":
            _text_alone(message)
            return [{"role": "system", "content": _content(message, dialect)}]
        case "user":
            return [{"role": "user", "content": _content(message, dialect)}]


def assistant(content: object, calls: Iterable[ToolCall], dialect: Dialect) -> JSONObject:
    """An assistant's turn."""
    turn: JSONObject = {"role": "assistant", "content": content}
    spelled = [
        {
            "id": _tool_id(call.id, dialect),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments or "{}"},
        }
        for call in calls
    ]
    return turn | {"tool_calls": spelled} if spelled else turn


def _tool_id(given: str, dialect: Dialect) -> str:
    """The id of a call as the server takes it: Mistral's old models want 9 letters and digits, whoever made the id."""
    length = dialect.tool_id_length
    if not length or (len(given) == length and given.isascii() and given.isalnum()):
        return given
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _result(message: Message, dialect: Dialect, attached: list[JSONObject]) -> JSONObject:
    call_id = _tool_id(message.tool_call_id or "", dialect)
    media = _media(message)
    if media and dialect.media_in_tools:
        content: object = _content(message, dialect)
    elif media:
        content = message.text or "The result is in the next user message."
        attached.append({"type": "text", "text": f"Result of tool call {call_id}:"})
        attached += [_part(part, dialect) for part in media]
    else:
        content = message.text
    return {"role": "tool", "content": content, "tool_call_id": call_id}


def _media(message: Message) -> list[Part]:
    return [part for part in message.parts if not isinstance(part, TextPart)]


def _text_alone(message: Message) -> str:
    if _media(message):
        raise _unsupported(f"this format takes nothing but text in a message of role {message.role}")
    return message.text


def _content(message: Message, dialect: Dialect) -> str | list[JSONObject] | None:
    """Text as text, which every server takes; parts where there is more to say."""
    if message.content is None:
        return None
    marks = dialect.cache_marks and (message.cache or any(part.cache for part in message.parts))
    if not message.parts or (not marks and not _media(message)):
        return message.text
    parts = [_marked(_part(part, dialect), part.cache if marks else None) for part in message.parts]
    if marks and message.cache:
        _marked(parts[-1], message.cache)
    return parts


def _marked(part: JSONObject, ttl: CacheTTL | None) -> JSONObject:
    if ttl is not None:
        part["cache_control"] = cache_control(ttl)
    return part


def cache_control(ttl: CacheTTL) -> JSONObject:
    """Anthropic's mark, which OpenRouter passes on or translates."""
    return {"type": "ephemeral", "ttl": ttl}


def _part(part: Part, dialect: Dialect) -> JSONObject:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return _image(part)
        case DocumentPart():
            return _document(part, dialect)
        case AudioPart():
            return _audio(part, dialect)


def _image(part: ImagePart) -> JSONObject:
    match part.source:
        case Inline() | Link():
            url = part.source.url if isinstance(part.source, Link) else _data_url(part.source)
            image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
            return {"type": "image_url", "image_url": image}
        case _:
            raise _unsupported("chat completions takes an image by its data or by an https link, not by a file's id")


def _document(part: DocumentPart, dialect: Dialect) -> JSONObject:
    source = part.source
    if isinstance(source, Inline) and _is_text(source.media_type):
        text = _text_of(source)
        return {"type": "text", "text": f"{part.name}:\n{text}" if part.name else text}
    if not dialect.documents:
        raise _unsupported("the server takes no documents but text")
    match source:
        case ProviderFile():
            is_file = dialect.documents == "file"
            return (
                {"type": "file", "file": {"file_id": source.id}} if is_file else {"type": "file", "file_id": source.id}
            )
        case Link():
            if not dialect.document_links:
                raise _unsupported("chat completions takes a document by its data or its file's id, not by a link")
            return _file(source.url, part.name or source.url.rpartition("/")[2], dialect)
        case Inline(media_type="application/pdf"):
            return _file(_data_url(source), part.name or "document.pdf", dialect)
        case Inline():
            raise _unsupported(f"chat completions takes PDF and text as documents, not {source.media_type}")
        case _:
            raise _unsupported("the file was not uploaded")


def _text_of(source: Inline) -> str:
    try:
        return b64decode(source.data).decode("utf-8", "replace")
    except ValueError:
        raise InvalidRequest(f"the data of {source.media_type} is not base64") from None


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("+json", "+xml")) or media_type in _TEXT_TYPES


def _file(url: str, name: str, dialect: Dialect) -> JSONObject:
    if dialect.documents == "document_url":
        return {"type": "document_url", "document_url": url, "document_name": name}
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def _audio(part: AudioPart, dialect: Dialect) -> JSONObject:
    source = part.source
    if not dialect.audio:
        raise _unsupported("the server takes no audio")
    if not isinstance(source, Inline):
        raise _unsupported("chat completions takes audio by its data alone")
    if dialect.audio == "base64":
        return {"type": "input_audio", "input_audio": source.data}
    kind = _AUDIO_FORMATS.get(source.media_type.lower())
    if kind is None:
        raise _unsupported(f"chat completions takes wav and mp3, not {source.media_type}")
    return {"type": "input_audio", "input_audio": {"data": source.data, "format": kind}}


def _data_url(source: Inline) -> str:
    return f"data:{source.media_type};base64,{source.data}"


def _unsupported(message: str) -> Unsupported:
    return Unsupported(message, parameter="messages")
