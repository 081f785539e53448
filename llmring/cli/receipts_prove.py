"""`llmring receipts prove`: what somebody without the ledger needs to believe one receipt, or that nothing is gone."""

from pathlib import Path

import click

from llmring.cli.ledgers import (
    chosen_ledger,
    failures,
    force_option,
    found_row,
    ledger_option,
    ledger_writer,
    output_option,
    read_bytes,
    reading,
)
from llmring.cli.output import open_output
from llmring.config import LedgerPlace
from llmring.errors import ReceiptError
from llmring.receipts.batch_proof import prove_in_batch
from llmring.receipts.checkpoint import encode_extension, encode_proof, read_checkpoint
from llmring.receipts.merkle import consistency_proof, extends, inclusion_proof, leaf_hash, root_from
from llmring.receipts.signing import Signed, decode_envelope
from llmring.receipts.store import Store


@click.command(
    "prove",
    epilog="""\b
    Examples:
      llmring receipts prove rcpt_0011… -o proof.json
      llmring receipts prove rcpt_0011… --batch rcpt_99aa… -o proof.json
      llmring receipts prove --since kept-in-june.json -o nothing-is-gone.json
    """,
)
@click.argument("receipt_id", metavar="[ID]", required=False)
@click.option("--batch", "batch_id", metavar="ID", help="Prove it to be in this batch receipt instead of the ledger.")
@click.option(
    "--since",
    "kept",
    metavar="CHECKPOINT",
    type=click.Path(path_type=Path),
    help="Prove that the ledger goes on from a checkpoint that was given away, and has lost nothing since.",
)
@ledger_option
@output_option
@force_option
def command(
    receipt_id: str | None,
    batch_id: str | None,
    kept: Path | None,
    ledger: str | None,
    output: Path | None,
    *,
    force: bool,
) -> None:
    """Prove a receipt to somebody without the ledger: with the way from it to a signed checkpoint.

    With --since, prove that the ledger of now holds all that it held by an old checkpoint. Signs a checkpoint where the
    newest one is too old.
    """
    if (receipt_id is None) == (kept is None) or (batch_id is not None and receipt_id is None):
        raise click.UsageError("name either a receipt, with --batch or without, or a checkpoint with --since")
    with failures():
        place = chosen_ledger(ledger)
        if kept is not None:
            proof = _extension(place, decode_envelope(read_bytes(kept).strip()))
        elif batch_id is not None:
            proof = _in_batch(place, receipt_id or "", batch_id)
        else:
            proof = _in_ledger(place, receipt_id or "")
        with open_output(output, force=force) as out:
            out.write(proof + b"\n")


def _in_ledger(place: LedgerPlace, receipt_id: str) -> bytes:
    with reading(place) as store:
        row = found_row(store, receipt_id)
        covering = [one for one in store.checkpoints() if read_checkpoint(one).size > row.sequence]
    signed = covering[-1] if covering else _new_checkpoint(place)
    said = read_checkpoint(signed)
    with reading(place) as store:
        hashes = store.hashes(said.size)
    path = inclusion_proof(hashes, row.sequence) if row.sequence < len(hashes) else []
    root = root_from(leaf_hash(row.signed.payload), row.sequence, said.size, path)
    if root is None or root.hex() != said.root:
        raise ReceiptError(
            f"the ledger is not that of its checkpoint of {said.size} entries any more: see `llmring receipts verify`"
        )
    return encode_proof(row.signed, row.sequence, path, signed)


def _in_batch(place: LedgerPlace, receipt_id: str, batch_id: str) -> bytes:
    with reading(place) as store:
        batch = found_row(store, batch_id).signed
        return prove_in_batch(receipt_id, batch, (row.signed for row in store.rows()))


def _extension(place: LedgerPlace, kept: Signed) -> bytes:
    """Raises ReceiptError where there is nothing to be proved: the ledger is not that of the checkpoint any more."""
    old = read_checkpoint(kept)
    with reading(place) as store:
        head, newest = store.head(), _newest(store)
    if head.ledger != old.ledger:
        raise ReceiptError(f"the checkpoint is of another ledger, {old.ledger}")
    is_current = newest is not None and read_checkpoint(newest).size == head.size
    new = newest if newest is not None and is_current else _new_checkpoint(place)
    said = read_checkpoint(new)
    with reading(place) as store:
        hashes = store.hashes(said.size)
    proof = consistency_proof(hashes, old.size)
    if not extends(old.size, bytes.fromhex(old.root), said.size, bytes.fromhex(said.root), proof):
        raise ReceiptError(
            f"the ledger does not go on from the checkpoint of {old.size} entries: see `llmring receipts verify "
            "--checkpoint`"
        )
    return encode_extension(kept, new, proof)


def _newest(store: Store) -> Signed | None:
    found = store.checkpoints()
    return found[-1] if found else None


def _new_checkpoint(place: LedgerPlace) -> Signed:
    with ledger_writer(place) as writer:
        return writer.checkpoint()
