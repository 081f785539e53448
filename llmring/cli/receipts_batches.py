"""`llmring receipts generate` and `preview`: one receipt of many, signed into their ledger, and what it would say."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from llmring.cli.amounts import certified_text
from llmring.cli.ledgers import (
    chosen_ledger,
    entry_of,
    failures,
    force_option,
    ledger_option,
    ledger_writer,
    reading,
    reading_keys,
)
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.output import open_output
from llmring.cli.running import note
from llmring.cli.spans import Span, read_span, span_options
from llmring.cli.tables import print_table, printable
from llmring.config import LedgerPlace
from llmring.errors import LLMRingError, ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt, Selection, Totals
from llmring.receipts.batching import LowerBounds, tally_selected
from llmring.receipts.generator import new_receipt_id
from llmring.receipts.receipt import BATCH_RECEIPT, Receipt, read, timestamp
from llmring.receipts.signing import Signed, encode_envelope, verifies
from llmring.receipts.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

COLUMNS = ("", "receipts", "tokens", "cost")
NUMBERS = ("receipts", "tokens", "cost")
_SINCE_LAST = "Those after the last batch receipt of the same aliases that names no times."


def _selecting(command: Command) -> Command:
    """The options that say which receipts."""
    options = (
        click.option("--alias", "aliases", metavar="ALIAS", multiple=True, help="Those of this alias. Repeatable."),
        click.option(
            "--since-last",
            is_flag=True,
            help=_SINCE_LAST,
        ),
    )
    for option in reversed(options):
        command = option(command)
    return span_options(command)


@click.command(
    "generate",
    epilog="""\b
    Examples:
      llmring receipts generate --since 2026-11-01 --until 2026-11-30 --tag november
      llmring receipts generate --since-last --alias summarizer -o summarizer.dsse
    """,
)
@_selecting
@click.option("--description", metavar="TEXT", help="What it is for. Signed with it.")
@click.option("--tag", "tags", metavar="TEXT", multiple=True, help="A label. Signed with it. May be repeated.")
@ledger_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write its DSSE envelope there, too; `show ID --envelope` prints it later.",
)
@force_option
@json_option
def generate(
    since: str | None,
    until: str | None,
    timezone: str | None,
    aliases: Sequence[str],
    description: str | None,
    tags: Sequence[str],
    ledger: str | None,
    output: Path | None,
    *,
    since_last: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Sign one receipt of many: how many, their tokens and costs by model and alias, and the root of a tree over them.

    Without options it is of all receipts. Their signatures are verified before. The receipt becomes an entry of the
    ledger.
    """
    with failures():
        place, span = chosen_ledger(ledger), read_span(since, until, timezone)
        with reading(place) as store:
            batch, bounds = _batch(store, span, aliases, since_last=since_last)
        batch = msgspec.structs.replace(batch, description=description, tags=tuple(tags))
        signed = _certified(place, batch, output, force=force)
    if as_json:
        print_json(msgspec.to_builtins(entry_of(signed)))
    elif output != Path("-"):
        click.echo(f"✅ Receipt generated successfully!\nReceipt ID: {batch.receipt_id}")
        _print_totals(batch, bounds)


@click.command("preview")
@_selecting
@ledger_option
@json_option
def preview(
    since: str | None,
    until: str | None,
    timezone: str | None,
    aliases: Sequence[str],
    ledger: str | None,
    *,
    since_last: bool,
    as_json: bool,
) -> None:
    """Show what `generate` would sign, and sign nothing. With --since-last: what is in no batch receipt yet."""
    with failures():
        span = read_span(since, until, timezone)
        with reading(chosen_ledger(ledger)) as store:
            batch, bounds = _batch(store, span, aliases, since_last=since_last)
    if as_json:
        told = ("batch_summary", "root", "selection", "missing")
        found = {name: msgspec.to_builtins(getattr(batch, name)) for name in told}
        print_json({**found, "lower_bounds": bounds.count})
        return
    click.echo("📋 Receipt Preview:")
    _print_totals(batch, bounds)
    summary = batch.batch_summary
    rows = [("all", *_cells(summary, bounds.count))]
    for parts, uncertain in ((summary.by_model, bounds.by_model), (summary.by_alias, bounds.by_alias)):
        rows += [(printable(name), *_cells(totals, uncertain[name])) for name, totals in sorted(parts.items())]
    print_table("Totals", COLUMNS, rows, numbers=NUMBERS)


