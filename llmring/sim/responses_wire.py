"""OpenAI Responses, the provider's side: replies and streams written. Requests are read in responses_request.py,
errors written in responses_dialect.py.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from llmring.sim.responses_request import read
from llmring.sim.seals import seal
from llmring.sim.wire import Answer, Ask, Script, pieces

__all__ = ["read", "script", "whole"]

_encode = msgspec.json.encode


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    return _encode(_ended(ask, answer) if finished else _running(ask))


def script(ask: Ask, answer: Answer) -> Script:
    """Deltas are the chunks; what begins and ends items travels with the delta that follows."""
    events = _Events()
    opening = events.write("response.created", response=_running(ask))
    opening += events.write("response.in_progress", response=_running(ask))
    chunks: list[bytes] = []
    between = b""
    for index, item in enumerate(_items(ask, answer)):
        for event, is_delta in _item_events(events, index, item):
            between += event
            if is_delta:
                chunks.append(between)
                between = b""
    if not chunks:
        chunks.append(between)
        between = b""
    last = _ended(ask, answer)
    ending = between + events.write(f"response.{last['status']}", response=last)
    return Script(
        opening=opening,
        chunks=tuple(chunks),
        ending=ending,
        terminator=b"",
        failure=_failure(events, ask),
        broken=b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"ms\n\n',
    )


def _failure(events: "_Events", ask: Ask) -> bytes:
    error = {"code": "server_error", "message": "The server had an error while processing your request."}
    nested = {"type": "server_error", **error, "param": None}
    failed = {**_running(ask), "status": "failed", "error": error}
    return events.write("error", error=nested) + events.write("response.failed", response=failed)


class _Events:
    """Writes events with their running number."""

    def __init__(self) -> None:
        self._number = 0

    def write(self, kind: str, **fields: object) -> bytes:
        event = {"type": kind, **fields, "sequence_number": self._number}
        self._number += 1
        return f"event: {kind}\ndata: ".encode() + _encode(event) + b"\n\n"


def _item_events(events: _Events, index: int, item: dict[str, object]) -> Iterator[tuple[bytes, bool]]:
    """Each event of one item, and whether it is a piece of content."""
    begun, deltas = _BEGINNINGS[str(item["type"])](events, index, item)
    yield events.write("response.output_item.added", output_index=index, item=begun), False
    yield from deltas
    yield events.write("response.output_item.done", output_index=index, item=item), False


_Deltas = Iterator[tuple[bytes, bool]]


def _message(events: _Events, index: int, item: dict[str, object]) -> tuple[dict[str, object], _Deltas]:
    return {**item, "status": "in_progress", "content": []}, _text_events(events, index, item)


def _text_events(events: _Events, index: int, item: dict[str, object]) -> _Deltas:
    content = item["content"]
    assert isinstance(content, list)  # made by _items
    part = content[0]
    where = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield events.write("response.content_part.added", **where, part={**part, "text": ""}), False
    for piece in pieces(part["text"]):
        yield events.write("response.output_text.delta", **where, delta=piece, logprobs=[]), True
    yield events.write("response.output_text.done", **where, text=part["text"], logprobs=[]), False
    yield events.write("response.content_part.done", **where, part=part), False


def _call(events: _Events, index: int, item: dict[str, object]) -> tuple[dict[str, object], _Deltas]:
    return {**item, "status": "in_progress", "arguments": ""}, _argument_events(events, index, item)


def _argument_events(events: _Events, index: int, item: dict[str, object]) -> _Deltas:
    where, arguments = {"item_id": item["id"], "output_index": index}, str(item["arguments"])
    for piece in pieces(arguments):
        yield events.write("response.function_call_arguments.delta", **where, delta=piece), True
    done = {"name": item["name"], "arguments": arguments}
    yield events.write("response.function_call_arguments.done", **where, **done), False


def _thought(events: _Events, index: int, item: dict[str, object]) -> tuple[dict[str, object], _Deltas]:
    """The encrypted content is complete only when the item is done."""
    begun = {**item, "summary": []}
    if "encrypted_content" in item:
        begun["encrypted_content"] = str(item["encrypted_content"])[:16]
    return begun, _summary_events(events, index, item)


def _summary_events(events: _Events, index: int, item: dict[str, object]) -> _Deltas:
    summary = item["summary"]
    assert isinstance(summary, list)  # made by _items
    for at, part in enumerate(summary):
        where = {"item_id": item["id"], "output_index": index, "summary_index": at}
        yield events.write("response.reasoning_summary_part.added", **where, part={**part, "text": ""}), False
        for piece in pieces(part["text"]):
            yield events.write("response.reasoning_summary_text.delta", **where, delta=piece), True
        yield events.write("response.reasoning_summary_text.done", **where, text=part["text"]), False
        yield events.write("response.reasoning_summary_part.done", **where, part=part), False


_BEGINNINGS = {"message": _message, "function_call": _call, "reasoning": _thought}


def _items(ask: Ask, answer: Answer) -> list[dict[str, object]]:
    status = "incomplete" if answer.finish == "length" else "completed"
    own = ask.reply_id.removeprefix("resp_")
    items: list[dict[str, object]] = []
    if ask.thinking != "off":
        summary = [{"type": "summary_text", "text": answer.thinking}] if ask.thinking == "shown" else []
        thought: dict[str, object] = {"id": f"rs_{own}00", "type": "reasoning", "summary": summary}
        if ask.sealed:
            thought["encrypted_content"] = seal("openai", ask.model, answer.thinking)
        items.append(thought)
    for call in answer.calls:
        at = len(items)
        items.append(
            {
                "id": f"fc_{own}{at:02}",
                "type": "function_call",
                "status": "completed",
                "arguments": call.arguments,
                "call_id": f"call_{hashlib.sha256(f'{own}{at}'.encode()).hexdigest()[:24]}",
                "name": call.name,
            }
        )
    if answer.text or not items:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}
        message = {"id": f"msg_{own}{len(items):02}", "type": "message", "status": status, "content": [part]}
        phase = {"phase": "final_answer"} if ask.thinking != "off" else {}
        items.append({**message, **phase, "role": "assistant"})
    return items


def _running(ask: Ask) -> dict[str, object]:
    return {
        "id": ask.reply_id,
        "object": "response",
        "created_at": int(datetime.now(UTC).timestamp()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "max_tool_calls": None,
        "model": ask.model,
        "output": [],
        "presence_penalty": 0.0,
        "prompt_cache_retention": "in_memory",
        "service_tier": "default",
        "top_logprobs": 0,
        "usage": None,
        **ask.echo,
    }


def _ended(ask: Ask, answer: Answer) -> dict[str, object]:
    cut = answer.finish == "length"
    response = _running(ask)
    return {
        **response,
        "status": "incomplete" if cut else "completed",
        "completed_at": None if cut else response["created_at"],
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _items(ask, answer),
        "usage": {
            "input_tokens": ask.input_tokens,
            "input_tokens_details": {"cached_tokens": answer.cache.read_tokens},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.thinking_tokens},
            "total_tokens": ask.input_tokens + answer.output_tokens,
        },
    }
