"""map: one alias over many prompts, with a bounded window, on any number of providers' limits at once.

A run is an object, not an async generator: a generator that holds a nursery breaks when its consumer leaves early. Its
tasks live in the router's nursery; the consumer pulls, and memory stays proportional to the window on endless input.
"""

import itertools
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
import trio

from llmring.chat import ChatRequest, ChatResponse, Message
from llmring.errors import AuthFailed, ConfigError, InvalidRequest, LLMRingError, RouterClosed, TooManyFailures
from llmring.prompts import Prompt
from llmring.providers.pace import Pace, least_seconds
from llmring.providers.route import Route
from llmring.refs import ModelRef
from llmring.router.batch_jobs import BatchJobs
from llmring.router.batch_plan import WINDOW, BatchCalls, BatchProgress, Host, Mode, Taken
from llmring.router.calls import Calls
from llmring.router.journal import SYNC_SECONDS, Journal, open_journal
from llmring.router.report import Report

OnError = Literal["yield", "raise", "skip"]
Input = Prompt | ChatRequest | InvalidRequest
Inputs = Iterable[Input] | AsyncIterable[Input]

_LEAVE_SECONDS = 5.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One finished row: `index` counts the inputs from 0; exactly one of `response` and `error` is set. `resumed`: an
    earlier run of the same journal has had the answer."""

    index: int
    prompt: Input
    response: ChatResponse | None = None
    error: LLMRingError | None = None
    resumed: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None


class RowCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done for a row: its input made a request, the request's models, the call itself.

    `prepare` raises InvalidRequest, `models` ConfigError, `send` what `chat` raises.
    """

    prepare: Callable[[Input], ChatRequest]
    models: Callable[[ChatRequest], Sequence[ModelRef]]
    send: Callable[[ChatRequest], Awaitable[ChatResponse]]


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How rows go through batch APIs; `adopt` are the ids, by tag, of batches that were lost, None for one that was
    never made."""

    mode: Mode
    calls_of: BatchCalls
    adopt: Mapping[str, str | None]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A run right now. `binding` names the limit that sets the pace; `eta_seconds` is None while nothing is known, and
    while rows are in `batches`."""

    rows: int
    failed: int
    in_flight: int
    rows_per_second: float
    binding: str
    eta_seconds: float | None
    batches: BatchProgress | None = None


