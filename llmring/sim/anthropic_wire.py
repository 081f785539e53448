"""Anthropic Messages, the provider's side: replies and streams written. Requests are read in
anthropic_request.py, errors written in anthropic_dialect.py.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import secrets
from collections.abc import Iterator

import msgspec

from llmring.sim.anthropic_request import read
from llmring.sim.seals import seal
from llmring.sim.wire import Answer, Ask, Call, Script, pieces

__all__ = ["read", "script", "whole"]

_encode = msgspec.json.encode

#: A block as a stream begins it, what is added to it, and how many of the first additions are no token of content.
_Block = tuple[dict[str, object], list[dict[str, object]]]


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    content: list[dict[str, object]] = []
    if ask.thinking != "off":
        content.append({"type": "thinking", "thinking": _shown(ask, answer), "signature": _signature(ask, answer)})
    content += [_tool_use(call, msgspec.json.decode(call.arguments)) for call in answer.calls]
    if answer.text or not content:
        content.append({"type": "text", "text": answer.text})
    return _encode(
        {
            **_message(ask),
            "content": content,
            **(_stopped(answer) if finished else _NOT_STOPPED),
            "usage": _usage(ask, answer, answer.output_tokens),
        }
    )


def script(ask: Ask, answer: Answer) -> Script:
    usage = {**_usage(ask, answer, 1)}
    usage.pop("output_tokens_details", None)
    start = {**_message(ask), "content": [], **_NOT_STOPPED, "usage": usage}
    chunks: list[bytes] = []
    # Between blocks nothing is content: the end of one and the start of the next travel with the chunk that
    # follows.
    between = b""
    opening = _event({"type": "message_start", "message": start})
    for index, (block, deltas) in enumerate(_blocks(ask, answer)):
        between += _event({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            opening, between = opening + between + _event({"type": "ping"}), b""
        for delta in deltas:
            chunks.append(between + _event({"type": "content_block_delta", "index": index, "delta": delta}))
            between = b""
        between = _event({"type": "content_block_stop", "index": index})
    final = {name: count for name, count in _usage(ask, answer, answer.output_tokens).items() if name in _DELTA_USAGE}
    ending = between + _event({"type": "message_delta", "delta": _stopped(answer), "usage": final})
    return Script(
        opening=opening,
        chunks=tuple(chunks),
        ending=ending + _event({"type": "message_stop"}),
        terminator=b"",
        failure=_event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        broken=b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"ty\n\n',
    )


def _blocks(ask: Ask, answer: Answer) -> Iterator[_Block]:
    if ask.thinking != "off":
        shown = _shown(ask, answer)
        deltas: list[dict[str, object]] = [
            {"type": "thinking_delta", "thinking": piece} for piece in (pieces(shown) if shown else ())
        ]
        deltas.append({"type": "signature_delta", "signature": _signature(ask, answer)})
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    for call in answer.calls:
        yield _tool_use(call, {}), _call_deltas(call)
    if answer.text or not (answer.calls or ask.thinking != "off"):
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(answer.text)]


def _call_deltas(call: Call) -> list[dict[str, object]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(call.arguments))]


def _event(value: dict[str, object]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + _encode(value) + b"\n\n"


def _message(ask: Ask) -> dict[str, object]:
    return {"model": ask.model, "id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant"}


def _shown(ask: Ask, answer: Answer) -> str:
    return answer.thinking if ask.thinking == "shown" else ""


def _signature(ask: Ask, answer: Answer) -> str:
    return seal("anthropic", ask.model, answer.thinking)


def _tool_use(call: Call, arguments: object) -> dict[str, object]:
    return {
        "type": "tool_use",
        "id": f"toolu_{secrets.token_hex(12)}",
        "name": call.name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


_NOT_STOPPED: dict[str, object] = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
_STOPPED = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
}


def _stopped(answer: Answer) -> dict[str, object]:
    return {
        "stop_reason": _STOPPED[answer.finish],
        "stop_sequence": answer.stop_sequence,
        "stop_details": None,
    }


_DELTA_USAGE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
)


def _usage(ask: Ask, answer: Answer, output_tokens: int) -> dict[str, object]:
    """input_tokens is what neither came from the cache nor went into it."""
    cache = answer.cache
    written = cache.write_5m_tokens + cache.write_1h_tokens
    usage: dict[str, object] = {
        "input_tokens": ask.input_tokens - cache.read_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cache.read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.write_5m_tokens,
            "ephemeral_1h_input_tokens": cache.write_1h_tokens,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if ask.thinking != "off":
        usage["output_tokens_details"] = {"thinking_tokens": answer.thinking_tokens}
    return usage
