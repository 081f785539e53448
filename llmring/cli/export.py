"""`llmring export`: the receipts of a ledger as a table, for what others make of them."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec

from llmring.cli.ledgers import entry_of, failures, force_option, ledger_option
from llmring.cli.replacing import replacing
from llmring.cli.running import note
from llmring.cli.spans import read_span, rows_of, span_options
from llmring.cli.table_forms import ENDINGS, Form, writer
from llmring.errors import ConfigError
from llmring.receipts.receipt import Gap, Receipt
from llmring.receipts.store import Row
from llmring.reports.flat import Cell, flat
from llmring.reports.wording import plural


class Seen(msgspec.Struct):
    """How many receipts have gone by, and how many attempts have none."""

    receipts: int = 0
    missing: int = 0


@click.command(
    "export",
    epilog="""\b
    Examples:
      llmring export --since 2026-08-01 --until 2026-08-31 -o august.csv
      llmring export --format jsonl --since 1d | jq .total_cost
    """,
)
@click.option("--format", "form", type=click.Choice(get_args(Form)), help="Default: by the name of OUTPUT, else json.")
@click.option("-o", "--output", type=click.Path(path_type=Path, allow_dash=True), help="Default: standard output.")
@span_options
@ledger_option
@force_option
def command(
    form: Form | None,
    output: Path | None,
    since: str | None,
    until: str | None,
    timezone: str | None,
    ledger: str | None,
    *,
    force: bool,
) -> None:
    """Write the receipts as a table, one row each. For a ledger that others can verify: `llmring receipts export`."""
    path = None if output is None or str(output) == "-" else output
    seen = Seen()
    with failures():
        chosen = form or _form_of(path)
        if chosen == "parquet" and path is None:
            raise ConfigError("Parquet is not for a terminal or a pipe: name a file with -o")
        write, span = writer(chosen, path), read_span(since, until, timezone)
        with rows_of(ledger, span) as rows:
            if path is None:
                write(_flat(rows, seen), sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                with replacing(path, force=force) as file:
                    write(_flat(rows, seen), file)
                click.echo(f"✅ Exported {seen.receipts:,} receipts to {path}")
    if seen.missing:
        note(f"{plural(seen.missing, 'attempt has', 'attempts have')} no receipt: the ledger has a gap")


def _form_of(path: Path | None) -> Form:
    """Raises ConfigError for a name that says nothing."""
    if path is None:
        return "json"
    form = ENDINGS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"{path} names no format: end it in {', '.join(ENDINGS)}, or say --format")
    return form


def _flat(rows: Iterable[Row], seen: Seen) -> Iterator[dict[str, Cell]]:
    """The receipts among them; `seen` is told as they go by."""
    for row in rows:
        entry = entry_of(row.signed)
        if isinstance(entry, Receipt):
            seen.receipts += 1
            yield flat(entry)
        elif isinstance(entry, Gap):
            seen.missing += entry.missing
