"""Spans of errands: one for every call to a provider that asks no model, below whatever was current when it began: a
map, an attempt that brings its files, the caller's own.

They have the names of no generative AI convention, so that who counts its operations counts answers alone. Neither a
file's name or bytes, nor a row, nor the tag by which a batch is found, are in them.
"""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from opentelemetry.util.types import AttributeValue

from llmring.errors import ProviderError
from llmring.providers.endpoint import Endpoint
from llmring.providers.errands import Errand, Watch, Watched
from llmring.telemetry import semconv
from llmring.telemetry.spans import Current, set_failed
from llmring.telemetry.telemetry import Telemetry, place_of


class ErrandSpan:
    """Made by `watching`."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def sending(self) -> Current:
        """Not around all of it: results are handed out while they are read, and what is done with them is not this."""
        is_valid = self._span.get_span_context().is_valid
        return Current(set_span_in_context(self._span, get_current()) if is_valid else None)

    def replied(self, status: int) -> None:
        self._span.set_attribute(semconv.HTTP_STATUS, status)

    def failed(self, error: BaseException) -> None:
        set_failed(self._span, error)
        if isinstance(error, ProviderError) and error.request_id is not None:
            self._span.set_attribute(semconv.REQUEST_ID, error.request_id)


def watching(telemetry: Telemetry) -> Watch:
    """Have errands tell `telemetry`."""

    @contextmanager
    def watch(about: Endpoint, errand: Errand) -> Generator[Watched]:
        name = errand.kind.replace("_", " ")
        span = telemetry.tracer.start_span(f"{name} {about.name}", None, SpanKind.CLIENT, _attributes(about, errand))
        told = ErrandSpan(span)
        try:
            yield told
        except BaseException as error:
            told.failed(error)
            raise
        finally:
            span.end()

    return watch


def _attributes(about: Endpoint, errand: Errand) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {semconv.KIND: errand.kind, semconv.PROVIDER_NAME: about.name}
    found |= place_of(about)
    counts = {semconv.BATCH_ID: errand.batch, semconv.BATCH_ROWS: errand.rows, semconv.FILE_BYTES: errand.size}
    return found | {name: value for name, value in counts.items() if value is not None}
