"""Many calls handed in at once, answered within a day at half the price: what a codec of such an API must offer. Pure.

A batch is handed in as the calls that the chat codec encoded, their bodies untouched, each under a key; its results are
replies that the chat codec decodes or classifies as if they had come online, in no order. Results come as lines of
JSON nearly everywhere, so how they are divided and matched to keys is here, and so is what every API asks of keys.
Neither keys of rows nor prompts ever get into a message.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from llmring.codecs.codec import HttpCall, HttpReply, NextCall
from llmring.codecs.ndjson import LineDecoder
from llmring.errors import InvalidRequest, ProviderError

ROW_BYTES = 256
"""What a row may add to a batch beside its body: more than the envelope of any API, with the longest key."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""One result may hold this much: several long answers with their reasoning, encrypted, and log probabilities."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a batch. `key` is 1 to 64 letters, digits, `_` and `-`; `call` is what the chat codec encoded,
    without streaming."""

    key: str
    call: HttpCall


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is handed in at once: rows of one model and one endpoint, with different keys. `tag` is a name to find it
    by, of the form of a key."""

    rows: tuple[BatchRow, ...]
    tag: str


BatchState = Literal["running", "cancelling", "ended", "failed", "expired", "cancelled"]
"""`ended`: every row was tried. `failed`: refused as a whole. `expired` and `cancelled`: what was answered until then
may be among the results."""

Unanswered = Literal["expired", "cancelled"]
"""Why a row was not tried, so that nothing was paid for it."""


class BatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, as the provider counts them; before it has read them all are 0. A provider that does not tell rows which
    expired or were cancelled apart counts them as errors, or not at all."""

    total: int = 0
    succeeded: int = 0
    errored: int = 0
    expired: int = 0
    cancelled: int = 0


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as the provider describes it.

    `tag` None: the API keeps none. `results` are where its results lie, in the provider's own words, none before it is
    over; `inputs` are files that were uploaded for it. `error` is why it failed as a whole.
    """

    id: str
    state: BatchState
    tag: str | None = None
    counts: BatchCounts = BatchCounts()
    expires_at: datetime | None = None
    inputs: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    error: ProviderError | None = None

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "cancelling")


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a row: a reply, which the chat codec decodes below status 300 and classifies from there, or why
    there is none."""

    key: str
    outcome: HttpReply | Unanswered


class BatchPage(msgspec.Struct, frozen=True, kw_only=True):
    """The batches of a tag on one page of the provider's list, and the mark of the next page; None: it is the last."""

    batches: tuple[BatchStatus, ...]
    next: str | None = None


class BatchReader(Protocol):
    """The body of one reply with results being read: bytes in, results out, in any split."""

    @property
    def unread(self) -> int:
        """How many results were passed over: not readable, or of no row that was handed in."""
        ...

    def feed(self, data: bytes) -> Sequence[BatchResult]:
        """Take the next bytes. Raises BadReply for what is not the format at all."""
        ...

    def close(self) -> Sequence[BatchResult]:
        """The body has ended. Raises BadReply as `feed` does."""
        ...


