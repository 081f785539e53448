"""Names of spans and attributes. The only file that imports OpenTelemetry; without an SDK it costs next to nothing.

Names follow OpenTelemetry's semantic conventions for generative AI clients (in development there), ours begin with
`llmring.`. Prompts and answers are never recorded.
"""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer

from llmring.chat import ChatRequest, ChatResponse
from llmring.errors import AllModelsFailed, LLMRingError

_TRACER = get_tracer("llmring")


@contextmanager
def chat_span(request: ChatRequest) -> Generator[Span]:
    """The span of one call, current inside it. An error of ours sets its status and its type, not its text."""
    with _TRACER.start_as_current_span(
        f"chat {request.model}",
        kind=SpanKind.CLIENT,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("llmring.alias", request.model)
        try:
            yield span
        except LLMRingError as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", type(error).__name__)
            if isinstance(error, AllModelsFailed):
                span.set_attribute("llmring.attempts", sum(attempt.sent for attempt in error.attempts))
            raise


def record_answer(span: Span, response: ChatResponse) -> None:
    """Who answered, after how many attempts, with how many tokens, for how much."""
    if not span.is_recording():
        return
    span.set_attribute("gen_ai.provider.name", response.model.provider)
    span.set_attribute("gen_ai.request.model", response.model.model)
    span.set_attribute("gen_ai.response.finish_reasons", [response.finish_reason])
    span.set_attribute("llmring.attempts", sum(attempt.sent for attempt in response.attempts))
    if response.served_model is not None:
        span.set_attribute("gen_ai.response.model", response.served_model)
    if response.usage is not None:
        span.set_attribute("gen_ai.usage.input_tokens", response.usage.total_input_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", response.usage.total_output_tokens)
    if any(note.parameter == "model" for note in response.notes):
        span.set_attribute("llmring.other_model_answered", True)
    if any(note.parameter == "registry" for note in response.notes):
        span.set_attribute("llmring.registry_left_the_pin", True)
    span.set_attribute("llmring.cost_status", response.cost.status)
    if response.cost.usd is not None:
        span.set_attribute("llmring.cost_usd", str(response.cost.usd))
