"""A registry on a local port, written by hand, that can misbehave."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

Answer = Callable[[str, dict[str, str]], bytes | None]
"""From path and headers to the bytes of a whole reply; None never answers."""


def reply(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncGenerator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """The base URL, and every request that came: path and headers."""
    asked: list[tuple[str, dict[str, str]]] = []

    async def handle(stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some()
            if not more:
                return
            data += more
        head, *lines = data.decode().split("\r\n\r\n")[0].split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked.append((head.split()[1], headers))
        told = answer(head.split()[1], headers)
        if told is None:
            await trio.sleep_forever()
        else:
            try:
                await stream.send_all(told)
            except trio.BrokenResourceError:
                # The client has heard enough.
                return
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        try:
            yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", asked
        finally:
            nursery.cancel_scope.cancel()
