"""One HTTP request and its reply, on a connection that can also be broken on purpose.

Owns what ASGI does not offer: noticing that the client left while we wait, cutting a connection, resetting
it. For the last two it needs the transport, which `TrackingProtocol` records when a connection is made, by
the client's address. Anything that finds the client gone raises ClientGone, and the work for it stops there.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, TypedDict

from uvicorn.protocols.http.h11_impl import H11Protocol

from llmring.sim.wire import Headers

Address = tuple[str, int]
Transports = dict[Address, asyncio.Transport]
Receive = Callable[[], Awaitable[Mapping[str, object]]]
Send = Callable[[Mapping[str, object]], Awaitable[None]]

MAX_BODY_BYTES = 32 * 2**20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Scope(TypedDict):
    """What is used of an ASGI HTTP scope."""

    type: str
    method: str
    path: str
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    client: Address | None


class ClientGone(Exception):
    """The client left before its reply was complete."""


class BodyTooLarge(Exception):
    """The request is larger than MAX_BODY_BYTES."""


def tracking_protocol(transports: Transports) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, recording the transport of every open connection in `transports`."""

    class TrackingProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self.client is not None:
                transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                transports.pop(self.client, None)
            super().connection_lost(exc)

    return TrackingProtocol


class Exchange:
    """One request: read its body once, then answer, stream, or break the connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, transports: Transports) -> None:
        self.method = scope["method"]
        self.path = scope["path"]
        self.query = scope["query_string"].decode("latin-1")
        self.headers = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._transport = transports.get(scope["client"]) if scope["client"] is not None else None

    async def body(self) -> bytes:
        """The whole request body. Raises ClientGone, BodyTooLarge."""
        received, more = b"", True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            assert isinstance(part, bytes)
            received += part
            if len(received) > MAX_BODY_BYTES:
                raise BodyTooLarge
            more = bool(message.get("more_body", False))
        return received

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole reply, with its length."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    async def start(self, status: int, headers: Headers) -> None:
        """The head of a reply; without a content-length the body is chunked."""
        await self._write({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        await self._write({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        await self._write({"type": "http.response.body", "body": data, "more_body": False})

    async def _write(self, message: Mapping[str, object]) -> None:
        await self._send(message)
        # uvicorn drops what is written to a lost connection without a word.
        if self._transport is not None and self._transport.is_closing() and message.get("more_body") is not False:
            raise ClientGone

    async def pause(self, seconds: float) -> None:
        """Sleep, unless the client leaves meanwhile: then ClientGone at once."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.wait_until_gone()
        except TimeoutError:
            return

    async def wait_until_gone(self) -> NoReturn:
        """Never answer: wait until the client leaves, or the server ends its connections."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ClientGone

    async def cut(self) -> None:
        """Send what was written, then close the connection in the middle of the reply."""
        if self._transport is not None:
            self._transport.close()
        await self._closed()

    async def reset(self) -> None:
        """Close the connection with a TCP reset, dropping whatever was written."""
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        await self._closed()

    async def _closed(self) -> None:
        """We closed it ourselves; the disconnect that follows is not a client leaving."""
        try:
            await self.wait_until_gone()
        except ClientGone:
            return
