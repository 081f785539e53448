"""One writer at a time: the lock of a file that answers are written to. Who is refused says so in words of its own."""

from typing import Protocol


class _Open(Protocol):
    def fileno(self) -> int: ...


def lock(file: _Open) -> bool | None:
    """Take an open file, until it is closed or this process ends, however it ends. False: somebody else has it; None:
    system or file system have no such locks. Does not wait."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
