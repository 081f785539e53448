"""One attempt on the wire: a permit, a connection, a call and its reply, and the books closed exactly once.

Runs in the caller's task. However it ends (answer, error, time out, cancel), the permit is settled, the breaker hears
of it, and the connection goes back or is thrown away.
"""

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec
import trio

from llmring.chat import ChatRequest, Completion
from llmring.codecs.capabilities import Capabilities
from llmring.codecs.codec import Codec, HttpCall, HttpReply, StreamDecoder, StreamDelta
from llmring.errors import AttemptTimeout, BadReply, DeadlineReached, ProviderError, TransportBroken
from llmring.providers.files import needs_files
from llmring.providers.fit import reasons
from llmring.providers.quoting import conceal, sent
from llmring.providers.regime import Outcome
from llmring.providers.route import Permit
from llmring.providers.spelling import Spelled, spell
from llmring.providers.transport import Connection, Reply
from llmring.usage import Usage

MOST_BODY_BYTES = 64 * 2**20

HELD_BACK_PIECES = 64
HELD_BACK_BYTES = 256 * 2**10
HELD_BACK_SECONDS = 2.0
"""A stream is held back until its first text, or until this much has come without any: till then a failure moves on to
the next route unnoticed."""


class Patience(msgspec.Struct, frozen=True):
    """The longest waits of a stream, in seconds: for its first text, and for the next bytes after that; a keep-alive
    comment counts as bytes."""

    first: float
    between: float


USUAL = Patience(first=60.0, between=30.0)
THINKING = Patience(first=300.0, between=120.0)
"""For a model that reasons, in silence maybe, may be one that does, or is to be brought files first."""


def patience(request: ChatRequest, capabilities: Capabilities) -> Patience:
    """How long a stream of this request may keep its reader waiting."""
    quick = capabilities.reasoning != "unknown" and not reasons(request, capabilities) and not needs_files(request)
    return USUAL if quick else THINKING


CLOSE_SECONDS = 1.0
"""For giving a connection back: shielded, so that a cancelled request leaves nothing open."""


END_SECONDS = 1.0
"""How long a connection is given to end the body of a stream whose answer has ended: then it can be used again."""

HASTY_SECONDS = 10.0
"""An attempt that its caller's deadline leaves less than this says nothing of the provider when it runs out."""


@contextmanager
def time_limit(seconds: float, what: str) -> Generator[trio.CancelScope]:
    """Raise AttemptTimeout when the block takes longer, DeadlineReached when that is hasty. `what` had not arrived.
    Without any time the block is not begun."""
    if seconds <= 0.0:
        raise DeadlineReached("the call's time was over before this was sent")
    with trio.move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        kind = AttemptTimeout if seconds >= HASTY_SECONDS else DeadlineReached
        raise kind(f"no {what} within {seconds:.3g} s")


class _Receives(Protocol):
    async def receive(self) -> bytes: ...


async def read_body(source: _Receives) -> bytes:
    """All the bytes of a reply. Raises BadReply past 64 MiB."""
    pieces, size = [], 0
    while data := await source.receive():
        size += len(data)
        if size > MOST_BODY_BYTES:
            raise BadReply(f"the reply is longer than {MOST_BODY_BYTES} bytes")
        pieces.append(data)
    return b"".join(pieces)


