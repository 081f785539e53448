"""Receipts as JSON, JSON lines, CSV or Parquet: written row by row, so a million of them need the memory of a few."""

import csv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from llmring.cli.arrow import load_arrow
from llmring.cli.parquet_out import GROUP_ROWS, cost_type, exactly
from llmring.receipts.receipt import timestamp
from llmring.reports.flat import COLUMNS, Cell, plain

Form = Literal["json", "jsonl", "csv", "parquet"]
Rows = Iterable[dict[str, Cell]]
Write = Callable[[Rows, BinaryIO], None]

ENDINGS: dict[str, Form] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


def writer(form: Form, path: Path | None) -> Write:
    """What writes a form. Raises ConfigError where Parquet needs what is not installed."""
    match form:
        case "json":
            return _write_document
        case "jsonl":
            return _write_lines
        case "csv":
            return _write_csv
        case "parquet":
            arrow = load_arrow(path or Path("parquet"))
            return lambda rows, file: _write_parquet(arrow, rows, file)


def _write_document(rows: Rows, file: BinaryIO) -> None:
    """One object, as llmring 1 wrote it, with a row a line."""
    now = timestamp(datetime.now(UTC))
    file.write(b'{"exported_at":' + msgspec.json.encode(now) + b',"receipts":[')
    comma = b"\n"
    for row in rows:
        file.write(comma + _encoded(row))
        comma = b",\n"
    file.write(b"\n]}\n")


def _write_lines(rows: Rows, file: BinaryIO) -> None:
    file.writelines(_encoded(row) + b"\n" for row in rows)


def _encoded(row: dict[str, Cell]) -> bytes:
    return msgspec.json.encode({name: plain(cell) for name, cell in row.items()})


def _write_csv(rows: Rows, file: BinaryIO) -> None:
    """RFC 4180: a line of names, records that end with CR LF. Texts stand as they are, as in csv_out.py."""
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        table = csv.writer(text)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow([_spelled(cell) for cell in row.values()])
    finally:
        # Flushes; the file is its opener's to close.
        text.detach()


def _spelled(cell: Cell) -> str | int | None:
    spelled = plain(cell)
    return ("true" if spelled else "false") if isinstance(spelled, bool) else spelled


def _write_parquet(arrow: Any, rows: Rows, file: BinaryIO) -> None:
    types = {
        "text": arrow.string(),
        "integer": arrow.int64(),
        "dollars": cost_type(arrow),
        "truth": arrow.bool_(),
        "time": arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    source = iter(rows)
    with arrow.parquet.ParquetWriter(file, schema) as table:
        while group := [_typed(row) for row in islice(source, GROUP_ROWS)]:
            table.write_table(arrow.Table.from_pylist(group, schema))


def _typed(row: dict[str, Cell]) -> dict[str, Any]:
    cells = {name: exactly(cell) if isinstance(cell, Decimal) else cell for name, cell in row.items()}
    return {**cells, "timestamp": datetime.fromisoformat(str(row["timestamp"]))}
