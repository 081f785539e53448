"""What an OUTPUT is written as, by its name: JSON lines, or a table that is made of them when they are whole."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from llmring.cli.csv_out import write_csv
from llmring.cli.parquet_out import parquet_writer

Convert = Callable[[BinaryIO, BinaryIO], None]
"""Reads JSON lines from the first file, from its start, and writes the second one. Raises OSError."""


def convert_for(path: Path) -> Convert | None:
    """What makes the table that `path` is named for; None for JSON lines. Raises ConfigError without pyarrow."""
    match path.suffix.lower():
        case ".csv":
            return write_csv
        case ".parquet":
            return parquet_writer(path)
        case _:
            return None
