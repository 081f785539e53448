"""Messages as input items of OpenAI's Responses format. Pure.

What the format cannot say is refused with Unsupported, so that another model may take it.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence

from llmring.chat import JSONObject, Message
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart

FORMAT = "openai-responses"

_AUDIO_FORMATS: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}

_OUTPUTS: Mapping[str, str] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}


def spell(messages: Sequence[Message]) -> list[JSONObject]:
    """Spell a conversation, in order. Raises Unsupported for content that the format has no form for."""
    custom = _custom_calls(messages)
    return [item for message in messages for item in _items(message, custom)]


def _custom_calls(messages: Sequence[Message]) -> frozenset[str]:
    """The ids of calls whose result is not that of a function."""
    return frozenset(
        str(item.get("call_id"))
        for message in messages
        if message.native is not None
        for item in message.native.items
        if item.get("type") == "custom_tool_call"
    )


def _items(message: Message, custom: frozenset[str]) -> Iterator[JSONObject]:
    if message.native is not None and message.native.format == FORMAT:
        yield from message.native.items
        return
    match message.role:
        case "system" | "user":
            yield {"role": message.role, "content": _content(message)}
        case "assistant":
            yield from _turn(message)
        case "tool":
            kind = "custom_tool_call" if message.tool_call_id in custom else "function_call"
            yield {"type": _OUTPUTS[kind], "call_id": message.tool_call_id, "output": _content(message)}


def _turn(message: Message) -> Iterator[JSONObject]:
    if any(not isinstance(part, TextPart) for part in message.parts):
        raise _unsupported("Responses takes nothing but text in a turn of the assistant")
    if message.text:
        yield {"role": "assistant", "content": message.text}
    for call in message.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments or "{}",
        }


def _content(message: Message) -> str | list[JSONObject]:
    """Text as text; parts where there is more to say."""
    if all(isinstance(part, TextPart) for part in message.parts):
        return message.text
    return [_part(part) for part in message.parts]


def _part(part: Part) -> JSONObject:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case ImagePart():
            return _image(part)
        case DocumentPart():
            return _document(part)
        case AudioPart():
            return _audio(part)


def _image(part: ImagePart) -> JSONObject:
    image: JSONObject = {"type": "input_image"}
    match part.source:
        case Inline() as source:
            image["image_url"] = _data_url(source)
        case Link() as source:
            image["image_url"] = source.url
        case ProviderFile() as source:
            image["file_id"] = source.id
        case _:
            raise _unsupported("the file was not uploaded")
    return image if part.detail is None else image | {"detail": part.detail}


def _document(part: DocumentPart) -> JSONObject:
    match part.source:
        case ProviderFile() as source:
            return {"type": "input_file", "file_id": source.id}
        case Link() as source:
            return {"type": "input_file", "file_url": source.url}
        case Inline() as source if source.media_type.startswith("text/"):
            text = _text_of(source)
            return {"type": "input_text", "text": f"{part.name}:\n{text}" if part.name else text}
        case Inline() as source:
            name = part.name or f"document.{source.media_type.rpartition('/')[2]}"
            return {"type": "input_file", "filename": name, "file_data": _data_url(source)}
        case _:
            raise _unsupported("the file was not uploaded")


def _text_of(source: Inline) -> str:
    try:
        return b64decode(source.data).decode("utf-8", "replace")
    except ValueError:
        raise InvalidRequest(f"the data of {source.media_type} is not base64") from None


def _audio(part: AudioPart) -> JSONObject:
    source = part.source
    if not isinstance(source, Inline):
        raise _unsupported("Responses takes audio by its data alone")
    form = _AUDIO_FORMATS.get(source.media_type)
    if form is None:
        raise _unsupported(f"Responses takes audio as wav or mp3, not {source.media_type}")
    return {"type": "input_audio", "input_audio": {"data": source.data, "format": form}}


def _data_url(source: Inline) -> str:
    return f"data:{source.media_type};base64,{source.data}"


def _unsupported(why: str) -> Unsupported:
    return Unsupported(why, parameter="messages")
