"""The span of a map, and those of its rows."""

from collections.abc import Sequence

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Link, Span, set_span_in_context

from llmring.chat import ChatRequest
from llmring.errors import LLMRingError
from llmring.providers.fairness import Priority
from llmring.router.map.report import Report
from llmring.telemetry import semconv
from llmring.telemetry.spans import Call, Current, Kind, set_failed
from llmring.telemetry.telemetry import Telemetry


class MapSpan:
    """A map: `begin` it in the task that enters it, `row` for each of its rows, `end`.

    A row is a trace of its own with a link to the map's, as the conventions have it for work in batches: a trace of a
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
        self._below: Context | None = None
        self._links: Sequence[Link] | None = None

    def begin(self) -> None:
        about = {semconv.KIND: "map", semconv.ALIAS: self._alias, semconv.PRIORITY: self._priority}
        self._span = self._telemetry.tracer.start_span(f"llmring.map {self._alias}", attributes=about)
        context = self._span.get_span_context()
        if context.is_valid:
            # Without a parent, and with everything else that is in the caller's context: its baggage.
            self._within = set_span_in_context(INVALID_SPAN, get_current())
            self._below = set_span_in_context(self._span, get_current())
            self._links = (Link(context),)

    def current(self) -> Current:
        """A block whose spans are below the map's, whichever task it runs in: what is done for many rows at once."""
        return Current(self._below)

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
                set_failed(self._span, error)
        self._span.end()
