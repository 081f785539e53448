"""Each entry by itself: whether it is what was signed, and what it says of its place in the chain. Pure.

Entries are checked in batches, for signatures are most of the work and can be had from several threads at once; what
comes of a batch is as little as the chain needs (chain.py): some 200 bytes an entry, its name the most of it.
"""

from array import array
from collections.abc import Iterable, Mapping

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.contents import SALT_BYTES, is_salt
from llmring.receipts.merkle import HASH_BYTES, leaf_hash
from llmring.receipts.receipt import Entry, Handover, Receipt, read, receipt_id_of
from llmring.receipts.signing import PublicKey, Signed, verifies

NONE = bytes(HASH_BYTES)
"""Where an entry names no previous one: no entry has this hash."""

UNREADABLE = -1
"""In place of a number, where an entry cannot be read."""


class Held(msgspec.Struct, frozen=True):
    """An entry as it was found, with what its place of storage says of it beside. `is_kept`: by a ledger, which says
    all of it, so None is something that it lacks; else None is what was not said."""

    signed: Signed
    sequence: int | None = None
    receipt_id: str | None = None
    timestamp: str | None = None
    hash: bytes | None = None
    salt: bytes | None = None
    is_kept: bool = False


class Checked(msgspec.Struct):
    """Entries that were checked, in the order they were found in. `faults` has those that are not what was signed, by
    their position in the batch; the numbers of such are what they claim. `names` are the receipts' ids, as they are
    kept under or else as they say themselves. Those at `misplaced` positions are kept under other numbers than
    they were signed with. `beside` has what is wrong with what is kept beside an entry that is what was signed;
    `closed` is how many receipts have digests that nothing opens, for their salts were deleted."""

    sequences: "array[int]"
    hashes: bytes
    previous: bytes
    signers: list[str]
    names: list[str | None]
    faults: dict[int, str]
    handovers: dict[int, Handover]
    misplaced: set[int]
    beside: dict[int, str]
    closed: int = 0

    def __len__(self) -> int:
        return len(self.signers)


def check(found: Iterable[Held], keys: Mapping[str, PublicKey], ledger: str | None) -> Checked:
    """Check signatures, spelling, and that an entry is of `ledger`; None: of whichever it says."""
    sequences = array("q")
    hashes: list[bytes] = []
    previous: list[bytes] = []
    signers: list[str] = []
    names: list[str | None] = []
    faults: dict[int, str] = {}
    handovers: dict[int, Handover] = {}
    misplaced: set[int] = set()
    beside: dict[int, str] = {}
    closed = 0
    for position, held in enumerate(found):
        own = leaf_hash(held.signed.payload)
        sequence, before, signer, fault, name = UNREADABLE, NONE, "", "", held.receipt_id
        try:
            entry = read(held.signed.payload_type, held.signed.payload)
        except ReceiptError as error:
            fault = str(error)
        else:
            sequence = entry.sequence if entry.sequence is not None else UNREADABLE
            before = _previous(entry)
            name = name or receipt_id_of(entry)
            fault, signer = _fault(held, entry, own, keys, ledger)
            if not fault and isinstance(entry, Handover):
                handovers[position] = entry
            if not fault and held.sequence not in (None, sequence):
                misplaced.add(position)
            if not fault and held.is_kept:
                if wrong := _wrong_beside(held, entry):
                    beside[position] = wrong
                closed += held.salt is None and _has_digests(entry)
        if fault:
            faults[position] = fault
        sequences.append(sequence)
        hashes.append(own)
        previous.append(before)
        signers.append(signer)
        names.append(name)
    return Checked(
        sequences=sequences,
        hashes=b"".join(hashes),
        previous=b"".join(previous),
        signers=signers,
        names=names,
        faults=faults,
        handovers=handovers,
        misplaced=misplaced,
        beside=beside,
        closed=closed,
    )


def joined(parts: Iterable[Checked]) -> Checked:
    """Batches, in order, as one."""
    whole = Checked(
        sequences=array("q"),
        hashes=b"",
        previous=b"",
        signers=[],
        names=[],
        faults={},
        handovers={},
        misplaced=set(),
        beside={},
    )
    hashes: list[bytes] = []
    previous: list[bytes] = []
    for part in parts:
        offset = len(whole)
        whole.sequences.extend(part.sequences)
        whole.signers += part.signers
        whole.names += part.names
        hashes.append(part.hashes)
        previous.append(part.previous)
        whole.faults |= {offset + position: fault for position, fault in part.faults.items()}
        whole.beside |= {offset + position: wrong for position, wrong in part.beside.items()}
        whole.closed += part.closed
        whole.misplaced |= {offset + position for position in part.misplaced}
        whole.handovers |= {offset + position: entry for position, entry in part.handovers.items()}
    whole.hashes, whole.previous = b"".join(hashes), b"".join(previous)
    return whole


def _previous(entry: Entry) -> bytes:
    """As bytes; what is no hash equals none."""
    if entry.previous is None:
        return NONE
    try:
        raw = bytes.fromhex(entry.previous)
    except ValueError:
        return NONE
    return raw if len(raw) == HASH_BYTES else NONE


def _fault(held: Held, entry: Entry, own: bytes, keys: Mapping[str, PublicKey], ledger: str | None) -> tuple[str, str]:
    """What is wrong with an entry, "" where nothing is, and who signed it."""
    key = keys.get(entry.key_id or "")
    if key is None:
        return f"its key {entry.key_id} is not known", ""
    if held.signed.key_id != key.key_id:
        return f"it is kept under the key {held.signed.key_id}, and signed for {key.key_id}", ""
    if not verifies(key, held.signed):
        return "the signature does not fit", ""
    if isinstance(entry, Receipt | BatchReceipt) and entry.signature is not None:
        return "it holds a signature inside of what is signed", ""
    if entry.ledger is None or entry.sequence is None:
        return "it is of no ledger", ""
    if ledger is not None and entry.ledger != ledger:
        return f"it is of another ledger, {entry.ledger}", ""
    beside = (
        ("id", held.receipt_id, receipt_id_of(entry)),
        ("time", held.timestamp, entry.timestamp),
        ("hash", held.hash, own),
    )
    for what, kept, signed in beside:
        if kept is not None and kept != signed:
            return f"it is kept under another {what} than was signed", key.key_id
    return "", key.key_id


def _wrong_beside(held: Held, entry: Entry) -> str:
    """What a ledger lacks of an entry, or keeps with it that cannot be, "" where nothing is wrong. A salt is signed by
    nobody: it may be deleted, so that the digests stay closed for good, and of another of its length nothing tells but
    the texts."""
    kept = (("id", held.receipt_id, receipt_id_of(entry)), ("time", held.timestamp, ""), ("hash", held.hash, b""))
    for what, there, signed in kept:
        if there is None and signed is not None:
            return f"it is kept without its {what}"
    if held.salt is None:
        return ""
    if not isinstance(entry, Receipt):
        return "it is kept with a salt, and has no digests"
    return "" if is_salt(held.salt) else f"it is kept with a salt that is none: one has {SALT_BYTES} bytes"


def _has_digests(entry: Entry) -> bool:
    return isinstance(entry, Receipt) and (entry.request_digest or entry.response_digest) is not None
