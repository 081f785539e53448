"""Batches of a map: rows collected, handed in at the providers' batch APIs, waited for, read into the journal.

A batch is in the journal before it is handed in, and so is its id before it is looked at; so a run that was killed
anywhere takes up what is on its way, and nothing is paid for twice. Where nobody can tell whether a batch was made, the
run stops and says so instead of guessing. Batches are never cancelled here: what is on its way is paid for.
"""

import itertools
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec
import trio

from llmring.chat import ChatRequest, ChatResponse, Completion
from llmring.codecs.batch import Batch, BatchResult, BatchRow, BatchState, BatchStatus, row_bytes
from llmring.codecs.codec import HttpReply
from llmring.errors import (
    AuthFailed,
    BadReply,
    ConfigError,
    ImpossibleRequest,
    InvalidRequest,
    LLMRingError,
    ProviderError,
    ServerFault,
    Unanswered,
    Unsupported,
)
from llmring.prompts import Prompt
from llmring.providers.desk import BatchDesk
from llmring.providers.files import needs_files
from llmring.providers.route import Route
from llmring.providers.spelling import Spelled
from llmring.refs import ModelRef
from llmring.router.batch_lines import BatchLine, End, OpenBatch
from llmring.router.calls import Calls
from llmring.router.journal import Journal

_LOG = logging.getLogger("llmring")

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

