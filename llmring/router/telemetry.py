"""The spans of a router, and what is measured of its calls: the only file beside meters.py and cli/exporting.py that
imports OpenTelemetry, and of that only the API, which does nothing where the program has set up no SDK.

A call of a caller's has one span from its start to its end (`Call`), every attempt on the wire one of its own below
that (`AttemptSpan`). The conventions' attributes are on attempts alone, so that who sums tokens over spans counts none
twice. A map has a span too (`Run`), and its rows are traces of their own with a link to it. Errors are recorded by
their class, never by their text, which may quote a prompt; prompts and answers only where they were asked for; keys
never.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

import trio
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    StatusCode,
    TracerProvider,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from llmring import __version__
from llmring.chat import ChatRequest, ChatResponse, Completion
from llmring.config import read_settings
from llmring.embeddings import Embeddings, EmbedResponse
from llmring.errors import Dimension, LLMRingError, ProviderError, RateLimited
from llmring.providers.endpoint import Endpoint
from llmring.providers.fairness import Priority
from llmring.providers.readiness import Readiness, Ready
from llmring.providers.route import Permit
from llmring.refs import ModelRef
from llmring.router import semconv
from llmring.router.contents import input_messages, output_messages, tool_definitions
from llmring.router.meters import Living, meters_of
from llmring.router.report import Report
from llmring.trace import Source, Trace
from llmring.usage import Cost, Usage

Kind = Literal["chat", "stream", "embed", "map_row", "batch_row"]
"""What a caller, or a map, asked for."""

MOST_DECISIONS = 32
"""That a span tells; those in the middle of a longer way are left out."""

_SENT: Mapping[str, str] = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "top_k": semconv.REQUEST_TOP_K,
    "seed": semconv.REQUEST_SEED,
    "frequency_penalty": semconv.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": semconv.REQUEST_PRESENCE_PENALTY,
    "n": semconv.REQUEST_CHOICE_COUNT,
}
"""By field of a request: numbers only. Stop sequences are a part of the prompt."""

_LIMITS: Mapping[str, Dimension] = {
    f"{dimension} limit": dimension for dimension in ("requests", "tokens", "input", "output", "day")
}

Labels = dict[str, str | int]
"""What the spans and the metrics of one model share."""


class Telemetry:
    """Where a router's spans and metrics go, for `open_router(telemetry=...)`.

    Without providers they go to those that the program sets for all of its libraries
    (`opentelemetry.trace.set_tracer_provider`, `opentelemetry.metrics.set_meter_provider`), now or later; nowhere, if
    it sets none. `content` true records prompts, answers and tool arguments; by default the environment says
    (LLMRING_TRACE_CONTENT, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT), and records none.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool | None = None,
    ) -> None:
        self.tracer = get_tracer("llmring", __version__, tracer_provider, semconv.SCHEMA_URL)
        self.meters = meters_of(meter_provider)
        self.content = read_settings().trace_content if content is None else content
        self._labels: dict[tuple[str, str, str, str], Labels] = {}

    @contextmanager
    def watching(self, router: Living) -> Generator[None]:
        """Tell of the limits of a router while it is open."""
        self.meters.watch(router)
        try:
            yield
        finally:
            self.meters.forget(router)

    def call(self, kind: Kind, alias: str, priority: Priority = "interactive") -> "Call":
        """Begin the span of a call, below the caller's own."""
        return Call(self, kind, alias, priority, None, None)

    def run(self, alias: str, priority: Priority) -> "Run":
        return Run(self, alias, priority)

    def labels(self, operation: str, about: Endpoint, model: str) -> Labels:
        """Made once for every model: they are handed in with every attempt."""
        key = (operation, about.name, about.base_url, model)
        found = self._labels.get(key)
        if found is None:
            found = self._labels[key] = _labels(operation, about, model)
        return found


