"""Lines of a file or of standard input, without holding up the event loop while a pipe has nothing to say."""

import os
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import trio

from llmring.errors import ConfigError

STDIN = Path("-")


class Lines(Protocol):
    """A source of lines. `total` counts those that are not blank, None where that cannot be told beforehand."""

    total: int | None

    async def next_line(self) -> bytes:
        """The next line, b"" at the end."""
        ...


class FileLines:
    """A regular file: reading one line of it does not wait for anybody."""

    def __init__(self, file: BinaryIO, total: int | None) -> None:
        self.total = total
        self._file = file

    async def next_line(self) -> bytes:
        return self._file.readline()


class PipeLines:
    """A pipe, a terminal: lines come when they come, and a cancel does not wait for the next one."""

    total: int | None = None

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._rest: list[bytes] = []
        self._ended = False

    async def next_line(self) -> bytes:
        while not self._lines and not self._ended:
            self._take(await self._stream.receive_some())
        return self._lines.pop() if self._lines else b""

    def _take(self, data: bytes | bytearray) -> None:
        """Keep whole lines, the next one last; the rest waits for its end."""
        self._ended = not data
        first, newline, others = data.partition(b"\n")
        self._rest.append(bytes(first))
        if not newline and not self._ended:
            return
        lines = [b"".join(self._rest) + newline, *bytes(others).splitlines(keepends=True)]
        self._rest = [lines.pop()] if not self._ended and not lines[-1].endswith(b"\n") else []
        self._lines = [line for line in reversed(lines) if line]


@asynccontextmanager
async def open_lines(source: Path) -> AsyncGenerator[Lines]:
    """The lines of `source`; `-` is standard input. Raises ConfigError when it cannot be read."""
    if source != STDIN:
        try:
            total, file = _count(source), source.open("rb")
        except OSError as error:
            raise ConfigError(f"cannot read {source}: {error.strerror or error}") from error
        with file:
            yield FileLines(file, total)
    elif stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
        yield FileLines(sys.stdin.buffer, None)
    else:
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
            yield PipeLines(stream)


def _count(path: Path) -> int | None:
    """Rows of a regular file; anything else can be read only once."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
