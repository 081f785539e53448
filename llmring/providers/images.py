"""How many tokens an image or a document is, by each provider's published rule. Pure; estimates.

The rules are of families, and models in a family differ: what is told here is what the newest models of each do when
nothing else is asked for. Sizes are read from the first bytes of what is inline, of pages from both its ends; of what
lies elsewhere nothing is known, so it counts as a usual photograph or report. A call takes under 1 ms, and under 5 ms
whatever the bytes are.

Sources, 2026-11: https://platform.openai.com/docs/guides/images-vision,
https://platform.claude.com/docs/en/build-with-claude/vision and /pdf-support,
https://ai.google.dev/gemini-api/docs/tokens and /media-resolution.
"""

import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Literal

from llmring.parts import DocumentPart, ImagePart, Inline, Source

Family = Literal["openai", "anthropic", "google", "other"]
"""Whose rule counts; "other" are servers that speak like OpenAI, and Ollama."""

Size = tuple[int, int]

USUAL_SIZE: Size = (1024, 1024)
"""An image of which no size can be read."""

USUAL_PAGES = 10
"""A PDF that is not here."""

BYTES_PER_PAGE = 50_000
"""A PDF whose pages cannot be counted, for its page tree is compressed."""

PAGE_TOKENS: Mapping[Family, int] = {
    # Its text, and an image of it: about 500 and 765.
    "openai": 1300,
    # "1,500-3,000 tokens per page" of text; with its image measured at 2,750 to 3,150 when it is full.
    "anthropic": 3000,
    # Gemini 3, at its default resolution for documents; text inside is free. Before, 258.
    "google": 560,
    "other": 1300,
}

_MOST_GEMINI_3 = 1120

_MOST_IMAGE_TOKENS: Mapping[Family, int] = {
    # gpt-4o-mini: 2,833 and 5,667 for each of at most 8 tiles. Others have at most 10,000 patches, times 2.46.
    "openai": 48_169,
    "anthropic": 4784,
}

CHARACTERS_PER_TOKEN = 4

_HEAD_CHARACTERS = 256 * 1024
_END_CHARACTERS = 128 * 1024
"""Of base64, and multiples of 4. Cameras put previews of up to 64 KiB before a picture's size."""

_MOST_PIXELS = 65_535


def image_tokens(part: ImagePart, family: Family) -> int:
    """The tokens of an image."""
    width, height = _size(part.source) or USUAL_SIZE
    match family:
        case "anthropic":
            return _anthropic(width, height)
        case "google":
            return _google(width, height)
        case "openai" | "other":
            match part.detail:
                case "low":
                    return 85
                case "original":
                    return _patches(width, height)
                case "auto" | "high" | None:
                    return _tiles(width, height)


def most_image_tokens(part: ImagePart, family: Family) -> int | None:
    """The most tokens that an image is billed as by any model of a family; None where no rule says it."""
    size = _size(part.source)
    match family:
        case "anthropic" | "openai":
            return _MOST_IMAGE_TOKENS[family]
        case "google" if size is not None:
            return max(_MOST_GEMINI_3, _google_tiles(*size))
        case _:
            return None


def document_tokens(part: DocumentPart, family: Family) -> int:
    """The tokens of a document: those of its pages, or of its text."""
    source = part.source
    if not isinstance(source, Inline):
        return USUAL_PAGES * PAGE_TOKENS[family]
    size = len(source.data) * 3 // 4
    if source.media_type.partition(";")[0].strip().lower() != "application/pdf":
        return math.ceil(size / CHARACTERS_PER_TOKEN)
    return _pages(source.data, size) * PAGE_TOKENS[family]


# The rules.


def _tiles(width: int, height: int) -> int:
    """OpenAI, gpt-4o and 4.1: into a square of 2048, down to 768 on the short side; 170 for each 512, and 85."""
    width, height = _within(width, height, 2048 / max(width, height))
    width, height = _within(width, height, 768 / min(width, height))
    return 85 + 170 * math.ceil(width / 512) * math.ceil(height / 512)


