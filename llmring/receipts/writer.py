"""The writer: drafts receipts, chains and signs them, and keeps what cannot be written until it can. Blocks.

One thread uses it at a time. What is kept is bounded: what comes beyond that is counted, and stands in the chain as a
gap as soon as anything can be written again, so that a ledger never looks more complete than it is.
"""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.building import RANDOM_BYTES, Attempted, Draft, draft
from llmring.receipts.checkpoint import sign_checkpoint
from llmring.receipts.head import checked_head
from llmring.receipts.merkle import Frontier, leaf_hash
from llmring.receipts.receipt import (
    VERSION,
    Entry,
    Gap,
    Handover,
    payload,
    payload_type,
    readable,
    receipt_id_of,
    timestamp,
)
from llmring.receipts.signing import PrivateKey, Signed, base64url, sign
from llmring.receipts.store import Addition, CommitUnknown, End, Head, Key, LedgerGone, Row, Store

_LOG = logging.getLogger("llmring")

MOST_KEPT = 16_384
"""Receipts that wait for a disk that does not take them: some 30 MB."""

MOST_TOGETHER = 1024
"""Receipts in one transaction, 2 MB, so that a slow line to a database takes them within its time limit."""

CHECKPOINT_ENTRIES = 10_000
CHECKPOINT_AGE = timedelta(days=1)

OpenKey = Callable[[str | None], PrivateKey]
"""The key that signs for a ledger whose newest key has this id; None: that has none yet. Raises ReceiptError."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class _Unsettled(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of which only the ledger knows whether they were written: of the first `kept` receipts that are kept, of
    which `written` were new to it, and of `missing` attempts without one, the last of them at `ended_at`."""

    new: Addition
    kept: int
    written: int
    missing: int
    ended_at: datetime | None


