"""map: one alias over many prompts, with a bounded window, on any number of providers' limits at once.

A run is an object, not an async generator: a generator that holds a nursery breaks when its consumer leaves early. Its
tasks live in the router's nursery; the consumer pulls, and memory stays proportional to the window on endless input.
"""

import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeGuard, get_args

import msgspec
import trio

from llmring.arguments import FUNCTION, as_text, check_kind, check_least, check_seconds, check_word
from llmring.chat import ChatRequest, ChatResponse, Message
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
from llmring.money.payment import Payment
from llmring.providers.pace import least_seconds
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.account import Account, Purse
from llmring.router.admission import Admission, CalledBack
from llmring.router.calls import Calls
from llmring.router.map.batch_jobs import BatchJobs
from llmring.router.map.batch_plan import WINDOW, Asked, BatchCalls, BatchProgress, Host, Mode
from llmring.router.map.duplicates import Duplicates, First, Settled
from llmring.router.map.journal import SYNC_SECONDS, Journal, open_journal, open_scratch, safe_key
from llmring.router.map.pacing import least_possible_seconds, paces_of, usable
from llmring.router.map.report import Report
from llmring.router.map.rows import Input, Inputs, Place, Row
from llmring.router.map.span import MapSpan

OnError = Literal["yield", "raise", "skip"]
_CHOICES: tuple[OnError, ...] = get_args(OnError)

_LEAVE_SECONDS = 5.0


class RowCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done for a row: its input made a request, the request's models, those of them that may be asked,
    the call itself, with the row's money where that is bounded; and the money for it in a batch, set aside from the
    budgets, None where it is in none or there are none.

    `prepare` raises InvalidRequest, `models` and `routes` ConfigError, `send` what `chat` raises, and CalledBack once
    `admission` has ended; `prepay` what `chat` raises of money.
    """

    prepare: Callable[[Input], ChatRequest]
    models: Callable[[ChatRequest], Sequence[ModelRef]]
    routes: Callable[[ChatRequest], Sequence[Route]]
    send: Callable[[ChatRequest, Account | None], Awaitable[ChatResponse]]
    admission: Admission
    prepay: Callable[[ChatRequest], Awaitable[Payment | None]]


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may not go beyond: failed rows, money, seconds from its start. None: no bound."""

    max_failures: int | None = None
    purse: Purse | None = None
    deadline: float | None = None


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How rows go through batch APIs; `adopt` are the ids, by tag, of batches that were lost, None for one that was
    never made."""

    mode: Mode
    calls_of: BatchCalls
    adopt: Mapping[str, str | None]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A run right now.

    `binding` names the limit that sets the pace, or what keeps all models out. `eta_seconds` is None while nothing is
    known, while no model can be asked, and while rows are in `batches`. `projected_usd` is what the run will have
    spent, if the rows that are left cost what those that it has paid for did; None while none has a price, and without
    a total.
    """

    rows: int
    failed: int
    in_flight: int
    rows_per_second: float
    binding: str
    eta_seconds: float | None
    projected_usd: Decimal | None = None
    batches: BatchProgress | None = None


