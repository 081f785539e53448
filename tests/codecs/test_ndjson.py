"""Newline-delimited JSON in any split."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.ndjson import LineDecoder
from llmring.errors import BadReply


def lines_of(pieces: list[bytes], decoder: LineDecoder | None = None) -> list[bytes]:
    decoder = decoder or LineDecoder()
    lines = [line for piece in pieces for line in decoder.feed(piece)]
    return lines + decoder.close()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"{}\n[]\n", [b"{}", b"[]"]),
        (b"{}\n[]", [b"{}", b"[]"]),
        (b"{}\r\n[]\r\n", [b"{}\r", b"[]\r"]),
        (b"\n{}\n\n \t\r\n[]\n\n", [b"{}", b"[]"]),
        (b" {} \n", [b" {} "]),
        ('"\u2028\u0085\x0b"\n'.encode(), ['"\u2028\u0085\x0b"'.encode()]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_lines_end_in_a_line_feed_and_blank_ones_are_dropped(stream: bytes, expected: list[bytes]) -> None:
    assert lines_of([stream]) == expected
    assert lines_of([bytes([byte]) for byte in stream]) == expected


@given(st.lists(st.binary(max_size=8)))
def test_the_split_does_not_matter(pieces: list[bytes]) -> None:
    assert lines_of(pieces) == lines_of([b"".join(pieces)])


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_line_may_not_outgrow_the_bound(size: int) -> None:
    decoder = LineDecoder(max_line_bytes=10)
    for stream in (b"0123456789\n0123456789", b"\n"):
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
    for tail in (b"", b"\n", b"\n{}\n"):
        with pytest.raises(BadReply, match="larger than 10 bytes"):
            lines_of([(b"0" * 11 + tail)[at : at + size] for at in range(0, 11 + len(tail), size)], LineDecoder(10))


def test_a_line_that_never_ends_costs_bounded_memory() -> None:
    decoder = LineDecoder(max_line_bytes=64 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(BadReply):
            lines_of([b"\x80garbage" * 512] * 256, decoder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 512 * 1024
