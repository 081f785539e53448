"""A Parquet file as the lines of a map: every row becomes one line of JSON, with the names of the columns as keys.

Only the columns that count are read, so many rows at a time as make a few megabytes: neither the size of the file nor
of its row groups matters to memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from llmring.cli.arrow import load_arrow
from llmring.cli.arrow_values import Spell, microseconds, speller
from llmring.cli.records import Columns, Unreadable
from llmring.errors import ConfigError

BATCH_ROWS = 256
BATCH_BYTES = 1 << 23
BUFFER_BYTES = 1 << 20
"""What is read ahead of a column. Without a buffer pyarrow reads a row group whole."""
_BEYOND_PYTHON = (ValueError, OverflowError, LookupError)


class _Column(msgspec.Struct, frozen=True):
    """How the values of a column become JSON: first all of them another type, then each its spelling."""

    kind: Any
    spell: Spell


class ParquetLines:
    """Rows as JSON objects; what is null is left out. The metadata say how many there are.

    Reading a row of a regular file does not wait for anybody.
    """

    noun = "row"

    def __init__(self, file: BinaryIO, path: Path, columns: Columns) -> None:
        """Raises ConfigError: pyarrow is missing, this is no Parquet file, it lacks a column that is needed, or a
        column that counts has values without a spelling in JSON."""
        self._arrow = load_arrow(path)
        self._path = path
        try:
            # pre_buffer would fetch a row group whole, too.
            opened = self._arrow.parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except (OSError, self._arrow.ArrowException) as error:
            raise ConfigError(f"{path}: not Parquet: {error}") from error
        schema = opened.schema_arrow
        self.names: Sequence[str] = schema.names
        columns.check(schema.names, path)
        counting = [name for name in schema.names if name in columns.read]
        self._columns = {name: self._column(name, schema.field(name).type) for name in counting}
        self.total: int | None = opened.metadata.num_rows
        rows = _batch_rows(opened.metadata, counting)
        self._batches: Iterator[Any] = opened.iter_batches(batch_size=rows, columns=counting)
        self._lines: Iterator[bytes | Unreadable] = iter(())

    async def next_line(self) -> bytes | Unreadable:
        """The next row, b"" at the end. Raises ConfigError for what turns out to be no Parquet."""
        while True:
            line = next(self._lines, None)
            if line is not None:
                return line
            try:
                batch = next(self._batches, None)
            except (OSError, self._arrow.ArrowException) as error:
                raise ConfigError(f"{self._path}: not Parquet: {error}") from error
            if batch is None:
                return b""
            self._lines = self._spelled(batch)

    def _column(self, name: str, kind: Any) -> _Column:
        try:
            return _Column(microseconds(self._arrow, kind), speller(self._arrow, kind))
        except ValueError as error:
            raise ConfigError(
                f"{self._path}: column {name!r} holds {error}, which has no spelling in JSON: write it as text"
            ) from error

    def _spelled(self, batch: Any) -> Iterator[bytes | Unreadable]:
        columns = {name: self._values(name, batch.column(name)) for name in self._columns}
        for index in range(batch.num_rows):
            cells = {name: values[index] for name, values in columns.items() if values[index] is not None}
            bad = next((cell for cell in cells.values() if isinstance(cell, Unreadable)), None)
            if bad is None:
                yield msgspec.json.encode(cells) + b"\n"
            else:
                own = cells.get("id", msgspec.UNSET)
                yield Unreadable(bad.problem, msgspec.UNSET if isinstance(own, Unreadable) else own)

    def _values(self, name: str, column: Any) -> list[Any]:
        """The values of a column; Unreadable where one is beyond what Python has, such as the year 10,000."""
        made = self._columns[name]
        values = column if column.type == made.kind else column.cast(made.kind, safe=False)
        try:
            return _spell_all(values, made.spell)
        except _BEYOND_PYTHON:
            return [_spell_one(name, values.slice(index, 1), made.spell) for index in range(len(values))]


def _batch_rows(metadata: Any, names: Sequence[str]) -> int:
    """How many rows are read at once, by their mean size on disk before compression."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    parts = [group.column(index) for group in groups for index in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] in names)
    fitting: int = BATCH_BYTES * metadata.num_rows // max(1, size)
    return max(1, min(BATCH_ROWS, fitting))


def _spell_all(values: Any, spell: Spell) -> list[Any]:
    return [None if value is None else spell(value) for value in values.to_pylist()]


def _spell_one(name: str, value: Any, spell: Spell) -> Any:
    try:
        return _spell_all(value, spell)[0]
    except _BEYOND_PYTHON as error:
        return Unreadable(f"column {name!r} cannot be spelled in JSON: {error}")
