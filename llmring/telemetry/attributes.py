"""What spans say, by the names of the conventions. Prompts and answers only with `content`."""

from collections.abc import Mapping

from opentelemetry.util.types import AttributeValue

from llmring.chat import ChatRequest, Completion
from llmring.embeddings import Embeddings
from llmring.errors import Dimension
from llmring.providers.readiness import Readiness, Ready
from llmring.refs import ModelRef
from llmring.telemetry import semconv
from llmring.telemetry.contents import input_messages, output_messages, tool_definitions
from llmring.trace import Trace
from llmring.usage import Cost, Usage

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


def limit(answer: Readiness) -> str:
    """What holds a request back, by the name of the limit where it is one, and in few different words."""
    if isinstance(answer, Ready):
        return "pause"
    why = answer.why.partition(":")[0].partition(",")[0]
    return _LIMITS.get(why, why)


def asked(request: ChatRequest, *, content: bool) -> dict[str, AttributeValue]:
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


def answered(answer: Completion | Embeddings, *, content: bool) -> dict[str, AttributeValue]:
    found = used(answer.usage)
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


def used(usage: Usage | None) -> dict[str, AttributeValue]:
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


def outcome(model: ModelRef, usage: Usage | None, cost: Cost) -> dict[str, AttributeValue]:
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
