"""Batch receipts as they are checked: by their signature alone, against their ledger, and with one of their receipts
that is proved to be in them. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.batching import check_sums, differences, selected, tally_selected
from llmring.receipts.canonical import Count
from llmring.receipts.checkpoint import check_signature, read_path
from llmring.receipts.merkle import inclusion_proof, leaf_hash, root_from
from llmring.receipts.receipt import Receipt, read
from llmring.receipts.signing import PublicKey, Signed, decode_envelope, encode_envelope

VERSION = 1


def verify_batch(signed: Signed, keys: Mapping[str, PublicKey]) -> BatchReceipt:
    """A batch receipt that one of `keys` has signed, and that adds up. Raises SignatureInvalid, ReceiptError."""
    batch = read(signed.payload_type, signed.payload)
    if not isinstance(batch, BatchReceipt):
        raise ReceiptError(f"not a batch receipt: it is of the type {signed.payload_type!r}")
    check_signature(signed, batch.key_id, keys, f"the batch receipt {batch.receipt_id}")
    check_sums(batch)
    return batch


def against_ledger(batch: BatchReceipt, entries: Iterable[Signed]) -> list[str]:
    """In what a batch receipt is not what the entries of its ledger add up to, the root over them included; empty where
    it is. Raises ReceiptError for one that is of no ledger, and for an entry that cannot be read."""
    if batch.selection is None:
        raise ReceiptError(f"the batch receipt {batch.receipt_id} is of no ledger: it does not say which receipts")
    found = tally_selected(entries, batch.selection)
    try:
        return differences(batch, found.batch(batch.receipt_id, batch.timestamp, batch.selection))
    except ReceiptError:
        return ["there are no such receipts in the ledger"]


class BatchProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt and the way from it to the root of a batch receipt. `receipt` and `batch` are DSSE envelopes, `index`
    is the receipt's place in the batch, from 0, `path` hashes in hexadecimal, the lowest first."""

    llmring_batch_proof: int
    receipt: msgspec.Raw
    index: Count
    path: tuple[str, ...]
    batch: msgspec.Raw


_PROOFS = msgspec.json.Decoder(BatchProof)


def prove_in_batch(receipt_id: str, batch: Signed, entries: Iterable[Signed]) -> bytes:
    """The proof that a receipt is in a batch receipt, from the entries of their ledger; JSON without a line break.

    Raises ReceiptError where it is not in it, and where the ledger's receipts are not those that were signed for.
    """
    said = read(batch.payload_type, batch.payload)
    if not isinstance(said, BatchReceipt) or said.selection is None:
        raise ReceiptError("not a batch receipt of a ledger")
    leaves: list[bytes] = []
    found: tuple[Signed, int] | None = None
    for signed, entry in selected(entries, said.selection):
        if isinstance(entry, Receipt):
            if entry.receipt_id == receipt_id:
                found = signed, len(leaves)
            leaves.append(leaf_hash(signed.payload))
    if found is None:
        raise ReceiptError(f"there is no receipt {receipt_id!r} in the batch receipt {said.receipt_id}")
    one, index = found
    path = inclusion_proof(leaves, index)
    root = root_from(leaves[index], index, said.batch_summary.receipts, path)
    if root is None or root.hex() != said.root:
        raise ReceiptError(
            "the receipts of the ledger are not those that were signed for: see `llmring receipts verify`"
        )
    return msgspec.json.encode(
        BatchProof(
            llmring_batch_proof=VERSION,
            receipt=msgspec.Raw(encode_envelope(one)),
            index=index,
            path=tuple(step.hex() for step in path),
            batch=msgspec.Raw(encode_envelope(batch)),
        )
    )


def verify_in_batch(data: bytes, keys: Mapping[str, PublicKey]) -> tuple[Receipt, BatchReceipt]:
    """The receipt that is proved, and the batch receipt that it is in, both signed by `keys`. Raises SignatureInvalid;
    ReceiptError for no such proof, and for a receipt that is not in it."""
    try:
        proof = _PROOFS.decode(data)
        path = read_path(proof.path)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a proof: {error}") from error
    if proof.llmring_batch_proof != VERSION:
        raise ReceiptError(f"a proof of version {proof.llmring_batch_proof}; this llmring reads {VERSION}")
    batch = verify_batch(decode_envelope(bytes(proof.batch)), keys)
    signed = decode_envelope(bytes(proof.receipt))
    receipt = read(signed.payload_type, signed.payload)
    if not isinstance(receipt, Receipt):
        raise ReceiptError(f"not a receipt of one attempt: it is of the type {signed.payload_type!r}")
    check_signature(signed, receipt.key_id, keys, f"the receipt {receipt.receipt_id}")
    _check_place(signed, receipt, batch)
    root = root_from(leaf_hash(signed.payload), proof.index, batch.batch_summary.receipts, path)
    if root is None or root.hex() != batch.root:
        raise ReceiptError(f"receipt {receipt.receipt_id} is not in the batch receipt {batch.receipt_id}")
    return receipt, batch


def _check_place(signed: Signed, receipt: Receipt, batch: BatchReceipt) -> None:
    """That what the two say of themselves fits."""
    chosen: Sequence[object] = [signed]
    if batch.selection is not None:
        chosen = list(selected([signed], batch.selection))
    if receipt.ledger != batch.ledger or not chosen:
        raise ReceiptError(f"receipt {receipt.receipt_id} is none that the batch receipt {batch.receipt_id} is about")
