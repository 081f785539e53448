"""A CSV file as the lines of a map: every record becomes one line of JSON, with the names of the columns as keys."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmring.cli.records import Columns, Unreadable
from llmring.errors import ConfigError

MOST_CELL_CHARACTERS = 10_000_000


class CsvLines:
    """Records as JSON objects; empty cells are left out. A cell may hold line breaks: records are counted, not lines.

    Reading a record of a regular file does not wait for anybody.
    """

    noun = "row"

    def __init__(self, file: io.TextIOBase, path: Path, columns: Columns) -> None:
        """Raises ConfigError when the file has no header, or one with a name twice or without a column that is
        needed."""
        self.total: int | None = None
        self._path = path
        csv.field_size_limit(MOST_CELL_CHARACTERS)
        self._records = csv.reader(file, strict=True)
        self.names: Sequence[str] = self._next() or []
        if not self.names:
            raise ConfigError(f"{path}: the first line of a CSV file names its columns; this one is empty")
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{path}: two columns are called {twice!r}")
        columns.check(self.names, path)

    async def next_line(self) -> bytes | Unreadable:
        """The next record, b"" at the end. Raises ConfigError for what is no CSV."""
        while True:
            record = self._next()
            if record is None:
                return b""
            if not record:
                continue
            if len(record) > len(self.names):
                return Unreadable(f"{len(record)} cells under {len(self.names)} columns")
            cells = dict(zip(self.names, record, strict=False))
            return msgspec.json.encode({name: cell for name, cell in cells.items() if cell}) + b"\n"

    def _next(self) -> list[str] | None:
        """None at the end. Raises ConfigError: what comes after what is no CSV cannot be told apart any more."""
        begin = self._records.line_num + 1
        try:
            return next(self._records, None)
        except csv.Error as error:
            # A quote that is not closed swallows all that is behind it, so the end of the record says nothing.
            raise ConfigError(f"{self._path}: not CSV: {error}, in the record that begins in line {begin}") from error
        except UnicodeDecodeError as error:
            line = _undecodable(self._path)
            where = f", line {line}" if line is not None else ""
            raise ConfigError(f"{self._path}{where}: not UTF-8: save the file in that encoding") from error


def _undecodable(path: Path) -> int | None:
    """The first line that is no UTF-8: the file is read ahead of its records. None where it cannot be read again."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
    except OSError:
        return None
    return None
