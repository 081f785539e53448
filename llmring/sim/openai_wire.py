"""OpenAI chat completions, the provider's side: replies and streams written. Requests are read in
openai_request.py, errors written in openai_dialect.py.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from llmring.sim import openai_dialect
from llmring.sim.openai_request import read
from llmring.sim.wire import Answer, Ask, Call, Problem, Script, pieces

__all__ = ["read", "script", "whole"]

_encode = msgspec.json.encode


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    choices = [
        {
            "index": index,
            "message": _message(answer),
            "finish_reason": _finish(answer) if finished else None,
        }
        for index in range(ask.choices)
    ]
    return _encode({**_head(ask, "chat.completion"), "choices": choices, "usage": _usage(ask, answer)})


def _message(answer: Answer) -> dict[str, object]:
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if answer.calls else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.calls
        ]
    return message


def script(ask: Ask, answer: Answer) -> Script:
    head = _head(ask, "chat.completion.chunk")
    tail: dict[str, object] = {"usage": None} if ask.stream_usage else {}

    def event(index: int, delta: dict[str, object], finish: str | None = None) -> bytes:
        return _event({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **tail})

    indexes = range(ask.choices)
    ending = b"".join(event(index, {}, _finish(answer)) for index in indexes)
    if ask.stream_usage:
        ending += _event({**head, "choices": [], "usage": _usage(ask, answer)})
    content = None if answer.calls else ""
    first: dict[str, object] = {"role": "assistant", "content": content, "refusal": None}
    return Script(
        opening=b"".join(event(index, first) for index in indexes),
        chunks=tuple(event(index, delta) for index in indexes for delta in _deltas(answer)),
        ending=ending,
        terminator=b"data: [DONE]\n\n",
        failure=b"data: " + openai_dialect.failure(Problem(kind="server_error")).body + b"\n\n",
        broken=b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n',
    )


def _deltas(answer: Answer) -> Iterator[dict[str, object]]:
    return _call_deltas(answer.calls) if answer.calls else ({"content": piece} for piece in pieces(answer.text))


def _call_deltas(calls: tuple[Call, ...]) -> Iterator[dict[str, object]]:
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": _call_id(), "type": "function", "function": function}]}
        for piece in pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(value: object) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"


def _head(ask: Ask, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(datetime.now(UTC).timestamp()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _usage(ask: Ask, answer: Answer) -> dict[str, object]:
    """Cached and reasoning tokens are inside the totals; the prompt is paid once, however many choices."""
    output_tokens = answer.output_tokens * ask.choices
    prompt_details = {"cached_tokens": answer.cache.read_tokens, "audio_tokens": 0}
    if any(prefix.lifetime == "30m" for prefix in ask.prefixes):
        prompt_details["cache_write_tokens"] = answer.cache.write_30m_tokens
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": ask.input_tokens + output_tokens,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": answer.thinking_tokens * ask.choices,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(answer: Answer) -> str:
    return "stop" if answer.finish == "stop_sequence" else answer.finish


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
