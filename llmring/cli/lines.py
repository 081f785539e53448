"""Lines of a file or of standard input, without holding up the event loop while a pipe has nothing to say."""

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Protocol

import trio

from llmring.cli.csv_rows import CsvLines
from llmring.cli.parquet_rows import ParquetLines
from llmring.cli.records import Columns, Unreadable
from llmring.errors import ConfigError

STDIN = Path("-")
CHUNK_BYTES = 1 << 16


class Lines(Protocol):
    """A source of lines. `total` counts those that are not blank, None where that cannot be told beforehand; `noun` is
    what `row` counts in it; `names` are the columns of a table, none of what has no columns."""

    noun: str
    total: int | None
    names: Sequence[str]

    async def next_line(self) -> bytes | Unreadable:
        """The next line, b"" at the end."""
        ...


class FileLines:
    """A regular file: reading one line of it does not wait for anybody."""

    noun = "line"
    names: Sequence[str] = ()

    def __init__(self, file: BinaryIO, total: int | None) -> None:
        self.total = total
        self._file = file

    async def next_line(self) -> bytes:
        return self._file.readline()


class PipeLines:
    """A pipe, a terminal: lines come when they come, and a cancel does not wait for the next one."""

    noun = "line"
    names: Sequence[str] = ()
    total: int | None = None

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[bytes] = []
        self._rest: list[bytes] = []
        self._ended = False

    async def next_line(self) -> bytes:
        while not self._lines and not self._ended:
            # In a thread: what trio waits for itself it makes non-blocking, and a terminal would stay so for everybody
            # who shares it. os.read: a thread left behind with the lock of sys.stdin aborts the interpreter.
            self._take(await trio.to_thread.run_sync(os.read, self._fd, CHUNK_BYTES, abandon_on_cancel=True))
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


@contextmanager
def open_lines(source: Path, columns: Columns) -> Generator[Lines]:
    """The lines of `source`; `-` is standard input, and what is no JSONL ends in `.csv` or `.parquet`.

    Raises ConfigError when it cannot be read.
    """
    name = "standard input" if source == STDIN else str(source)
    try:
        file = open(os.dup(0) if source == STDIN else source, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror or error}") from error
    with file:
        suffix = source.suffix.lower()
        if suffix == ".parquet":
            yield ParquetLines(file, source, columns)
        elif suffix == ".csv":
            # utf-8-sig: spreadsheets put a byte order mark in front.
            with TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                yield CsvLines(text, source, columns)
        elif stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield FileLines(file, _count(file))
        else:
            yield PipeLines(file.fileno())


def _count(file: BinaryIO) -> int:
    """How many rows there are from here on."""
    begin = file.tell()
    count = sum(1 for line in file if line.strip())
    file.seek(begin)
    return count
