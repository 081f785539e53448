"""Runs the simulator in this process until it is told to end: binds, announces, serves, stops.

It ends on SIGTERM, on SIGINT and, when asked to watch it, when its standard input ends; then open connections
are closed at once, whatever they wait for. Must run in the main thread, because signals do.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from llmring.sim.app import App
from llmring.sim.config import SimConfig
from llmring.sim.exchange import Transports, tracking_protocol

#: Connections that may wait to be accepted; a load test opens a thousand at once.
_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 3600


def serve(
    config: SimConfig,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] = lambda url: None,
    *,
    watch_stdin: bool = False,
) -> None:
    """Serve until told to end. Port 0 takes a free one; `on_ready` gets the URL once connections are
    accepted.

    Raises OSError when the address cannot be bound.
    """
    with _listener(host, port) as listener:
        asyncio.run(_serve(config, listener, on_ready, watch_stdin=watch_stdin))


def announce(url: str) -> None:
    """Say where the simulator listens: the one line it prints on standard output."""
    sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket that knows it is TCP. asyncio switches Nagle's algorithm off only then; with it on,
    every second reply on a connection waits 40 ms (socket.create_server leaves its protocol 0).
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(
    config: SimConfig, listener: socket.socket, on_ready: Callable[[str], None], *, watch_stdin: bool
) -> None:
    transports: Transports = {}
    settings = uvicorn.Config(
        App(config, transports),
        http=tracking_protocol(transports),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
    )
    server = _Server(settings, transports, on_ready)
    if watch_stdin:
        _call_at_end_of_stdin(server.stop)
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server with our beginning and our end."""

    def __init__(self, settings: uvicorn.Config, transports: Transports, on_ready: Callable[[str], None]) -> None:
        super().__init__(settings)
        self._transports = transports
        self._on_ready = on_ready

    def stop(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for transport in list(self._transports.values()):
            transport.abort()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Both signals are an ordinary end. uvicorn would raise them again after it, and exit with their
        number.
        """
        loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def _call_at_end_of_stdin(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # A thread, because an event loop cannot watch every kind of standard input; os.read, because a daemon
        # thread that holds the lock of sys.stdin aborts the interpreter at its end.
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=watch, name="stdin", daemon=True).start()
