"""Spans: a call of a caller's has one from its start to its end (`Call`), every attempt on the wire one of its own
below that (`AttemptSpan`).

The conventions' attributes are on attempts alone, so that who sums tokens over spans counts none twice. Errors are
recorded by their class, never by their text, which may quote a prompt; prompts and answers only where they were asked
for; keys never.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

import trio
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from llmring.chat import ChatRequest, ChatResponse, Completion
from llmring.embeddings import Embeddings, EmbedResponse
from llmring.errors import ProviderError, RateLimited
from llmring.providers.endpoint import Endpoint
from llmring.providers.fairness import Priority
from llmring.providers.readiness import Readiness
from llmring.providers.route import Permit
from llmring.refs import ModelRef
from llmring.telemetry import semconv
from llmring.telemetry.attributes import answered, asked, decisions_text, limit, outcome, used
from llmring.telemetry.telemetry import Labels, Telemetry
from llmring.trace import Source
from llmring.usage import Cost, Usage

Kind = Literal["chat", "stream", "embed", "map_row", "batch_row"]
"""What a caller, or a map, asked for."""


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
        priority: Priority = "interactive",
        within: Context | None = None,
        links: Sequence[Link] | None = None,
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
                semconv.LIMITS: [limit(readiness[index]) for index in indexes],
            }
            self._span.add_event(semconv.WAIT_BEGAN, about)

    def goes(self, seconds: float, model: ModelRef | None = None, waited_for: Readiness | None = None) -> None:
        """A wait has ended: with the permit of a model, or with none, and the request looks around anew."""
        if self.is_recording:
            about: dict[str, AttributeValue] = {semconv.WAITED: seconds}
            if model is not None and waited_for is not None:
                about |= {semconv.MODEL: str(model), semconv.LIMIT: limit(waited_for)}
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
            span.set_attributes(asked(request, content=self.telemetry.content))
            span.set_attributes(answered(completion, content=self.telemetry.content))
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
        self._span.set_attributes(outcome(response.model, response.usage, response.cost))
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
                set_failed(self._span, error)
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
        self._span.set_attributes(asked(self._request, content=self._call.telemetry.content))

    def answered(self, answer: Completion | Embeddings) -> None:
        if self._ended:
            return
        self._call.count_tokens(self._labels, answer.usage, answer.served_model)
        if self.is_recording:
            self._span.set_attributes(answered(answer, content=self._call.telemetry.content))
        self._end({semconv.RESPONSE_MODEL: answer.served_model} if answer.served_model is not None else {})

    def left(self, partial: Completion) -> None:
        """Its reader walked away from a stream; `partial` is what had come by then."""
        if self._ended:
            return
        self._call.count_tokens(self._labels, partial.usage, partial.served_model)
        if self.is_recording:
            self._span.set_attributes({semconv.STREAM_LEFT: True, **used(partial.usage)})
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
            set_failed(self._span, error)
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


def set_failed(span: Span, error: BaseException) -> None:
    span.set_status(StatusCode.ERROR)
    span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