class MapRun:
    """`async with router.map(...) as run: async for row in run`; or `await run.to_list()`. Made by the router.

    Rows come as they finish, or in the order of the inputs (`ordered`). Leaving the `async with` cancels what is still
    in flight. A setup that can serve nobody (a refused key) stops the run as `stop` does, an error in reading the
    inputs ends them: finished rows come first, then the error. `report` counts as rows finish.
    """

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
        _check_options(inputs, window, caps, on_error, key)
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
        self._ordered = ordered
        self._window = window
        self._on_error: OnError | Callable[[Row], OnError | None] = on_error
        self._entered = False
        self._scope = trio.CancelScope()
        self._feeding = trio.CancelScope()
        self._in_time = trio.CancelScope()
        self._read = 0
        self._all_read = False
        self._finished: deque[Row] = deque()
        self._early: dict[int, Row] = {}
        self._next_index = 0
        self._in_flight = 0
        self._news = trio.Event()
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
            while not self._finished and not self._ended.is_set():
                self._news = trio.Event()
                await self._news.wait()
            if not self._finished:
                self._note_time()
                if self._stopped_by is not None:
                    stopped_by, self._stopped_by = self._stopped_by, None
                    raise stopped_by
                raise StopAsyncIteration
            row = self._finished.popleft()
            self._room.release()
            match self._choice(row):
                case "yield":
                    return row
                case "raise":
                    assert row.error is not None, "only a failed row has a choice"
                    raise row.error
                case "skip":
                    continue

    async def to_list(self) -> list[Row]:
        """Run to the end and return all rows, in the order of the inputs: for inputs that fit into memory."""
        async with self:
            rows = [row async for row in self]
        rows.sort(key=lambda row: row.index)
        return rows

    def finished_nowait(self) -> list[Row]:
        """Rows that have finished and were not read: for a consumer that stops halfway and wants what was paid for."""
        rows = [*self._finished, *self._early.values()]
        self._finished.clear()
        self._early.clear()
        return rows

    def progress(self, total: int | None = None) -> Progress:
        """Where the run is; `total` rows, when known, give an ETA, from the limits of the models that can be asked and
        not from the average so far, and what all will have cost."""
        now = trio.current_time()
        routes = usable(self._routes, now, in_turn=self._in_turn)
        paces = paces_of(routes, now)
        widest = max(paces, key=lambda named: named[1].rows_per_second, default=None)
        seconds = now - self._started_at
        batches = self._jobs.progress() if self._jobs is not None else None
        eta = None
        if total is not None and paces:
            latency = max(route.means.took_seconds for route in routes)
            on_the_wire = sum(route.in_flight for route in self._routes)
            left = max(0, total - self.report.rows - on_the_wire)
            eta = least_seconds(left, [pace for _, pace in paces], latency)
        return Progress(
            rows=self.report.rows,
            failed=self.report.failed,
            in_flight=self._in_flight,
            rows_per_second=self.report.rows / seconds if seconds > 0.0 else 0.0,
            binding=f"{widest[0]} {widest[1].binding}" if widest else self._unbound(routes, now),
            eta_seconds=eta if batches is None else None,
            projected_usd=self.report.projected_usd(total) if total is not None else None,
            batches=batches,
        )

    def _unbound(self, usable_routes: Sequence[Route], now: float) -> str:
        """What `binding` is without a pace."""
        if usable_routes or not self._routes:
            return "nothing yet"
        return f"{self._routes[0].ref.provider} {self._routes[0].shut(now)}"

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
        if choice not in _CHOICES:
            # The row is handed out, and those that are paid for come before the error.
            self._stop(self._stopped_by or _no_choice(choice))
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
            self._hand_out_the_rest()
            self._told.end(self.report, self._stopped_by)
            self._ended.set()
            self._news.set()
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
            self._put(Row(index=place.index, prompt=place.prompt, response=kept, resumed=True))
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
        self._heed(error)
        is_kept = True
        try:
            self._settle(place, response, error)
        except LLMRingError as raised:
            # The answer was paid for: it goes to the reader all the same.
            self._stop(raised)
            is_kept = False
        self._put(Row(index=place.index, prompt=place.prompt, response=response, error=error))
        if self._duplicates is not None and place.digest is not None:
            first, waiting = self._duplicates.end(place.digest, ok=error is None)
            for follower in waiting:
                self._put_duplicate(follower, first, response, error)
        return is_kept

    def _put_duplicate(
        self, place: Place, first: First, response: ChatResponse | None, error: LLMRingError | None
    ) -> None:
        self.report.add_duplicate(error)
        self._heed(error)
        self._put(
            Row(
                index=place.index,
                prompt=place.prompt,
                response=response,
                error=error,
                resumed=first.resumed,
                duplicate_of=first.index,
            )
        )

    def _heed(self, error: LLMRingError | None) -> None:
        """Stop the run for a failed row, where there is no sense in going on."""
        if error is None:
            return
        if _is_setup(error) or isinstance(error, BudgetExceeded):
            self._stop(error)
        elif self._caps.max_failures is not None and self.report.failed == self._caps.max_failures + 1:
            self._stop(TooManyFailures(self.report.failed, error))

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

    def _hand_out_the_rest(self) -> None:
        """Rows that wait, in order, for one that was cut off."""
        for index in sorted(self._early):
            self._finished.append(self._early.pop(index))

    def _stop(self, error: BaseException) -> None:
        """No more rows; the reader gets those that finish, then the error."""
        self._stopped_by = error
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

    def _put(self, row: Row) -> None:
        if not self._ordered:
            self._finished.append(row)
        else:
            self._early[row.index] = row
            while self._next_index in self._early:
                self._finished.append(self._early.pop(self._next_index))
                self._next_index += 1
        self._news.set()


def _check_options(inputs: object, window: int | None, caps: Caps, on_error: object, key: object) -> None:
    """Raises InvalidRequest for what cannot be meant."""
    if isinstance(inputs, str | bytes | Message | Mapping):
        # A text is an iterable too, of one-letter prompts that would all be paid for.
        raise InvalidRequest("map takes an iterable of prompts, not one prompt: [prompt]")
    if not isinstance(inputs, Iterable | AsyncIterable):
        raise InvalidRequest(f"map takes an iterable of prompts, not {type(inputs).__name__}")
    if window is not None:
        check_least("window", 1, window, " row")
    if caps.max_failures is not None:
        check_least("max_failures", 0, caps.max_failures)
    if caps.deadline is not None:
        check_seconds("deadline", caps.deadline)
    if key is not None:
        check_kind("key", FUNCTION, key)
    if not callable(on_error):
        check_word("on_error", _CHOICES, on_error)


def _no_choice(choice: object) -> InvalidRequest:
    words = ", ".join(map(repr, _CHOICES))
    return InvalidRequest(f"on_error answered {choice!r}: it must answer one of {words}, or None for 'yield'")


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
