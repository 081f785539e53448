"""`llmring receipts verify`: a ledger, an export, a proof, one receipt. Needs nothing secret, only a public key."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from llmring.cli.ledgers import chosen_ledger, failures, key_set, ledger_option, reading
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.running import note
from llmring.cli.tables import printable
from llmring.config import LedgerPlace
from llmring.errors import ConfigError, ReceiptError, SignatureInvalid
from llmring.ledger_url import LedgerUrl
from llmring.receipts.auditing import audit_export, audit_ledger
from llmring.receipts.chain import Audit
from llmring.receipts.checkpoint import verify_proof
from llmring.receipts.keys import read_public_keys
from llmring.receipts.receipt import Receipt, read
from llmring.receipts.signing import PublicKey, ReceiptSigner, Signed, decode_envelope, verifies

FOUND = 1
MOST_SHOWN = 100
_SQLITE = b"SQLite format 3\x00"


@click.command(
    "verify",
    epilog="""\b
    FILE is a ledger, what `export` or `prove` has written, or one receipt as `show` prints it, with
    --envelope or without. Without FILE it is the ledger itself.

    \b
    Examples:
      llmring receipts verify
      llmring receipts verify theirs.jsonl --key their-keys.json --checkpoint kept-in-june.json
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
        trusted = [key for one in key_files for key in read_public_keys(_bytes(one)).keys]
        checkpoints = [decode_envelope(_bytes(one).strip()) for one in checkpoint_files]
        place = chosen_ledger(file if file is not None else ledger)
        judged = _judged(place, trusted, checkpoints)
        if judged is None:
            assert isinstance(place.where, Path), "a database is a ledger"
            return _one(place.where, trusted or _own_keys(ledger), as_json=as_json)
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
    if not is_trusted and judged.entries:
        click.echo("   No --key was given: compare the first of these with what its owner publishes")


def _one(path: Path, trusted: Sequence[PublicKey], *, as_json: bool) -> int:
    """A proof, an envelope, or a receipt with its signature."""
    data = _bytes(path).strip()
    keys = {key.key_id: key for key in trusted}
    proved: int | None = None
    try:
        if b'"llmring_proof"' in data:
            entry, said = verify_proof(data, keys)
            name, proved = entry.receipt_id if isinstance(entry, Receipt) else f"entry {entry.sequence}", said.size
        else:
            name = _signed_by(data, keys)
        why = None
    except SignatureInvalid as error:
        name, why = str(path), str(error)
    if as_json:
        print_json({"receipt_id": name, "valid": why is None, "algorithm": "Ed25519", "of_entries": proved, "why": why})
    elif why is not None:
        click.echo(f"❌ Receipt {printable(name)} is INVALID: {printable(why)}")
    else:
        place = f", one of {proved:,} entries" if proved is not None else ""
        click.echo(f"✅ Receipt {printable(name)} is VALID{place}\n   Algorithm: Ed25519")
    return 0 if why is None else FOUND


def _signed_by(data: bytes, keys: dict[str, PublicKey]) -> str:
    """The id of a receipt that one of `keys` has signed. Raises SignatureInvalid; ReceiptError for what is none."""
    if b'"payloadType"' in data:
        signed = decode_envelope(data)
        entry = read(signed.payload_type, signed.payload)
        is_good = any(verifies(key, signed) for key in keys.values() if key.key_id == entry.key_id)
        name = entry.receipt_id if isinstance(entry, Receipt) else f"entry {entry.sequence}"
    else:
        try:
            receipt = msgspec.convert(json.loads(data), Receipt)
        except (msgspec.ValidationError, ValueError) as error:
            raise ReceiptError(f"neither a ledger nor an export, a proof or a receipt: {error}") from error
        is_good = any(ReceiptSigner.verify_receipt(receipt, key) for key in keys.values())
        name = receipt.receipt_id
    if not is_good:
        raise SignatureInvalid(f"{name} is not signed by any of {', '.join(keys) or 'no keys'}")
    return name


def _own_keys(ledger: str | None) -> Sequence[PublicKey]:
    """Those of the ledger that is here. Raises ConfigError where there is none."""
    try:
        with reading(chosen_ledger(ledger)) as store:
            return key_set(store).keys
    except ReceiptError as error:
        raise ConfigError(f"name the signer's public key with --key: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
