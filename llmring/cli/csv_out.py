"""The rows of a map as CSV, by RFC 4180: a line of names, records that end with CR LF, UTF-8.

Texts stand there as they were answered: a marker in front of what a spreadsheet would run as a formula would be found
in every pipeline that reads the file.
"""

import csv
from io import TextIOWrapper
from typing import Any, BinaryIO

from llmring.cli.answer_table import cells_of, shape_of


def write_csv(part: BinaryIO, new: BinaryIO) -> None:
    """Write the lines of `part`, from its start, to `new` as a table. Raises OSError."""
    shape = shape_of(part)
    part.seek(0)
    text = TextIOWrapper(new, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(shape.columns)
        for line in part:
            writer.writerow([_cell(value) for value in cells_of(line, shape).values()])
    finally:
        # Flushes; the file is its opener's to close.
        text.detach()


def _cell(value: Any) -> Any:
    # csv would write small amounts as 1E-7.
    return value if value is None or isinstance(value, int | str) else f"{value:f}"