def _batch(store: Store, span: Span, aliases: Sequence[str], *, since_last: bool) -> tuple[BatchReceipt, LowerBounds]:
    """What the ledger's receipts come to, each verified, not signed. Raises ReceiptError."""
    head, keys = store.head(), reading_keys(store)
    named = tuple(sorted(set(aliases))) or None
    selection = Selection(
        entries_from=_newest_end(store, named) if since_last else 0,
        entries_before=head.size,
        since=span.since,
        until=span.until,
        aliases=named,
    )

    def confirm(signed: Signed, receipt: Receipt) -> None:
        key = keys.get(receipt.key_id or "")
        if receipt.ledger != head.ledger or key is None or not verifies(key, signed):
            raise ReceiptError(f"entry {receipt.sequence} is not as it was signed: see `llmring receipts verify`")

    entries = (row.signed for row in store.rows(first=selection.entries_from))
    found = tally_selected(entries, selection, confirm)
    batch = found.batch(new_receipt_id(), timestamp(datetime.now(UTC)), selection)
    return msgspec.structs.replace(batch, ledger=head.ledger), found.lower_bounds()


def _certified(place: LedgerPlace, batch: BatchReceipt, output: Path | None, *, force: bool) -> Signed:
    """The batch receipt, signed into its ledger and written out; nothing is signed where the output cannot be opened.
    Raises ConfigError, LLMRingError, ReceiptError."""
    if output is None:
        with ledger_writer(place) as writer:
            return writer.certify(batch)
    signed = None
    try:
        with open_output(output, force=force) as out, ledger_writer(place) as writer:
            signed = writer.certify(batch)
            out.write(encode_envelope(signed) + b"\n")
    except LLMRingError:
        if signed is not None:
            note(f"it is signed: `llmring receipts show {batch.receipt_id} --envelope` prints it")
        raise
    return signed


def _newest_end(store: Store, aliases: tuple[str, ...] | None) -> int:
    """Where the newest batch receipt of the same aliases has ended; 0 without one. One of certain times alone has left
    out others."""
    for row in reversed(store.of_type(BATCH_RECEIPT)):
        entry = read(row.signed.payload_type, row.signed.payload)
        chosen = entry.selection if isinstance(entry, BatchReceipt) else None
        if chosen is not None and (chosen.aliases, chosen.since, chosen.until) == (aliases, None, None):
            return chosen.entries_before
    return 0


def _print_totals(batch: BatchReceipt, bounds: LowerBounds) -> None:
    found = batch.batch_summary
    click.echo(f"Certified receipts: {found.receipts:,} of {found.calls:,} calls")
    click.echo(f"From: {found.start_date}\nTo:   {found.end_date}")
    click.echo(f"Total tokens: {found.total_tokens:,}\nTotal cost: {certified_text(found, bounds.count)}")
    if found.without_cost:
        note(f"{found.without_cost:,} of them do not say what they cost, and are not in the sum")
    if bounds.count:
        whose = "was priced by what was seen of it" if bounds.count == 1 else "were priced by what was seen of them"
        note(f"{bounds.count:,} of them broke off, and {whose}: the sum is a lower bound")
    if batch.missing:
        note(f"{batch.missing:,} attempts of that time have no receipt")


def _cells(totals: Totals, lower_bounds: int) -> tuple[str, str, str]:
    return f"{totals.receipts:,}", f"{totals.total_tokens:,}", certified_text(totals, lower_bounds)
