"""`llmring receipts verify`: a ledger, an export, a proof, a receipt of one or of many.

Needs nothing secret, only a public key.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from llmring.cli.amounts import certified_text
from llmring.cli.ledgers import chosen_ledger, failures, key_set, ledger_option, read_bytes, reading
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.running import note
from llmring.cli.tables import printable
from llmring.config import LedgerPlace
from llmring.errors import ConfigError, ReceiptError, SignatureInvalid
from llmring.ledger_url import LedgerUrl
from llmring.receipts.auditing import audit_export, audit_ledger
from llmring.receipts.batch_proof import against_ledger, verify_in_batch
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.batching import check_sums
from llmring.receipts.chain import Audit
from llmring.receipts.checkpoint import CHECKPOINT, verify_extension, verify_proof
from llmring.receipts.keys import read_public_keys
from llmring.receipts.receipt import Entry, Receipt, read, receipt_id_of
from llmring.receipts.signing import PublicKey, ReceiptSigner, Signed, decode_envelope, verifies
from llmring.receipts.store import LedgerMissing

FOUND = 1
MOST_SHOWN = 100
_PROOFS = (b'"llmring_proof"', b'"llmring_extension"', b'"llmring_batch_proof"')
_BY_CHECKPOINT = _PROOFS[:2]
_SQLITE = b"SQLite format 3\x00"


@click.command(
    "verify",
    epilog="""\b
    FILE is a ledger, what `export`, `prove` or `generate` has written, or one receipt as `show` prints
    it, with --envelope or without. Without FILE it is the ledger itself. What a batch receipt says is
    worked out again where its ledger is here.

    \b
    Examples:
      llmring receipts verify
      llmring receipts verify theirs.jsonl --key their-keys.json --checkpoint kept-in-june.json
      llmring receipts verify nothing-is-gone.json --key their-keys.json --checkpoint kept-in-june.json
    """,
)
@click.argument("file", metavar="[FILE]", required=False)
@ledger_option
@click.option(
    "--key",
    "key_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The signer's public key, as its owner publishes it. Default: the one that is named by what is verified.",
)
@click.option(
    "--checkpoint",
    "checkpoint_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A checkpoint that was kept elsewhere.",
)
@json_option
def command(
    file: str | None, ledger: str | None, key_files: Sequence[Path], checkpoint_files: Sequence[Path], *, as_json: bool
) -> int:
    """Find out what was altered, removed, moved, put in, signed again or cut off. Ends with 1 when anything was."""
    with failures():
        trusted = [key for one in key_files for key in read_public_keys(read_bytes(one)).keys]
        checkpoints = [decode_envelope(read_bytes(one).strip()) for one in checkpoint_files]
        place = chosen_ledger(file if file is not None else ledger)
        judged = _judged(place, trusted, checkpoints)
        if judged is None:
            assert isinstance(place.where, Path), "a database is a ledger"
            beside = chosen_ledger(ledger) if file is not None else None
            return _one(place.where, trusted or _own_keys(ledger), checkpoints, beside, as_json=as_json)
    if as_json:
        print_json(msgspec.to_builtins(judged))
    else:
        _print(judged, is_trusted=bool(trusted))
    return FOUND if judged.findings else 0


def _judged(place: LedgerPlace, trusted: Sequence[PublicKey], checkpoints: Sequence[Signed]) -> Audit | None:
    """Of a ledger or an export; None for what is neither."""
    path = place.where
    if isinstance(path, LedgerUrl):
        with reading(place) as store:
            return audit_ledger(store, trusted, checkpoints)
    try:
        with path.open("rb") as source:
            start = source.read(len(_SQLITE))
            source.seek(0)
            if start == _SQLITE:
                with reading(place) as store:
                    return audit_ledger(store, trusted, checkpoints)
            if b'"llmring_export"' in source.readline():
                source.seek(0)
                return audit_export(source, trusted, checkpoints)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    return None


def _print(judged: Audit, *, is_trusted: bool) -> None:
    for finding in judged.findings[:MOST_SHOWN]:
        note(printable(str(finding)))
    if len(judged.findings) > MOST_SHOWN:
        note(f"and {len(judged.findings) - MOST_SHOWN:,} more")
    if judged.findings:
        count = f"{len(judged.findings):,} finding{'s' if len(judged.findings) > 1 else ''}"
        click.echo(f"❌ {judged.entries:,} entries, {count}")
        return
    click.echo(f"✅ {judged.entries:,} entries are as they were signed, {judged.checkpoints:,} checkpoints hold")
    click.echo(f"   Root: {judged.root}")
    for signer in judged.signers:
        click.echo(f"   Signed by: {signer}")
    if judged.closed:
        count = f"{judged.closed:,} receipt{'s have' if judged.closed > 1 else ' has'}"
        click.echo(f"   {count} no salt any more: what was asked and answered there can be proved by nobody")
    if not is_trusted and judged.entries:
        click.echo("   No --key was given: compare the first of these with what its owner publishes")


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified: `what` it is called, `receipt_id` where it is one, and what else is known of it by that."""

    what: str
    receipt_id: str | None = None
    of_entries: int | None = None
    batch: BatchReceipt | None = None
    told: tuple[str, ...] = ()


