"""What a ledger keeps beside what is signed, against what is signed: its keys, and the sizes of its checkpoints. Pure.

Of an entry that is in checking.py, of the head in head.py.
"""

from collections.abc import Sequence
from contextlib import suppress

from llmring.errors import ReceiptError
from llmring.receipts.checking import Checked
from llmring.receipts.checkpoint import read_checkpoint
from llmring.receipts.signing import PublicKey
from llmring.receipts.store import Key, Standing


def wrong_sizes(stands: Standing) -> list[str]:
    """Of checkpoints that are kept under another size than they say. One that cannot be read says none."""
    wrong: list[str] = []
    for kept, signed in zip(stands.checkpoint_sizes, stands.checkpoints, strict=True):
        with suppress(ReceiptError):
            size = read_checkpoint(signed).size
            if size != kept:
                wrong.append(f"the one of {size} entries is kept as one of {kept}")
    return wrong


def wrong_keys(keys: Sequence[Key], found: Checked) -> list[str]:
    """Of keys that are kept otherwise than the entries have them, which must be a whole chain: the first from its
    beginning, others from behind the hand-over to them."""
    wrong = [f"{key.key_id} is kept with another public key than it names" for key in keys if not _fits(key)]
    if not len(found):
        return wrong
    true = _by_entries(found)
    for key in keys:
        since = [number for key_id, number in true if key_id == key.key_id]
        if not since:
            wrong.append(f"{key.key_id} is kept as a key of the ledger, and none of its entries says so")
        elif key.since not in since:
            wrong.append(f"{key.key_id} is kept as one from entry {key.since} on, and by the entries from {since[0]}")
    kept = {key.key_id for key in keys}
    missing = dict.fromkeys(key_id for key_id, _ in true if key_id not in kept)
    return wrong + [f"{key_id} is not kept among the keys of the ledger" for key_id in missing]


def _fits(key: Key) -> bool:
    try:
        return PublicKey(key.raw).key_id == key.key_id
    except ReceiptError:
        return False


def _by_entries(found: Checked) -> list[tuple[str, int]]:
    """Each key, with the number of the first entry that it may sign; a key may come back."""
    handed = [(entry.to_key_id, entry.sequence + 1) for _, entry in sorted(found.handovers.items())]
    return [(found.signers[0], 0), *handed]
