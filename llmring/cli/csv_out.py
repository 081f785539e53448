"""The rows of a map as CSV, by RFC 4180: a line of names, records that end with CR LF, UTF-8.

Answers are written by strangers, and a spreadsheet runs what looks like a formula: such a text gets an apostrophe in
front. One is taken away again where a text begins with one, or more, and would be a formula without them.
"""

import csv
import re
from io import TextIOWrapper
from typing import Any, BinaryIO

from llmring.cli.answer_table import cells_of, shape_of

# As OWASP lists them ("CSV Injection"); the wide ones count in Japanese and Chinese settings. Blanks in front are cut
# off by some programs. A text that has our apostrophes already gets one more, so that there is a way back.
_FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


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


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return guarded(value)
    # csv would write small amounts as 1E-7.
    return f"{value:f}" if value is not None and not isinstance(value, int) else value