def _one(
    path: Path, trusted: Sequence[PublicKey], kept: Sequence[Signed], ledger: LedgerPlace | None, *, as_json: bool
) -> int:
    """A proof, an envelope, or a receipt with its signature."""
    data = read_bytes(path).strip()
    keys = {key.key_id: key for key in trusted}
    found, why, recomputed = _Found(what=str(path)), None, False
    is_proof = any(mark in data for mark in _PROOFS)
    _check_kind(data, path, kept)
    try:
        found = _verified(data, keys, kept)
        if found.batch is not None and not is_proof:
            recomputed = _is_recomputed(found.batch, ledger)
    except SignatureInvalid as error:
        why = str(error)
    except ReceiptError as error:
        raise ReceiptError(f"{path}: {error}") from error
    if as_json:
        told: dict[str, object] = {
            "receipt_id": found.receipt_id or found.what,
            "valid": why is None,
            "algorithm": "Ed25519",
            "of_entries": found.of_entries,
            "why": why,
        }
        print_json({**told, "recomputed": recomputed} if found.batch is not None else told)
    elif why is not None:
        title = f"The proof {path}" if is_proof else _titled(found)
        click.echo(f"❌ {printable(title)} is INVALID: {printable(why)}")
    else:
        _print_found(found, recomputed=recomputed, is_kept=bool(kept))
    return 0 if why is None else FOUND


def _check_kind(data: bytes, path: Path, kept: Sequence[Signed]) -> None:
    """Raises ConfigError for a checkpoint, which is no FILE, and where there is nothing to hold against those kept."""
    with suppress(ReceiptError):
        if decode_envelope(data).payload_type == CHECKPOINT:
            raise ConfigError(
                f"{path} is a checkpoint: name it with --checkpoint, beside a ledger, an export or a proof as FILE"
            )
    if kept and not any(mark in data for mark in _BY_CHECKPOINT):
        raise ConfigError(
            f"{path} says nothing of a checkpoint, so it cannot be held against one: `llmring receipts prove ID` where "
            "its ledger is writes what can be"
        )


def _titled(found: _Found) -> str:
    return printable(found.what if found.what.startswith("The ") else f"Receipt {found.receipt_id or found.what}")


