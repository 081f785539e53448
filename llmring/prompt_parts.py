"""Parts of a message as people write them, parsed: OpenAI's spellings, Anthropic's and our own. Pure."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from llmring.errors import InvalidRequest
from llmring.parts import (
    AudioPart,
    CacheTTL,
    DocumentPart,
    ImageDetail,
    ImagePart,
    Inline,
    Link,
    Part,
    ProviderFile,
    RegisteredFile,
    Source,
    TextPart,
)

REGISTERED_PREFIX = "llmring-file-"
"""How the ids of registered files begin; any other file id is a provider's own."""

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)


class _CacheIn(msgspec.Struct):
    type: Literal["ephemeral"] = "ephemeral"
    ttl: CacheTTL = "5m"


class _Marked(msgspec.Struct, kw_only=True):
    """`cache` is our mark, `cache_control` Anthropic's."""

    cache: CacheTTL | None = None
    cache_control: _CacheIn | None = None

    @property
    def mark(self) -> CacheTTL | None:
        return self.cache or (self.cache_control.ttl if self.cache_control is not None else None)


class _TextIn(_Marked, tag="text"):
    text: str


class _ImageURLIn(msgspec.Struct):
    url: str
    detail: ImageDetail | None = None


class _ImageIn(_Marked, tag="image_url"):
    """OpenAI's: `{"type": "image_url", "image_url": {"url": ...}}`, or the bare URL."""

    image_url: _ImageURLIn | str


class _AudioDataIn(msgspec.Struct):
    data: str
    format: str


class _AudioIn(_Marked, tag="input_audio"):
    """OpenAI's: base64 and a format such as "wav" or "mp3"."""

    input_audio: _AudioDataIn


class _FileDataIn(msgspec.Struct):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _FileIn(_Marked, tag="file"):
    """OpenAI's: a file's id, or a data URL with its name."""

    file: _FileDataIn | None = None
    file_id: str | None = None


