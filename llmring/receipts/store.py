"""Where a ledger is kept: what a store must offer. Values and a protocol; sqlite_store.py and postgresql_store.py are
two.

A store adds entries in one transaction with the head they were chained to, so any number of processes may share one:
whoever comes second chains to the first. It knows no keys and checks no signatures.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.checking import Held
from llmring.receipts.signing import Signed
from llmring.receipts.spending import Grant, Move, Spent


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger stands: its id, how many entries it has, the newest one's hash, the tree's frontier, the key that
    signs now, and its newest checkpoint's size and time (at first that of the ledger's making)."""

    ledger: str
    size: int
    last: bytes | None
    frontier: bytes
    key_id: str | None
    checkpoint_size: int
    checkpoint_at: str


class Row(msgspec.Struct, frozen=True):
    """An entry with what is looked for beside, and its salt, which is told to nobody."""

    sequence: int
    signed: Signed
    receipt_id: str | None
    timestamp: str
    hash: bytes
    salt: bytes | None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger goes on: its head, and its newest entry and newest checkpoint, which the head must fit; None where
    there is none."""

    head: Head
    newest: Row | None
    checkpoint: Signed | None


class Key(msgspec.Struct, frozen=True):
    """A public key, and the number of the first entry that it may sign."""

    key_id: str
    raw: bytes
    since: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger at one moment: its head, its keys, its checkpoints by size, the sizes that these are kept under, how
    many entries there really are, and the highest number that one is kept under; None without entries."""

    head: Head
    keys: Sequence[Key]
    checkpoints: Sequence[Signed]
    checkpoint_sizes: Sequence[int]
    entries: int
    last: int | None


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """What is written in one transaction. `checkpoint` is of all entries, those of `rows` included."""

    rows: Sequence[Row]
    head: Head
    checkpoint: Signed | None = None
    keys: Sequence[Key] = ()


class LedgerMissing(ReceiptError):
    """There is none to be read."""


class LedgerGone(ReceiptError):
    """It was removed, or another was put in its place, while it was open: what is written there, nobody finds."""


class CommitUnknown(ReceiptError):
    """The connection was lost between a commit and the word of it: only the ledger can tell whether `new` is in it."""

    def __init__(self, message: str, new: Addition) -> None:
        super().__init__(message)
        self.new = new


class Store(Protocol):
    """Every method raises ReceiptError for what the disk or the database refuses; then nothing was written."""

    def append(self, make: Callable[[End], Addition]) -> None:
        """Write what `make` gives for the end as it is, in one transaction. On disk when it returns.

        Raises LedgerGone, and CommitUnknown where it may have been written all the same: ask `holds` before it is
        written again.
        """
        ...

    def holds(self, new: Addition) -> bool:
        """Whether entries that `append` did not know of are in the ledger; once the transaction that was to write them
        has ended, so that they do not come later."""
        ...

    def head(self) -> Head: ...

    def end(self) -> End:
        """Its end as of one moment."""
        ...

    def public_keys(self) -> list[Key]:
        """All, the oldest first."""
        ...

    def standing(self) -> Standing:
        """All of it as of one moment, whoever writes meanwhile."""
        ...

    def again(self) -> "Callable[[], Store]":
        """What opens the same ledger once more, to be read, in another process: it pickles."""
        ...

    def next_number(self, after: int | None) -> int | None:
        """The lowest number above `after` that an entry is kept under, the lowest of all for None; None: no more."""
        ...

    def held(self, first: int, last: int) -> list[Held]:
        """Entries by the numbers that they are kept under, `last` included, for an audit."""
        ...

    def rows(
        self,
        *,
        newest: int | None = None,
        first: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[Row]:
        """All entries, or those from the number `first`, in their order; or so many of the newest, the newest first.
        With `since` and `until` only those whose timestamp, as receipts spell it, is not before the one and before the
        other. What is written after the first of them has been read is not among them."""
        ...

    def of_type(self, payload_type: str) -> list[Row]:
        """Entries of one type, in their order."""
        ...

    def find(self, receipt_id: str) -> Row | None: ...

    def hashes(self, size: int) -> list[bytes]:
        """Of the first `size` entries."""
        ...

    def checkpoints(self) -> list[Signed]:
        """By size."""
        ...

    def exchange(self, moves: Sequence[Move]) -> list[Grant]:
        """Write what was spent, and allow what there is room for, in one transaction that no other process writes
        during. On disk when it returns; may be done again where nobody knows whether it was."""
        ...

    def spending(self, periods: Sequence[str]) -> list[Spent]:
        """What was spent in these periods, by account."""
        ...

    def close(self) -> None: ...


def held_of(row: Row) -> Held:
    """A row as an audit looks at it."""
    return Held(row.signed, row.sequence, row.receipt_id, row.timestamp, row.hash, row.salt, is_kept=True)
