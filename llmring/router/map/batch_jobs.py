"""Batches of a map: rows collected, handed in at the providers' batch APIs, waited for, read into the journal.

A batch is in the journal before it is handed in, and so is its id before it is looked at; so a run that was killed
anywhere takes up what is on its way, and nothing is paid for twice. Where nobody can tell whether a batch was made, the
run stops and says so instead of guessing. Batches are never cancelled here: what is on its way is paid for.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import trio

from llmring.chat import ChatRequest, ChatResponse, Completion
from llmring.codecs.batch import Batch, BatchResult, BatchRow, BatchState, BatchStatus, row_bytes
from llmring.codecs.codec import HttpReply
from llmring.errors import (
    ConfigError,
    ImpossibleRequest,
    InvalidRequest,
    LLMRingError,
    ProviderError,
    ServerFault,
    Unanswered,
    Unsupported,
)
from llmring.providers.files import needs_files
from llmring.providers.spelling import Spelled
from llmring.refs import ModelRef
from llmring.router.calls import Calls
from llmring.router.map.batch_errands import Errands
from llmring.router.map.batch_lines import BatchLine, End, OpenBatch
from llmring.router.map.batch_plan import (
    LINGER_SECONDS,
    Asked,
    BatchCalls,
    BatchProgress,
    Came,
    Group,
    Host,
    Job,
    Mode,
    Way,
    full_seconds,
    in_parts,
    is_refusal,
    lost,
    named,
    unreadable,
)
from llmring.router.map.journal import Journal

_LOG = logging.getLogger("llmring")

_END: Mapping[BatchState, End] = {"ended": "ended", "expired": "expired", "cancelled": "cancelled"}


class BatchJobs:
    """Made by a map for its length; `start` it, `take` its rows, and `end` it when there are no more."""

    def __init__(
        self, mode: Mode, calls_of: BatchCalls, host: Host, journal: Journal, calls: Calls, *, online: int
    ) -> None:
        """`online` bounds the rows that are asked online at once."""
        self._mode: Mode = mode
        self._calls_of = calls_of
        self._host = host
        self._journal = journal
        self._errands = Errands(journal)
        self._calls = calls
        self._slots = trio.Semaphore(online)
        self._door = trio.Semaphore(1)
        """One batch is handed in at a time, for each is held in memory until then."""
        self._groups: dict[tuple[ModelRef, str], Group] = {}
        self._jobs: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
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
            way = self._calls_of.way_of(batch)
            if batch.id is None and not way.desk.can_find:
                raise ConfigError(lost(batch, self._journal.path))
            left = {key for key in batch.keys if self._journal.answer(key) is None}
            job = self._jobs[batch.tag] = Job(batch, way, {}, left)
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
        for group in self._groups.values():
            for asked in group.asked.values():
                if asked.payment is not None:
                    # Not handed in.
                    asked.payment.close()
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
        left = list(self._journal.batches.values())
        if left:
            names = ", ".join(named(batch) for batch in left[:3]) + (", ..." if len(left) > 3 else "")
            _LOG.warning(
                "left behind, and to be paid for: %s, with %d rows; the same call with %s reads what is answered",
                names,
                sum(len(batch.keys) for batch in left),
                self._journal.path,
            )

    # Rows on their way in.

    def has(self, key: str | None) -> bool:
        """Whether the row of this key is in a batch that an earlier run has handed in."""
        return key in self._by_key

    async def take(self, asked: Asked) -> None:
        """Take a row that has no answer in the journal. Waits while a batch is handed in, or online slots are full."""
        self._touched_at = trio.current_time()
        key = asked.place.key
        job = self._by_key.pop(key, None) if key is not None else None
        if job is not None and key is not None:
            job.unclaimed.discard(key)
            job.asked[key] = asked
        else:
            await self._collect(asked)

    async def _collect(self, asked: Asked) -> None:
        """Put a row to those like it. One that no batch can carry is asked online, or has failed."""
        key = asked.place.key
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
            group = self._groups[place] = Group(way, spelled.format)
        group.add(msgspec.structs.replace(asked, way=way), row)
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

    async def _again(self, rows: Iterable[Asked]) -> None:
        """Collect rows anew that nothing was paid for."""
        for asked in rows:
            await self._collect(asked)
        if self._ended.is_set():
            await self._flush()

    async def _turn_back(self, rows: Sequence[Asked], error: LLMRingError) -> None:
        """Rows that no batch will answer: asked online, where that was allowed, else failed."""
        for asked in rows:
            if self._mode == "auto":
                await self._slots.acquire()
                self._nursery.start_soon(self._online, asked)
            else:
                self._host.finish(asked, None, error)

    async def _online(self, asked: Asked) -> None:
        try:
            await self._host.send(asked)
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
                with self._calls.step(), self._host.current():
                    await work(*about)
            except LLMRingError as error:
                self._host.stop(error)
            finally:
                self._scopes.discard(scope)

    async def _new(self, group: Group) -> None:
        """Hand in a group, and see it to its end."""
        try:
            job = await self._submitted(group)
        finally:
            self._door.release()
        if job is None:
            return
        group.rows.clear()
        await self._follow(job)

    async def _submitted(self, group: Group) -> Job | None:
        """None: it could not be handed in, and its rows are turned back. Raises LLMRingError where it may have been, or
        the journal cannot be written."""
        ref, desk = group.way.route.ref, group.way.desk
        tag = f"run-{uuid.uuid4().hex}"
        keys = tuple(group.asked)
        variable = group.way.route.credential.key
        opened = OpenBatch(tag=tag, ref=ref, format=group.form, at=datetime.now(UTC), keys=keys, variable=variable)
        job = Job(opened, group.way, group.asked, set())
        job.handed_in_at = trio.current_time()
        await self._errands.note(opened.opening())
        try:
            status = await self._errands.hand_in(job, Batch(rows=tuple(group.rows), tag=tag))
        except (ProviderError, InvalidRequest) as error:
            if isinstance(error, ProviderError) and not is_refusal(error) and not desk.can_find:
                raise LLMRingError(lost(opened, self._journal.path, error)) from error
            await self._refused(job, error)
            await self._errands.note(BatchLine(tag=tag, end="void"))
            await self._turn_back(list(group.asked.values()), error)
            return None
        job.batch = self._journal.batches[tag]
        job.status = status
        self._jobs[tag] = job
        return job

    async def _take_up(self, job: Job) -> None:
        """See a batch of an earlier run to its end. One that was never made is collected anew."""
        try:
            is_made = job.batch.id is not None or await self._errands.find(job, job.batch.at) is not None
        except ProviderError as error:
            raise unreadable(job, error) from error
        if is_made:
            await self._follow(job)
            return
        await self._close(job, "void")
        await self._again(list(job.asked.values()))

    async def _follow(self, job: Job) -> None:
        """Wait for its end, and read what came of it."""
        try:
            status = await self._errands.wait_for_end(job)
            if status.state == "failed":
                await self._failed(job, status)
                return
            while True:
                await self._claimed(job)
                await self._read(job, status)
                if not job.asked and (not job.unclaimed or self._ended.is_set()):
                    break
        except ProviderError as error:
            raise unreadable(job, error) from error
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

    async def _claimed(self, job: Job) -> None:
        """Wait until its rows have come from the input, or no more of them come for now."""
        while job.unclaimed and not self._ended.is_set():
            if job.asked and trio.current_time() >= self._touched_at + LINGER_SECONDS:
                return
            with trio.move_on_after(LINGER_SECONDS):
                await self._ended.wait()

    async def _read(self, job: Job, status: BatchStatus) -> None:
        """Finish the rows that have come by now."""
        waiting, job.asked = job.asked, {}
        again: list[Asked] = []

        async def take(results: Sequence[BatchResult]) -> None:
            ours = ((waiting.pop(result.key, None), result.outcome) for result in results)
            read = [(asked, self._came(job, asked, outcome)) for asked, outcome in ours if asked is not None]
            await self._finish_all(job, read, again)

        unread = await self._errands.patiently(job, lambda: job.way.desk.fetch(status, job.batch.keys, take))
        if unread:
            job.is_whole = False
            _LOG.warning("%s: %d results cannot be read; it is not deleted there", job.name, unread)
        outcome = "expired" if status.state == "expired" else None
        for some in in_parts(list(waiting.values())):
            await self._finish_all(job, [(asked, self._came(job, asked, outcome)) for asked in some], again)
        await self._turn_back(again, Unanswered(f"{job.name} has no answer"))

    async def _finish_all(self, job: Job, read: Sequence[tuple[Asked, Came]], again: list[Asked]) -> None:
        await self._calls_of.keep(job, read)
        for asked, came in read:
            self._finish(job, asked, came, again)

    def _finish(self, job: Job, asked: Asked, came: Came, again: list[Asked]) -> None:
        """One row, as the batch has it; what another try may help goes to `again`, where that was allowed."""
        response, error = self._answered(job, asked, came)
        if error is not None and not isinstance(error, ProviderError):
            # An edit of the lockfile: the answer is there still, for another run.
            job.is_whole = False
        if self._mode == "auto" and isinstance(error, ProviderError) and error.fails_over:
            again.append(asked)
        elif not self._host.finish(asked, response, error):
            job.is_whole = False

    def _answered(self, job: Job, asked: Asked, came: Came) -> tuple[ChatResponse | None, LLMRingError | None]:
        if isinstance(came, Completion):
            try:
                return self._calls_of.answer(job, asked, came), None
            except LLMRingError as error:
                return None, error
        if isinstance(came, ProviderError):
            self._calls_of.failed(job, asked, came)
        return None, came

    def _came(self, job: Job, asked: Asked, outcome: HttpReply | str | None) -> Came:
        """What an outcome says."""
        error: LLMRingError
        if isinstance(outcome, HttpReply):
            try:
                return job.way.desk.read(outcome, asked.request, job.way.route, job.batch.format)
            except LLMRingError as raised:
                error = raised
        else:
            error = Unanswered(f"{job.name} ended without this row ({outcome or 'no result'}); nothing was paid for it")
        if isinstance(error, ProviderError):
            error.model = job.batch.ref
        return error

    async def _refused(self, job: Job, error: LLMRingError) -> None:
        """The provider took none of its rows."""
        if isinstance(error, ProviderError) and error.sent:
            for some in in_parts(list(job.asked.values())):
                await self._calls_of.keep(job, [(asked, error) for asked in some])
                for asked in some:
                    self._calls_of.failed(job, asked, error)

    async def _failed(self, job: Job, status: BatchStatus) -> None:
        """Refused as a whole. For a full queue it waits, where it may not go online."""
        error = status.error or ServerFault(f"{job.name} failed, and the provider does not say why")
        error.model = job.batch.ref
        job.way.desk.conceal(error, [asked.request for asked in job.asked.values()])
        await self._refused(job, error)
        await self._close(job, "failed")
        await job.way.desk.discard(status)
        rows = list(job.asked.values())
        if self._mode == "auto" or not error.is_weather:
            await self._turn_back(rows, error)
            return
        self._refusals[job.batch.ref] += 1
        await trio.sleep(full_seconds(self._refusals[job.batch.ref]))
        await self._again(rows)

    async def _close(self, job: Job, end: End) -> None:
        """Nobody need look at it again. What it answered is on disk before that is."""
        await trio.to_thread.run_sync(self._journal.sync)
        await self._errands.note(BatchLine(tag=job.batch.tag, end=end))
        self._jobs.pop(job.batch.tag, None)
        for key in job.unclaimed:
            self._by_key.pop(key, None)
