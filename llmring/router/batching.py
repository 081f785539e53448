"""Rows of a map in batches, as the router sees them: where they can go, and what is told, kept and handed out of one
that has come back.

What is known of a row's way is what was looked at when it was given its place, when its batch was handed in, and when
its result was read. A process that takes up a batch of another one knows what the journal says, and makes nothing up.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Protocol

import msgspec
import trio

from llmring.billing import rule_of
from llmring.chat import ChatRequest, ChatResponse, Completion, Note
from llmring.errors import Attempt, ConfigError, ProviderError
from llmring.lockfile import Lockfile
from llmring.lockfile.providers import Kind as ProviderKind
from llmring.pricing import cost_of, in_a_batch
from llmring.providers.estimate import Counting, input_tokens
from llmring.providers.route import Route
from llmring.providers.worker import ProviderWorker
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.router.answer import answer, usages
from llmring.router.dispatcher import Dispatcher
from llmring.router.map.batch_lines import OpenBatch
from llmring.router.map.batch_plan import Asked, BatchCalls, Came, Job, Looked, Way
from llmring.router.map.span import MapSpan
from llmring.router.recorder import Recorder
from llmring.trace import Batched, Considered, Decision, Source, Spill, Trace, TracedRoute, Verdict, attach
from llmring.usage import Usage

_HALF = Note(parameter="cost", action="changed", why="half of the online price: answered in a batch")

Flags = Callable[[ModelRef, ProviderKind, Mapping[ModelRef, str], Completion], tuple[Note, ...]]
"""What its owner should know of who has answered."""


class BatchedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that its batch has answered or failed, as its receipt tells of it. `key` names it in its journal, and `tag`
    the batch; `tenant` is empty where nobody is named; `took_seconds` are from handing in to reading."""

    request: ChatRequest
    profile: str
    model: ModelRef
    tag: str
    key: str
    came: Completion | ProviderError
    took_seconds: float
    lockfile: Lockfile
    batch: str | None = None
    tenant: str = ""


class Books(Protocol):
    """Who keeps receipts."""

    def batched(self, row: BatchedRow) -> None:
        """Leave a row, which may have been left before, to be kept once."""
        ...

    async def settled(self) -> None:
        """Wait until what was left is on disk, as far as it can be."""
        ...


