"""A ledger's head against what it is the head of: its entries and checkpoints say what it must be. Pure.

Nobody signs the head, and the next entry is chained to it. So an audit works all of it out again, and a writer, which
has no time for that, holds it against the newest entry and the newest checkpoint before it goes on.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.checking import Checked
from llmring.receipts.checkpoint import Checkpoint, read_checkpoint
from llmring.receipts.merkle import HASH_BYTES, Frontier, leaf_hash
from llmring.receipts.receipt import Handover, read
from llmring.receipts.signing import Signed
from llmring.receipts.store import End, Head

_SHOWN = 16
"""Hexadecimal digits of a hash."""


def checked_head(end: End) -> Head:
    """The head, to go on from. Raises ReceiptError where it is not that of the newest entry and the newest checkpoint:
    what is chained to it then would hide what was done."""
    try:
        wrong = _wrong(end)
    except ReceiptError as error:
        wrong = [str(error)]
    if wrong:
        raise ReceiptError(
            f"the ledger's head is not that of its entries ({'; '.join(wrong)}): `llmring receipts verify` says what "
            "was done; bring back a copy of the ledger, or name another ledger"
        )
    return end.head


def recomputed(head: Head, found: Checked, tree: Frontier | None, checkpoints: Sequence[Signed]) -> Head:
    """What the head should be: by all entries, by their tree, None where they are no whole chain, and by the ledger's
    own checkpoints. What they leave open is as `head` has it."""
    true = _by_entries(head, found)
    if tree is not None:
        true = msgspec.structs.replace(true, frontier=tree.encode())
    try:
        said = [read_checkpoint(one) for one in checkpoints]
    except ReceiptError:
        return true
    return _with_checkpoint(true, max(said, key=lambda one: one.size, default=None))


def differences(head: Head, true: Head) -> list[str]:
    """By field, in their order: what the head says, and what it should."""
    wrong: list[str] = []
    for name in head.__struct_fields__:
        said, meant = getattr(head, name), getattr(true, name)
        if said != meant:
            by = "checkpoints" if name.startswith("checkpoint") else "entries"
            wrong.append(f"{name}: {_shown(name, said, head.size)}, and by the {by} {_shown(name, meant, true.size)}")
    if not _is_time(true.checkpoint_at):
        wrong.append(f"checkpoint_at: {true.checkpoint_at}, which is no time")
    return wrong


def _wrong(end: End) -> list[str]:
    """Raises ReceiptError where the newest entry or checkpoint cannot be read."""
    head, newest = end.head, end.newest
    true = _after_none(head) if newest is None else _after(head, newest.sequence, newest.signed)
    said = read_checkpoint(end.checkpoint) if end.checkpoint is not None else None
    return differences(head, _with_checkpoint(true, said)) or _wrong_tree(head, said)


def _by_entries(head: Head, found: Checked) -> Head:
    """Size, last hash and key. Where entries are missing at the end, the head is taken at its word: then it tells."""
    good = {number: position for position, number in enumerate(found.sequences) if position not in found.faults}
    if not good:
        return head if len(found) or head.size > 0 else _after_none(head)
    size = max(good) + 1
    at = good[size - 1]
    last = found.hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]
    if head.size > size and head.last != last:
        return head
    handover = found.handovers.get(at)
    key_id = handover.to_key_id if handover is not None else found.signers[at]
    return msgspec.structs.replace(head, size=size, last=last, key_id=key_id)


def _after_none(head: Head) -> Head:
    return msgspec.structs.replace(head, size=0, last=None, frontier=b"", key_id=None)


def _after(head: Head, number: int, newest: Signed) -> Head:
    """Behind an entry that is kept under `number`."""
    entry = read(newest.payload_type, newest.payload)
    return msgspec.structs.replace(
        head,
        ledger=entry.ledger,
        size=number + 1,
        last=leaf_hash(newest.payload),
        key_id=entry.to_key_id if isinstance(entry, Handover) else entry.key_id,
    )


def _with_checkpoint(head: Head, said: Checkpoint | None) -> Head:
    """When a ledger was made, which is the time before there is a checkpoint, nothing else tells."""
    if said is None:
        return msgspec.structs.replace(head, checkpoint_size=0)
    return msgspec.structs.replace(head, checkpoint_size=said.size, checkpoint_at=said.timestamp)


def _wrong_tree(head: Head, said: Checkpoint | None) -> list[str]:
    """Of a frontier as much as can be seen without the other entries: in a tree of an odd size the newest stands by
    itself, and one of the newest checkpoint's size has its root."""
    tree, shown = _tree(head.size, head.frontier), f"frontier: {_shown('frontier', head.frontier, head.size)}"
    if tree is None:
        return [shown]
    if said is not None and said.size > head.size:
        return [f"size: {head.size}, and by the checkpoints {said.size}"]
    if said is not None and said.size == head.size and said.root != tree.root().hex():
        return [
            f"frontier: {_shown('frontier', head.frontier, head.size)}, and by the checkpoints {said.root[:_SHOWN]}"
        ]
    if head.size % 2 and head.frontier[-HASH_BYTES:] != head.last:
        return ["frontier: one without the newest entry"]
    return []


def _tree(size: int, frontier: bytes) -> Frontier | None:
    with suppress(ReceiptError):
        return Frontier.decode(size, frontier) if size >= 0 else None
    return None


def _shown(name: str, value: object, size: int) -> str:
    if name == "frontier" and isinstance(value, bytes):
        tree = _tree(size, value)
        return f"of the root {tree.root().hex()[:_SHOWN]}" if tree is not None else f"of no tree of {size}"
    if isinstance(value, bytes):
        return value.hex()[:_SHOWN]
    return str(value) if value is not None else "none"


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