class Exchange:
    """`connection` is this attempt's own until `give_back(connection, clean)` is called. `secrets` are what the
    connection's headers hold and no message may."""

    def __init__(
        self,
        permit: Permit,
        codec: Codec,
        connection: Connection,
        give_back: Callable[[Connection, bool], None],
        secrets: Sequence[str] = (),
    ) -> None:
        self.permit = permit
        self.codec = codec
        self._connection = connection
        self._give_back = give_back
        self._secrets = secrets
        self._call: HttpCall | None = None
        self._asked_tier: str | None = None
        self._spelled: Spelled | None = None
        self._reply: Reply | None = None
        self._sent = False
        self._refused = False
        self._read_to_end = False

    async def open(self, request: ChatRequest, *, stream: bool) -> Reply:
        """Send a chat request, and read status and headers. Raises the provider's error for a reply that is not 2xx."""
        route, self._asked_tier = self.permit.route, request.service_tier
        self._spelled = spell(request, route.ref, route.model, self.codec, stream=stream)
        return await self.send(self._spelled.call)

    async def send(self, call: HttpCall) -> Reply:
        """Send, and read status and headers. Raises the provider's error for a reply that is not 2xx."""
        self._sent, self._call = True, call
        self._reply = reply = await self._connection.open(call)
        self.permit.status = reply.status
        self.permit.route.observe(self.codec.limits(reply.headers), self.permit, trio.current_time())
        if not 200 <= reply.status < 300:
            self._refused = True
            body = HttpReply(status=reply.status, headers=reply.headers, body=await self.read())
            raise self.codec.classify(body)
        return reply

    def decode(self, reply: HttpReply) -> Completion:
        """The answer in a whole reply. Raises a ProviderError."""
        return self.finish(self.codec.decode(reply))

    def finish(self, completion: Completion) -> Completion:
        """An answer as the codec read it, with its JSON value, and with what was not done as asked."""
        assert self._spelled is not None, "open() first"
        return self._spelled.read(completion)

    async def receive(self) -> bytes:
        """The next bytes of the reply, b"" at its end."""
        assert self._reply is not None, "open() first"
        data = await self._reply.receive()
        self._read_to_end = not data
        return data

    async def read(self) -> bytes:
        """The whole body. Raises BadReply past 64 MiB."""
        return await read_body(self)

    async def succeeded(self, usage: Usage | None) -> None:
        """The answer is whole. The connection is given back first, for the next in line to use."""
        self.permit.route.succeeded(self.permit, usage, trio.current_time())
        await self._end("unknown" if usage is None else "exact", usage, clean=self._read_to_end)

    async def failed(self, error: BaseException, seen: Usage | None = None) -> None:
        """`error` ended it; `seen` is what a broken stream had used by then. A cancel teaches nothing."""
        now = trio.current_time()
        # Settled first: what is given back must not lift a level that the refusal then brings down.
        self.permit.settle(self._outcome(error, seen), now, seen)
        if isinstance(error, ProviderError):
            error.model = self.permit.route.ref
            error.service_tier = error.service_tier or self._asked_tier
            conceal(error, sent(self._secrets, self._call.body if self._call is not None else None))
            # The upload of a file is answered too, before the request itself is sent.
            answered = self._sent or error.status is not None
            error.sent = error.sent and answered
            if answered:
                self.permit.route.failed(self.permit, error, now)
        await self._close(clean=self._refused and self._read_to_end)

    async def left(self, seen: Usage | None) -> None:
        """The caller walked away from a stream that was going well."""
        self.permit.route.succeeded(self.permit, None, trio.current_time())
        await self._end("unknown" if seen is None else "lower_bound", seen, clean=False)

    def _outcome(self, error: BaseException, seen: Usage | None) -> Outcome:
        if not self._sent or (isinstance(error, ProviderError) and not error.sent):
            return "not_sent"
        if self._refused:
            return "refused"
        return "lower_bound" if seen is not None else "unknown"

    async def _end(self, outcome: Outcome, usage: Usage | None, *, clean: bool) -> None:
        """Close, then let the next one in; come what may."""
        try:
            await self._close(clean=clean)
        finally:
            self.permit.settle(outcome, trio.current_time(), usage)

    async def _close(self, *, clean: bool) -> None:
        """Give the connection back, or close what is not to be used again. Shielded: not even a cancel skips it."""
        try:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                if self._reply is not None:
                    await self._reply.aclose()
                if not clean:
                    await self._connection.aclose()
        finally:
            self._give_back(self._connection, clean)


