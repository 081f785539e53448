"""StatusServer: tells `llmring status` how the router is, through a socket that only this user can open.

Whoever connects is sent one JSON document, and the connection is closed; nothing is read. A client costs at most
CLIENT_SECONDS of a task, and only MOST_CLIENTS are served at once, in PAUSE_SECONDS steps: who does not read holds up
the other clients, never the router. Whatever goes wrong here is logged; the router goes on.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from llmring import __version__
from llmring.config import Settings, status_directory
from llmring.router.status_directory import forget, has_sockets, listen
from llmring.status import ProcessStatus, RouterStatus

_LOG = logging.getLogger("llmring")

MOST_CLIENTS = 4
CLIENT_SECONDS = 2.0
PAUSE_SECONDS = 0.05
"""Between two clients: making the document is work, and whoever asks in a loop must not make it all there is."""


class StatusServer:
    """`document()` is what every client is sent. One task runs `run`, which closes `listener` and removes `path`."""

    def __init__(self, listener: socket.socket, path: Path, document: Callable[[], bytes]) -> None:
        self._listener = listener
        self._path = path
        self._inode = _inode(path)
        self._document = document
        self._free = trio.Semaphore(MOST_CLIENTS)

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            await self._serve()
        except Exception as error:  # noqa: BLE001 - a window into the router, not a part of it
            _LOG.debug("the status is not shown any more: %r", error)
        finally:
            self._listener.close()
            # Not that of another process, which has found this one dead.
            if _inode(self._path) == self._inode:
                forget(self._path)

    async def _serve(self) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._listener))
        async with trio.open_nursery() as nursery:
            while True:
                await self._free.acquire()
                nursery.start_soon(self._answer, await _accept(listener))
                await trio.sleep(PAUSE_SECONDS)

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(CLIENT_SECONDS):
                await stream.send_all(self._document())
        except Exception as error:  # noqa: BLE001 - one client's, or of the document; the next one may fare better
            _LOG.debug("a client did not get the status: %r", error)
        finally:
            self._free.release()
            stream.socket.close()


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    """The next client. Where there is none to be had, as for want of descriptors, once more in a second."""
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            _LOG.debug("no client of the status can be accepted: %r", error)
            await trio.sleep(1.0)


def open_server(directory: Path, document: Callable[[], bytes]) -> StatusServer | None:
    """A server whose `run` is to be started. Where there can be none, a warning in the log, and None."""
    if not has_sockets():
        _LOG.warning("the status is not shown: this system has no Unix domain sockets")
        return None
    try:
        listener, path = listen(directory)
    except OSError as error:
        _LOG.warning("the status is not shown: %s: %s", directory, error.strerror or error)
        return None
    return StatusServer(listener, path, document)


def shown_in(settings: Settings, status: bool | Path | str | None) -> Path | None:
    """The directory in which a router is shown to `llmring status`; None where it is not. Raises ConfigError."""
    asked = status if status is not None else settings.status
    if asked is None or asked is False:
        return None
    return status_directory(asked if asked is not True else None)


def server_of(status: Callable[[], RouterStatus], lockfile: Path, directory: Path | None) -> StatusServer | None:
    """What shows a router, where it is to be shown and can be."""
    if directory is None:
        return None
    path, started_at = lockfile.absolute(), datetime.now(UTC)
    return open_server(directory, lambda: document(status(), path, started_at))


def document(status: RouterStatus, lockfile: Path, started_at: datetime) -> bytes:
    """What clients are sent."""
    told = ProcessStatus(
        pid=os.getpid(),
        program=_spelled(_program(sys.argv[0] if sys.argv else "")),
        version=__version__,
        started_at=started_at,
        lockfile=_spelled(str(lockfile)),
        router=status,
    )
    return msgspec.json.encode(told)


def _program(argument: str) -> str:
    """`worker.py`; of `python -m package` the package."""
    path = Path(argument)
    return path.parent.name if path.name == "__main__.py" else path.name


def _spelled(text: str) -> str:
    """A file's name may be no text."""
    return text.encode(errors="backslashreplace").decode()


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None
