"""map: one alias over many prompts, with a bounded window, on any number of providers' limits at once.

A run is an object, not an async generator: a generator that holds a nursery breaks when its consumer leaves early. Its
tasks live in the router's nursery; the consumer pulls, and memory stays proportional to the window on endless input.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence, Sized
from contextlib import ExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, TypeGuard

import trio

from llmring.arguments import as_text
from llmring.chat import ChatRequest, ChatResponse
from llmring.errors import (
    AuthFailed,
    BudgetExceeded,
    ConfigError,
    InvalidRequest,
    LLMRingError,
    MapTimeout,
    ReceiptError,
    RouterClosed,
    TooManyFailures,
)
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.account import Account
from llmring.router.admission import CalledBack
from llmring.router.calls import Calls
from llmring.router.map.batch_jobs import BatchJobs
from llmring.router.map.batch_plan import WINDOW, Asked, Host
from llmring.router.map.duplicates import Duplicates, First, Settled
from llmring.router.map.given import CHOICES, Batching, Caps, OnError, RowCalls, check_options, no_choice
from llmring.router.map.journal import SYNC_SECONDS, Journal, open_journal, open_scratch, safe_key
from llmring.router.map.outlet import Outlet
from llmring.router.map.pacing import least_possible_seconds
from llmring.router.map.progress import Progress, progress_of
from llmring.router.map.report import Report
from llmring.router.map.rows import Input, Inputs, Place, Row
from llmring.router.map.span import MapSpan

_LEAVE_SECONDS = 5.0


class MapRun:
    """`async with router.map(...) as run: async for row in run`; or `await run.to_list()`. Made by the router.

    Rows come as they finish, or in the order of the inputs (`ordered`). Leaving the `async with` cancels what is still
    in flight. A setup that can serve nobody (a refused key) stops the run as `stop` does, an error in reading the
    inputs ends them: finished rows come first, then the error. `report` counts as rows finish. `stopped_at` is the
    index of the row that was one failure too many, None while there is none.
    """

    stopped_at: int | None = None

    def __init__(
        self,
        inputs: Inputs,
        calls_of: RowCalls,
        routes: Callable[[], tuple[tuple[Route, ...], bool]],
        nursery: trio.Nursery,
        calls: Calls,
        told: MapSpan,
        *,
        ordered: bool,
        window: int | None,
        on_error: OnError | Callable[[Row], OnError | None],
        checkpoint: Path | None,
        caps: Caps,
        dedupe: bool,
        key: Callable[[Input], str] | None,
        batching: Batching | None = None,
    ) -> None:
        check_options(inputs, window, caps, on_error, key)
        if batching is not None and checkpoint is None:
            raise InvalidRequest(
                f"mode={batching.mode!r} needs a checkpoint: it knows what is on its way, and paid for"
            )
        self.report = Report()
        self._inputs = inputs
        self._calls_of = calls_of
        self._checkpoint = checkpoint
        self._caps = caps
        self._dedupe = dedupe
        self._duplicates: Duplicates[Place] | None = None
        self._row_key = key
        self._row_keys: set[str] = set()
        self._batching = batching
        self._jobs: BatchJobs | None = None
        self._journal: Journal | None = None
        self._files = ExitStack()
        self._sync_due = trio.Event()
        self._find_routes = routes
        self._in_turn = False
        self._routes: tuple[Route, ...] = ()
        self._nursery = nursery
        self._calls = calls
        self._told = told
        self._outlet = Outlet(ordered=ordered)
        self._window = window
        self._on_error: OnError | Callable[[Row], OnError | None] = on_error
        self._entered = False
        self._scope = trio.CancelScope()
        self._feeding = trio.CancelScope()
        self._in_time = trio.CancelScope()
        self._read = 0
        self._all_read = False
        self._in_flight = 0
        self._ended = trio.Event()
        self._stopped_by: BaseException | None = None
        self._started_at = 0.0

    async def __aenter__(self) -> Self:
        """Start. Raises ConfigError when the alias is unknown, or none of its models has a key, or one has no price and
        there is a budget."""
        if self._entered:
            raise InvalidRequest("a map runs once: make a new one")
        self._entered = True
        self._routes, self._in_turn = self._find_routes()
        if self._caps.purse is not None:
            self._caps.purse.check(self._routes)
        if self._checkpoint is not None:
            opened = open_journal(self._checkpoint)
            self._journal = await trio.to_thread.run_sync(self._files.enter_context, opened)
            await self._open_batches(self._journal)
        if self._dedupe:
            self._duplicates = Duplicates(self._journal or self._files.enter_context(open_scratch()))
        self._room = trio.Semaphore(self._window or (WINDOW if self._jobs is not None else self._default_window()))
        self._calls.begin()
        self._told.begin()
        self._started_at = trio.current_time()
        if self._caps.deadline is not None:
            self._in_time.deadline = self._started_at + self._caps.deadline
        self._nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        with trio.move_on_after(_LEAVE_SECONDS, shield=True):
            await self._ended.wait()
        self._note_time()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        while True:
            row = await self._outlet.take()
            if row is None:
                self._note_time()
                if self._stopped_by is not None:
                    stopped_by, self._stopped_by = self._stopped_by, None
                    raise stopped_by
                raise StopAsyncIteration
            self._room.release()
            match self._choice(row):
                case "yield":
                    return row
                case "raise":
                    assert row.error is not None, "only a failed row has a choice"
                    self._stop_at(row.index, row.error)
                case "skip":
                    continue

    def _stop_at(self, index: int, error: LLMRingError) -> None:
        """End with a row's error, after those that are on the wire: they may be paid for."""
        if self._stopped_by is not None:
            return
        error.add_note(f"row {index} of the map, counted from 0")
        self.stopped_at = index
        self._stopped_by = error
        if not self._ended.is_set():
            self.stop()

    async def to_list(self) -> list[Row]:
        """Run to the end and return all rows, in the order of the inputs: for inputs that fit into memory."""
        async with self:
            rows = [row async for row in self]
        rows.sort(key=lambda row: row.index)
        return rows

    def finished_nowait(self) -> list[Row]:
        """Rows that have finished and were not read: for a consumer that stops halfway and wants what was paid for."""
        return self._outlet.take_all()

    def progress(self, total: int | None = None) -> Progress:
        """Where the run is; `total` rows, when known, give an ETA, from the limits of the models that can be asked and
        not from the average so far, and what all will have cost."""
        return progress_of(
            self.report,
            self._routes,
            in_turn=self._in_turn,
            in_flight=self._in_flight,
            started_at=self._started_at,
            total=total,
            batches=self._jobs.progress() if self._jobs is not None else None,
        )

    def stop(self) -> None:
        """Send nothing more, at once: rows that wait in line, or for a batch to fill, are not done, like those that
        were not read yet. Rows on the wire are finished and handed out, then the run ends. Batches go on at their
        providers. A later run with the same journal does the rest."""
        self._feeding.cancel()
        self._calls_of.admission.end()
        if self._jobs is not None:
            self._jobs.leave()

    async def _open_batches(self, journal: Journal) -> None:
        """Raises ConfigError: for batches that are on their way, and this run cannot take up."""
        try:
            if self._batching is not None:
                host = Host(send=self._row, finish=self._finish_batched, stop=self._stop, current=self._told.current)
                online = self._window or self._default_window()
                asks = self._batching.calls_of
                jobs = BatchJobs(self._batching.mode, asks, host, journal, self._calls, online=online)
                jobs.open(self._batching.adopt)
                self._jobs = jobs
            elif journal.batches:
                rows = sum(len(batch.keys) for batch in journal.batches.values())
                why = "take them up with mode='auto' or mode='batch', or they would be paid for twice"
                raise ConfigError(f"{journal.path} has {rows} rows in batches that are on their way: {why}")
        except BaseException:
            await self._close_files()  # noqa: ASYNC102 - shields itself
            raise

    def _finish(self, asked: Asked, response: ChatResponse | None, error: LLMRingError | None) -> bool:
        """A row under way has its answer, or none. False when that could not be written down."""
        self._in_flight -= 1
        if asked.account is not None:
            if response is not None:
                # Of an online answer it has settled already.
                asked.account.paid(response.cost.usd, response.model)
            asked.account.close()
        if asked.payment is not None:
            asked.payment.paid(response.cost.usd if response is not None else Decimal(0))
        if _is_unpaid(error):
            # Nothing was sent, and nothing would be: it is left for a later run, as those are that were not read.
            self._stop(error)
            return True
        return self._end(asked.place, response, error)

    def _finish_batched(self, asked: Asked, response: ChatResponse | None, error: LLMRingError | None) -> bool:
        if error is not None:
            self._told.row_failed(asked.request, error)
        return self._finish(asked, response, error)

    def _default_window(self) -> int:
        """Twice the connections of all routes: enough to keep every one of them busy while rows wait to be read."""
        credentials = {id(route.credential): route.credential for route in self._routes}
        return 2 * sum(credential.max_in_flight for credential in credentials.values())

    def _choice(self, row: Row) -> OnError:
        if row.ok:
            return "yield"
        if not callable(self._on_error):
            return self._on_error
        choice = self._on_error(row)
        if choice is None:
            # It has only looked: no row is lost for that.
            return "yield"
        if choice not in CHOICES:
            # The row is handed out, and those that are paid for come before the error.
            self._stop_at(row.index, no_choice(choice))
            return "yield"
        return choice

    def _note_time(self) -> None:
        if self.report.wall_seconds == 0.0:
            self.report.wall_seconds = trio.current_time() - self._started_at
            if self._jobs is None:
                asked = self.report.answered - self.report.resumed - self.report.duplicates
                self.report.note_bound(least_possible_seconds(asked, self._routes))

    # In the router's nursery.

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as syncing:
                    if self._journal is not None:
                        syncing.start_soon(self._keep_in_sync, self._journal)
                    with self._in_time:
                        async with trio.open_nursery() as nursery:
                            if self._jobs is not None:
                                self._jobs.start(nursery)
                            with self._feeding:
                                await self._feed(nursery)
                            self._end_batches()
                    if self._in_time.cancelled_caught:
                        self._time_is_up()
                    syncing.cancel_scope.cancel()
        finally:
            if self._jobs is not None:
                self._jobs.say_left()
            await self._close_files()  # noqa: ASYNC102 - shields itself
            self._told.end(self.report, self._stopped_by)
            self._ended.set()
            self._outlet.close()
            self._calls.end()

    def _end_batches(self) -> None:
        """The input has ended. Where it was stopped, nothing more is handed in, nor waited for."""
        if self._jobs is not None:
            if self._stopped_by is not None:
                self._jobs.leave()
            self._jobs.end()

    async def _feed(self, nursery: trio.Nursery) -> None:
        """Start rows as long as the window has room for them."""
        async with aclosing(_iterate(self._inputs)) as source:
            for index in itertools.count():
                await self._room.acquire()
                if self._calls.is_closing:
                    self._stop(RouterClosed("the router was closed during this map"))
                    return
                try:
                    prompt = await anext(source)
                except StopAsyncIteration:
                    self._all_read = True
                    return
                except Exception as error:  # noqa: BLE001 - what the caller's iterator raises goes to the caller
                    self._stopped_by = error
                    return
                self._read += 1
                try:
                    await self._admit(nursery, index, prompt)
                except Exception as error:  # noqa: BLE001 - no money, no price, or what the caller's `key` raises
                    self._stopped_by = error
                    return

    async def _admit(self, nursery: trio.Nursery, index: int, prompt: Input) -> None:
        """Start a row, unless it has its answer already or another one will have it. Raises what stops the run."""
        try:
            request = self._calls_of.prepare(prompt)
            models = self._calls_of.models(request)
        except LLMRingError as error:
            # It cannot be sent: it costs nothing to fail again, so no journal has it.
            self._end(Place(index=index, prompt=prompt), None, error)
            return
        place = self._place(index, prompt, request, models)
        if self._is_answered(place):
            return
        account = None
        if self._caps.purse is not None and not (self._jobs is not None and self._jobs.has(place.key)):
            account = Account(self._caps.purse)
            try:
                await account.reserve(request, self._payable(request))
            except InvalidRequest as error:
                self._end(place, None, error)
                return
        payment = None
        if self._jobs is not None and not self._jobs.has(place.key):
            try:
                payment = await self._calls_of.prepay(request)
            except InvalidRequest as error:
                self._end(place, None, error)
                return
        self._in_flight += 1
        asked = Asked(place=place, request=request, account=account, payment=payment)
        if self._jobs is not None:
            await self._jobs.take(asked)
        else:
            nursery.start_soon(self._row, asked)

    def _payable(self, request: ChatRequest) -> Sequence[Route]:
        """The routes that may be asked, and paid."""
        if self._batching is not None and self._batching.mode == "batch":
            way = self._batching.calls_of.way(request)
            return [] if way is None else [way.route]
        return self._calls_of.routes(request)

    def _place(self, index: int, prompt: Input, request: ChatRequest, models: Sequence[ModelRef]) -> Place:
        digest = self._duplicates.answers.digest(request, models) if self._duplicates is not None else None
        key = digest
        if self._row_key is not None:
            key = safe_key(self._checked_key(self._row_key(prompt)))
        elif digest is None and self._journal is not None:
            # In the order of the input: equal rows are counted.
            key = self._journal.key(request, models)
        return Place(index=index, prompt=prompt, key=key, digest=digest)

    def _checked_key(self, given: object) -> str:
        key = as_text("the key of a row", given)
        if key in self._row_keys:
            raise InvalidRequest(f"two rows of this map have the key {key!r}")
        self._row_keys.add(key)
        return key

    def _is_answered(self, place: Place) -> bool:
        """Whether the row has its answer, or waits for the one that asks the same. If not, it is to be asked."""
        if self._duplicates is not None and place.digest is not None:
            match self._duplicates.look(place.digest, place):
                case Settled(first=first, response=response):
                    self._put_duplicate(place, first, response, None)
                    return True
                case First():
                    return True
                case None:
                    pass
        kept = self._journal.answer(place.key) if self._journal is not None and place.key is not None else None
        if self._duplicates is not None and place.digest is not None:
            first = First(place.index, place.key or place.digest, resumed=kept is not None)
            self._duplicates.begin(place.digest, first)
        if kept is not None:
            self.report.add_resumed()
            self._outlet.put(Row(index=place.index, prompt=place.prompt, response=kept, resumed=True))
        return kept is not None

    async def _row(self, asked: Asked) -> None:
        """Ask online."""
        response = error = None
        if asked.payment is not None:
            # Each attempt pays for itself.
            asked.payment.close()
        try:
            response = await self._calls_of.send(asked.request, asked.account)
        except LLMRingError as raised:
            error = raised
        except CalledBack as called:
            self._call_back(asked, called)
            return
        except BaseException:
            if asked.account is not None:
                asked.account.close()
            raise
        self._finish(asked, response, error)

    def _call_back(self, asked: Asked, called: CalledBack) -> None:
        """A row is not done: neither written down nor handed out. What was sent for it was sent."""
        self._in_flight -= 1
        self.report.add_attempts(called.attempts)
        if asked.account is not None:
            asked.account.close()

    def _end(self, place: Place, response: ChatResponse | None, error: LLMRingError | None) -> bool:
        """A row was asked, or cannot be: into the report and the journal, and to the reader. False when it could not be
        written down."""
        self.report.add(response, error)
        self._heed(place.index, error)
        is_kept = True
        try:
            self._settle(place, response, error)
        except LLMRingError as raised:
            # The answer was paid for: it goes to the reader all the same.
            self._stop(raised)
            is_kept = False
        self._outlet.put(Row(index=place.index, prompt=place.prompt, response=response, error=error))
        if self._duplicates is not None and place.digest is not None:
            first, waiting = self._duplicates.end(place.digest, ok=error is None)
            for follower in waiting:
                self._put_duplicate(follower, first, response, error)
        return is_kept

    def _put_duplicate(
        self, place: Place, first: First, response: ChatResponse | None, error: LLMRingError | None
    ) -> None:
        self.report.add_duplicate(error)
        self._heed(place.index, error)
        self._outlet.put(
            Row(
                index=place.index,
                prompt=place.prompt,
                response=response,
                error=error,
                resumed=first.resumed,
                duplicate_of=first.index,
            )
        )

    def _heed(self, index: int, error: LLMRingError | None) -> None:
        """Stop the run for a failed row, where there is no sense in going on."""
        if error is None:
            return
        if _is_setup(error) or isinstance(error, BudgetExceeded):
            self._stop(error)
        elif self._caps.max_failures is not None and self.report.failed == self._caps.max_failures + 1:
            self._stop(TooManyFailures(self.report.failed, error, index))
            self.stopped_at = index
        elif self._on_error == "raise":
            # Not when it is read: until then more would be sent.
            self._stop_at(index, error)

    def _settle(self, place: Place, response: ChatResponse | None, error: LLMRingError | None) -> None:
        """Write the row down, before it is handed out. Raises LLMRingError."""
        if self._journal is not None and place.key is not None:
            self._journal.settle(place.key, place.index, response, error)
            if self._journal.is_due:
                self._sync_due.set()
        elif self._duplicates is not None and place.key is not None and response is not None:
            self._duplicates.answers.settle(place.key, place.index, response, None)

    def _time_is_up(self) -> None:
        """Say so to the reader, after the rows that are finished."""
        assert self._caps.deadline is not None, "nothing else ends it"
        total = len(self._inputs) if isinstance(self._inputs, Sized) else self._read
        finished = self.report.rows
        more = not self._all_read and not isinstance(self._inputs, Sized)
        if more or finished < total:
            self._stopped_by = self._stopped_by or MapTimeout(
                self._caps.deadline, finished, total - finished, more=more, checkpoint=self._checkpoint
            )

    def _stop(self, error: BaseException) -> None:
        """No more rows; the reader gets those that finish, then the error."""
        self._stopped_by = error
        self.stopped_at = None
        self.stop()

    async def _keep_in_sync(self, journal: Journal) -> None:
        """What a failing power supply may cost is the rows of a second."""
        while True:
            with trio.move_on_after(SYNC_SECONDS):
                await self._sync_due.wait()
            self._sync_due = trio.Event()
            try:
                await trio.to_thread.run_sync(journal.sync)
            except LLMRingError as error:
                self._stop(error)
                return

    async def _close_files(self) -> None:
        if self._journal is None and self._duplicates is None:
            return
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(self._files.close)
            except LLMRingError as error:
                self._stopped_by = self._stopped_by or error


def _is_unpaid(error: LLMRingError | None) -> TypeGuard[LLMRingError]:
    """Whether a row was not asked at all for want of money, or because a budget cannot be kept."""
    return isinstance(error, ReceiptError) or (isinstance(error, BudgetExceeded) and error.budget is not None)


def _is_setup(error: LLMRingError) -> bool:
    """Whether every other row would fail in the same way."""
    return isinstance(error, AuthFailed | ConfigError) and not isinstance(error, InvalidRequest)


async def _iterate(inputs: Inputs) -> AsyncGenerator[Input]:
    if isinstance(inputs, AsyncIterable):
        async for item in inputs:
            yield item
    else:
        for item in inputs:
            yield item
