"""Telemetry: where the spans and the metrics of a router go."""

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_tracer

from llmring import __version__
from llmring.config import read_settings
from llmring.providers.endpoint import Endpoint
from llmring.telemetry import semconv
from llmring.telemetry.meters import Living, meters_of

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

    def labels(self, operation: str, about: Endpoint, model: str) -> Labels:
        """Made once for every model: they are handed in with every attempt."""
        key = (operation, about.name, about.base_url, model)
        found = self._labels.get(key)
        if found is None:
            found = self._labels[key] = labels_of(operation, about, model)
        return found


def labels_of(operation: str, about: Endpoint, model: str) -> Labels:
    name = about.name if about.kind == "openai-compatible" else semconv.PROVIDERS.get(about.kind, about.kind)
    return {semconv.OPERATION: operation, semconv.PROVIDER: name, semconv.REQUEST_MODEL: model, **place_of(about)}


def place_of(about: Endpoint) -> Labels:
    """Where a provider is. Nothing else of its address: a path may hold anything."""
    found: Labels = {}
    address = urlsplit(about.base_url)
    if address.hostname is not None:
        found[semconv.SERVER_ADDRESS] = address.hostname
        found[semconv.SERVER_PORT] = address.port or (80 if address.scheme == "http" else 443)
    return found
