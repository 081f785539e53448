"""Recorder: appends a line for every request to a file of decisions, off the requests' path.

A request leaves its record in a bounded queue and goes on; a task writes what is there in a thread. Where the disk is
slower than the requests, or fails, records are dropped, counted and said to be: no call waits or fails for them.
Several processes may append to one file, for every write is of whole lines.
"""

import logging
import os
import stat
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import trio

from llmring.config import Settings
from llmring.errors import ConfigError
from llmring.lockfile import Lockfile
from llmring.lockfile.digest import lock_digest
from llmring.router.records import VERSION, Kind, Record, encode
from llmring.trace import Source
from llmring.usage import Usage

_LOG = logging.getLogger("llmring")

MOST_WAITING = 4096
"""Records in the queue: some megabytes, and a second of a router that is far busier than any provider allows."""

WRITE_SECONDS = 0.1
"""Between two writes, so that the records of many requests share one."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has ended, as it is queued: its trace is made by whoever writes it."""

    kind: Kind
    ended_at: datetime
    lockfile: Lockfile
    trace: Source
    max_tokens: int | None
    usages: tuple[Usage, ...]


class Recorder:
    """Made by `open_recorder`. `dropped` counts the records that are not in the file."""

    def __init__(self, path: Path, fd: int, *, torn: bool) -> None:
        self.path = path
        self.dropped = 0
        self._fd = fd
        self._torn = torn
        self._waiting: deque[Ended] = deque()
        self._news = trio.Event()
        self._digest: tuple[Lockfile, str] | None = None

    def post(
        self, kind: Kind, lockfile: Lockfile, trace: Source, max_tokens: int | None, usages: tuple[Usage, ...]
    ) -> None:
        """Leave a request's record. Never waits; where the queue is full the record is dropped."""
        if len(self._waiting) >= MOST_WAITING:
            self._drop(1, "they come faster than they can be written")
            return
        self._waiting.append(
            Ended(
                kind=kind,
                ended_at=datetime.now(UTC),
                lockfile=lockfile,
                trace=trace,
                max_tokens=max_tokens,
                usages=usages,
            )
        )
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled; a write that has begun is ended first."""
        while True:
            await self._news.wait()
            await trio.sleep(WRITE_SECONDS)
            self._news = trio.Event()
            await trio.to_thread.run_sync(self._write, self._take())

    def close(self) -> None:
        """Write what is left, and close. Blocks for milliseconds; no task may be writing."""
        self._write(self._take())
        os.close(self._fd)
        if self.dropped:
            _LOG.warning("%s lacks %d records of decisions", self.path, self.dropped)

    def _take(self) -> list[Ended]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _write(self, batch: list[Ended]) -> None:
        if not batch:
            return
        try:
            lines = b"".join(map(self._line, batch))
            # What a killed process, or a full disk, has left of a line is a line of its own: this one can be read.
            self._write_all(b"\n" + lines if self._torn else lines)
        except OSError as error:
            self._drop(len(batch), error.strerror or str(error))
        except Exception as error:  # noqa: BLE001 - a window into the router, not a part of it
            self._drop(len(batch), repr(error))

    def _line(self, ended: Ended) -> bytes:
        return encode(
            Record(
                llmring_decisions=VERSION,
                ended_at=ended.ended_at,
                kind=ended.kind,
                lock=self._digest_of(ended.lockfile),
                max_tokens=ended.max_tokens,
                usages=ended.usages,
                trace=ended.trace(),
            )
        )

    def _digest_of(self, lockfile: Lockfile) -> str:
        """Worked out once a lockfile: milliseconds for a large one."""
        if self._digest is None or self._digest[0] is not lockfile:
            self._digest = lockfile, lock_digest(lockfile)
        return self._digest[1]

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
            self._torn = bool(rest)

    def _drop(self, count: int, why: str) -> None:
        if self.dropped == 0:
            _LOG.warning("decisions are not recorded in %s: %s", self.path, why)
        self.dropped += count


def open_recorder(path: Path) -> Recorder:
    """Open the file, or make it for its user alone. Raises ConfigError: it cannot be written, or is no regular file."""
    path = Path(os.path.expanduser(path))
    # Without waiting: a named pipe would hold up the program until somebody reads it.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(path, flags, 0o600)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write decisions to {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError(f"cannot write decisions to {path}: it is no regular file")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size > 0:
            os.lseek(fd, size - 1, os.SEEK_SET)
        torn = size > 0 and os.read(fd, 1) != b"\n"
    except BaseException:
        os.close(fd)
        raise
    return Recorder(path, fd, torn=torn)


@asynccontextmanager
async def recording(
    settings: Settings, decisions: Path | str | Literal[False] | None
) -> AsyncGenerator[Recorder | None]:
    """A recorder for the length of the block, None where no decisions are kept. Raises ConfigError.

    Around the nursery, not in it: the rows of a map leave their records until its last task has ended.
    """
    path = settings.decisions if decisions is None else decisions
    recorder = open_recorder(Path(path)) if path else None
    try:
        yield recorder
    finally:
        if recorder is not None:
            recorder.close()