_Result = TypeVar("_Result")


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was taken from the input. `key` is the journal's; None: it cannot be sent at all."""

    index: int
    prompt: Prompt | ChatRequest | InvalidRequest
    key: str | None


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row can be handed in."""

    route: Route
    desk: BatchDesk


class BatchCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What the router does for batches.

    `prepare` makes a request of an input, and raises LLMRingError; `way` is that of the request's first model with a
    batch API and a key, None where there is none; `way_of` that of a model, and raises ConfigError; `answer` makes of
    a completion what the caller gets.
    """

    prepare: Callable[[Prompt | ChatRequest | InvalidRequest], ChatRequest]
    way: Callable[[ChatRequest], Way | None]
    way_of: Callable[[ModelRef], Way]
    answer: Callable[[ChatRequest, Way, Completion], ChatResponse]


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the run does with rows: `send` asks online, and finishes the row itself; `finish` writes it to the journal
    and hands it out, False when it could not be written; `stop` ends the run with an error."""

    send: Callable[[Taken], Awaitable[None]]
    finish: Callable[[Taken, ChatResponse | None, LLMRingError | None], bool]
    stop: Callable[[LLMRingError], None]


class BatchProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Batches under way: how many, with how many rows, and how many of those the provider calls done. Anthropic tells
    that only at the end."""

    batches: int
    rows: int
    done: int


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A row with what is asked for it."""

    taken: Taken
    request: ChatRequest


class _Group:
    """Rows of one model and one endpoint, not handed in yet."""

    def __init__(self, way: Way, form: str) -> None:
        self.way = way
        self.form = form
        self.asked: dict[str, _Asked] = {}
        self.rows: list[BatchRow] = []
        self.size = 0
        self.most_rows = min(MOST_ROWS, way.desk.batches.most_rows)
        self.most_bytes = min(MOST_BYTES, way.desk.batches.most_bytes)

    def has_room(self, row: BatchRow) -> bool:
        return not self.rows or (len(self.rows) < self.most_rows and self.size + row_bytes(row) <= self.most_bytes)

    def add(self, asked: _Asked, row: BatchRow) -> None:
        self.asked[row.key] = asked
        self.rows.append(row)
        self.size += row_bytes(row)


class _Job:
    """A batch under way. `asked` are its rows that have come from the input and are not finished; `unclaimed` the keys
    of those that have not come yet, in a run that has taken it up."""

    def __init__(self, batch: OpenBatch, way: Way, asked: dict[str, _Asked], unclaimed: set[str]) -> None:
        self.batch = batch
        self.way = way
        self.asked = asked
        self.unclaimed = unclaimed
        self.status: BatchStatus | None = None
        self.is_whole = True
        """Whether everything that was read of it could be kept."""

    @property
    def name(self) -> str:
        return f"batch {self.batch.id or self.batch.tag} at {self.batch.ref.provider}"


class BatchJobs:
    """Made by a map for its length; `start` it, `take` its rows, and `end` it when there are no more."""

    def __init__(
        self, mode: Mode, calls_of: BatchCalls, host: Host, journal: Journal, calls: Calls, *, online: int
    ) -> None:
        """`online` bounds the rows that are asked online at once."""
        self._mode = mode
        self._calls_of = calls_of
        self._host = host
        self._journal = journal
        self._calls = calls
        self._slots = trio.Semaphore(online)
        self._door = trio.Semaphore(1)
        """One batch is handed in at a time, for each is held in memory until then."""
        self._groups: dict[tuple[ModelRef, str], _Group] = {}
        self._jobs: dict[str, _Job] = {}
        self._by_key: dict[str, _Job] = {}
        self._refusals: Counter[ModelRef] = Counter()
        self._scopes: set[trio.CancelScope] = set()
        self._is_left = False
        self._ended = trio.Event()
        self._touched_at = trio.current_time()
        self._nursery: trio.Nursery

    def open(self, adopt: Mapping[str, str | None]) -> None:
        """Take up what earlier runs have left; `adopt` says what became of batches whose ids were lost.

        Raises ConfigError: of one of them nobody knows whether it was made, or its provider is not in the lockfile.
        """
        self._adopt(adopt)
        for batch in self._journal.batches.values():
            way = self._calls_of.way_of(batch.ref)
            if batch.id is None and not way.desk.can_find:
                raise ConfigError(lost(batch, self._journal))
            left = {key for key in batch.keys if self._journal.answer(key) is None}
            job = self._jobs[batch.tag] = _Job(batch, way, {}, left)
            self._by_key.update(dict.fromkeys(left, job))

    def _adopt(self, adopt: Mapping[str, str | None]) -> None:
        for tag, batch_id in adopt.items():
            if tag not in self._journal.batches:
                known = ", ".join(self._journal.batches) or "none"
                raise ConfigError(f"the journal {self._journal.path} has no open batch {tag!r}; open: {known}")
            line = BatchLine(tag=tag, id=batch_id) if batch_id is not None else BatchLine(tag=tag, end="void")
            self._journal.note_batch(line)

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, with the batches that were taken up. All work is done in `nursery`."""
        self._nursery = nursery
        for job in self._jobs.values():
            nursery.start_soon(self._attend, self._take_up, job)
        nursery.start_soon(self._attend, self._linger)

    def end(self) -> None:
        """There are no more rows: what was collected is handed in."""
        self._ended.set()

    def leave(self) -> None:
        """Hand in nothing more and wait for no batch: they go on at their providers, and a later run reads them."""
        self._is_left = True
        self._groups.clear()
        for scope in self._scopes:
            scope.cancel()

    def progress(self) -> BatchProgress | None:
        """None while no batch is under way."""
        states = [(job, job.status.counts) for job in self._jobs.values() if job.status is not None]
        if not states:
            return None
        return BatchProgress(
            batches=len(states),
            rows=sum(len(job.batch.keys) for job, _ in states),
            done=sum(one.succeeded + one.errored + one.expired + one.cancelled for _, one in states),
        )

    def say_left(self) -> None:
        """Log what goes on without us."""
        left = [job for job in self._jobs.values() if job.batch.id is not None]
        if left:
            names = ", ".join(job.name for job in left[:3]) + (", ..." if len(left) > 3 else "")
            rows = sum(len(job.batch.keys) for job in left)
            _LOG.warning(
                "left behind, and to be paid for: %s, with %d rows; the same call with %s reads what is answered",
                names,
                rows,
                self._journal.path,
            )

    # Rows on their way in.

    async def take(self, taken: Taken) -> None:
        """Take a row that has no answer in the journal. Waits while a batch is handed in, or online slots are full."""
        self._touched_at = trio.current_time()
        try:
            request = self._calls_of.prepare(taken.prompt)
        except LLMRingError as error:
            self._host.finish(taken, None, error)
            return
        job = self._by_key.pop(taken.key, None) if taken.key is not None else None
        if job is not None and taken.key is not None:
            job.unclaimed.discard(taken.key)
            job.asked[taken.key] = _Asked(taken=taken, request=request)
        else:
            await self._collect(_Asked(taken=taken, request=request))

    async def _collect(self, asked: _Asked) -> None:
        """Put a row to those like it. One that no batch can carry is asked online, or has failed."""
        key = asked.taken.key
        assert key is not None, "what can be sent has a key"
        try:
            way, spelled = self._carried(asked.request)
        except (ProviderError, InvalidRequest) as error:
            await self._turn_back([asked], error)
            return
        row, place = BatchRow(key=key, call=spelled.call), (way.route.ref, spelled.call.path)
        group = self._groups.get(place)
        if group is not None and not group.has_room(row):
            await self._hand_in(place)
            group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group(way, spelled.format)
        group.add(asked, row)
        if len(group.rows) >= group.most_rows:
            await self._hand_in(place)

    def _carried(self, request: ChatRequest) -> tuple[Way, Spelled]:
        """Raises a ProviderError that says why no batch can carry this request; InvalidRequest."""
        way = self._calls_of.way(request)
        if way is None:
            raise Unsupported(f"no model of {request.model!r} has a batch API and a key", parameter="mode")
        if needs_files(request):
            raise Unsupported("a batch carries no registered files", parameter="files")
        if request.extra_params.get("stream"):
            raise Unsupported("a batch carries no streams", parameter="stream")
        spelled = way.desk.spell(request, way.route)
        size = row_bytes(BatchRow(key="", call=spelled.call))
        if size > way.desk.batches.most_bytes:
            raise ImpossibleRequest(f"the row has {size} bytes, more than a whole batch may have")
        return way, spelled

    async def _hand_in(self, place: tuple[ModelRef, str]) -> None:
        group = self._groups.pop(place)
        await self._door.acquire()
        self._nursery.start_soon(self._attend, self._new, group)

    async def _linger(self) -> None:
        while not self._ended.is_set():
            with trio.move_on_after(LINGER_SECONDS):
                await self._ended.wait()
            if self._ended.is_set() or trio.current_time() >= self._touched_at + LINGER_SECONDS:
                await self._flush()

    async def _flush(self) -> None:
        while self._groups and not self._is_left:
            await self._hand_in(next(iter(self._groups)))

    async def _again(self, rows: Iterable[_Asked]) -> None:
        """Collect rows anew that nothing was paid for."""
        for asked in rows:
            await self._collect(asked)
        if self._ended.is_set():
            await self._flush()

    async def _turn_back(self, rows: Sequence[_Asked], error: LLMRingError) -> None:
        """Rows that no batch will answer: asked online, where that was allowed, else failed."""
        for asked in rows:
            if self._mode == "auto":
                await self._slots.acquire()
                self._nursery.start_soon(self._online, asked.taken)
            else:
                self._host.finish(asked.taken, None, error)

    async def _online(self, taken: Taken) -> None:
        try:
            await self._host.send(taken)
        finally:
            self._slots.release()

    # Batches on their way.

    async def _attend(self, work: Callable[..., Awaitable[None]], *about: object) -> None:
        """Do `work` until it is done, the batches are left, or the router closes."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._is_left:
                scope.cancel()
            try:
                with self._calls.step():
                    await work(*about)
            except LLMRingError as error:
                self._host.stop(error)
            finally:
                self._scopes.discard(scope)

    async def _new(self, group: _Group) -> None:
        """Hand in a group, and see it to its end."""
        try:
            job = await self._submitted(group)
        finally:
            self._door.release()
        if job is None:
            return
        group.rows.clear()
        await self._follow(job)

    async def _submitted(self, group: _Group) -> _Job | None:
        """None: it could not be handed in, and its rows are turned back. Raises LLMRingError where it may have been, or
        the journal cannot be written."""
        ref, desk = group.way.route.ref, group.way.desk
        tag = f"run-{uuid.uuid4().hex}"
        keys = tuple(group.asked)
        opened = OpenBatch(tag=tag, ref=ref, format=group.form, at=datetime.now(UTC), keys=keys)
        job = _Job(opened, group.way, group.asked, set())
        await self._note(opened.opening())
        try:
            status = await self._tried(job, Batch(rows=tuple(group.rows), tag=tag))
        except (ProviderError, InvalidRequest) as error:
            if isinstance(error, ProviderError) and not _is_refusal(error) and not desk.can_find:
                raise LLMRingError(lost(opened, self._journal, error)) from error
            await self._note(BatchLine(tag=tag, end="void"))
            await self._turn_back(list(group.asked.values()), error)
            return None
        job.batch = self._journal.batches[tag]
        job.status = status
        self._jobs[tag] = job
        return job

    async def _tried(self, job: _Job, batch: Batch) -> BatchStatus:
        """Hand in until it is taken. Raises the last error."""
        failed = 0
        for wait in _waits():
            made = await self._handed_in(job, batch)
            if isinstance(made, ProviderError) and not _is_refusal(made) and job.way.desk.can_find:
                made = await self._found(job, datetime.now(UTC)) or made
            if isinstance(made, BatchStatus):
                return made
            if not isinstance(made, ProviderError) or not (_is_refusal(made) or job.way.desk.can_find):
                raise made
            failed += not made.is_weather
            if not _is_passing(made) or failed >= SUBMIT_TRIES:
                raise made
            await trio.sleep(_at_least(wait, made))
        raise AssertionError("there is always another wait")

    async def _handed_in(self, job: _Job, batch: Batch) -> BatchStatus | LLMRingError:
        """A cancel gives it a moment: a batch that was made, and has no id in the journal, is hard to find again."""
        made: BatchStatus | LLMRingError | None = None
        shielded = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_shorten, shielded)
            with shielded:
                try:
                    made = await job.way.desk.submit(batch)
                    await self._note(BatchLine(tag=batch.tag, id=made.id))
                except LLMRingError as error:
                    made = error
            nursery.cancel_scope.cancel()
        assert made is not None, "cut short by nothing but a cancel, which goes on"
        if isinstance(made, ProviderError):
            made.model = job.batch.ref
        return made

    async def _found(self, job: _Job, begun_at: datetime) -> BatchStatus | None:
        """The batch by its tag, once it is certain whether there is one. Raises a ProviderError."""
        tag = job.batch.tag
        found = await self._patiently(job, lambda: job.way.desk.find(tag))
        young = SURE_SECONDS - (datetime.now(UTC) - begun_at).total_seconds()
        if found is None and young > 0:
            await trio.sleep(min(young, SURE_SECONDS))
            found = await self._patiently(job, lambda: job.way.desk.find(tag))
        if found is not None:
            await self._note(BatchLine(tag=tag, id=found.id))
            job.batch = self._journal.batches[tag]
        return found

    async def _take_up(self, job: _Job) -> None:
        """See a batch of an earlier run to its end. One that was never made is collected anew."""
        try:
            is_made = job.batch.id is not None or await self._found(job, job.batch.at) is not None
        except ProviderError as error:
            raise self._unreadable(job, error) from error
        if is_made:
            await self._follow(job)
            return
        await self._close(job, "void")
        await self._again(list(job.asked.values()))

    async def _follow(self, job: _Job) -> None:
        """Wait for its end, and read what came of it."""
        try:
            status = await self._over(job)
            if status.state == "failed":
                await self._failed(job, status)
                return
            while True:
                await self._claimed(job)
                await self._read(job, status)
                if not job.asked and (not job.unclaimed or self._ended.is_set()):
                    break
        except ProviderError as error:
            raise self._unreadable(job, error) from error
        self._refusals.pop(job.batch.ref, None)
        if job.unclaimed:
            _LOG.warning(
                "%s has answers to %d rows that were not among the inputs: they stay there",
                job.name,
                len(job.unclaimed),
            )
        elif job.is_whole:
            await self._close(job, _END[status.state])
            await job.way.desk.discard(status)

    async def _over(self, job: _Job) -> BatchStatus:
        batch_id = job.batch.id
        assert batch_id is not None, "followed when it has an id"
        for wait in _waits():
            job.status = status = await self._patiently(job, lambda: job.way.desk.look(batch_id))
            if status.is_over:
                return status
            await trio.sleep(wait)
        raise AssertionError("there is always another wait")

    async def _claimed(self, job: _Job) -> None:
        """Wait until its rows have come from the input, or no more of them come for now."""
        while job.unclaimed and not self._ended.is_set():
            if job.asked and trio.current_time() >= self._touched_at + LINGER_SECONDS:
                return
            with trio.move_on_after(LINGER_SECONDS):
                await self._ended.wait()

    async def _read(self, job: _Job, status: BatchStatus) -> None:
        """Finish the rows that have come by now."""
        waiting, job.asked = job.asked, {}
        again: list[_Asked] = []

        def take(result: BatchResult) -> None:
            asked = waiting.pop(result.key, None)
            if asked is not None:
                self._finish(job, asked, result.outcome, again)

        unread = await self._patiently(job, lambda: job.way.desk.fetch(status, job.batch.keys, take))
        if unread:
            job.is_whole = False
            _LOG.warning("%s: %d results cannot be read; it is not deleted there", job.name, unread)
        for asked in waiting.values():
            self._finish(job, asked, "expired" if status.state == "expired" else None, again)
        await self._turn_back(again, Unanswered(f"{job.name} has no answer"))

    def _finish(self, job: _Job, asked: _Asked, outcome: HttpReply | str | None, again: list[_Asked]) -> None:
        """One row, as the batch has it; what another try may help goes to `again`, where that was allowed."""
        response, error = self._read_one(job, asked, outcome)
        if self._mode == "auto" and isinstance(error, ProviderError) and error.fails_over:
            again.append(asked)
        elif not self._host.finish(asked.taken, response, error):
            job.is_whole = False

    def _read_one(
        self, job: _Job, asked: _Asked, outcome: HttpReply | str | None
    ) -> tuple[ChatResponse | None, LLMRingError | None]:
        error: LLMRingError
        if isinstance(outcome, HttpReply):
            try:
                completion = job.way.desk.read(outcome, asked.request, job.way.route, job.batch.format)
                return self._calls_of.answer(asked.request, job.way, completion), None
            except LLMRingError as raised:
                error = raised
        else:
            error = Unanswered(f"{job.name} ended without this row ({outcome or 'no result'}); nothing was paid for it")
        if isinstance(error, ProviderError):
            error.model = job.batch.ref
        return None, error

    async def _failed(self, job: _Job, status: BatchStatus) -> None:
        """Refused as a whole. For a full queue it waits, where it may not go online."""
        error = status.error or ServerFault(f"{job.name} failed, and the provider does not say why")
        error.model = job.batch.ref
        await self._close(job, "failed")
        await job.way.desk.discard(status)
        rows = list(job.asked.values())
        if self._mode == "auto" or not error.is_weather:
            await self._turn_back(rows, error)
            return
        self._refusals[job.batch.ref] += 1
        await trio.sleep(min(FULL_SECONDS * 2 ** min(self._refusals[job.batch.ref] - 1, 10), MOST_FULL_SECONDS))
        await self._again(rows)

    async def _close(self, job: _Job, end: End) -> None:
        """Nobody need look at it again. What it answered is on disk before that is."""
        await trio.to_thread.run_sync(self._journal.sync)
        await self._note(BatchLine(tag=job.batch.tag, end=end))
        self._jobs.pop(job.batch.tag, None)
        for key in job.unclaimed:
            self._by_key.pop(key, None)

    async def _note(self, line: BatchLine) -> None:
        """On disk before anything else is done. Raises LLMRingError."""
        self._journal.note_batch(line)
        await trio.to_thread.run_sync(self._journal.sync)

    async def _patiently(self, job: _Job, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """Ask until there is an answer: what is on its way was paid for. Raises what does not pass by itself."""
        bad = 0
        for wait in _waits():
            try:
                return await ask()
            except ProviderError as error:
                error.model = job.batch.ref
                bad += isinstance(error, BadReply)
                if not _is_passing(error) or bad >= MOST_BAD_REPLIES:
                    raise
                await trio.sleep(_at_least(wait, error))
        raise AssertionError("there is always another wait")

    def _unreadable(self, job: _Job, error: ProviderError) -> LLMRingError:
        if isinstance(error, AuthFailed):
            return error
        tag = job.batch.tag
        return LLMRingError(
            f"{job.name} cannot be read ({error}). Its {len(job.batch.keys)} rows are not asked again: check that the "
            f"key is of the account that handed it in. If the batch is gone for good, adopt={{{tag!r}: None}} "
            f"(--adopt {tag}=none) gives it up, and its rows are paid for again"
        )


_END: Mapping[BatchState, End] = {"ended": "ended", "expired": "expired", "cancelled": "cancelled"}


def lost(batch: OpenBatch, journal: Journal, error: ProviderError | None = None) -> str:
    """What to do about a batch of which nobody knows whether it was made."""
    provider, tag = batch.ref.provider, batch.tag
    why = f": {error}" if error is not None else ""
    return (
        f"a batch of {len(batch.keys)} rows for {batch.ref} was being handed in at {batch.at:%Y-%m-%d %H:%M:%S} UTC, "
        f"and its id is not in {journal.path}{why}. {provider} finds no batch by its name: look in its console, or in "
        f"its list of batches, for one of that time with so many rows. If it is there, go on with "
        f"adopt={{{tag!r}: 'its id'}} (--adopt {tag}=ID); if it is not, with adopt={{{tag!r}: None}} "
        f"(--adopt {tag}=none), and its rows are sent"
    )


def _is_refusal(error: ProviderError) -> bool:
    """Whether it is certain that nothing was made: the provider itself has said no. A gateway that gave up has not."""
    return not error.sent or (error.status is not None and error.status >= 400 and error.status not in (408, 502, 504))


def _is_passing(error: ProviderError) -> bool:
    """Whether the same call may go well later."""
    status = error.status
    return status is None or status < 400 or status in (408, 409, 429) or status >= 500


def _waits() -> Generator[float]:
    for times in itertools.count():
        yield min(FIRST_LOOK_SECONDS * 1.5 ** min(times, 10), MOST_LOOK_SECONDS)


def _at_least(wait: float, error: ProviderError) -> float:
    """As long as the provider said, within reason."""
    return max(wait, min(error.retry_after or 0.0, MOST_FULL_SECONDS))


async def _shorten(scope: trio.CancelScope) -> None:
    """Leave a shielded scope a moment, once this is cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        scope.deadline = trio.current_time() + GRACE_SECONDS