class _SourceIn(msgspec.Struct):
    """Anthropic's: base64, a URL, text, or a file's id."""

    type: Literal["base64", "url", "text", "file"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class _SourcedIn(_Marked):
    source: _SourceIn
    title: str | None = None


class _AnthropicImageIn(_SourcedIn, tag="image"):
    pass


class _DocumentIn(_SourcedIn, tag="document"):
    pass


class _AnthropicAudioIn(_SourcedIn, tag="audio"):
    pass


_PartIn = _TextIn | _ImageIn | _AudioIn | _FileIn | _AnthropicImageIn | _DocumentIn | _AnthropicAudioIn


def to_content(content: str | Sequence[str | Part | Mapping[str, Any]] | None) -> str | tuple[Part, ...] | None:
    """Parse a message's content. Raises InvalidRequest that names the part that is wrong and why."""
    if content is None or isinstance(content, str):
        return content
    return tuple(_to_part(item, number) for number, item in enumerate(content, 1))


def _to_part(item: object, number: int) -> Part:
    if isinstance(item, str):
        return TextPart(text=item)
    if isinstance(item, TextPart | ImagePart | DocumentPart | AudioPart):
        return item
    try:
        if _is_ours(item):
            ours: Part = msgspec.convert(item, Part)
            return ours
        given = msgspec.convert(item, _PartIn)
        return _READERS[type(given)](given)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"part {number}: {_told(error, item)}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"part {number}: {error}") from None


_OUR_SOURCES = frozenset({"inline", "link", "registered", "provider"})


def _is_ours(item: object) -> bool:
    """Whether a dictionary is a part of ours, written as JSON and read again."""
    source = item.get("source") if isinstance(item, Mapping) else None
    return isinstance(source, Mapping) and source.get("type") in _OUR_SOURCES


def _told(error: msgspec.ValidationError, item: object) -> str:
    """What is wrong with a part, cut short, for it may be anything; an unknown type with those that are known."""
    if isinstance(item, Mapping) and item.get("type") not in _TYPES:
        return f"unknown type {str(item.get('type'))[:40]!r}: expected one of {', '.join(_TYPES)}"
    text = str(error)
    return text if len(text) <= 200 else text[:197] + "..."


_TYPES = ("text", "image_url", "image", "input_audio", "audio", "file", "document")


def _text(given: _TextIn) -> Part:
    return TextPart(text=given.text, cache=given.mark)


def _image_url(given: _ImageIn) -> Part:
    image = given.image_url if isinstance(given.image_url, _ImageURLIn) else _ImageURLIn(url=given.image_url)
    return ImagePart(source=to_source(image.url), detail=image.detail, cache=given.mark)


def _input_audio(given: _AudioIn) -> Part:
    audio = given.input_audio
    media_type = _AUDIO_TYPES.get(audio.format.lower(), f"audio/{audio.format.lower()}")
    return AudioPart(source=inline(media_type, audio.data), cache=given.mark)


_AUDIO_TYPES: Mapping[str, str] = {"mp3": "audio/mpeg"}


def _file(given: _FileIn) -> Part:
    file = given.file if given.file is not None else _FileDataIn(file_id=given.file_id)
    if file.file_id is not None:
        return DocumentPart(source=file_source(file.file_id), name=file.filename, cache=given.mark)
    if file.file_data is None:
        raise InvalidRequest("a file needs file_id or file_data")
    source = to_source(file.file_data)
    if isinstance(source, Inline) and source.media_type.startswith("image/"):
        return ImagePart(source=source, cache=given.mark)
    return DocumentPart(source=source, name=file.filename, cache=given.mark)


def _sourced(given: _SourcedIn) -> Source:
    source = given.source
    match source.type:
        case "base64" if source.data is not None and source.media_type is not None:
            return inline(source.media_type, source.data)
        case "url" if source.url is not None:
            return to_source(source.url)
        case "text" if source.data is not None:
            return text_source(source.data)
        case "file" if source.file_id is not None:
            return file_source(source.file_id)
    needed = {"base64": "media_type and data", "url": "url", "text": "data", "file": "file_id"}[source.type]
    raise InvalidRequest(f"a source of type {source.type!r} needs {needed}")


_READERS: Mapping[type, Callable[[Any], Part]] = {
    _TextIn: _text,
    _ImageIn: _image_url,
    _AudioIn: _input_audio,
    _FileIn: _file,
    _AnthropicImageIn: lambda given: ImagePart(source=_sourced(given), cache=given.mark),
    _DocumentIn: lambda given: DocumentPart(source=_sourced(given), name=given.title, cache=given.mark),
    _AnthropicAudioIn: lambda given: AudioPart(source=_sourced(given), cache=given.mark),
}


def to_source(url: str) -> Source:
    """A data URL or an https address. Raises InvalidRequest."""
    found = _DATA_URL.match(url)
    if found is not None:
        return inline(found["type"].lower(), url[found.end() :])
    if url.startswith("https://"):
        return Link(url=url)
    if url.startswith("data:"):
        raise InvalidRequest("a data URL needs a media type and base64: data:image/png;base64,...")
    raise InvalidRequest("a URL must be https:// or data:; for a file on this machine use register_file")


def file_source(file_id: str) -> Source:
    """A file by its id: ours, or a provider's own."""
    return RegisteredFile(id=file_id) if file_id.startswith(REGISTERED_PREFIX) else ProviderFile(id=file_id)


def inline(media_type: str, data: str) -> Inline:
    """Base64 text as it is, without line breaks. Raises InvalidRequest when it is not base64."""
    compact = "".join(data.split()) if any(c.isspace() for c in data) else data
    try:
        b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"the data of {media_type} is not base64") from None
    return Inline(media_type=media_type, data=compact)


def text_source(text: str) -> Inline:
    """A text document."""
    return Inline(media_type="text/plain", data=binascii.b2a_base64(text.encode(), newline=False).decode())
