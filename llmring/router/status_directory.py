"""The private directory where the sockets of `llmring status` lie: who may be in it, and which name is free.

Synchronous, and over in microseconds. A socket listens before it gets its name, so that one which refuses is always
that of a process that died.
"""

import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path

from llmring.config import user_id

BACKLOG = 8

_NAME = re.compile(r"(\d{1,10})(?:-\d+)?\.sock")


def has_sockets() -> bool:
    """Whether this system has Unix domain sockets for Python."""
    return hasattr(socket, "AF_UNIX")


def check_private(directory: Path) -> None:
    """Raises OSError, FileNotFoundError among them, unless `directory` is this user's and nobody else may enter it."""
    # Not through a link: in a temporary directory anybody may have put one there.
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("not a directory")
    if found.st_uid != user_id():
        raise PermissionError("belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError("open to other users: its mode must be 700")


def listen(directory: Path) -> tuple[socket.socket, Path]:
    """A socket that listens, and its path: `<pid>.sock`, or `<pid>-2.sock` for a second router of the process.

    Makes the directory. Raises OSError. The caller removes the path.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    check_private(directory)
    unnamed = directory / f".{os.getpid()}-{os.urandom(3).hex()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(os.fspath(unnamed))
        try:
            unnamed.chmod(0o600)
            listener.listen(BACKLOG)
            path = _free(directory)
            unnamed.rename(path)
        except OSError:
            unnamed.unlink(missing_ok=True)
            raise
    except OSError:
        listener.close()
        raise
    return listener, path


def sockets(directory: Path) -> dict[Path, int]:
    """The sockets in a private directory, and whose each is by process id, in order. Raises OSError."""
    check_private(directory)
    found = {path: int(name[1]) for path in directory.iterdir() if (name := _NAME.fullmatch(path.name)) is not None}
    # By length first: `10.sock`, `10-2.sock`.
    return dict(sorted(found.items(), key=lambda one: (one[1], len(one[0].name), one[0].name)))


def forget(path: Path) -> None:
    """Remove a socket, at which nobody listens any more."""
    with suppress(OSError):
        path.unlink()


def _free(directory: Path) -> Path:
    """The first name of this process that nobody answers at; one that is left over is replaced."""
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        path = directory / f"{os.getpid()}{suffix}.sock"
        if not _is_alive(path):
            return path
        number += 1


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Above all EAGAIN: so many stand in line there.
            return True
        return True