class MapRun:
    """`async with router.map(...) as run: async for row in run`; or `await run.to_list()`. Made by the router.

    Rows come as they finish, or in the order of the inputs (`ordered`). Leaving the `async with` cancels what is still
    in flight. An error in reading the inputs, or a setup that can serve nobody (a refused key), stops the run: finished
    rows come first, then the error. `report` counts as rows finish.
    """

    def __init__(
        self,
        inputs: Inputs,
        calls_of: RowCalls,
        routes: Callable[[], tuple[Route, ...]],
        nursery: trio.Nursery,
        calls: Calls,
        *,
        ordered: bool,
        window: int | None,
        on_error: OnError | Callable[[Row], OnError],
        checkpoint: Path | None,
        max_failures: int | None,
        batching: Batching | None = None,
    ) -> None:
        if batching is not None and checkpoint is None:
            raise InvalidRequest(
                f"mode={batching.mode!r} needs a checkpoint: it knows what is on its way, and paid for"
            )
        if isinstance(inputs, str | bytes | Message | Mapping):
            # A text is an iterable too, of one-letter prompts that would all be paid for.
            raise InvalidRequest("map takes an iterable of prompts, not one prompt: [prompt]")
        if window is not None and window < 1:
            raise InvalidRequest(f"window must be at least 1 row, not {window}")
        if max_failures is not None and max_failures < 0:
            raise InvalidRequest(f"max_failures must be at least 0, not {max_failures}")
        self.report = Report()
        self._inputs = inputs
        self._calls_of = calls_of
        self._checkpoint = checkpoint
        self._batching = batching
        self._jobs: BatchJobs | None = None
        self._max_failures = max_failures
        self._journal: Journal | None = None
        self._files = ExitStack()
        self._sync_due = trio.Event()
        self._find_routes = routes
        self._routes: tuple[Route, ...] = ()
        self._nursery = nursery
        self._calls = calls
        self._ordered = ordered
        self._window = window
        self._on_error: OnError | Callable[[Row], OnError] = on_error
        self._entered = False
        self._scope = trio.CancelScope()
        self._feeding = trio.CancelScope()
        self._finished: deque[Row] = deque()
        self._early: dict[int, Row] = {}
        self._next_index = 0
        self._in_flight = 0
        self._news = trio.Event()
        self._ended = trio.Event()
        self._stopped_by: BaseException | None = None
        self._started_at = 0.0

    async def __aenter__(self) -> Self:
        """Start. Raises ConfigError when the alias is unknown or none of its models has a key."""
        if self._entered:
            raise InvalidRequest("a map runs once: make a new one")
        self._entered = True
        self._routes = self._find_routes()
        if self._checkpoint is not None:
            opened = open_journal(self._checkpoint)
            self._journal = await trio.to_thread.run_sync(self._files.enter_context, opened)
            await self._open_batches(self._journal)
        self._room = trio.Semaphore(self._window or (WINDOW if self._jobs is not None else self._default_window()))
        self._calls.begin()
        self._started_at = trio.current_time()
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
        """Where the run is; `total` rows, when known, give an ETA: from the limits, not from the average so far."""
        now = trio.current_time()
        paces = _paces(self._routes, now)
        widest = max(paces, key=lambda named: named[1].rows_per_second, default=None)
        seconds = now - self._started_at
        batches = self._jobs.progress() if self._jobs is not None else None
        eta = None
        if total is not None and paces:
            latency = max(route.means.took_seconds for route in self._routes)
            on_the_wire = sum(route.in_flight for route in self._routes)
            left = max(0, total - self.report.rows - on_the_wire)
            eta = least_seconds(left, [pace for _, pace in paces], latency)
        return Progress(
            rows=self.report.rows,
            failed=self.report.failed,
            in_flight=self._in_flight,
            rows_per_second=self.report.rows / seconds if seconds > 0.0 else 0.0,
            binding=f"{widest[0]} {widest[1].binding}" if widest else "nothing yet",
            eta_seconds=eta if batches is None else None,
            batches=batches,
        )

    def leave_batches(self) -> None:
        """Hand in no more rows in batches, and wait for none: they go on at their providers, and a later run with the
        same journal reads them. Online rows under way are finished; nothing to do without batches."""
        if self._jobs is not None:
            self._feeding.cancel()
            self._jobs.leave()

    async def _open_batches(self, journal: Journal) -> None:
        """Raises ConfigError: for batches that are on their way, and this run cannot take up."""
        try:
            if self._batching is not None:
                host = Host(send=self._send_taken, finish=self._finish_taken, stop=self._stop)
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
            await self._close_journal()  # noqa: ASYNC102 - shields itself
            raise

    async def _send_taken(self, taken: Taken) -> None:
        await self._row(taken.index, taken.prompt, taken.key)

    def _finish_taken(self, taken: Taken, response: ChatResponse | None, error: LLMRingError | None) -> bool:
        return self._finish_row(taken.index, taken.prompt, taken.key, response, error)

    def _default_window(self) -> int:
        """Twice the connections of all routes: enough to keep every one of them busy while rows wait to be read."""
        credentials = {id(route.credential): route.credential for route in self._routes}
        return 2 * sum(credential.max_in_flight for credential in credentials.values())

    def _choice(self, row: Row) -> OnError:
        if row.ok:
            return "yield"
        return self._on_error(row) if callable(self._on_error) else self._on_error

    def _note_time(self) -> None:
        if self.report.wall_seconds == 0.0:
            self.report.wall_seconds = trio.current_time() - self._started_at

    # In the router's nursery.

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as syncing:
                    if self._journal is not None:
                        syncing.start_soon(self._keep_in_sync, self._journal)
                    async with trio.open_nursery() as nursery:
                        if self._jobs is not None:
                            self._jobs.start(nursery)
                        with self._feeding:
                            await self._feed(nursery)
                        self._end_batches()
                    syncing.cancel_scope.cancel()
        finally:
            if self._jobs is not None:
                self._jobs.say_left()
            await self._close_journal()  # noqa: ASYNC102 - shields itself
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
                    self._stopped_by = RouterClosed("the router was closed during this map")
                    return
                try:
                    prompt = await anext(source)
                except StopAsyncIteration:
                    return
                except Exception as error:  # noqa: BLE001 - what the caller's iterator raises goes to the caller
                    self._stopped_by = error
                    return
                # Here, for keys count equal rows in the order of the input.
                key = self._key(prompt)
                kept = self._journal.answer(key) if self._journal is not None and key is not None else None
                if kept is not None:
                    self.report.add_resumed()
                    self._put(Row(index=index, prompt=prompt, response=kept, resumed=True))
                    continue
                self._in_flight += 1
                if self._jobs is not None:
                    await self._jobs.take(Taken(index=index, prompt=prompt, key=key))
                else:
                    nursery.start_soon(self._row, index, prompt, key)

    def _key(self, prompt: Input) -> str | None:
        """None without a journal, and for a row that cannot be sent: it costs nothing to fail again."""
        if self._journal is None:
            return None
        try:
            request = self._calls_of.prepare(prompt)
            return self._journal.key(request, self._calls_of.models(request))
        except LLMRingError:
            return None

    async def _row(self, index: int, prompt: Input, key: str | None) -> None:
        response = error = None
        try:
            response = await self._calls_of.send(self._calls_of.prepare(prompt))
        except LLMRingError as raised:
            error = raised
        self._finish_row(index, prompt, key, response, error)

    def _finish_row(
        self, index: int, prompt: Input, key: str | None, response: ChatResponse | None, error: LLMRingError | None
    ) -> bool:
        """Count it, write it down, hand it out. False when it could not be written."""
        if error is not None and _is_setup(error):
            self._stop(error)
        is_kept = True
        self._in_flight -= 1
        self.report.add(response, error)
        if error is not None and self._max_failures is not None and self.report.failed == self._max_failures + 1:
            self._stop(TooManyFailures(self.report.failed, error))
        if self._journal is not None and key is not None:
            try:
                self._journal.settle(key, index, response, error)
                if self._journal.is_due:
                    self._sync_due.set()
            except LLMRingError as raised:
                # The answer was paid for: it goes to the reader all the same.
                self._stop(raised)
                is_kept = False
        self._put(Row(index=index, prompt=prompt, response=response, error=error))
        return is_kept

    def _stop(self, error: BaseException) -> None:
        """No more rows; the reader gets those that finish, then the error."""
        self._stopped_by = error
        self._feeding.cancel()
        if self._jobs is not None:
            self._jobs.leave()

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

    async def _close_journal(self) -> None:
        if self._journal is None:
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


def _paces(routes: Iterable[Route], now: float) -> list[tuple[str, Pace]]:
    """The known paces, by provider. Routes that share the limits of the lockfile go only as fast as one of them."""
    paces: dict[int, tuple[str, Pace]] = {}
    for route in routes:
        pace = route.pace(now)
        shared = route.credential if route.credential.budget.buckets else route
        before = paces.get(id(shared))
        if math.isfinite(pace.rows_per_second) and (before is None or pace.rows_per_second > before[1].rows_per_second):
            paces[id(shared)] = (route.ref.provider, pace)
    return list(paces.values())


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
