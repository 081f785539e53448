"""What streamed replies share, whatever is in their events: how they are framed and when they are over. Pure.

A reply to a stream request is an event stream, or one JSON object where a server cannot stream or has an error to tell.
The first byte tells which, not the content type: compatible servers mislabel both ways, and neither form can begin
like the other. Ollama alone streams JSON line by line. Each codec gives an `Answer` that is built up event by event;
this file feeds it and judges the end.
"""

import re
from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from llmring.chat import Completion
from llmring.codecs.codec import StreamDelta
from llmring.codecs.ndjson import LineDecoder
from llmring.codecs.sse import MAX_EVENT_BYTES, Event, EventDecoder
from llmring.errors import BadReply, TransportBroken

CHARACTERS_PER_TOKEN = 4
"""For the usage of a stream that broke: what was seen of the answer, in tokens."""

_Form = Literal["unknown", "events", "object"]

F = TypeVar("F")
F_contra = TypeVar("F_contra", contravariant=True)
F_co = TypeVar("F_co", covariant=True)


class Frames(Protocol[F_co]):
    """How a stream's bytes are cut into its pieces: events, or lines."""

    def feed(self, data: bytes) -> Sequence[F_co]:
        """Take the next bytes. Raises BadReply when one piece outgrows its bound."""
        ...

    def close(self) -> Sequence[F_co]:
        """The stream has ended: the piece whose end is missing, if there is one."""
        ...


class Answer(Protocol[F_contra]):
    """One answer, built up from events or lines."""

    @property
    def complete(self) -> bool:
        """The provider has said why the answer ended."""
        ...

    @property
    def done(self) -> bool:
        """Nothing after this belongs to the answer."""
        ...

    def take(self, event: F_contra, /) -> StreamDelta | None:
        """Add an event; returns the text that it brings. Raises BadReply, or the error that the event reports."""
        ...

    def completion(self) -> Completion:
        """The whole answer. Raises BadReply when its pieces make none."""
        ...

    def partial(self) -> Completion:
        """What is known so far; never raises."""
        ...


class FrameReader(Generic[F]):
    """A `StreamDecoder` around an `Answer`, for a reply that is a stream in any case.

    An error in the bytes given to `feed` is raised at once, so text that came in the same bytes is not handed out; it
    is in `partial`. That keeps failover possible for as long as nothing was shown.
    """

    def __init__(self, answer: Answer[F], frames: Frames[F], request_id: str | None) -> None:
        self._answer = answer
        self._frames = frames
        self._request_id = request_id
        self._any_event = False

    @property
    def complete(self) -> bool:
        return self._answer.complete

    @property
    def done(self) -> bool:
        return self._answer.done

    def feed(self, data: bytes) -> list[StreamDelta]:
        if self._answer.done:
            return []
        return [delta for event in self._frames.feed(data) if (delta := self._take(event)) is not None]

    def close(self) -> Completion:
        self._take_last_event()
        if self._answer.complete:
            return self._answer.completion()
        if self._any_event:
            raise TransportBroken("stream ended before it was finished", request_id=self._request_id)
        raise BadReply("the stream holds no events", request_id=self._request_id)

    def partial(self) -> Completion:
        return self._answer.partial()

    def _take(self, event: F) -> StreamDelta | None:
        self._any_event = True
        return None if self._answer.done else self._answer.take(event)

    def _take_last_event(self) -> None:
        """An event without its end counts when it can be read; else it is where the stream was cut."""
        for event in self._frames.close():
            try:
                self._take(event)
            except BadReply:
                return


class StreamReader(FrameReader[Event]):
    """A reader of event streams. `read_whole` decodes a reply that turns out to be one JSON object."""

    def __init__(
        self, answer: Answer[Event], read_whole: Callable[[bytes], Completion], request_id: str | None
    ) -> None:
        super().__init__(answer, EventDecoder(), request_id)
        self._read_whole = read_whole
        self._form: _Form = "unknown"
        self._object = ObjectBuffer()
        self._whole: Completion | None = None

    @property
    def complete(self) -> bool:
        return self._whole is not None or super().complete

    @property
    def done(self) -> bool:
        return self._whole is not None or super().done

    def feed(self, data: bytes) -> list[StreamDelta]:
        if self._form == "unknown":
            data = data.lstrip()
            self._form = _form_of(data)
        match self._form:
            case "events":
                return super().feed(data)
            case "object":
                return self._feed_object(data)
            case "unknown":
                return []

    def close(self) -> Completion:
        if self._whole is not None:
            return self._whole
        # Part of an object is a stream that was cut.
        self._any_event = self._any_event or self._form == "object"
        return super().close()

    def partial(self) -> Completion:
        return self._whole if self._whole is not None else super().partial()

    def _feed_object(self, data: bytes) -> list[StreamDelta]:
        if self._whole is not None or not self._object.feed(data):
            return []
        whole = self._whole = self._read_whole(self._object.take())
        delta = StreamDelta(content=whole.content, reasoning=whole.reasoning or "")
        return [delta] if delta.content or delta.reasoning else []


class LineReader(FrameReader[bytes]):
    """A reader of newline-delimited JSON.

    Where a server does not stream, a whole reply is a stream of one line. That line may lack its end, which would hold
    its text back for good; so the first line ends with its object at the latest.
    """

    def __init__(self, answer: Answer[bytes], request_id: str | None) -> None:
        super().__init__(answer, LineDecoder(), request_id)
        self._first: ObjectBuffer | None = ObjectBuffer()
        self._fed = 0

    def feed(self, data: bytes) -> list[StreamDelta]:
        if self._first is not None:
            data = self._end_first(self._first, data)
        return super().feed(data)

    def _end_first(self, first: "ObjectBuffer", data: bytes) -> bytes:
        """The same bytes, with a line end behind the first object."""
        if first.feed(data):
            at = len(first.take()) - self._fed
            data = data[:at] + b"\n" + data[at:]
        if b"\n" in data:
            self._first = None
        self._fed += len(data)
        return data


def _form_of(data: bytes) -> _Form:
    if not data:
        return "unknown"
    return "object" if data[:1] == b"{" else "events"


class ObjectBuffer:
    """Collects one JSON object and knows its last byte, so that its text need not wait for the connection's end."""

    _IN_STRING = re.compile(rb'["\\]')
    _OUTSIDE = re.compile(rb'["{}]')

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True when the object has ended. Raises BadReply when it outgrows the bound."""
        if len(self._buffer) + len(data) > self._max_bytes:
            raise BadReply(f"the reply is larger than {self._max_bytes} bytes")
        at = 1 if self._escaped and data else 0
        self._escaped = self._escaped and not data
        while (found := (self._IN_STRING if self._in_string else self._OUTSIDE).search(data, at)) is not None:
            at = found.end()
            mark = found[0]
            if mark == b'"':
                self._in_string = not self._in_string
            elif mark == b"\\":
                self._escaped = at == len(data)
                at += 1
            else:
                self._depth += 1 if mark == b"{" else -1
                if self._depth == 0:
                    self._buffer += data[:at]
                    return True
        self._buffer += data
        return False

    def take(self) -> bytes:
        """The object's bytes; the buffer is empty afterwards."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data
