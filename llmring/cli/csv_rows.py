"""A CSV file as the lines of a map: every record becomes one line of JSON, with the names of the columns as keys."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from llmring.cli.records import Unreadable
from llmring.errors import ConfigError

MOST_CELL_CHARACTERS = 10_000_000


class CsvLines:
    """Records as JSON objects; empty cells are left out. A cell may hold line breaks: records are counted, not lines.

    Reading a record of a regular file does not wait for anybody.
    """

    noun = "row"

    def __init__(self, file: io.TextIOBase, path: Path) -> None:
        """Raises ConfigError when the file has no header, or one with a name twice."""
        self.total: int | None = None
        self._path = path
        csv.field_size_limit(MOST_CELL_CHARACTERS)
        self._records: Iterator[list[str]] = csv.reader(file, strict=True)
        try:
            self._names = next(self._records, [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not CSV: {error}") from error
        if not self._names:
            raise ConfigError(f"{path}: the first line of a CSV file names its columns; this one is empty")
        twice = next((name for name in self._names if self._names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{path}: two columns are called {twice!r}")

    async def next_line(self) -> bytes | Unreadable:
        """The next record, b"" at the end. Raises ConfigError for what is no CSV."""
        while True:
            try:
                record = next(self._records, None)
            except (csv.Error, UnicodeDecodeError) as error:
                # What comes after cannot be told apart any more.
                raise ConfigError(f"{self._path}: not CSV: {error}") from error
            if record is None:
                return b""
            if not record:
                continue
            if len(record) > len(self._names):
                return Unreadable(f"{len(record)} cells under {len(self._names)} columns")
            cells = dict(zip(self._names, record, strict=False))
            return msgspec.json.encode({name: cell for name, cell in cells.items() if cell}) + b"\n"
