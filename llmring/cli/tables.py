"""A table: drawn by rich where standard output is a terminal and rich is installed, plain columns elsewhere."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

import click


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their heads; every row as long as the heads."""
    if sys.stdout.isatty() and find_spec("rich") is not None:
        _draw(heads, rows)
        return
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    for line in (heads, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*heads)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
