"""Chains of signed entries, made as a ledger makes them."""

from collections.abc import Sequence

import msgspec

from llmring.receipts.chain import Audit, audit
from llmring.receipts.checking import Held, check
from llmring.receipts.checkpoint import sign_checkpoint
from llmring.receipts.merkle import leaf_hash, root_of
from llmring.receipts.receipt import Entry, Handover, payload, payload_type
from llmring.receipts.signing import PrivateKey, Signed, base64url, sign
from tests.receipts.samples import FULL, KEY, OTHER_KEY

LEDGER = "5a" * 16
AT = "2026-08-01T12:00:00.000000Z"
KEYS = {key.key_id: key.public for key in (KEY, OTHER_KEY)}


def name(number: int) -> str:
    return f"rcpt_{number:032x}"


def link(entries: Sequence[Entry], *, after: Sequence[Signed] = (), key: PrivateKey = KEY) -> list[Signed]:
    """Entries as they are signed behind `after`."""
    chain = list(after)
    for entry in entries:
        before = leaf_hash(chain[-1].payload).hex() if chain else None
        placed = msgspec.structs.replace(entry, ledger=LEDGER, sequence=len(chain), previous=before, key_id=key.key_id)
        chain.append(sign(key, payload_type(placed), payload(placed)))
    return chain


def chain_of(size: int, *, cost: str = "0.1") -> list[Signed]:
    return link([msgspec.structs.replace(FULL, receipt_id=name(n), total_cost=cost) for n in range(size)])


def handover(to: PrivateKey) -> Handover:
    return Handover(
        llmring_handover=1,
        to_key_id=to.key_id,
        to_public_key=base64url(to.public.raw),
        timestamp=AT,
        ledger=LEDGER,
        sequence=0,
        key_id="",
    )


def checkpoint_of(chain: Sequence[Signed], key: PrivateKey = KEY) -> Signed:
    return sign_checkpoint(key, LEDGER, len(chain), root_of([leaf_hash(one.payload) for one in chain]), AT)


def judged(chain: Sequence[Signed], *checkpoints: Signed, size: int | None = None) -> Audit:
    found = check((Held(signed) for signed in chain), KEYS, LEDGER)
    # By their positions, for what was altered may not say its own name.
    found.names = [f"p{position}" for position in range(len(found))]
    return audit(found, KEYS, [KEY.key_id], checkpoints, size, LEDGER)


def deeds(chain: Sequence[Signed], *checkpoints: Signed) -> list[tuple[str, int | None]]:
    """What was done, to which number."""
    return [(finding.deed, finding.sequence) for finding in judged(chain, *checkpoints).findings]
