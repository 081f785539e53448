"""`llmring receipts`: the signed record of what was asked, answered and paid; made, looked at and handed out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from llmring.cli.amounts import certified_text
from llmring.cli.ledgers import (
    chosen_ledger,
    entry_of,
    failures,
    force_option,
    found_row,
    key_file,
    key_set,
    ledger_option,
    ledger_writer,
    output_option,
    read_bytes,
    reading,
)
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.output import open_output
from llmring.cli.receipts_batches import generate as generate_command
from llmring.cli.receipts_batches import preview as preview_command
from llmring.cli.receipts_prove import command as prove_command
from llmring.cli.receipts_verify import command as verify_command
from llmring.cli.reconcile import command as reconcile_command
from llmring.cli.running import note
from llmring.cli.tables import print_table, printable
from llmring.config import LEDGER_NAME, SIGNING_KEY_VARIABLE, LedgerPlace, read_signing_key
from llmring.errors import ConfigError, ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.contents import Side, is_opened, is_salt, opening
from llmring.receipts.exchange import export_lines
from llmring.receipts.keys import KeySet, encode_key_set, make_key, prepare_next, read_key, take_next
from llmring.receipts.opening import writer_for
from llmring.receipts.receipt import Entry, Gap, Handover, Receipt
from llmring.receipts.signing import encode_envelope
from llmring.receipts.store import LedgerMissing, Row

COLUMNS = ("time", "receipt", "alias", "model", "outcome", "tokens", "cost")
NUMBERS = ("tokens", "cost")


@click.group("receipts")
def command() -> None:
    """Look at, verify and hand out the receipts of calls."""


for one in (generate_command, preview_command, verify_command, prove_command, reconcile_command):
    command.add_command(one)


@command.command("keygen")
@ledger_option
@click.option("--rotate", is_flag=True, help="Have the key that is there hand over to a new one.")
@json_option
def keygen(ledger: str | None, *, rotate: bool, as_json: bool) -> None:
    """Make the key that signs a ledger, beside it; that of a database is in ~/.local/share/llmring/signing.key. Without
    this, it is made with the first receipt.

    --rotate writes a hand-over into the ledger, signed by the old key, which is then deleted. Running routers go on
    with the new one.
    """
    with failures():
        if read_signing_key() is not None:
            raise ConfigError(f"{SIGNING_KEY_VARIABLE} holds the key: it is looked after where it comes from")
        place = chosen_ledger(ledger)
        file = key_file(place)
        old = read_key(file).key_id if rotate else None
        made = rotate or make_key(file)
        if old is not None:
            _rotate(place, file, old)
        key_id = read_key(file).key_id
    if as_json:
        print_json({"key_id": key_id, "path": str(file), "made": made, "replaced": old})
    elif old is not None:
        click.echo(f"✅ {key_id} signs from now on, in place of {old}")
    else:
        click.echo(f"✅ Made the key {key_id} in {file}" if made else f"The key {key_id} is in {file} already")


def _rotate(place: LedgerPlace, file: Path, old: str) -> None:
    beside = LedgerPlace(where=file.parent / LEDGER_NAME, key=file)
    if isinstance(place.where, LedgerUrl) and _is_signed_by(beside, old):
        raise ConfigError(
            f"the key {old} signs the ledger {beside.where}, too, which could not be written to without it: name that "
            f"one another ledger first, or sign the database's with a key in {SIGNING_KEY_VARIABLE}"
        )
    writer = writer_for(place, None)
    try:
        writer.open()
        writer.hand_over(prepare_next(file))
        take_next(file)
    finally:
        writer.close()


def _is_signed_by(place: LedgerPlace, key_id: str) -> bool:
    try:
        with reading(place) as store:
            return store.head().key_id == key_id
    except ReceiptError:
        return False


@command.command("keys")
@ledger_option
def keys(ledger: str | None) -> None:
    """Print the public keys of a ledger, for others to verify it with: a JWK set."""
    with failures():
        place = chosen_ledger(ledger)
        try:
            with reading(place) as store:
                found = key_set(store)
        except LedgerMissing:
            public = read_key(key_file(place)).public
            found = KeySet(keys=(public,), current_key_id=public.key_id)
    print_json(encode_key_set(found))


@command.command("list")
@ledger_option
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many of the newest.")
@json_option
def list_command(ledger: str | None, limit: int, *, as_json: bool) -> None:
    """List receipts, the newest first."""
    with failures(), reading(chosen_ledger(ledger)) as store:
        entries = [entry_of(row.signed) for row in store.rows(newest=limit)]
        size = store.head().size
    if as_json:
        print_json({"entries": size, "receipts": [msgspec.to_builtins(entry) for entry in entries]})
        return
    print_table("Receipts", COLUMNS, [_cells(entry) for entry in entries], numbers=NUMBERS)
    click.echo(f"{len(entries):,} of {size:,} entries")


def _cells(entry: Entry) -> Sequence[str]:
    when = entry.timestamp[:19].replace("T", " ")
    match entry:
        case Receipt():
            tokens = f"{entry.total_tokens:,}" if entry.total_tokens is not None else "?"
            bound = "≥ " if entry.is_lower_bound else ""
            cost = f"{bound}${entry.total_cost}" if entry.total_cost is not None else "?"
            names = (entry.alias, f"{entry.provider}:{entry.model}", entry.outcome or "")
            return (when, entry.receipt_id, *map(printable, names), tokens, cost)
        case Gap():
            return (when, "(gap)", "", "", f"{entry.missing:,} attempts have no receipt", "", "")
        case Handover():
            return (when, "(hand-over)", "", "", f"to the key {entry.to_key_id}", "", "")
        case BatchReceipt():
            found = entry.batch_summary
            told = f"a batch of {found.receipts:,} receipts"
            return (when, entry.receipt_id, "", "", told, f"{found.total_tokens:,}", certified_text(found))


@command.command("show")
@click.argument("receipt_id", metavar="ID")
@ledger_option
@click.option("--envelope", is_flag=True, help="Print the DSSE envelope: what a stranger verifies.")
@click.option("--openings", is_flag=True, help="Print what opens its digests of prompt and answer. Keep that.")
@click.option(
    "--request",
    "asked",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --openings: what was asked, as JSON, to be held against its digest.",
)
@click.option(
    "--response",
    "answered",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --openings: what was answered, likewise.",
)
def show(
    receipt_id: str,
    ledger: str | None,
    asked: Path | None,
    answered: Path | None,
    *,
    envelope: bool,
    openings: bool,
) -> None:
    """Print one receipt as JSON."""
    texts: dict[Side, Path | None] = {"request": asked, "response": answered}
    if any(texts.values()) and not openings:
        raise click.UsageError("--request and --response go with --openings")
    with failures():
        with reading(chosen_ledger(ledger)) as store:
            row = found_row(store, receipt_id)
            entry = entry_of(row.signed)
        told = _openings(row, entry, texts) if openings else None
    if envelope:
        click.echo(encode_envelope(row.signed).decode())
    elif told is not None:
        print_json(told)
    else:
        print_json(msgspec.to_builtins(entry))


def _openings(row: Row, entry: Entry, texts: Mapping[Side, Path | None]) -> dict[Side, str | None]:
    """By what they open; None where there is nothing to be opened. Raises ReceiptError where they open something else
    than the texts, ConfigError for a file that is no JSON."""
    digests: dict[Side, str | None] = {"request": None, "response": None}
    if isinstance(entry, Receipt):
        digests = {"request": entry.request_digest, "response": entry.response_digest}
    salt, has_digests = row.salt, any(digests.values())
    if has_digests and salt is None:
        raise ReceiptError("its salt was deleted: nothing opens its digests any more")
    if salt is None or not has_digests:
        return dict.fromkeys(digests)
    if not is_salt(salt):
        raise ReceiptError(
            "its salt is not as it was written, so nothing opens its digests: see `llmring receipts verify`"
        )
    for side, told in digests.items():
        file = texts[side]
        if file is None:
            continue
        if told is None or not is_opened(told, opening(salt, side), _content(file)):
            raise ReceiptError(f"{file} is not the {side} of {row.receipt_id}, or its salt is not as it was written")
    if not any(texts.values()):
        note("not held against the digests, which takes what was asked or answered: --request FILE, --response FILE")
    return {side: opening(salt, side).hex() for side in digests}


def _content(file: Path) -> Any:
    try:
        return json.loads(read_bytes(file))
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON: {error}") from error


@command.command("checkpoint")
@ledger_option
@output_option
@force_option
def checkpoint(ledger: str | None, output: Path | None, *, force: bool) -> None:
    """Sign how the ledger stands now. Given to somebody else, it shows whatever is done to the ledger later."""
    with failures():
        place = chosen_ledger(ledger)
        with reading(place):
            pass
        with open_output(output, force=force) as out, ledger_writer(place) as writer:
            out.write(encode_envelope(writer.checkpoint()) + b"\n")


@command.command("export")
@ledger_option
@output_option
@force_option
def export(ledger: str | None, output: Path | None, *, force: bool) -> None:
    """Write the whole ledger as JSON lines: the public keys, an envelope for each entry, the checkpoints.

    What opens the digests of prompts and answers is left out.
    """
    with failures(), reading(chosen_ledger(ledger)) as store:
        head, entries = store.head(), (row.signed for row in store.rows())
        lines = export_lines(head.ledger, key_set(store), head.size, entries, store.checkpoints())
        _write(lines, output, force=force)


def _write(lines: Iterable[bytes], output: Path | None, *, force: bool) -> None:
    with open_output(output, force=force) as out:
        for line in lines:
            out.write(line)
