"""Event streams by the rules of the WHATWG standard, in any split."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.sse import Event, EventDecoder
from llmring.errors import BadReply


def events_of(pieces: list[bytes], decoder: EventDecoder | None = None) -> list[Event]:
    decoder = decoder or EventDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def data_of(text: bytes) -> list[bytes]:
    return [event.data for event in events_of([text])]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data:\n\n", [b""]),
        (b"data: \n\n", [b""]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b": keep-alive\n\ndata: a\n\n: again\n\n", [b"a"]),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        (b"id: 1\nretry: 5\nx: y\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\n\ndata: b\r", [b"a", b"b"]),
        (b" data: a\n\n", []),
        ("data: a\u2028b\u0085c\x0bd\n\n".encode(), ["a\u2028b\u0085c\x0bd".encode()]),
        (b"data: {}   \n\n", [b"{}   "]),
        (b'data: a\n\n{\n  "error": {}\n}\n\ndata: b\n\n', [b"a", b'{  "error": {}}', b"b"]),
        (b'data: a\n\n{"error": {}}', [b"a", b'{"error": {}}']),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_lines_end_and_fields_join_as_the_standard_says(stream: bytes, expected: list[bytes]) -> None:
    assert data_of(stream) == expected
    assert [event.data for event in events_of([bytes([byte]) for byte in stream])] == expected


def test_the_name_belongs_to_one_event() -> None:
    events = events_of([b"event: error\ndata: a\n\ndata: b\n\nevent: x\n\ndata: c\n\n"])
    assert [(event.name, event.data) for event in events] == [("error", b"a"), ("", b"b"), ("", b"c")]


LINES = st.lists(
    st.sampled_from(
        [
            b"data: x",
            b"data:",
            b"event: e",
            b": c",
            b"",
            b"\xef\xbb\xbf",
            "data: \u00fc\U0001f600".encode(),
            b"\r",
            b"d",
        ]
    )
    | st.binary(max_size=12)
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b""])


@given(LINES, ENDS, st.data())
def test_any_split_gives_the_same_events(lines: list[bytes], end: bytes, data: st.DataObject) -> None:
    stream = end.join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events_of(pieces) == events_of([stream])
    assert events_of([stream[at : at + 1] for at in range(len(stream))]) == events_of([stream])


def test_an_empty_piece_between_cr_and_lf_changes_nothing() -> None:
    assert [event.data for event in events_of([b"data: a\r", b"", b"\ndata: b\r", b"\n", b"\r", b"\n"])] == [b"a\nb"]


@pytest.mark.parametrize("line", [b"x" * 50, b"data: " + b"x" * 50, b"data: xxxxxxxx\n" * 10])
def test_an_event_beyond_the_bound_is_refused(line: bytes) -> None:
    with pytest.raises(BadReply, match="larger than 40 bytes"):
        events_of([line], EventDecoder(max_event_bytes=40))


def test_many_events_within_the_bound_pass() -> None:
    assert len(events_of([b"data: xxxxxxxx\n\n" * 1000], EventDecoder(max_event_bytes=40))) == 1000


def test_a_mebibyte_of_garbage_costs_bounded_memory() -> None:
    decoder = EventDecoder(max_event_bytes=64 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(BadReply):
            events_of([b"\x80garbage" * 512] * 256, decoder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 512 * 1024


def test_lines_that_hold_nothing_cost_nothing() -> None:
    decoder = EventDecoder(max_event_bytes=64)
    for _ in range(1000):
        assert decoder.feed(b": comment\nfield: ignored\nid: 1\n") == []