class Batches:
    """Of one map. Its public methods are the BatchCalls."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        catalog: Callable[[], Catalog],
        flags: Flags,
        told: MapSpan,
        recorder: Recorder | None,
        books: Books | None,
        profile: str | None,
        spill: Spill,
        tenant: str = "",
    ) -> None:
        self._tenant = tenant
        self._dispatcher = dispatcher
        self._catalog = catalog
        self._flags = flags
        self._told = told
        self._recorder = recorder
        self._books = books
        self._profile = profile
        self._spill: Spill = spill

    def way(self, request: ChatRequest) -> Way | None:
        """Where a request can be handed in: at the first of its models with a batch API and a key. Raises
        ConfigError."""
        routes = self._dispatcher.routes(request.model, self._profile, self._spill)
        workers = [(ref, self._dispatcher.crew(ref.provider).first) for ref in dict.fromkeys(one.ref for one in routes)]
        taken = next(((ref, worker) for ref, worker in workers if _obstacle(worker) is None), None)
        if taken is None or taken[1].desk is None:
            return None
        looked = self._looked(request, [(worker.route(ref.model), _obstacle(worker)) for ref, worker in workers])
        return Way(route=taken[1].route(taken[0].model), desk=taken[1].desk, looked=looked)

    def way_of(self, batch: OpenBatch) -> Way:
        """Where a batch is, with the key that it was handed in with. Raises ConfigError."""
        worker = self._dispatcher.crew(batch.ref.provider).with_key(batch.variable)
        if worker.missing_key is not None:
            raise copy(worker.missing_key)
        if worker.desk is None:
            raise ConfigError(f"{batch.ref.provider}, which has a batch of {batch.ref}, has no batch API any more")
        return Way(route=worker.route(batch.ref.model), desk=worker.desk)

    def calls_of(self) -> BatchCalls:
        return BatchCalls(way=self.way, way_of=self.way_of, keep=self.keep, answer=self.answer, failed=self.failed)

    def _looked(self, request: ChatRequest, routes: Sequence[tuple[Route, str | None]]) -> tuple[Looked, ...]:
        counted: dict[Counting, float] = {}
        found: list[Looked] = []
        for route, why in routes:
            # By characters: there are thousands at a time, and nothing is decided by it.
            counting = msgspec.structs.replace(route.counting, by_characters=True)
            if counting not in counted:
                counted[counting] = input_tokens(request, counting)
            tokens_in, tokens_out, _ = route.outlook(request, counted[counting])
            found.append(
                Looked(
                    model=route.ref,
                    key=route.credential.key,
                    input_tokens=tokens_in,
                    output_tokens=tokens_out,
                    prices=self._catalog().prices(route.ref),
                    why=why,
                )
            )
        return tuple(found)

    async def keep(self, job: Job, read: Sequence[tuple[Asked, Came]]) -> None:
        """Leave receipts of rows, and wait until they are on disk. Neither waits nor fails where none are kept."""
        if self._books is None:
            return
        profile = self._dispatcher.profile_name(self._profile)
        for asked, came in read:
            key = asked.place.key
            if key is not None and isinstance(came, Completion | ProviderError):
                self._books.batched(
                    BatchedRow(
                        request=asked.request,
                        profile=profile,
                        model=job.batch.ref,
                        tag=job.batch.tag,
                        key=key,
                        came=came,
                        took_seconds=_took_seconds(job),
                        lockfile=self._dispatcher.lockfile,
                        batch=job.batch.id,
                        tenant=self._tenant,
                    )
                )
        await self._books.settled()

    def answer(self, job: Job, asked: Asked, completion: Completion) -> ChatResponse:
        """What came in a batch as it would have come online, but for its price. Raises ConfigError."""
        request, ref = asked.request, job.batch.ref
        with self._told.row("batch_row", request.model) as call:
            about = self._dispatcher.crew(ref.provider).endpoint
            call.batched(about, ref, request, completion)
            flags = self._flags(ref, about.kind, self._dispatcher.pins(request.model, self._profile), completion)
            key = job.way.route.credential.key
            attempt = Attempt(model=ref, outcome="answered in a batch", sent=True, key=key)
            response = answer(completion, ref, request.model, (attempt,), self._catalog())
            paid = in_a_batch(response.cost, rule_of(ref.provider))
            notes = (*response.notes, *flags, *([_HALF] if paid.usd is not None else []))
            attempts = (msgspec.structs.replace(attempt, cost=paid),)
            response = msgspec.structs.replace(response, cost=paid, notes=notes, attempts=attempts)
            trace = self._ended(
                job, asked, Verdict(outcome="answered", then="answered", took_seconds=_took_seconds(job))
            )
            call.follow(trace)
            attach(response, trace)
            call.answered(response)
        self._record(asked, trace, usages(completion))
        return response

    def failed(self, job: Job, asked: Asked, error: ProviderError) -> None:
        """A batch has no answer for a row: whether it is asked online then, or has failed."""
        verdict = Verdict(
            outcome=type(error).__name__,
            then="raised",
            status=error.status,
            sent=error.sent,
            took_seconds=_took_seconds(job),
            retry_after=error.retry_after,
        )
        self._record(asked, self._ended(job, asked, verdict), ())

    def _ended(self, job: Job, asked: Asked, verdict: Verdict) -> Source:
        """The way of a row that has come back. Holds neither the row nor a route."""
        looked = asked.way.looked if asked.way is not None else self._looked(asked.request, [(job.way.route, None)])
        batched = Batched(
            handed_in_at=_handed_in_at(job),
            read_at=datetime.now(UTC),
            id=job.batch.id,
            taken_up=job.handed_in_at is None,
        )
        profile = self._dispatcher.profile_name(self._profile)
        began_at = trio.current_time() - verdict.took_seconds
        return partial(_trace, asked.request.model, profile, self._spill, began_at, looked, verdict, batched)

    def _record(self, asked: Asked, trace: Source, used: tuple[Usage, ...]) -> None:
        if self._recorder is not None:
            self._recorder.post("batch_row", self._dispatcher.lockfile, trace, asked.request.max_tokens, used)


def _obstacle(worker: ProviderWorker) -> str | None:
    """Why no batch can go to a provider."""
    if worker.desk is None:
        return "no batch API"
    return str(worker.missing_key) if worker.missing_key is not None else None


def _handed_in_at(job: Job) -> datetime:
    if job.handed_in_at is None:
        return job.batch.at
    return datetime.now(UTC) - timedelta(seconds=_took_seconds(job))


def _took_seconds(job: Job) -> float:
    """From when its handing in began to now. Across two processes only the wall clock can tell."""
    if job.handed_in_at is None:
        return max(0.0, (datetime.now(UTC) - job.batch.at).total_seconds())
    return trio.current_time() - job.handed_in_at


def _trace(
    alias: str,
    profile: str,
    spill: Spill,
    began_at: float,
    looked: Sequence[Looked],
    verdict: Verdict,
    batched: Batched,
) -> Trace:
    routes = tuple(
        TracedRoute(
            model=one.model,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cost_usd=_cost_usd(one),
            key=one.key,
        )
        for one in looked
    )
    taken = next(index for index, one in enumerate(looked) if one.why is None)
    decision = Decision(
        at=0.0,
        considered=tuple(
            Considered(
                model=one.model,
                readiness="ready" if one.why is None else "shut",
                why=one.why or "",
                wait_seconds=0.0 if one.why is None else None,
                cost_usd=route.cost_usd,
                key=one.key,
            )
            for one, route in zip(looked, routes, strict=True)
        ),
        action="go",
        routes=(taken,),
        taken=taken,
        verdict=verdict,
    )
    return Trace(
        alias=alias,
        profile=profile,
        order="ordered",
        began_at=began_at,
        seconds=None,
        patient=True,
        spill=spill,
        routes=routes,
        written=tuple(range(len(routes))),
        decisions=(decision,),
        batched=batched,
    )


def _cost_usd(looked: Looked) -> Decimal | None:
    """What a row was expected to cost in a batch."""
    used = Usage(input_tokens=looked.input_tokens, output_tokens=looked.output_tokens)
    online = cost_of((used,), looked.prices, known=looked.prices is not None)
    return in_a_batch(online, rule_of(looked.model.provider)).usd
