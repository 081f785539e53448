"""What batches of a map are made of, and what is decided about them: their sizes, their patience, what an error means.

Decisions only: what is done about a batch is in batch_errands.py, what is done about its rows in batch_jobs.py.
"""

import itertools
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec

from llmring.chat import ChatRequest, ChatResponse, Completion
from llmring.codecs.batch import BatchRow, BatchStatus, row_bytes
from llmring.errors import LLMRingError, ProviderError
from llmring.money.payment import Payment
from llmring.pricing import Prices
from llmring.providers.desk import MOST_TAKEN, BatchDesk
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.account import Account
from llmring.router.map.batch_lines import OpenBatch
from llmring.router.map.rows import Place

Mode = Literal["online", "batch", "auto"]

MOST_ROWS = 10_000
MOST_BYTES = 32_000_000
"""Of one batch, where the provider would take more: it is made in memory, and handed in in one piece."""

WINDOW = 50_000
"""Rows in batches, under way and finished but unread, unless the caller says otherwise."""

LINGER_SECONDS = 10.0
"""A batch that is not full is handed in when no row has come for so long."""

FIRST_LOOK_SECONDS = 5.0
MOST_LOOK_SECONDS = 60.0
"""Between two looks at a batch, and before a call that failed is tried again: growing by half from the first."""

SUBMIT_TRIES = 6
"""How often handing in may fail in a way that may pass. Refusals for load and limits do not count."""

MOST_BAD_REPLIES = 10
"""Replies in a row that cannot be read, before a batch is given up for this run."""

SURE_SECONDS = 30.0
"""A batch that is not in the provider's list so long after it was to be made was not made."""

GRACE_SECONDS = 4.0
"""What a cancel leaves a batch that is being handed in, to end with its id in the journal."""

FULL_SECONDS = 60.0
MOST_FULL_SECONDS = 900.0
"""A batch that was refused because too much is in the provider's queue is handed in again: doubling in between."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a row's alias, as it was when the row was given its place. `why` says why no batch can go there; None:
    one can. `prices` are those of online answers, and `key` is the name of the key where its provider has several."""

    model: ModelRef
    key: str | None
    input_tokens: int
    output_tokens: int
    prices: Prices | None
    why: str | None = None


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row can be handed in. `looked` are the models that were looked at for it, in order; none where another
    process has done so."""

    route: Route
    desk: BatchDesk
    looked: tuple[Looked, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A row under way, what is asked for it, and its money, where that is bounded: by the run's own cap, and, of a row
    in a batch, by budgets. `way` is where this process hands it in."""

    place: Place
    request: ChatRequest
    account: Account | None = None
    payment: Payment | None = None
    way: Way | None = None


Came = Completion | LLMRingError
"""What came of a row in its batch."""


class BatchCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What the router does for batches.

    `way` is that of the request's first model with a batch API and a key, None where there is none; `way_of` that of a
    batch on its way, and raises ConfigError. `keep` leaves receipts of rows and waits until they are on disk, before
    anything else is done about the rows: whoever is killed in between reads them again, and they have their receipts
    already. `answer` makes of a completion what the caller gets, and raises ConfigError; `failed` is told of a row that
    has failed.
    """

    way: Callable[[ChatRequest], Way | None]
    way_of: Callable[[OpenBatch], Way]
    keep: Callable[["Job", Sequence[tuple[Asked, Came]]], Awaitable[None]]
    answer: Callable[["Job", Asked, Completion], ChatResponse]
    failed: Callable[["Job", Asked, ProviderError], None]


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the run does with rows: `send` asks online, and finishes the row itself; `finish` writes it to the journal
    and hands it out, False when it could not be written; `stop` ends the run with an error. `current` is a block whose
    spans are below the run's."""

    send: Callable[[Asked], Awaitable[None]]
    finish: Callable[[Asked, ChatResponse | None, LLMRingError | None], bool]
    stop: Callable[[LLMRingError], None]
    current: Callable[[], AbstractContextManager[object]]


class BatchProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Batches under way: how many, with how many rows, and how many of those the provider calls done. Anthropic tells
    that only at the end."""

    batches: int
    rows: int
    done: int


class Group:
    """Rows of one model and one endpoint, not handed in yet."""

    def __init__(self, way: Way, form: str) -> None:
        self.way = way
        self.form = form
        self.asked: dict[str, Asked] = {}
        self.rows: list[BatchRow] = []
        self.size = 0
        self.most_rows = min(MOST_ROWS, way.desk.batches.most_rows)
        self.most_bytes = min(MOST_BYTES, way.desk.batches.most_bytes)

    def has_room(self, row: BatchRow) -> bool:
        return not self.rows or (len(self.rows) < self.most_rows and self.size + row_bytes(row) <= self.most_bytes)

    def add(self, asked: Asked, row: BatchRow) -> None:
        self.asked[row.key] = asked
        self.rows.append(row)
        self.size += row_bytes(row)


class Job:
    """A batch under way. `asked` are its rows that have come from the input and are not finished; `unclaimed` the keys
    of those that have not come yet, in a run that has taken it up."""

    def __init__(self, batch: OpenBatch, way: Way, asked: dict[str, Asked], unclaimed: set[str]) -> None:
        self.batch = batch
        self.way = way
        self.asked = asked
        self.unclaimed = unclaimed
        self.status: BatchStatus | None = None
        self.handed_in_at: float | None = None
        """On the trio clock; None where an earlier process had handed it in."""
        self.is_whole = True
        """Whether everything that was read of it could be kept."""

    @property
    def name(self) -> str:
        return named(self.batch)


def named(batch: OpenBatch) -> str:
    """As it is called in messages."""
    return f"batch {batch.id or batch.tag} at {batch.ref.provider}"


def lost(batch: OpenBatch, journal: Path, error: ProviderError | None = None) -> str:
    """What to do about a batch of which nobody knows whether it was made."""
    provider, tag = batch.ref.provider, batch.tag
    why = f": {error}" if error is not None else ""
    return (
        f"a batch of {len(batch.keys)} rows for {batch.ref} was being handed in at {batch.at:%Y-%m-%d %H:%M:%S} UTC, "
        f"and its id is not in {journal}{why}. {provider} finds no batch by its name: look in its console, or in "
        f"its list of batches, for one of that time with so many rows. If it is there, go on with "
        f"adopt={{{tag!r}: 'its id'}} (--adopt {tag}=ID); if it is not, with adopt={{{tag!r}: None}} "
        f"(--adopt {tag}=none), and its rows are sent"
    )


def unreadable(job: Job, error: ProviderError) -> LLMRingError:
    """What to do about a batch that cannot be read, and would be paid for again if its rows were sent."""
    tag = job.batch.tag
    return LLMRingError(
        f"{job.name} cannot be read ({error}). Its {len(job.batch.keys)} rows are not asked again: check that the "
        f"key is of the account that handed it in. If the batch is gone for good, adopt={{{tag!r}: None}} "
        f"(--adopt {tag}=none) gives it up, and its rows are paid for again"
    )


def is_refusal(error: ProviderError) -> bool:
    """Whether it is certain that nothing was made: the provider itself has said no. A gateway that gave up has not."""
    return not error.sent or (error.status is not None and error.status >= 400 and error.status not in (408, 502, 504))


def is_passing(error: ProviderError) -> bool:
    """Whether the same call may go well later."""
    status = error.status
    return status is None or status < 400 or status in (408, 409, 429) or status >= 500


def in_parts(rows: Sequence[Asked]) -> Generator[Sequence[Asked]]:
    """Rows as many at a time as wait for their receipts together."""
    for first in range(0, len(rows), MOST_TAKEN):
        yield rows[first : first + MOST_TAKEN]


def full_seconds(times: int) -> float:
    """How long to wait after so many refusals for a full queue."""
    return min(FULL_SECONDS * 2.0 ** min(times - 1, 10), MOST_FULL_SECONDS)


def waits() -> Generator[float]:
    """The seconds between one look and the next, without end."""
    for times in itertools.count():
        yield min(FIRST_LOOK_SECONDS * 1.5 ** min(times, 10), MOST_LOOK_SECONDS)


def at_least(wait: float, error: ProviderError) -> float:
    """As long as the provider said, within reason."""
    return max(wait, min(error.retry_after or 0.0, MOST_FULL_SECONDS))