class Writer:
    """`open_store` and `open_key` are called when something is first written, and again after they failed. `missing`
    counts attempts without a receipt that no gap tells of yet, `written` the receipts in the ledger."""

    def __init__(
        self, open_store: Callable[[], Store], open_key: OpenKey, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.written = 0
        self.missing = 0
        self._open_store = open_store
        self._open_key = open_key
        self._now = now
        self._store: Store | None = None
        self._key: PrivateKey | None = None
        self._kept: list[Draft] = []
        self._began_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._why = ""
        self._failing = False
        self._unsettled: _Unsettled | None = None

    @property
    def waiting(self) -> int:
        """Receipts that are kept, as they cannot be written."""
        return len(self._kept)

    @property
    def why(self) -> str:
        """What is in the way of those that wait or are missing; "" while nothing is."""
        return self._why

    def open(self) -> None:
        """Open the ledger and its key now. Raises ReceiptError."""
        self._key_of(checked_head(self._opened().end()))

    def take(self, ended: Sequence[Attempted]) -> None:
        """Draft receipts of attempts, and let go of what was said in them."""
        for one in ended:
            if len(self._kept) >= MOST_KEPT:
                self.lost(1, one.ended_at, self._why or "they come faster than they can be written")
                continue
            try:
                made = draft(one, os.urandom(RANDOM_BYTES))
                readable(made.receipt)
            except Exception as error:  # noqa: BLE001 - a receipt that cannot be made is no reason to make no others
                self.lost(1, one.ended_at, f"a receipt cannot be made: {type(error).__name__}")
            else:
                self._kept.append(made)

    def lost(self, count: int, at: datetime, why: str) -> None:
        """Count attempts that will have no receipt."""
        self._why = _spelled(why)
        if self.missing == 0:
            self._began_at = at
            _LOG.error("receipts are missing: %s", self._why)
        self.missing += count
        self._ended_at = at

    def flush(self) -> bool:
        """Write what is kept, and the gap if there is one; whether nothing is left to be written. Never raises for what
        a disk or a database refuses: that is logged when it begins and when it ends."""
        if not self._kept and not self.missing:
            return True
        kept, missing = len(self._kept), self.missing
        try:
            try:
                self._write()
            except CommitUnknown:
                # Most often another connection is to be had at once, which tells.
                self._write()
            except LedgerGone as error:
                _LOG.error("%s: receipts go on in a new one", error)
                self._let_go()
                self._write()
        except ReceiptError as error:
            self._why = _spelled(str(error))
            if not self._failing:
                _LOG.error("receipts cannot be written, and are kept until they can: %s", self._why)
            self._failing = True
            return False
        if self._failing or missing:
            _LOG.warning("receipts are written again: %d were kept, %d are missing", kept, missing)
        self._failing, self._why = False, ""
        return True

    def _write(self) -> None:
        """All that is kept, and the gap with the last of it. Raises ReceiptError."""
        store = self._opened()
        if self._unsettled is not None:
            self._settle(store, self._unsettled)
        while self._kept or self.missing:
            kept = self._kept[:MOST_TOGETHER]
            missing = self.missing if len(kept) == len(self._kept) else 0
            new = self._unwritten(kept, store)
            try:
                if new or missing:
                    store.append(partial(self._add, new, missing))
            except CommitUnknown as error:
                self._unsettled = _Unsettled(
                    new=error.new, kept=len(kept), written=len(new), missing=missing, ended_at=self._ended_at
                )
                raise
            self._wrote(len(kept), len(new), missing)

    def _settle(self, store: Store, one: _Unsettled) -> None:
        if store.holds(one.new):
            self._wrote(one.kept, one.written, one.missing)
            # Of attempts that were lost since then another gap tells.
            self._began_at = one.ended_at
        self._unsettled = None

    def _wrote(self, kept: int, written: int, missing: int) -> None:
        self.written += written
        del self._kept[:kept]
        self.missing -= missing

    def hand_over(self, to: PrivateKey) -> None:
        """Have the ledger's key say that `to` signs from now on. Raises ReceiptError; then nothing has changed."""

        def add(end: End) -> Addition:
            head = checked_head(end)
            chain = _Chain(head, self._key_of(head), timestamp(self._now()))
            chain.add(
                Handover(
                    llmring_handover=VERSION,
                    to_key_id=to.key_id,
                    to_public_key=base64url(to.public.raw),
                    timestamp=chain.at,
                    ledger=head.ledger,
                    sequence=0,
                    key_id=chain.key.key_id,
                )
            )
            return chain.addition(handed_to=to)

        self._opened().append(add)
        self._key = to

    def certify(self, batch: BatchReceipt) -> Signed:
        """Sign a batch receipt of this ledger's receipts into the ledger. Raises ReceiptError: it is of another ledger,
        or cannot be written or read again."""
        made: list[Signed] = []
        readable(batch)

        def add(end: End) -> Addition:
            head = checked_head(end)
            if batch.ledger != head.ledger:
                raise ReceiptError(f"the batch receipt is of the ledger {batch.ledger}, and this is {head.ledger}")
            chain = _Chain(head, self._key_of(head), timestamp(self._now()))
            made.append(chain.add(batch))
            return chain.addition()

        self._opened().append(add)
        return made[-1]

    def checkpoint(self) -> Signed:
        """Sign how the ledger stands now. Raises ReceiptError: there is nothing in it, or it cannot be written."""
        made: list[Signed] = []

        def add(end: End) -> Addition:
            head = checked_head(end)
            if head.size == 0:
                raise ReceiptError("the ledger has no entries: there is nothing to sign")
            new = _Chain(head, self._key_of(head), timestamp(self._now())).addition(checkpoint=True)
            assert new.checkpoint is not None, "it was asked for"
            made.append(new.checkpoint)
            return new

        self._opened().append(add)
        return made[-1]

    def close(self) -> None:
        """Let go of the ledger. What is kept still is lost, which is logged."""
        self._let_go()
        unsettled = self._unsettled.kept + self._unsettled.missing if self._unsettled is not None else 0
        if unsettled:
            _LOG.error("it is not known whether %d receipts were written: %s", unsettled, self._why)
        lost = len(self._kept) + self.missing - unsettled
        if lost:
            _LOG.error("%d receipts are lost: %s", lost, self._why or "the ledger was closed")

    def _let_go(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            try:
                store.close()
            except ReceiptError as error:
                _LOG.warning("%s", error)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _key_of(self, head: Head) -> PrivateKey:
        """Asked for again when another process has handed over."""
        if self._key is None or head.key_id not in (None, self._key.key_id):
            self._key = self._open_key(head.key_id)
        if head.key_id not in (None, self._key.key_id):
            raise ReceiptError(
                f"the ledger is signed by the key {head.key_id}, and the key that is here is {self._key.key_id}: bring "
                "back the one, or name another ledger"
            )
        return self._key

    def _add(self, new: Sequence[Draft], missing: int, end: End) -> Addition:
        head, now = checked_head(end), self._now()
        chain = _Chain(head, self._key_of(head), timestamp(now))
        for one in new:
            chain.add(one.receipt, one.salt)
        if missing:
            chain.add(self._gap(missing, chain))
        is_due = chain.tree.size - head.checkpoint_size >= CHECKPOINT_ENTRIES
        # One of the future, which nobody has signed before there is a checkpoint, would put off the first for ever.
        is_old = abs(now - datetime.fromisoformat(head.checkpoint_at)) >= CHECKPOINT_AGE
        return chain.addition(checkpoint=is_due or is_old)

    def _unwritten(self, kept: Sequence[Draft], store: Store) -> list[Draft]:
        """What the ledger does not have: a row of a batch is read again where its reader was killed before it could say
        so, and still has one receipt."""
        new: list[Draft] = []
        seen: set[str] = set()
        for one in kept:
            name = one.receipt.receipt_id
            if one.once and (name in seen or store.find(name) is not None):
                continue
            seen.add(name)
            new.append(one)
        return new

    def _gap(self, missing: int, chain: "_Chain") -> Gap:
        return Gap(
            llmring_gap=VERSION,
            missing=missing,
            began_at=timestamp(self._began_at) if self._began_at is not None else chain.at,
            ended_at=timestamp(self._ended_at) if self._ended_at is not None else chain.at,
            why=self._why,
            timestamp=chain.at,
            ledger="",
            sequence=0,
            key_id=chain.key.key_id,
        )


def _spelled(why: str) -> str:
    """For logs and ledgers: a path may stand in it, and be no UTF-8."""
    return why.encode(errors="backslashreplace").decode()


class _Chain:
    """Entries behind a head, as they are signed one after the other. `at` is now."""

    def __init__(self, head: Head, key: PrivateKey, at: str) -> None:
        self.key = key
        self.at = at
        self.tree = Frontier.decode(head.size, head.frontier)
        self._head = head
        self._last = head.last
        self._rows: list[Row] = []

    def add(self, entry: Entry, salt: bytes | None = None) -> Signed:
        placed = msgspec.structs.replace(
            entry,
            ledger=self._head.ledger,
            sequence=self.tree.size,
            previous=self._last.hex() if self._last is not None else None,
            key_id=self.key.key_id,
        )
        signed = sign(self.key, payload_type(placed), payload(placed))
        self._last = leaf_hash(signed.payload)
        self._rows.append(Row(self.tree.size, signed, receipt_id_of(placed), placed.timestamp, self._last, salt))
        self.tree.append(self._last)
        return signed

    def addition(self, *, checkpoint: bool = False, handed_to: PrivateKey | None = None) -> Addition:
        """All of it, ready to be written. With a hand-over the ledger goes on under the other key."""
        head, size = self._head, self.tree.size
        made = sign_checkpoint(self.key, head.ledger, size, self.tree.root(), self.at) if checkpoint else None
        keys = [Key(self.key.key_id, self.key.public.raw, 0)] if head.key_id is None else []
        if handed_to is not None:
            keys.append(Key(handed_to.key_id, handed_to.public.raw, size))
        return Addition(
            rows=self._rows,
            head=Head(
                ledger=head.ledger,
                size=size,
                last=self._last,
                frontier=self.tree.encode(),
                key_id=handed_to.key_id if handed_to is not None else self.key.key_id,
                checkpoint_size=size if checkpoint else head.checkpoint_size,
                checkpoint_at=self.at if checkpoint else head.checkpoint_at,
            ),
            checkpoint=made,
            keys=keys,
        )
