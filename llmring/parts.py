"""What a message may hold besides plain text: images, documents and audio, and where their bytes are. Values only."""

from typing import Literal

import msgspec

CacheTTL = Literal["5m", "1h"]
"""How long a provider that is told what to cache keeps it."""

ImageDetail = Literal["auto", "low", "high", "original"]


class Inline(msgspec.Struct, frozen=True, kw_only=True, tag="inline"):
    """Bytes in the request itself. `data` is base64 text without line breaks or a `data:` prefix."""

    media_type: str
    data: str


class Link(msgspec.Struct, frozen=True, kw_only=True, tag="link"):
    """An https address that the provider fetches by itself."""

    url: str


class RegisteredFile(msgspec.Struct, frozen=True, kw_only=True, tag="registered"):
    """A file on this machine, by the id that `router.register_file` gave. Uploaded when it is first needed."""

    id: str


class ProviderFile(msgspec.Struct, frozen=True, kw_only=True, tag="provider"):
    """A file that a provider holds already, by its id there. `uri` and `media_type` are what Gemini asks for."""

    id: str
    uri: str | None = None
    media_type: str | None = None


Source = Inline | Link | RegisteredFile | ProviderFile


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Text. `cache` marks the end of a prefix that is worth caching."""

    text: str
    cache: CacheTTL | None = None


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """A picture. `detail` is OpenAI's resolution; the others take none."""

    source: Source
    detail: ImageDetail | None = None
    cache: CacheTTL | None = None


class DocumentPart(msgspec.Struct, frozen=True, kw_only=True, tag="document"):
    """A PDF, or a text document. `name` is the name of the file, as the model may see it."""

    source: Source
    name: str | None = None
    cache: CacheTTL | None = None


class AudioPart(msgspec.Struct, frozen=True, kw_only=True, tag="audio"):
    """Speech or sound."""

    source: Source
    cache: CacheTTL | None = None


Part = TextPart | ImagePart | DocumentPart | AudioPart
