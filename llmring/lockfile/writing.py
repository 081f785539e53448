"""A lockfile on disk, changed as a whole or not at all, and by one writer at a time.

The new text goes to a file beside it, is forced to disk and then renamed over it, so that whoever reads, and whoever
pulls the plug, finds the old or the new one. Writers take turns by a lock on the directory, which leaves nothing behind
that git would show; a writer who does not take part, an editor say, is noticed by what the file holds.
"""

import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from llmring.config import BUNDLED_LOCKFILE
from llmring.errors import EditFailed, LockfileInvalid, LockfileMissing
from llmring.lockfile.reading import parse_lockfile

LOCK_TRIES = 100
LOCK_PAUSE_SECONDS = 0.05
"""How long a second writer waits for the first: 5 seconds, where an edit takes milliseconds."""


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """An edit: the text before and after it."""

    path: Path
    before: str
    after: str


def edit(path: Path, change: Callable[[str], str], *, write: bool = True) -> Edited:
    """Put `change(text)` in the place of the file's text. With `write` false the file stays.

    What `change` returns must load as a lockfile. Raises LockfileMissing, LockfileInvalid, EditFailed, and what
    `change` raises; then the file is as it was.
    """
    path = _own(path)
    with _taking_turns(path):
        old = _read(path)
        before = _decode(old, path)
        after = change(before)
        parse_lockfile(after, path)
        if write and after != before:
            _replace(path, after, expected=old)
    return Edited(path=path, before=before, after=after)


def create(path: Path, text: str, *, force: bool = False) -> None:
    """Write a new lockfile. Raises FileExistsError unless `force`, EditFailed, LockfileInvalid."""
    path = _own(path)
    parse_lockfile(text, path)
    with _taking_turns(path):
        if force:
            _replace(path, text, expected=None)
        else:
            _add(path, text)


def _own(path: Path) -> Path:
    """The file itself, behind links: a link stays one. Raises EditFailed for the bundled lockfile."""
    path = Path(os.path.realpath(path))
    if path == BUNDLED_LOCKFILE.resolve():
        raise EditFailed(f"{path} comes with llmring and is not edited: make one of your own with `llmring lock init`")
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LockfileMissing(path, (error.strerror or str(error)).lower()) from error


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LockfileInvalid(path, line, "not UTF-8: save the file in that encoding") from error


@contextmanager
def _taking_turns(path: Path) -> Generator[None]:
    """Be the only writer in the file's directory that asks. Raises EditFailed after 5 seconds."""
    try:
        import fcntl
    except ImportError:
        # Not a POSIX system: what the file holds is still compared.
        yield
        return
    try:
        directory = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise EditFailed(f"cannot write {path}: {path.parent}: {(error.strerror or str(error)).lower()}") from error
    try:
        for _ in range(LOCK_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            raise EditFailed(f"{path} is being edited by another llmring: try again when it has ended")
        yield
    finally:
        # Closing gives the lock back, and so does the end of the process, however it ends.
        os.close(directory)


def _replace(path: Path, text: str, *, expected: bytes | None) -> None:
    """Rename a new file over the old one, unless that no longer holds what is expected. None: whatever it holds."""
    new = _write_beside(path, text)
    try:
        if expected is not None and _read(path) != expected:
            raise EditFailed(f"{path} was changed by somebody else at the same time: nothing was written, try again")
        _keep_owner(path, new)
        new.replace(path)
    except OSError as error:
        raise EditFailed(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        new.unlink(missing_ok=True)
    _sync_directory(path)


def _add(path: Path, text: str) -> None:
    """A file that was not there, whole from its first moment on."""
    new = _write_beside(path, text)
    try:
        os.link(new, path)
    except FileExistsError:
        raise FileExistsError(f"{path} already exists. Use --force to overwrite") from None
    except OSError as error:
        raise EditFailed(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        new.unlink(missing_ok=True)
    _sync_directory(path)


def _write_beside(path: Path, text: str) -> Path:
    """A finished file in the same directory, and so on the same disk."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    except OSError as error:
        raise EditFailed(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner alone; a lockfile holds no secrets.
        new.chmod(0o666 & ~_umask())
    except OSError as error:
        new.unlink(missing_ok=True)
        raise EditFailed(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    return new


def _umask() -> int:
    # There is no way to read it but to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _keep_owner(path: Path, new: Path) -> None:
    """Mode and owner of the file that is replaced."""
    with suppress(FileNotFoundError):
        status = path.stat()
        new.chmod(status.st_mode & 0o7777)
        if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (os.getuid(), os.getgid()):
            # Only root may give files away.
            with suppress(PermissionError):
                os.chown(new, status.st_uid, status.st_gid)


def _sync_directory(path: Path) -> None:
    """The rename itself, on disk; a file system that cannot do that has done what it can."""
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
