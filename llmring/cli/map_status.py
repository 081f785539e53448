"""`llmring map status`: how far a run with a journal has come, while it runs or after it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from llmring.cli.amounts import spent_text
from llmring.cli.births import born_at
from llmring.cli.lockfiles import failing, json_option, print_json
from llmring.cli.tables import print_table
from llmring.cli.tally import Spent, Tally
from llmring.errors import ConfigError
from llmring.router.map.batch_lines import OpenBatch
from llmring.router.map.journal import is_being_written, read_journal


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The file itself. `running` and `first_write` are None where the system cannot tell."""

    running: bool | None
    resumable: bool
    first_write: datetime | None
    last_write: datetime
    size_bytes: int

    def rows_per_second(self, rows: int) -> float | None:
        """Over the life of the file, pauses between runs included; None where that is not known."""
        seconds = (self.last_write - self.first_write).total_seconds() if self.first_write is not None else 0.0
        return rows / seconds if seconds > 0.0 else None


@click.command()
@click.argument("journal", metavar="RUN.jsonl", type=click.Path(path_type=Path))
@json_option
def command(journal: Path, *, as_json: bool) -> None:
    """Show how far a run with --checkpoint RUN.jsonl has come: rows answered and failed, tokens, cost, pace.

    Batches that are on their way at the providers are listed; they are not asked. Only reads: a run that is writing the
    journal is not disturbed. How many rows are left the journal does not know,
    for it does not know the input.
    """
    tally, standing = failing(_look, journal)
    if as_json:
        print_json(_json(journal, tally, standing))
    else:
        _print(journal, tally, standing)


def _look(path: Path) -> tuple[Tally, Standing]:
    tally = Tally(read_journal(path))
    running = is_being_written(path)
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"cannot open the journal {path}: {error.strerror or error}") from error
    last_write = datetime.fromtimestamp(status.st_mtime, UTC)
    born = born_at(path)
    return tally, Standing(
        running=running,
        resumable=not running and os.access(path, os.W_OK),
        # A copy that kept the time of its last write is younger than that.
        first_write=born if born is not None and born <= last_write else None,
        last_write=last_write,
        size_bytes=status.st_size,
    )


def _json(path: Path, tally: Tally, standing: Standing) -> dict[str, Any]:
    rate = standing.rows_per_second(tally.rows)
    return {
        "journal": str(path),
        "running": standing.running,
        "resumable": standing.resumable,
        "answered": tally.answered,
        "failed": tally.failed,
        "unreadable": tally.unreadable,
        "batches": [_batch_json(batch, tally) for batch in tally.batches.values()],
        "errors": {kind: {"rows": count, "newest": tally.messages[kind]} for kind, count in tally.errors.items()},
        "models": {model: _spent_json(spent) for model, spent in sorted(tally.by_model.items())},
        "total": _spent_json(tally.total()),
        "first_write": standing.first_write.isoformat() if standing.first_write is not None else None,
        "last_write": standing.last_write.isoformat(),
        "size_bytes": standing.size_bytes,
        "rows_per_second": None if rate is None else round(rate, 3),
    }


def _batch_json(batch: OpenBatch, tally: Tally) -> dict[str, Any]:
    return {
        "tag": batch.tag,
        "id": batch.id,
        "model": str(batch.ref),
        "rows": len(batch.keys),
        "unanswered": tally.waiting(batch),
        "handed_in": batch.at.isoformat(),
    }


def _batch_row(batch: OpenBatch, tally: Tally) -> tuple[str, ...]:
    counts = (f"{len(batch.keys):,}", f"{tally.waiting(batch):,}")
    return batch.id or f"{batch.tag} (id not known)", str(batch.ref), *counts, _moment(batch.at)


def _spent_json(spent: Spent) -> dict[str, Any]:
    return {
        "answers": spent.answers,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost_usd": f"{spent.usd:f}" if spent.answers > spent.unpriced or not spent.answers else None,
        "unpriced": spent.unpriced,
    }


def _print(path: Path, tally: Tally, standing: Standing) -> None:
    unreadable = f", {tally.unreadable:,} that only another llmring can read" if tally.unreadable else ""
    click.echo(f"{path}: {tally.answered:,} rows answered, {tally.failed:,} failed{unreadable}")
    click.echo(_state(standing))
    rate = standing.rows_per_second(tally.rows)
    pace = f", {rate:.1f} rows a second" if rate is not None else ""
    first = f"First write {_moment(standing.first_write)}, last" if standing.first_write is not None else "Last"
    click.echo(f"{first} write {_moment(standing.last_write)}, {standing.size_bytes:,} bytes{pace}.")
    if tally.by_model:
        click.echo()
        models = [_row(model, spent) for model, spent in sorted(tally.by_model.items())]
        total = [_row("total", tally.total())] if len(models) > 1 else []
        print_table("Spent so far", ("model", "answers", "tokens in", "tokens out", "cost"), [*models, *total])
    if tally.batches:
        click.echo()
        batches = [_batch_row(batch, tally) for batch in tally.batches.values()]
        columns = ("batch", "model", "rows", "not answered", "handed in")
        print_table("Batches at the providers, not read to their end", columns, batches)
    if tally.failed:
        click.echo()
    for kind, count in tally.errors.items():
        click.echo(f"{count:,} x {kind}, the newest: {tally.messages[kind]}")


def _state(standing: Standing) -> str:
    if standing.running:
        return "A run is writing it now."
    if not standing.resumable:
        return "No run is writing it, and you may not: it cannot be taken up."
    nobody = "No run is writing it: the" if standing.running is not None else "The"
    return f"{nobody} same command takes it up, and asks again what failed."


def _row(model: str, spent: Spent) -> tuple[str, ...]:
    counts = (spent.answers, spent.input_tokens, spent.output_tokens)
    return model, *(f"{count:,}" for count in counts), spent_text(spent.usd, spent.unpriced)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
