"""OpenTelemetry's SDK for one command: made for it and ended with it. Nothing is set for the whole process.

Imported when it is needed: the SDK is an extra. A collector that does not answer costs a command `EXPORT_SECONDS` at
its end for its spans, and as long for its metrics, unless the standard variables say otherwise.
"""

import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import ProxyTracerProvider, SpanContext, get_tracer_provider
from opentelemetry.trace import format_span_id as span_id
from opentelemetry.trace import format_trace_id as trace_id

from llmring import __version__
from llmring.cli.running import note
from llmring.config import Exports, has_otlp_timeout
from llmring.errors import ConfigError
from llmring.telemetry.telemetry import Telemetry

EXPORT_SECONDS = 2.0


class SpanLines(SpanProcessor):
    """Writes every finished span to a file, a JSON object a line. What cannot be written is dropped, with one word of
    it: the answer is paid for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_full = False
        try:
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"--trace {path}: {str(error.strerror or error).lower()}") from error

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        line = msgspec.json.encode(spelled(span, context)) + b"\n"
        with self._lock:
            if not self._is_full:
                self._write(line)

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            self._is_full = True
            note(f"--trace {self._path}: {str(error.strerror or error).lower()}; no more spans are written")

    def shutdown(self) -> None:
        self._file.close()


def spelled(span: ReadableSpan, context: SpanContext) -> dict[str, Any]:
    """A span as it stands in the file. `seconds` is how long it took, `at` of an event when after its start."""
    start, end = span.start_time or 0, span.end_time or 0
    return {
        "name": span.name,
        "kind": span.kind.name.lower(),
        "trace_id": trace_id(context.trace_id),
        "span_id": span_id(context.span_id),
        "parent_id": span_id(span.parent.span_id) if span.parent is not None else None,
        "start": datetime.fromtimestamp(start / 1e9, UTC),
        "seconds": (end - start) / 1e9,
        "status": span.status.status_code.name.lower(),
        "attributes": _plain(span.attributes),
        "events": [
            {"name": event.name, "at": (event.timestamp - start) / 1e9, "attributes": _plain(event.attributes)}
            for event in span.events
        ],
        "links": [
            {"trace_id": trace_id(link.context.trace_id), "span_id": span_id(link.context.span_id)}
            for link in span.links
        ],
    }


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})


@contextmanager
def exporting(trace: Path | None, exports: Exports) -> Generator[Telemetry | None]:
    """Raises ConfigError where `trace` cannot be opened. None: the program that we run in has an SDK of its own."""
    if trace is None and not isinstance(get_tracer_provider(), ProxyTracerProvider):
        yield None
        return
    with ExitStack() as ending:
        tracers = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        if trace is not None:
            tracers.add_span_processor(SpanLines(trace))
        ending.callback(tracers.shutdown)
        if exports.spans:
            _send_spans(tracers)
        meters = _metered() if exports.metrics else None
        if meters is not None:
            ending.callback(meters.shutdown)
        yield Telemetry(tracers, meters)


def _resource() -> Resource:
    """Who we are, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise."""
    ours = Resource({SERVICE_NAME: "llmring", SERVICE_VERSION: __version__})
    found = Resource.create()
    named = str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return found.merge(ours) if named else ours.merge(found)


def _seconds() -> float | None:
    return None if has_otlp_timeout() else EXPORT_SECONDS


def _send_spans(tracers: TracerProvider) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_seconds())))


def _metered() -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_seconds()))
    return MeterProvider([reader], resource=_resource(), shutdown_on_exit=False)
