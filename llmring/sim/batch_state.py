"""A batch as it is kept, and how far it is at a time. Pure.

It goes on by the clock alone: a short check at its beginning, then rows one after the other, then a short end.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from llmring.sim.shelf import Stored
from llmring.sim.wire import Dialect, Operation

Phase = Literal["checking", "running", "closing", "ended", "cancelling", "cancelled"]
Fate = Literal["answered", "refused", "expired", "cancelled"]

#: Of a batch's time, before its first row and after its last one; a cancelled one takes as long to stop.
_EDGE = 0.05


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what its client knows it by."""

    name: str
    body: bytes


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a row: a reply, or none."""

    row: Row
    fate: Fate
    status: int = 0
    body: bytes = b""
    input_tokens: int = 0
    output_tokens: int = 0


class Progress(msgspec.Struct, kw_only=True):
    """What changes about a batch; only in `work` and `cancel`, and where a format writes its results."""

    #: In the order of the rows; as many as were due.
    outcomes: list[Outcome] = []
    cancelled_at: float | None = None
    #: Ids of the files with its results, once they are written.
    files: dict[str, str] | None = None


class Batch(Stored, frozen=True, kw_only=True):
    """A batch; `data` is what its rows came in, a body or a file."""

    rows: tuple[Row, ...]
    dialect: Dialect
    operation: Operation
    #: What the operation is told of each request besides its body.
    headers: Mapping[bytes, bytes]
    target: str
    #: Of all rows, where it is not in their bodies.
    model: str = ""
    begun_at: float
    created_at: datetime
    seconds: float
    #: What the format has to repeat.
    about: Mapping[str, object]
    progress: Progress

    def moment(self, share: float) -> datetime:
        """When this share of its time is over, or was."""
        return self.created_at + timedelta(seconds=self.seconds * share)

    def cancelled_moment(self) -> datetime | None:
        at = self.progress.cancelled_at
        return None if at is None else self.created_at + timedelta(seconds=at - self.begun_at)

    def count(self, *fates: Fate) -> int:
        return sum(outcome.fate in fates for outcome in self.progress.outcomes)


def phase(batch: Batch, now: float) -> Phase:
    cancelled_at = batch.progress.cancelled_at
    if cancelled_at is not None:
        return "cancelling" if now < cancelled_at + batch.seconds * _EDGE else "cancelled"
    over = now - batch.begun_at
    if over >= batch.seconds:
        return "ended"
    if over < batch.seconds * _EDGE:
        return "checking"
    return "running" if over < batch.seconds * (1 - _EDGE) else "closing"


def is_over(batch: Batch, now: float) -> bool:
    return phase(batch, now) in ("ended", "cancelled")


def due(batch: Batch, now: float) -> int:
    """How many of its rows are done with by now."""
    if batch.progress.cancelled_at is not None:
        return len(batch.progress.outcomes)
    edge = batch.seconds * _EDGE
    if now >= batch.begun_at + batch.seconds - edge:
        return len(batch.rows)
    share = (now - batch.begun_at - edge) / (batch.seconds - 2 * edge)
    return int(len(batch.rows) * max(share, 0.0))
