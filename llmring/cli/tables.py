"""Tables for people: rich where standard output is a terminal and rich is there. Scripts get plain text elsewhere."""

import sys
from collections.abc import Sequence

import click


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()
) -> bool:
    """Print a table on the terminal. False, and nothing printed, where there is no terminal or no rich.

    `numbers`: the columns that are aligned to the right. Cells are shown as they are, without rich's markup.
    """
    if not sys.stdout.isatty():
        return False
    try:
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        return False
    table = Table(title=Text(title), title_justify="left", show_header=any(columns), box=SIMPLE)
    for column in columns:
        # A number that is cut short is another number: where there is no room, words break over lines.
        if column in numbers:
            table.add_column(Text(column), justify="right", no_wrap=True)
        else:
            table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
    return True


def printable(text: str) -> str:
    """Text of another's making, without what a terminal would obey."""
    return text if text.isprintable() else ascii(text)


def print_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()
) -> None:
    """`show_table`, or the same in plain columns."""
    if show_table(title, heads, rows, numbers=numbers):
        return
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    for line in (heads, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
