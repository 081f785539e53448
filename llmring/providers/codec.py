"""What a codec must offer. A codec is a module that satisfies `Codec`: one wire format, sans-IO, nothing else.

A codec turns our requests into HTTP calls and HTTP replies into completions, errors and limit readings. It holds no
state between calls, knows no key, no clock and no connection; a stream in progress is a `StreamDecoder` of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from llmring.chat import ChatRequest, Completion
from llmring.errors import Dimension, ProviderError


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One POST. `path` is appended to the provider's base URL; headers are without authentication."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class LimitUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What one reply says of one limit. None where it does not say.

    `period` is in seconds: the limit is so much per period. `rounding` is the step in which `remaining` is reported
    (Anthropic: 1,000), so that drift inside one step is no news.
    """

    dimension: Dimension
    limit: float | None = None
    remaining: float | None = None
    period: float = 60.0
    rounding: float = 1.0


class StreamDelta(msgspec.Struct, frozen=True, kw_only=True):
    """Text that has just arrived. Tool calls and usage come whole, in the completion."""

    content: str


class StreamDecoder(Protocol):
    """One streamed answer being read: bytes in, deltas out, in any split."""

    def feed(self, data: bytes) -> Sequence[StreamDelta]:
        """Take the next bytes. Raises BadReply on what is not the protocol, or the error that the stream reports."""
        ...

    def close(self) -> Completion:
        """The stream has ended: the whole answer. Raises TransportBroken when its end was never announced."""
        ...

    def partial(self) -> Completion:
        """What is known so far, for a stream that broke or was left; usage is a lower bound. Never raises."""
        ...


class Codec(Protocol):
    """One wire format."""

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        """The headers that carry the key."""
        ...

    def encode(self, request: ChatRequest, model: str, *, stream: bool) -> HttpCall:
        """Spell a request for `model`. Raises Unsupported for what the format cannot say."""
        ...

    def decode(self, reply: HttpReply) -> Completion:
        """Read a 2xx reply. Raises BadReply, or the error that a 200 carries in its body."""
        ...

    def classify(self, reply: HttpReply) -> ProviderError:
        """Which error a reply with status >= 300 is. Never raises: an unreadable body is classified by its status."""
        ...

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        """What the headers of a reply say of the limits. Nonsense is ignored."""
        ...

    def open_stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        """Start to read a streamed 2xx reply with these headers."""
        ...
