"""Answers and errors as JSON, for `--json` and for the rows of a map. Money is a string, as it is exact."""

from collections.abc import Sequence
from typing import Any

from llmring.chat import ChatResponse, Note, ToolCall
from llmring.errors import AllModelsFailed, Attempt, LLMRingError, ProviderError, StreamBroken
from llmring.usage import Cost, Usage


def answer_json(response: ChatResponse) -> dict[str, Any]:
    """One answer."""
    spelled: dict[str, Any] = {
        "content": response.content,
        "model": str(response.model),
        "alias": response.alias,
        "finish_reason": response.finish_reason,
        "usage": usage_json(response.usage),
        **cost_json(response.cost),
        "attempts": [attempt_json(attempt) for attempt in response.attempts],
    }
    return spelled | extras_json(response)


def extras_json(response: ChatResponse) -> dict[str, Any]:
    """What only some answers have."""
    spelled: dict[str, Any] = {}
    if response.tool_calls:
        spelled["tool_calls"] = [tool_call_json(call) for call in response.tool_calls]
    for name in ("refusal", "parsed", "reasoning"):
        value = getattr(response, name)
        if value is not None:
            spelled[name] = value
    return spelled | notes_json(response.notes)


def notes_json(notes: Sequence[Note]) -> dict[str, list[str]]:
    """What was not done as asked; nothing where all was."""
    return {"notes": [str(note) for note in notes]} if notes else {}


def usage_json(usage: Usage | None) -> dict[str, int] | None:
    """Totals as the providers count them, and the parts that have a price of their own."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.total_input_tokens,
        "output_tokens": usage.total_output_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def cost_json(cost: Cost) -> dict[str, Any]:
    """`cost_usd` is null where the price is unknown; `cost_status` says why. `cost_is_lower_bound` stands only where it
    is one."""
    breakdown = None
    if cost.breakdown is not None:
        breakdown = {part: f"{usd:f}" for part, usd in cost.breakdown.to_dict().items()}
    spelled = {
        "cost_usd": None if cost.usd is None else f"{cost.usd:f}",
        "cost_status": cost.status,
        "cost_breakdown": breakdown,
    }
    return spelled | {"cost_is_lower_bound": True} if cost.is_lower_bound else spelled


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    spelled = {
        "model": str(attempt.model),
        **({"key": attempt.key} if attempt.key is not None else {}),
        "outcome": attempt.outcome,
        "sent": attempt.sent,
        "waited_seconds": round(attempt.waited_seconds, 6),
        "took_seconds": round(attempt.took_seconds, 6),
    }
    return spelled | cost_json(attempt.cost) if attempt.cost is not None and attempt.error is not None else spelled


def tool_call_json(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def error_json(error: LLMRingError) -> dict[str, Any]:
    """One error: what it is, what it says, and every attempt where there were some."""
    spelled: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, AllModelsFailed):
        spelled["attempts"] = [attempt_json(attempt) for attempt in error.attempts]
        spelled["retry_after"] = error.retry_after
    if isinstance(error, StreamBroken | ProviderError) and error.cost is not None:
        spelled["usage"] = usage_json(error.usage)
        spelled |= cost_json(error.cost)
    return spelled
