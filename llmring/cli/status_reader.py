"""Asks the processes of this user that show their routers, all at once. What they say is not trusted: its length and
the time it takes are bounded, its form is checked.

A socket that nobody listens at is left over from a process that died, and removed.
"""

from pathlib import Path

import msgspec
import trio

from llmring.config import read_settings, status_directory
from llmring.errors import LLMRingError
from llmring.router.status_directory import forget, has_sockets, sockets
from llmring.status import ProcessStatus

MOST_SECONDS = 2.5
"""Longer than a client is served, so that one that stands behind others has its turn."""

MOST_BYTES = 16 << 20


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Those that answered, by process id, and why others did not."""

    processes: tuple[ProcessStatus, ...] = ()
    problems: tuple[str, ...] = ()


async def look(pid: int | None) -> Seen:
    """What every process shows, or the one named by `pid`. Raises LLMRingError where the directory is not private."""
    asked = read_settings().status
    directory = status_directory(asked if isinstance(asked, Path) else None)
    if not has_sockets():
        raise LLMRingError("this system has no Unix domain sockets, through which a process shows its router")
    try:
        found = sockets(directory)
    except FileNotFoundError:
        return Seen()
    except OSError as error:
        raise LLMRingError(f"{directory}: {error.strerror or error}") from error
    answers: dict[Path, ProcessStatus | str | None] = {
        path: None for path, owner in found.items() if pid in (None, owner)
    }

    async def ask(path: Path) -> None:
        answers[path] = await _ask(path, found[path])

    async with trio.open_nursery() as nursery:
        for path in answers:
            nursery.start_soon(ask, path)
    return Seen(
        processes=tuple(one for one in answers.values() if isinstance(one, ProcessStatus)),
        problems=tuple(one for one in answers.values() if isinstance(one, str)),
    )


async def _ask(path: Path, pid: int) -> ProcessStatus | str | None:
    """What the process says, or why it does not; None where it has ended."""
    try:
        with trio.fail_after(MOST_SECONDS):
            data = await _read(path)
    except trio.TooSlowError:
        return f"process {pid} does not answer"
    except ConnectionRefusedError:
        forget(path)
        return None
    except (FileNotFoundError, ConnectionResetError):
        return None
    except OSError as error:
        return f"process {pid} cannot be asked: {error.strerror or error}"
    return _decoded(data, pid) if data else None


async def _read(path: Path) -> bytes:
    data = bytearray()
    async with await trio.open_unix_socket(str(path)) as stream:
        async for piece in stream:
            data += piece
            if len(data) > MOST_BYTES:
                break
    return bytes(data)


def _decoded(data: bytes, pid: int) -> ProcessStatus | str:
    try:
        return msgspec.json.decode(data, type=ProcessStatus)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"process {pid} says what cannot be read; is it of another version of llmring? ({error})"
