"""Audits of whole ledgers and of exports: their parts are checked apart, by several processes where there are many
entries, and then judged as one chain. Blocks: for 70 us of CPU an entry, nearly all of it the signature's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice

from llmring.errors import ReceiptError
from llmring.receipts.chain import Audit, audit
from llmring.receipts.checking import Checked, Held, check, joined
from llmring.receipts.checkpoint import CHECKPOINT
from llmring.receipts.exchange import read_head, read_line
from llmring.receipts.processes import MANY, all_done, processes_for
from llmring.receipts.signing import PublicKey, Signed
from llmring.receipts.store import Store

PART = 8192
"""Entries of one part: half a second of one core, and 12 MB while it is checked."""

Keys = Mapping[str, PublicKey]


def audit_ledger(
    store: Store,
    trusted: Sequence[PublicKey] = (),
    checkpoints: Sequence[Signed] = (),
    *,
    processes: int | None = None,
) -> Audit:
    """Judge a ledger as it stands now, its head too, against its own checkpoints and those that somebody else has
    kept; what is written meanwhile is not looked at.

    `trusted` are the keys that may have signed its beginning; without any, the one that the ledger itself names first.
    `processes`, None: as many as the entries are worth. Raises ReceiptError when it cannot be read.
    """
    now = store.standing()
    named = _usable([key.raw for key in now.keys])
    keys, ledger = _by_id(named, trusted), now.head.ledger
    works = _ranges(store, now.last, keys, ledger)
    return audit(
        joined(all_done(works, processes or processes_for(now.entries))),
        keys,
        [key.key_id for key in trusted or named[:1]],
        [*now.checkpoints, *checkpoints],
        now.head.size,
        ledger,
        now,
    )


def audit_export(
    lines: Iterable[bytes],
    trusted: Sequence[PublicKey] = (),
    checkpoints: Sequence[Signed] = (),
    *,
    processes: int | None = None,
) -> Audit:
    """Judge an export, like `audit_ledger`. Raises ReceiptError for what is none."""
    rest = iter(lines)
    opened = read_head(next(rest, b""))
    ledger, keys = opened.ledger, _by_id(opened.keys.keys, trusted)
    first = list(islice(rest, MANY))
    parts = _parts(chain(first, rest))
    works = (partial(check_lines, part, keys, ledger) for part in parts)
    done = all_done(works, processes or processes_for(len(first)))
    # The newest stands in the first line and at the end; only the end's may have been cut off.
    own = list(dict.fromkeys(one for found in (opened.checkpoints, *(found for _, found in done)) for one in found))
    ids = [key.key_id for key in trusted or opened.keys.keys[:1]]
    return audit(joined(part for part, _ in done), keys, ids, [*own, *checkpoints], opened.size, ledger)


def check_range(again: Callable[[], Store], first: int, last: int, keys: Keys, ledger: str) -> Checked:
    """Check the entries that a ledger keeps under the numbers `first` to `last`. Raises ReceiptError."""
    with closing(again()) as store:
        return check(store.held(first, last), keys, ledger)


def check_lines(lines: Sequence[bytes], keys: Keys, ledger: str) -> tuple[Checked, list[Signed]]:
    """Check lines of an export; and the checkpoints among them."""
    read = [read_line(line) for line in lines]
    own = [signed for signed in read if signed.payload_type == CHECKPOINT]
    return check([Held(signed) for signed in read if signed.payload_type != CHECKPOINT], keys, ledger), own


def _ranges(store: Store, last: int | None, keys: Keys, ledger: str) -> Iterator[Callable[[], Checked]]:
    """One after the other, up to `last`. By the numbers that are there: somebody may have put any into the database."""
    again = store.again()
    low = store.next_number(None)
    while low is not None and last is not None and low <= last:
        high = min(low + PART - 1, last)
        yield partial(check_range, again, low, high, keys, ledger)
        low = store.next_number(high)


def _parts(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while part := list(islice(lines, PART)):
        yield part


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
