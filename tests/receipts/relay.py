"""A relay before a PostgreSQL server, which loses what it is told to lose, as a network does."""

import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Literal
from urllib.parse import quote

from bench.postgresql import PASSWORD, USER, Server

Fault = Literal["none", "the commit", "the word of it"]
_COMMIT = b"COMMIT\x00"


class Relay:
    """`faults` are what happens to the next commits, in order. While it `is_down` nobody is let in; while it
    `is_silent` nothing is passed on, and nobody told."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.faults: deque[Fault] = deque()
        self.is_down = False
        self.is_silent = False
        self.accepted = 0
        self._server = server
        self._listener = listener
        self._open: list[socket.socket] = []

    def url(self, database_url: str) -> str:
        """Of a database of the server, through the relay."""
        name = database_url.rpartition("/ledger_")[2].partition("?")[0]
        port = self._listener.getsockname()[1]
        who = f"{USER}:{quote(PASSWORD, safe='')}"
        return f"postgresql://{who}@127.0.0.1:{port}/ledger_{name}?sslmode=disable&gssencmode=disable"

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.is_down:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._server.directory}/.s.PGSQL.5432")
            self._open += [client, server]
            is_lost = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, is_lost), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server, is_lost), daemon=True).start()

    def cut(self) -> None:
        """Every connection that there is."""
        while self._open:
            _cut(self._open.pop())

    def _ask(self, client: socket.socket, server: socket.socket, is_lost: threading.Event) -> None:
        with _ended(client, server), suppress(OSError):
            for part in _parts(client):
                fault = self.faults.popleft() if _COMMIT in part and self.faults else "none"
                if fault == "the commit":
                    break
                if fault == "the word of it":
                    is_lost.set()
                if not self.is_silent:
                    server.sendall(part)

    def _answer(self, client: socket.socket, server: socket.socket, is_lost: threading.Event) -> None:
        with suppress(OSError):
            for part in _parts(server):
                if is_lost.is_set():
                    break
                if not self.is_silent:
                    client.sendall(part)
        _cut(client)


def _parts(source: socket.socket) -> Iterator[bytes]:
    try:
        while part := source.recv(65536):
            yield part
    except OSError:
        return


@contextmanager
def _ended(*both: socket.socket) -> Iterator[None]:
    try:
        yield
    finally:
        for one in both:
            # The other thread reads from it: without this it would stay open.
            _cut(one)
            one.close()


def _cut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def open_relay(server: Server) -> Iterator[Relay]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        relay = Relay(server, listener)
        threading.Thread(target=relay.serve, daemon=True).start()
        try:
            yield relay
        finally:
            _cut(listener)
            relay.cut()