class BatchCodec(Protocol):
    """A provider's API for batches. Replies of status 300 and more are for the chat codec to classify.

    Handing in is one call or several: `submit` is the first, `read` says what follows. A program that was killed
    between the last of them and writing down the id finds the batch by its tag.
    """

    @property
    def most_rows(self) -> int: ...

    @property
    def most_bytes(self) -> int:
        """Of all rows, each counted with `row_bytes`."""
        ...

    def submit(self, batch: Batch) -> HttpCall:
        """The first call. Raises InvalidRequest for a batch that this API cannot take."""
        ...

    def read(self, reply: HttpReply, batch: Batch) -> BatchStatus | NextCall:
        """Read a 2xx reply on the way in. Raises BadReply, or the error that a 200 carries in its body."""
        ...

    def poll(self, batch_id: str) -> HttpCall: ...

    def read_status(self, reply: HttpReply) -> BatchStatus:
        """Read a 2xx reply to `poll`. Raises BadReply, or the error that a 200 carries in its body."""
        ...

    def results(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        """The calls that fetch the results, each with rows of its own; none where there are no results."""
        ...

    def open_results(self, status: BatchStatus, keys: Sequence[str]) -> BatchReader:
        """Start to read a 2xx reply to one of those calls. `keys` are those of the rows, in the order in which they
        were handed in; results of others are passed over."""
        ...

    def cancel(self, batch_id: str) -> HttpCall:
        """Ask to stop it. Its reply tells nothing that all APIs tell: poll. Rows that were answered stay answered."""
        ...

    def find(self, page: str | None = None) -> HttpCall | None:
        """A page of the provider's list of batches, the newest first. None: batches have no tags there, and the list
        shows nothing of their rows, so that a batch whose id was lost cannot be told from others."""
        ...

    def read_found(self, reply: HttpReply, tag: str) -> BatchPage:
        """Read a 2xx reply to `find`. Raises BadReply."""
        ...

    def discard(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        """The calls that delete what the provider keeps of a batch that is over: prompts and answers."""
        ...


def row_bytes(row: BatchRow) -> int:
    """What a row counts toward `most_bytes`. Raises InvalidRequest when its body is no bytes."""
    return len(_body(row)) + ROW_BYTES


def divide(rows: Sequence[BatchRow], codec: BatchCodec) -> list[tuple[BatchRow, ...]]:
    """The rows in their order, in as few batches as `codec` takes. A row that fits into none is alone, for `submit`
    to refuse."""
    divided: list[list[BatchRow]] = []
    size = 0
    for row in rows:
        own = row_bytes(row)
        if not divided or len(divided[-1]) >= codec.most_rows or size + own > codec.most_bytes:
            divided.append([])
            size = 0
        divided[-1].append(row)
        size += own
    return [tuple(one) for one in divided]


def check(batch: Batch, most_rows: int, most_bytes: int) -> None:
    """Raises InvalidRequest for what no API takes: bad or repeated keys, several endpoints, too much of it."""
    if not batch.rows:
        raise InvalidRequest("a batch needs at least one row")
    if len(batch.rows) > most_rows:
        raise InvalidRequest(f"a batch here takes at most {most_rows} rows, not {len(batch.rows)}: divide it")
    size = sum(map(row_bytes, batch.rows))
    if size > most_bytes:
        raise InvalidRequest(f"a batch here takes at most {most_bytes} bytes, not {size}: divide it")
    if not _NAME.fullmatch(batch.tag):
        raise InvalidRequest("the tag of a batch must be 1 to 64 letters, digits, '_' or '-'")
    seen: dict[str, int] = {}
    for number, row in enumerate(batch.rows, 1):
        if not _NAME.fullmatch(row.key):
            raise InvalidRequest(f"row {number} of the batch: its key must be 1 to 64 letters, digits, '_' or '-'")
        if row.key in seen:
            raise InvalidRequest(f"rows {seen[row.key]} and {number} of the batch have the same key")
        seen[row.key] = number
        if row.call.path != batch.rows[0].call.path:
            raise InvalidRequest(f"row {number} of the batch goes to another endpoint or model than the first")


def body_of(row: BatchRow) -> bytes:
    """The body of a row's call on one line: its own bytes, but for line breaks between its fields."""
    body = _body(row)
    return msgspec.json.format(body, indent=-1) if b"\n" in body or b"\r" in body else body


def _body(row: BatchRow) -> bytes:
    if not isinstance(row.call.body, bytes):
        raise InvalidRequest("a row of the batch is the upload of a file, not a request of a model")
    return row.call.body


class ResultLines:
    """A BatchReader of lines of JSON. `read` is the API's own: a line's result, or None when it cannot be read."""

    def __init__(self, keys: Sequence[str], read: Callable[[bytes], BatchResult | None]) -> None:
        self._keys = frozenset(keys)
        self._read = read
        self._lines = LineDecoder(MAX_RESULT_BYTES)
        self._unread = 0

    @property
    def unread(self) -> int:
        return self._unread

    def feed(self, data: bytes) -> Sequence[BatchResult]:
        return self._results(self._lines.feed(data))

    def close(self) -> Sequence[BatchResult]:
        return self._results(self._lines.close())

    def _results(self, lines: Sequence[bytes]) -> list[BatchResult]:
        """One line that cannot be read must not take with it the others, which are paid for."""
        found = [result for result in map(self._read, lines) if result is not None and result.key in self._keys]
        self._unread += len(lines) - len(found)
        return found