class LiveStream:
    """A streamed answer whose first text has arrived. `completion` is None until the end."""

    def __init__(self, exchange: Exchange, with_files: Callable[[ChatRequest, str], Awaitable[ChatRequest]]) -> None:
        self._exchange = exchange
        self._with_files = with_files
        self._decoder: StreamDecoder
        self._held: list[StreamDelta] = []
        self._given = ""
        self._closed = False
        self._text_by = math.inf
        self._between = USUAL.between
        self.completion: Completion | None = None

    async def begin(self, request: ChatRequest, seconds: float) -> None:
        """Send, and read until there is text to show. Raises a ProviderError; then everything is closed already."""
        waits = patience(request, self._exchange.permit.route.model.capabilities)
        seconds = min(seconds, waits.first)
        self._between = waits.between
        self._text_by = trio.current_time() + seconds
        decoder: StreamDecoder | None = None
        try:
            with time_limit(seconds, "first text"):
                placed = await self._with_files(request, self._exchange.codec.format)
                reply = await self._exchange.open(placed, stream=True)
                self._decoder = decoder = self._exchange.codec.open_stream(reply.headers)
                await self._hold_back()
        except BaseException as error:
            self._closed = True
            if isinstance(error, ProviderError) and decoder is not None:
                seen = decoder.partial()
                error.usage, error.service_tier = seen.usage, seen.service_tier
            await self._exchange.failed(error)  # noqa: ASYNC102 - shields itself
            raise

    async def _hold_back(self) -> None:
        """Never gives up waiting for bytes half-way: a body whose reading was cancelled cannot be read on."""
        pieces = size = 0
        until = math.inf
        while not self._held and self.completion is None:
            data = await self._bytes()
            if pieces == 0:
                until = trio.current_time() + HELD_BACK_SECONDS
            pieces, size = pieces + 1, size + len(data)
            self._take(data)
            if pieces == HELD_BACK_PIECES or size > HELD_BACK_BYTES or trio.current_time() >= until:
                return

    async def _bytes(self) -> bytes:
        """The next bytes. Once nothing is missing, a connection that breaks or stays open is the body's end too."""
        try:
            if not self._decoder.done:
                return await self._exchange.receive()
            with trio.move_on_after(END_SECONDS):
                return await self._exchange.receive()
        except TransportBroken:
            if not self._decoder.complete:
                raise
        return b""

    def _take(self, data: bytes) -> None:
        if data:
            for delta in self._decoder.feed(data):
                if self._exchange.permit.first_at is None:
                    self._exchange.permit.first_at = trio.current_time()
                self._held.append(delta)
                self._given += delta.content
            return
        read = self._decoder.close()
        self.completion = self._exchange.finish(read)
        content = self.completion.content
        if content.startswith(self._given):
            # What comes only with the end.
            content = content[len(self._given) :]
        elif len(self.completion.tool_calls) == len(read.tool_calls):
            content = ""
        # Else the answer was a tool's arguments, which do not come as text.
        if content:
            self._held.append(StreamDelta(content=content))

    async def receive(self) -> StreamDelta | None:
        """The next text; None at the end, when `completion` is whole. Raises a ProviderError when the stream breaks."""
        if self._closed and self.completion is None:
            raise TransportBroken("the stream was closed before its end")
        try:
            while not self._held and self.completion is None:
                now = trio.current_time()
                try:
                    with time_limit(max(self._between, self._text_by - now), "next piece of the stream"):
                        data = await self._bytes()
                except AttemptTimeout:
                    if not self._decoder.complete:
                        raise
                    data = b""
                self._take(data)
        except BaseException as error:
            self._closed = True
            await self._exchange.failed(error, self.partial().usage)  # noqa: ASYNC102 - shields itself
            raise
        if self._held:
            held, self._held = self._held, []
            self._text_by = -math.inf
            return held[0] if len(held) == 1 else _joined(held)
        if not self._closed and self.completion is not None:
            self._closed = True
            await self._exchange.succeeded(self.completion.usage)
        return None

    def partial(self) -> Completion:
        """What is known so far."""
        return self._decoder.partial()

    async def aclose(self) -> None:
        """Stop reading. Settles what was used so far; nothing to do after the end."""
        if not self._closed:
            self._closed = True
            await self._exchange.left(self.partial().usage)


def _joined(deltas: list[StreamDelta]) -> StreamDelta:
    return StreamDelta(
        content="".join(delta.content for delta in deltas), reasoning="".join(delta.reasoning for delta in deltas)
    )
