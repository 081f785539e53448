"""Event streams: bytes in, events out, in any split. Pure.

The rules are those of the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream"
(https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in CR, LF or CRLF; several `data` lines of
one event join with a line feed; comments, unknown fields and events without data are dropped. Two things differ. The
last event still counts when its blank line is missing, because servers leave it out. And lines from one that begins
with a brace are data without its name: Gemini may put a bare JSON error into a stream, and its own client looks for
that. Data stays bytes; reading it is the codec's part.
"""

import msgspec

from llmring.errors import BadReply

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""One event may hold this much, so that garbage costs bounded memory. A whole answer of 1M tokens is about 4 MB."""

_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `name` is its `event:` field, "" when it has none."""

    name: str = ""
    data: bytes


class EventDecoder:
    """One event stream being read. Each byte is looked at a fixed number of times, also when they come one by one."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._name = b""
        self._data = bytearray()
        self._has_data = False
        self._is_bare = False
        self._first_line = True
        self._after_cr = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes. Raises BadReply when one event outgrows the bound."""
        if not data:
            return []
        if self._after_cr:
            data = data.removeprefix(b"\n")
        events: list[Event] = []
        # bytes.splitlines knows exactly the three line ends of the standard (str.splitlines knows more).
        for piece in data.splitlines(keepends=True):
            text = piece.rstrip(b"\r\n")
            if len(self._line) + len(self._data) + len(text) > self._max_event_bytes:
                raise BadReply(f"one event of the stream is larger than {self._max_event_bytes} bytes")
            self._line += text
            if len(text) < len(piece):
                self._end_line(events)
        self._after_cr = data[-1:] == b"\r"
        return events

    def close(self) -> list[Event]:
        """The stream has ended: the event whose blank line is missing, if there is one."""
        events: list[Event] = []
        if self._line:
            self._end_line(events)
        self._dispatch(events)
        return events

    def _end_line(self, events: list[Event]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
            return
        if self._is_bare or line.startswith(b"{"):
            self._is_bare = self._has_data = True
            self._data += line
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            if self._has_data:
                self._data += b"\n"
            self._data += value
            self._has_data = True
        elif field == b"event":
            self._name = value

    def _dispatch(self, events: list[Event]) -> None:
        if self._has_data:
            events.append(Event(name=self._name.decode("utf-8", "replace"), data=bytes(self._data)))
        self._name = b""
        self._data.clear()
        self._has_data = self._is_bare = False