class Current:
    """A block in which a context holds. None changes nothing. Never around a `yield` or the caller's own code."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context | None) -> None:
        self._context = context

    def __enter__(self) -> None:
        if self._context is not None:
            self._token = attach(self._context)

    def __exit__(self, *exc: object) -> None:
        if self._context is not None:
            detach(self._token)


class Call:
    """One call: `with` it, or `current()` where it goes on in steps, and then `end`.

    `within` is the context that it begins in, None for the current one. Where there is no SDK there is no valid span,
    and nothing is made current.
    """

    __slots__ = (
        "_alias",
        "_began_at",
        "_context",
        "_ended",
        "_failed",
        "_failovers",
        "_kind",
        "_number",
        "_source",
        "_span",
        "_token",
        "_waited",
        "is_recording",
        "telemetry",
    )

    def __init__(
        self,
        telemetry: Telemetry,
        kind: Kind,
        alias: str,
        priority: Priority,
        within: Context | None,
        links: Sequence[Link] | None,
    ) -> None:
        self.telemetry = telemetry
        self._kind = kind
        self._alias = alias
        self._span = telemetry.tracer.start_span(
            f"llmring.{kind} {alias}",
            within,
            SpanKind.INTERNAL,
            {semconv.KIND: kind, semconv.ALIAS: alias, semconv.PRIORITY: priority},
            links,
        )
        self.is_recording = self._span.is_recording()
        is_valid = self._span.get_span_context().is_valid
        self._context = set_span_in_context(self._span, within) if is_valid else None
        self._began_at = trio.current_time()
        self._number = 0
        self._failovers = 0
        self._failed: tuple[ModelRef, str] | None = None
        self._waited = 0.0
        self._source: Source | None = None
        self._ended = False

    def __enter__(self) -> Self:
        if self._context is not None:
            self._token = attach(self._context)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._context is not None:
            detach(self._token)
        self.end(error)

    def current(self) -> Current:
        """A block whose spans are below this one, whichever task it runs in."""
        return Current(self._context)

    def follow(self, source: Source) -> None:
        """Tell of these decisions, unless it tells of earlier ones already."""
        if self._source is None:
            self._source = source

    def waits(self, models: Sequence[ModelRef], readiness: Sequence[Readiness], indexes: Sequence[int]) -> None:
        """It stands in line at some of `models`, for what `readiness` says."""
        if self.is_recording:
            about: dict[str, AttributeValue] = {
                semconv.MODELS: [str(models[index]) for index in indexes],
                semconv.LIMITS: [_limit(readiness[index]) for index in indexes],
            }
            self._span.add_event(semconv.WAIT_BEGAN, about)

    def goes(self, seconds: float, model: ModelRef | None = None, waited_for: Readiness | None = None) -> None:
        """A wait has ended: with the permit of a model, or with none, and the request looks around anew."""
        if self.is_recording:
            about: dict[str, AttributeValue] = {semconv.WAITED: seconds}
            if model is not None and waited_for is not None:
                about |= {semconv.MODEL: str(model), semconv.LIMIT: _limit(waited_for)}
            self._span.add_event(semconv.WAIT_ENDED, about)

    def attempt(self, about: Endpoint, permit: Permit, request: ChatRequest, waited_seconds: float) -> "AttemptSpan":
        """Begin the span of an attempt. `with` it around what is sent."""
        ref = permit.route.ref
        self._number += 1
        self._waited += waited_seconds
        labels = self.telemetry.labels(self._operation, about, ref.model)
        meters = self.telemetry.meters
        meters.queue_wait.record(waited_seconds, labels)
        if self._failed is not None and self._failed[0] != ref:
            self._failovers += 1
            meters.failovers.add(
                1,
                {
                    semconv.ALIAS: self._alias,
                    semconv.FROM_MODEL: str(self._failed[0]),
                    semconv.TO_MODEL: str(ref),
                    semconv.ERROR_TYPE: self._failed[1],
                },
            )
        self._failed = None
        span = AttemptSpan(self, self._span_of(ref, labels), labels, permit, request)
        if span.is_recording:
            span.describe(
                {
                    semconv.ALIAS: self._alias,
                    semconv.MODEL: str(ref),
                    semconv.ATTEMPT_NUMBER: self._number,
                    semconv.WAITED: waited_seconds,
                    **({semconv.REQUEST_STREAM: True} if self._kind == "stream" else {}),
                }
            )
        return span

    @property
    def _operation(self) -> str:
        return semconv.EMBEDDINGS if self._kind == "embed" else semconv.CHAT

    def _span_of(self, ref: ModelRef, labels: Labels) -> Span:
        if self._context is None:
            return INVALID_SPAN
        name = f"{labels[semconv.OPERATION]} {ref.model}"
        return self.telemetry.tracer.start_span(name, self._context, SpanKind.CLIENT, labels)

    def context_of(self, span: Span) -> Context | None:
        """What holds while an attempt is on the wire."""
        return set_span_in_context(span, self._context) if self._context is not None else None

    def has_failed(self, ref: ModelRef, kind: str) -> None:
        """An attempt has: one at another model will be a failover."""
        self._failed = (ref, kind)

    def batched(self, about: Endpoint, ref: ModelRef, request: ChatRequest, completion: Completion) -> None:
        """The answer came in a batch: a span of its own says from whom. How long it took is not known."""
        labels = self.telemetry.labels(semconv.CHAT, about, ref.model)
        span = self._span_of(ref, labels)
        if span.is_recording():
            span.set_attributes({semconv.ALIAS: self._alias, semconv.MODEL: str(ref), semconv.BATCHED: True})
            span.set_attributes(_asked(request, content=self.telemetry.content))
            span.set_attributes(_answered(completion, content=self.telemetry.content))
        self.count_tokens(labels, completion.usage, completion.served_model)
        span.end()

    def count_tokens(self, labels: Labels, usage: Usage | None, served: str | None) -> None:
        if usage is None:
            return
        more = {semconv.RESPONSE_MODEL: served} if served is not None else {}
        record = self.telemetry.meters.token_usage.record
        record(usage.total_input_tokens, {**labels, **more, semconv.TOKEN_TYPE: "input"})
        record(usage.total_output_tokens, {**labels, **more, semconv.TOKEN_TYPE: "output"})

    def answered(self, response: ChatResponse | EmbedResponse) -> None:
        """What its caller gets."""
        self._spend(response.cost, response.model)
        if not self.is_recording:
            return
        self._span.set_attributes(_outcome(response.model, response.usage, response.cost))
        if isinstance(response, ChatResponse):
            changed = {note.parameter for note in response.notes}
            if "model" in changed:
                self._span.set_attribute(semconv.OTHER_MODEL, True)
            if "registry" in changed:
                self._span.set_attribute(semconv.LEFT_PIN, True)

    def _spend(self, cost: Cost, model: ModelRef) -> None:
        if cost.usd is not None:
            labels = {semconv.ALIAS: self._alias, semconv.MODEL: str(model)}
            self.telemetry.meters.cost.add(float(cost.usd), labels)

    def end(self, error: BaseException | None = None) -> None:
        """It is over; a second time changes nothing."""
        if self._ended:
            return
        self._ended = True
        labels: dict[str, AttributeValue] = {semconv.KIND: self._kind, semconv.ALIAS: self._alias}
        if error is not None:
            labels[semconv.ERROR_TYPE] = type(error).__name__
        self.telemetry.meters.call_duration.record(trio.current_time() - self._began_at, labels)
        if self.is_recording:
            self._span.set_attributes(
                {semconv.ATTEMPTS: self._number, semconv.FAILOVERS: self._failovers, semconv.WAITED: self._waited}
            )
            if self._source is not None:
                self._span.set_attribute(semconv.DECISIONS, decisions_text(self._source()))
            if error is not None:
                _set_failed(self._span, error)
        # Whatever holds the call holds no decisions, and no frames.
        self._source = None
        self._span.end()


class AttemptSpan:
    """One attempt: current for as long as the `with` around its sending. An error that leaves that ends it; else one of
    `answered`, `failed` and `left` does, and a second one changes nothing."""

    __slots__ = (
        "_began_at",
        "_call",
        "_context",
        "_ended",
        "_labels",
        "_permit",
        "_request",
        "_span",
        "_token",
        "is_recording",
    )

    def __init__(self, call: Call, span: Span, labels: Labels, permit: Permit, request: ChatRequest) -> None:
        self._call = call
        self._span = span
        self._labels = labels
        self._permit = permit
        self._request = request
        self._began_at = trio.current_time()
        self._ended = False
        self.is_recording = span.is_recording()

    def __enter__(self) -> Self:
        self._context = self._call.context_of(self._span)
        if self._context is not None:
            self._token = attach(self._context)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._context is not None:
            detach(self._token)
        if error is not None:
            self.failed(error)

    def describe(self, attributes: Mapping[str, AttributeValue]) -> None:
        """What is known before it is sent."""
        self._span.set_attributes(attributes)
        self._span.set_attributes(_asked(self._request, content=self._call.telemetry.content))

    def answered(self, answer: Completion | Embeddings) -> None:
        if self._ended:
            return
        self._call.count_tokens(self._labels, answer.usage, answer.served_model)
        if self.is_recording:
            self._span.set_attributes(_answered(answer, content=self._call.telemetry.content))
        self._end({semconv.RESPONSE_MODEL: answer.served_model} if answer.served_model is not None else {})

    def left(self, partial: Completion) -> None:
        """Its reader walked away from a stream; `partial` is what had come by then."""
        if self._ended:
            return
        self._call.count_tokens(self._labels, partial.usage, partial.served_model)
        if self.is_recording:
            self._span.set_attributes({semconv.STREAM_LEFT: True, **_used(partial.usage)})
        self._end({})

    def failed(self, error: BaseException) -> None:
        if self._ended:
            return
        kind = type(error).__name__
        self._call.has_failed(self._permit.route.ref, kind)
        if isinstance(error, RateLimited):
            about = {} if error.dimension is None else {semconv.DIMENSION: error.dimension}
            self._call.telemetry.meters.refusals.add(1, {**self._labels, **about})
        if self.is_recording:
            _set_failed(self._span, error)
            if isinstance(error, ProviderError):
                self._span.set_attribute(semconv.ATTEMPT_SENT, error.sent)
                if error.status is not None:
                    self._span.set_attribute(semconv.HTTP_STATUS, error.status)
                if error.request_id is not None:
                    self._span.set_attribute(semconv.REQUEST_ID, error.request_id)
        self._end({semconv.ERROR_TYPE: kind})

    def _end(self, labels: Mapping[str, str]) -> None:
        self._ended = True
        meters = self._call.telemetry.meters
        meters.operation_duration.record(trio.current_time() - self._began_at, {**self._labels, **labels})
        if self._permit.first_at is not None:
            first = self._permit.first_at - self._began_at
            meters.time_to_first_chunk.record(first, self._labels)
            if self.is_recording:
                self._span.set_attribute(semconv.RESPONSE_TIME_TO_FIRST_CHUNK, first)
        if self.is_recording and self._permit.status is not None:
            self._span.set_attribute(semconv.HTTP_STATUS, self._permit.status)
        self._span.end()


class Run:
    """A map: `begin` it in the task that enters it, `row` for each of its rows, `end`.

    A row is a trace of its own with a link to the run, as the conventions have it for work in batches: a trace of a
    million rows could neither be sampled row by row nor be shown by anybody. Its parent is named, and not taken from
    its task: that was started by the task that reads the inputs, in whose context an iterator of the caller's may have
    left a span of its own.
    """

    def __init__(self, telemetry: Telemetry, alias: str, priority: Priority) -> None:
        self._telemetry = telemetry
        self._alias = alias
        self._priority: Priority = priority
        self._span: Span = INVALID_SPAN
        self._within: Context | None = None
        self._links: Sequence[Link] | None = None

    def begin(self) -> None:
        about = {semconv.KIND: "map", semconv.ALIAS: self._alias, semconv.PRIORITY: self._priority}
        self._span = self._telemetry.tracer.start_span(f"llmring.map {self._alias}", attributes=about)
        context = self._span.get_span_context()
        if context.is_valid:
            # Without a parent, and with everything else that is in the caller's context: its baggage.
            self._within = set_span_in_context(INVALID_SPAN, get_current())
            self._links = (Link(context),)

    def row(self, kind: Kind, alias: str) -> Call:
        """Begin the span of a row."""
        return Call(self._telemetry, kind, alias, self._priority, self._within, self._links)

    def row_failed(self, request: ChatRequest, error: LLMRingError) -> None:
        """A batch has no answer for a row."""
        self.row("batch_row", request.model).end(error)

    def end(self, report: Report, error: BaseException | None) -> None:
        if self._span.is_recording():
            self._span.set_attributes(
                {
                    semconv.ROWS: report.rows,
                    semconv.ROWS_ANSWERED: report.answered,
                    semconv.ROWS_FAILED: report.failed,
                    semconv.ROWS_RESUMED: report.resumed,
                    semconv.FAILOVERS: report.failovers,
                    semconv.REFUSED: report.refused,
                    semconv.INPUT_TOKENS: report.input_tokens,
                    semconv.OUTPUT_TOKENS: report.output_tokens,
                    semconv.COST: float(report.usd),
                }
            )
            if error is not None:
                _set_failed(self._span, error)
        self._span.end()


def decisions_text(trace: Trace) -> list[str]:
    """What was decided and what came of it, a line each: "0.000 s go openai:gpt-4o: RateLimited"."""
    lines: list[str] = []
    for decision in trace.decisions:
        names = ", ".join(str(trace.routes[index].model) for index in decision.routes)
        said = f"{decision.at:.3f} s {decision.action} {decision.error or names}".rstrip()
        if decision.action == "wait" and decision.taken is not None:
            said += f", then {trace.routes[decision.taken].model}"
        if decision.verdict is not None:
            said += f": {decision.verdict.outcome}"
        lines.append(said)
    if trace.again is not None:
        lines += ["again, for the answer did not fit its schema", *decisions_text(trace.again)]
    half = MOST_DECISIONS // 2
    return lines if len(lines) <= MOST_DECISIONS else [*lines[:half], "...", *lines[-half:]]


def _labels(operation: str, about: Endpoint, model: str) -> Labels:
    name = about.name if about.kind == "openai-compatible" else semconv.PROVIDERS.get(about.kind, about.kind)
    found: Labels = {semconv.OPERATION: operation, semconv.PROVIDER: name, semconv.REQUEST_MODEL: model}
    address = urlsplit(about.base_url)
    if address.hostname is not None:
        found[semconv.SERVER_ADDRESS] = address.hostname
        found[semconv.SERVER_PORT] = address.port or (80 if address.scheme == "http" else 443)
    return found


def _limit(answer: Readiness) -> str:
    """What holds a request back, by the name of the limit where it is one, and in few different words."""
    if isinstance(answer, Ready):
        return "pause"
    why = answer.why.partition(":")[0].partition(",")[0]
    return _LIMITS.get(why, why)


def _set_failed(span: Span, error: BaseException) -> None:
    span.set_status(StatusCode.ERROR)
    span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)


def _asked(request: ChatRequest, *, content: bool) -> dict[str, AttributeValue]:
    """Of what is sent: its numbers, and what it says, where that is asked for."""
    found: dict[str, AttributeValue] = {
        name: value for field, name in _SENT.items() if (value := getattr(request, field)) is not None
    }
    if request.response_format is not None:
        found[semconv.OUTPUT_TYPE] = "json"
    if content and request.messages:
        found[semconv.INPUT_MESSAGES] = input_messages(request)
        if request.tools:
            found[semconv.TOOL_DEFINITIONS] = tool_definitions(request.tools)
    return found


def _answered(answer: Completion | Embeddings, *, content: bool) -> dict[str, AttributeValue]:
    found = _used(answer.usage)
    if answer.served_model is not None:
        found[semconv.RESPONSE_MODEL] = answer.served_model
    if answer.request_id is not None:
        found[semconv.REQUEST_ID] = answer.request_id
    if isinstance(answer, Completion):
        found[semconv.RESPONSE_FINISH_REASONS] = [answer.finish_reason]
        if answer.response_id is not None:
            found[semconv.RESPONSE_ID] = answer.response_id
        if content:
            found[semconv.OUTPUT_MESSAGES] = output_messages(answer)
    return found


def _used(usage: Usage | None) -> dict[str, AttributeValue]:
    """The conventions' totals, and of their parts those that there are."""
    if usage is None:
        return {}
    found: dict[str, AttributeValue] = {
        semconv.USAGE_INPUT_TOKENS: usage.total_input_tokens,
        semconv.USAGE_OUTPUT_TOKENS: usage.total_output_tokens,
    }
    if usage.cache_read_tokens:
        found[semconv.USAGE_CACHE_READ_TOKENS] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        found[semconv.USAGE_CACHE_WRITE_TOKENS] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        found[semconv.USAGE_REASONING_TOKENS] = usage.reasoning_tokens
    return found


def _outcome(model: ModelRef, usage: Usage | None, cost: Cost) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        semconv.MODEL: str(model),
        semconv.COST_STATUS: cost.status,
    }
    if usage is not None:
        found[semconv.INPUT_TOKENS] = usage.total_input_tokens
        found[semconv.OUTPUT_TOKENS] = usage.total_output_tokens
    if cost.usd is not None:
        found[semconv.COST] = float(cost.usd)
    return found
