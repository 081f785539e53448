"""A scripted world whose spans and metrics are kept: providers of OpenTelemetry's SDK, handed in and not set."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from llmring.providers.transport import Connect
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.telemetry.telemetry import Telemetry
from llmring.testing import ScriptedProvider, Step
from tests.router.world import CHAIN, lockfile

Point = HistogramDataPoint | NumberDataPoint


class Observed(msgspec.Struct, frozen=True):
    """What a program with an SDK sees of a router."""

    tracers: TracerProvider
    meters: MeterProvider
    spans: InMemorySpanExporter
    reader: InMemoryMetricReader

    def finished(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        """Finished spans, first the one that ended first."""
        return [span for span in self.spans.get_finished_spans() if kind is None or span.kind is kind]

    def call(self) -> ReadableSpan:
        """The span of the only call."""
        (span,) = self.finished(SpanKind.INTERNAL)
        return span

    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.finished(SpanKind.CLIENT) if "gen_ai.operation.name" in attributes(span)]

    def errands(self) -> list[ReadableSpan]:
        """What was sent and asked no model."""
        return [span for span in self.finished(SpanKind.CLIENT) if "gen_ai.operation.name" not in attributes(span)]

    def points(self, name: str) -> list[Any]:
        """The data points of a metric; none where it was not recorded."""
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def observed() -> Observed:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    return Observed(tracers, MeterProvider([reader], shutdown_on_exit=False), spans, reader)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    parent, context = span.parent, of.get_span_context()
    return parent is not None and context is not None and parent.span_id == context.span_id


@asynccontextmanager
async def watched(
    script: Mapping[str, Sequence[Step]],
    text: str = CHAIN,
    *,
    content: bool = False,
    connect: Connect | None = None,
    seen: Observed | None = None,
) -> AsyncGenerator[tuple[Router, Observed]]:
    """A router without jitter, and what is seen of it."""
    seen = seen or observed()
    told = Telemetry(seen.tracers, seen.meters, content=content)
    provider = connect or ScriptedProvider(script)
    async with open_router(lockfile(text), connect=provider, jitter=lambda: 0.0, telemetry=told) as router:
        yield router, seen