def _print_found(found: _Found, *, recomputed: bool, is_kept: bool) -> None:
    place = f", one of {found.of_entries:,} entries" if found.of_entries is not None else ""
    click.echo(f"✅ {_titled(found)} is VALID{place}\n   Algorithm: Ed25519")
    for line in found.told:
        click.echo(f"   {printable(line)}")
    if found.what.startswith("The ledger") and not is_kept:
        click.echo("   No --checkpoint was given: compare the older root with the one that you have kept")
    if found.batch is not None and found.what != "proof":
        click.echo(
            "   Its ledger has these receipts, and they come to this"
            if recomputed
            else "   Its ledger is not here: its sums are as they were signed, and were not worked out again"
        )


def _verified(data: bytes, keys: dict[str, PublicKey], kept: Sequence[Signed]) -> _Found:
    """Raises SignatureInvalid; ReceiptError for what is none of it."""
    if b'"llmring_proof"' in data:
        entry, said = verify_proof(data, keys, kept)
        name = receipt_id_of(entry)
        return _Found(what=f"entry {entry.sequence}", receipt_id=name, of_entries=said.size)
    if b'"llmring_extension"' in data:
        old, new = verify_extension(data, keys, kept)
        told = (f"Then: {old.timestamp}, root {old.root}", f"Now:  {new.timestamp}, root {new.root}")
        what = f"The ledger of {new.size:,} entries, which goes on from the one of {old.size:,},"
        return _Found(what=what, told=told)
    if b'"llmring_batch_proof"' in data:
        receipt, batch = verify_in_batch(data, keys)
        place = f"One of the {batch.batch_summary.receipts:,} receipts of the batch receipt {batch.receipt_id}"
        return _Found(what="proof", receipt_id=receipt.receipt_id, batch=batch, told=(place,))
    return _signed_by(data, keys)


def _signed_by(data: bytes, keys: dict[str, PublicKey]) -> _Found:
    """A receipt that one of `keys` has signed. Raises SignatureInvalid; ReceiptError for what is none."""
    entry: Entry
    if b'"payloadType"' in data:
        signed = decode_envelope(data)
        entry = read(signed.payload_type, signed.payload)
        is_good = any(verifies(key, signed) for key in keys.values() if key.key_id == entry.key_id)
    else:
        form: type[Receipt | BatchReceipt] = BatchReceipt if b'"llmring_batch_receipt"' in data else Receipt
        try:
            entry = receipt = msgspec.convert(json.loads(data), form)
        except (msgspec.ValidationError, ValueError) as error:
            raise ReceiptError(f"neither a ledger nor an export, a proof or a receipt: {error}") from error
        is_good = any(ReceiptSigner.verify_receipt(receipt, key) for key in keys.values())
    name = receipt_id_of(entry) or f"entry {entry.sequence}"
    if not is_good:
        raise SignatureInvalid(f"{name} is not signed by any of {', '.join(keys) or 'no keys'}")
    if not isinstance(entry, BatchReceipt):
        return _Found(what=name, receipt_id=receipt_id_of(entry))
    check_sums(entry)
    found = entry.batch_summary
    told = f"{found.receipts:,} receipts, {found.total_tokens:,} tokens, {certified_text(found)}"
    return _Found(what=name, receipt_id=entry.receipt_id, batch=entry, told=(told,))


def _is_recomputed(batch: BatchReceipt, ledger: LedgerPlace | None) -> bool:
    """Whether the ledger of a batch receipt is here: then it was worked out again. Raises SignatureInvalid where
    something else came of it."""
    if ledger is None or batch.selection is None:
        return False
    try:
        with reading(ledger) as store:
            if store.head().ledger != batch.ledger:
                return False
            wrong = against_ledger(batch, (row.signed for row in store.rows()))
    except LedgerMissing:
        return False
    if wrong:
        raise SignatureInvalid("; ".join(wrong))
    return True


def _own_keys(ledger: str | None) -> Sequence[PublicKey]:
    """Those of the ledger that is here. Raises ConfigError where there is none."""
    try:
        with reading(chosen_ledger(ledger)) as store:
            return key_set(store).keys
    except ReceiptError as error:
        raise ConfigError(f"name the signer's public key with --key: {error}") from error
