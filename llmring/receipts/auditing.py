"""Audits of whole ledgers and of exports: entries are checked in threads, as the library of signatures lets go of the
interpreter's lock meanwhile, and then judged as one chain. Blocks for 40 us an entry on two cores.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from llmring.errors import ReceiptError
from llmring.receipts.chain import Audit, audit
from llmring.receipts.checking import Checked, Held, check, joined
from llmring.receipts.checkpoint import CHECKPOINT
from llmring.receipts.exchange import read_head, read_line
from llmring.receipts.signing import PublicKey, Signed
from llmring.receipts.store import Store, held_of

BATCH = 2048


def audit_ledger(store: Store, trusted: Sequence[PublicKey] = (), checkpoints: Sequence[Signed] = ()) -> Audit:
    """Judge a ledger, against its own checkpoints and those that somebody else has kept.

    `trusted` are the keys that may have signed its beginning; without any, the one that the ledger itself names first.
    Raises ReceiptError when it cannot be read.
    """
    head = store.head()
    keys = _usable([key.raw for key in store.public_keys()])
    found = check_all(map(held_of, store.rows()), _by_id(keys, trusted), head.ledger)
    return audit(
        found,
        _by_id(keys, trusted),
        [key.key_id for key in trusted or keys[:1]],
        [*store.checkpoints(), *checkpoints],
        head.size,
        head.ledger,
    )


def audit_export(
    lines: Iterable[bytes], trusted: Sequence[PublicKey] = (), checkpoints: Sequence[Signed] = ()
) -> Audit:
    """Judge an export, like `audit_ledger`. Raises ReceiptError for what is none."""
    rest = iter(lines)
    ledger, named = read_head(next(rest, b""))
    own: list[Signed] = []

    def entries() -> Iterator[Held]:
        for line in rest:
            signed = read_line(line)
            if signed.payload_type == CHECKPOINT:
                own.append(signed)
            else:
                yield Held(signed)

    keys = _by_id(named.keys, trusted)
    found = check_all(entries(), keys, ledger)
    ids = [key.key_id for key in trusted or named.keys[:1]]
    return audit(found, keys, ids, [*own, *checkpoints], None, ledger)


def check_all(found: Iterable[Held], keys: Mapping[str, PublicKey], ledger: str | None) -> Checked:
    """`checking.check` in threads, in bounded memory beside what it gives."""
    threads = os.cpu_count() or 1
    source = iter(found)
    parts: list[Checked] = []
    under_way: deque[Future[Checked]] = deque()
    with ThreadPoolExecutor(threads, "llmring audit") as pool:
        while batch := list(islice(source, BATCH)):
            under_way.append(pool.submit(check, batch, keys, ledger))
            if len(under_way) > 2 * threads:
                parts.append(under_way.popleft().result())
        parts += [one.result() for one in under_way]
    return joined(parts)


def _usable(raws: Iterable[bytes]) -> list[PublicKey]:
    """Of keys that a ledger names, those that are such: somebody may have written there."""
    keys: list[PublicKey] = []
    for raw in raws:
        try:
            keys.append(PublicKey(raw))
        except (ReceiptError, TypeError):
            continue
    return keys


def _by_id(keys: Iterable[PublicKey], trusted: Iterable[PublicKey]) -> dict[str, PublicKey]:
    return {key.key_id: key for key in (*keys, *trusted)}