def _patches(width: int, height: int) -> int:
    """OpenAI, detail "original": one for each 32 by 32, within 6000 pixels and 10,000 patches."""
    width, height = _within(width, height, 6000 / max(width, height))
    return min(10_000, math.ceil(width / 32) * math.ceil(height / 32))


def _anthropic(width: int, height: int) -> int:
    """One for each 28 by 28, within 2576 pixels and 4,784 tokens; before Opus 4.7, within 1568 of each."""
    width, height = _within(width, height, 2576 / max(width, height))
    return min(4784, math.ceil(width / 28) * math.ceil(height / 28))


def _google(width: int, height: int) -> int:
    """258 for a small image, and for each tile of a larger one; Gemini 3 stays within 1,120 unless it is told to."""
    if max(width, height) <= 384:
        return 258
    return min(_MOST_GEMINI_3, _google_tiles(width, height))


def _google_tiles(width: int, height: int) -> int:
    """Before Gemini 3, without a bound."""
    tile = min(768, max(256, math.floor(min(width, height) / 1.5)))
    return 258 * math.ceil(width / tile) * math.ceil(height / tile)


def _within(width: int, height: int, scale: float) -> Size:
    """Made smaller, never larger."""
    return (width, height) if scale >= 1 else (max(1, round(width * scale)), max(1, round(height * scale)))


# Sizes.


def _bytes(base64: str) -> bytes:
    try:
        return binascii.a2b_base64(base64)
    except ValueError:
        return b""


def _size(source: Source) -> Size | None:
    """Width and height in pixels, by the first bytes of PNG, GIF, WebP and JPEG; None where they cannot be read."""
    if not isinstance(source, Inline):
        return None
    data = _bytes(source.data[:_HEAD_CHARACTERS])
    reader = next((reader for start, reader in _READERS.items() if data.startswith(start)), None)
    try:
        size = reader(data) if reader is not None else None
    except (struct.error, IndexError):
        return None
    return size if size is not None and all(0 < pixels <= _MOST_PIXELS for pixels in size) else None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _webp(data: bytes) -> Size | None:
    """https://developers.google.com/speed/webp/docs/riff_container: extended, lossless, lossy."""
    match data[8:16]:
        case b"WEBPVP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"WEBPVP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"WEBPVP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


_WITHOUT_SIZE = frozenset({0xC4, 0xC8, 0xCC})
"""Tables among the markers of JPEG's frames."""

_MOST_SEGMENTS = 1000
"""Pictures have a few dozen before their frame."""


def _jpeg(data: bytes) -> Size | None:
    """From segment to segment up to the frame (ITU-T T.81, annex B)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _WITHOUT_SIZE:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


_READERS: Mapping[bytes, Callable[[bytes], Size | None]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"RIFF": _webp,
    b"\xff\xd8": _jpeg,
}

# ISO 32000-1, 7.7.3.2: a node of the page tree counts the pages below it; its root, all. Annex F: a linearized file
# has their number in its first object.
_COUNT = re.compile(rb"/Count\s{0,9}(\d{1,6})")
_LINEARIZED = re.compile(rb"/N\s{0,9}(\d{1,6})")


def _pages(base64: str, size: int) -> int:
    """The pages of a PDF; by its size where its page tree is compressed."""
    end = base64[-(_END_CHARACTERS + len(base64) % 4) :] if len(base64) > _END_CHARACTERS else ""
    objects = (_bytes(base64[:_END_CHARACTERS]) + b"endobj" + _bytes(end)).split(b"endobj")
    counts = [int(n) for data in objects if b"/Pages" in data for n in _COUNT.findall(data)]
    counts += [int(n) for data in objects[:1] if b"/Linearized" in data for n in _LINEARIZED.findall(data)]
    # A page takes 100 bytes at least: what says more is not a count of pages.
    told = max((n for n in counts if 0 < n <= max(1, size // 100)), default=0)
    return told or math.ceil(size / BYTES_PER_PAGE) or 1
