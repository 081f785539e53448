"""Tokens of images and documents, by the providers' rules and the first bytes."""

import struct
from base64 import b64encode
from typing import Any, get_args
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.parts import DocumentPart, ImagePart, Inline, Link, ProviderFile
from llmring.providers.images import (
    BYTES_PER_PAGE,
    PAGE_TOKENS,
    USUAL_PAGES,
    Family,
    document_tokens,
    image_tokens,
)

FAMILIES: tuple[Family, ...] = get_args(Family)


def png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", crc32(head))


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width: int, height: int, before: int = 0, frame: int = 0xC0) -> bytes:
    """`before` bytes of a preview stand before the frame, and a table, whose marker is like a frame's."""
    preview = b"\xff\xe1" + struct.pack(">H", before + 2) + b"\xc0" * before
    table = b"\xff\xc4" + struct.pack(">H", 4) + b"\0\0"
    return b"\xff\xd8" + preview + table + b"\xff\xff" + struct.pack(">BHBHHB", frame, 17, 8, height, width, 3)


def webp(chunk: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + chunk + struct.pack("<I", len(body)) + body


def webp_extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14 | 1 << 28))


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x30\x01\0\x9d\x01\x2a" + struct.pack("<HH", width, height))


def image(data: bytes, **more: Any) -> ImagePart:
    return ImagePart(source=Inline(media_type="image/any", data=b64encode(data).decode()), **more)


def pdf(*objects: bytes, size: int = 0) -> DocumentPart:
    data = b"%PDF-1.7\n" + b"".join(b"1 0 obj\n" + o + b"\nendobj\n" for o in objects)
    return DocumentPart(
        source=Inline(media_type="application/pdf", data=b64encode(data.ljust(size, b"\n") + b"%%EOF").decode())
    )


@pytest.mark.parametrize(
    ("width", "height", "detail", "tokens"),
    [
        # The examples of OpenAI's documentation.
        (1024, 1024, "high", 765),
        (2048, 4096, "high", 1105),
        (4096, 8192, "low", 85),
        (512, 512, None, 255),
        (513, 512, "auto", 425),
        (100, 100, "high", 255),
        (1024, 1024, "original", 1024),
        (6400, 6400, "original", 10_000),
        (12_000, 600, "original", 188 * 10),
        (60_000, 1, "high", 85 + 170 * 4),
    ],
)
def test_openai_counts_tiles_or_patches(width: int, height: int, detail: Any, tokens: int) -> None:
    for family in ("openai", "other"):
        assert image_tokens(image(png(width, height), detail=detail), family) == tokens


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(200, 200, 64), (1000, 1000, 1296), (1092, 1092, 1521), (2576, 1449, 4784), (8000, 8000, 4784), (1, 1, 1)],
)
def test_anthropic_counts_patches_within_a_bound(width: int, height: int, tokens: int) -> None:
    assert image_tokens(image(png(width, height), detail="low"), "anthropic") == tokens


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(384, 384, 258), (385, 100, 516), (768, 768, 1032), (960, 540, 1120), (4000, 3000, 1120)],
)
def test_gemini_counts_tiles_within_a_bound(width: int, height: int, tokens: int) -> None:
    assert image_tokens(image(png(width, height)), "google") == tokens


SIZES = st.tuples(st.integers(1, 16_383), st.integers(1, 16_383))


@given(SIZES, st.sampled_from(FAMILIES), st.integers(0, 60_000), st.sampled_from([0xC0, 0xC2, 0xCF]))
def test_every_kind_of_image_is_read(size: tuple[int, int], family: Family, before: int, frame: int) -> None:
    expected = image_tokens(image(png(*size)), family)
    for data in (gif(*size), jpeg(*size, before, frame), webp_extended(*size), webp_lossless(*size), webp_lossy(*size)):
        assert image_tokens(image(data), family) == expected
        assert image_tokens(image(data + b"\0" * 300_000), family) == expected


@given(SIZES, st.sampled_from(FAMILIES))
def test_an_image_on_its_side_counts_the_same(size: tuple[int, int], family: Family) -> None:
    width, height = size
    assert image_tokens(image(png(width, height)), family) == image_tokens(image(png(height, width)), family)


UNKNOWN = {"openai": 765, "anthropic": 1369, "google": 1032, "other": 765}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_of_unknown_size_is_a_usual_one(family: Family) -> None:
    for part in (
        ImagePart(source=Link(url="https://x.test/a.png")),
        ImagePart(source=ProviderFile(id="f")),
        image(b""),
        image(b"<svg/>"),
        image(png(0, 5)),
        image(png(1, 1)[:20]),
        image(jpeg(9, 9)[:-8]),
        image(b"RIFF....WEBPnone"),
        image(b"\xff\xd8" + b"\xff\xe1\0\2" * 10_000 + jpeg(9, 9)[2:]),
        ImagePart(source=Inline(media_type="image/png", data="é!")),
    ):
        assert image_tokens(part, family) == UNKNOWN[family]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("part", "pages"),
    [
        (pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 12 >>", size=2000), 12),
        (pdf(b"<</Count 3/Kids[1 0 R]/Type/Pages>>", b"<</Count 7/Type/Pages>>", size=2000), 7),
        (pdf(b"<< /Linearized 1 /L 9 /N 5 /T 8 >>", b"x", size=2000), 5),
        (pdf(b"<< /Type /Outlines /Count 9 >>", size=2000), 1),
        (pdf(b"<< /Type /Pages /Count 999999 >>", size=3 * BYTES_PER_PAGE), 4),
        (pdf(b"", size=3 * BYTES_PER_PAGE), 4),
        (DocumentPart(source=Link(url="https://x.test/a.pdf")), USUAL_PAGES),
        (DocumentPart(source=ProviderFile(id="f")), USUAL_PAGES),
        (DocumentPart(source=Inline(media_type="application/pdf", data="")), 1),
    ],
)
def test_a_pdf_counts_by_its_pages(part: DocumentPart, pages: int, family: Family) -> None:
    assert document_tokens(part, family) == pages * PAGE_TOKENS[family]


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_page_tree_is_found_at_the_end_of_a_large_file(padding: int) -> None:
    data = b"%PDF-1.4\n" + b"x" * (10**6 + padding) + b"\n2 0 obj\n<</Type/Pages/Count 40>>\nendobj\n"
    part = DocumentPart(source=Inline(media_type="application/pdf", data=b64encode(data).decode()))
    assert document_tokens(part, "openai") == 40 * 1300


def test_a_text_counts_by_its_length() -> None:
    part = DocumentPart(source=Inline(media_type="text/plain; charset=utf-8", data=b64encode(b"x" * 399).decode()))
    assert document_tokens(part, "anthropic") == 100


HEADS = st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"RIFF....WEBPVP8L"])


@given(HEADS, st.binary(max_size=100), st.sampled_from(FAMILIES))
def test_any_bytes_have_a_count(head: bytes, rest: bytes, family: Family) -> None:
    assert 1 <= image_tokens(image(head + rest), family) <= 10_000
    assert document_tokens(pdf(head + b"/Pages /Count " + rest), family) >= PAGE_TOKENS[family]


@given(st.text(max_size=50), st.sampled_from(FAMILIES))
def test_any_text_in_place_of_base64_has_a_count(data: str, family: Family) -> None:
    assert image_tokens(ImagePart(source=Inline(media_type="image/png", data=data)), family) == UNKNOWN[family]
    part = DocumentPart(source=Inline(media_type="application/pdf", data=data))
    assert document_tokens(part, family) == PAGE_TOKENS[family]
