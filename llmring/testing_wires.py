"""What a scripted provider says, in the wire format in which it is asked. The other half of testing.py.

As little of each format as a codec needs to read an answer; the simulator (`llmring sim`) is the believable one.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from llmring.chat import ToolCall

Ending = Literal["whole", "unfinished", "broken", "silent"]
"""How a reply ends: as it should; cleanly but without its finish; with a broken connection; never."""

JSON = dict[str, Any]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider does with one call. `after` are the seconds before status and headers, `each` those before every
    piece of a stream. `body` None: made in the wire format of the call."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes | None = None
    pieces: tuple[str, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    input_tokens: int = 10
    output_tokens: int = 5
    after: float = 0.0
    each: float = 0.0
    ending: Ending = "whole"
    connects: bool = True
    served_model: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A wire format. `whole` is a reply; `pieces` are the events of a stream, `end` those that tell its end."""

    whole: Callable[[Step, str], JSON]
    pieces: Callable[[Step, str], list[JSON]]
    end: Callable[[Step, str], list[JSON]]
    framed: Callable[[JSON], bytes]
    stream_type: str = "text/event-stream"
    last: bytes = b""

    def model(self, path: str, body: JSON) -> str:
        """Who is asked: Gemini has it in the path."""
        name = body.get("model")
        return name if name is not None else unquote(path.rpartition("/")[2].partition(":")[0])

    def streams(self, path: str, body: JSON) -> bool:
        return "streamGenerateContent" in path or bool(body.get("stream"))

    def reply(self, step: Step, model: str, stream: bool) -> list[bytes]:
        if not stream:
            text = json.dumps(self.whole(step, model)).encode()
            return [text if step.ending == "whole" else text[: len(text) // 2]]
        events = self.pieces(step, model)
        if step.ending != "whole":
            return [self.framed(event) for event in events]
        frames = [self.framed(event) for event in [*events, *self.end(step, model)]]
        return [*frames, self.last] if self.last else frames


def _data(event: JSON) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _named(event: JSON) -> bytes:
    return f"event: {event['type']}\n".encode() + _data(event)


def _line(event: JSON) -> bytes:
    return json.dumps(event).encode() + b"\n"


# OpenAI chat completions.


def _chat_calls(step: Step) -> list[JSON]:
    return [
        {"index": at, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for at, call in enumerate(step.tool_calls)
    ]


def _chat_usage(step: Step) -> JSON:
    total = step.input_tokens + step.output_tokens
    return {"prompt_tokens": step.input_tokens, "completion_tokens": step.output_tokens, "total_tokens": total}


def _chat_finish(step: Step) -> str:
    return "tool_calls" if step.tool_calls else "stop"


def _chat_whole(step: Step, model: str) -> JSON:
    message: JSON = {"role": "assistant", "content": step.text or None}
    if step.reasoning:
        message["reasoning_content"] = step.reasoning
    if step.tool_calls:
        message["tool_calls"] = _chat_calls(step)
    choice = {"index": 0, "message": message, "finish_reason": _chat_finish(step)}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion", "model": model}
    return {**head, "choices": [choice], "usage": _chat_usage(step)}


def _chat_pieces(step: Step, _: str) -> list[JSON]:
    deltas: list[JSON] = [{"reasoning_content": step.reasoning}] if step.reasoning else []
    deltas += [{"content": piece} for piece in step.pieces]
    if step.tool_calls:
        deltas.append({"tool_calls": _chat_calls(step)})
    return [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]


def _chat_end(step: Step, model: str) -> list[JSON]:
    finish = {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": _chat_finish(step)}]}
    return [finish, {"choices": [], "usage": _chat_usage(step)}]


# OpenAI Responses.


def _responses_items(step: Step) -> list[JSON]:
    items: list[JSON] = []
    if step.reasoning:
        summary = [{"type": "summary_text", "text": step.reasoning}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "scripted"})
    if step.pieces:
        part = {"type": "output_text", "text": step.text, "annotations": []}
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "content": [part]})
    items += [
        {"type": "function_call", "id": f"fc_{at}", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for at, call in enumerate(step.tool_calls)
    ]
    return items


def _responses_whole(step: Step, model: str) -> JSON:
    usage = {"input_tokens": step.input_tokens, "output_tokens": step.output_tokens}
    usage["total_tokens"] = step.input_tokens + step.output_tokens
    head = {"id": "resp_scripted", "object": "response", "status": "completed", "model": model}
    return {**head, "output": _responses_items(step), "usage": usage}


def _responses_pieces(step: Step, model: str) -> list[JSON]:
    events: list[JSON] = [{"type": "response.created", "response": {"id": "resp_scripted", "model": model}}]
    for at, item in enumerate(_responses_items(step)):
        events.append({"type": "response.output_item.added", "output_index": at, "item": {**item, "content": []}})
        if item["type"] == "message":
            where = {"output_index": at, "content_index": 0, "item_id": "msg_1"}
            events += [{"type": "response.output_text.delta", **where, "delta": piece} for piece in step.pieces]
        if item["type"] == "reasoning":
            where = {"output_index": at, "summary_index": 0, "item_id": "rs_1"}
            events.append({"type": "response.reasoning_summary_text.delta", **where, "delta": step.reasoning})
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    return events


def _responses_end(step: Step, model: str) -> list[JSON]:
    return [{"type": "response.completed", "response": _responses_whole(step, model)}]


# Anthropic Messages.


def _blocks(step: Step) -> list[JSON]:
    blocks: list[JSON] = []
    if step.reasoning:
        blocks.append({"type": "thinking", "thinking": step.reasoning, "signature": "scripted"})
    if step.pieces:
        blocks.append({"type": "text", "text": step.text})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
        for call in step.tool_calls
    ]
    return blocks


def _stop_reason(step: Step) -> str:
    return "tool_use" if step.tool_calls else "end_turn"


def _anthropic_whole(step: Step, model: str) -> JSON:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _blocks(step),
        "stop_reason": _stop_reason(step),
        "usage": {"input_tokens": step.input_tokens, "output_tokens": step.output_tokens},
    }


def _anthropic_pieces(step: Step, model: str) -> list[JSON]:
    start = {**_anthropic_whole(step, model), "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": step.input_tokens, "output_tokens": 1}
    events: list[JSON] = [{"type": "message_start", "message": start}]
    for at, block in enumerate(_blocks(step)):
        events.append({"type": "content_block_start", "index": at, "content_block": _EMPTY[block["type"]](block)})
        deltas = _DELTAS[block["type"]](block, step)
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    # A stream that breaks off does so inside its last block.
    return events if step.ending == "whole" else events[:-1]


_EMPTY: Mapping[str, Callable[[JSON], JSON]] = {
    "thinking": lambda _: {"type": "thinking", "thinking": "", "signature": ""},
    "text": lambda _: {"type": "text", "text": ""},
    "tool_use": lambda block: {**block, "input": {}},
}
_DELTAS: Mapping[str, Callable[[JSON, Step], list[JSON]]] = {
    "thinking": lambda block, _: [
        {"type": "thinking_delta", "thinking": block["thinking"]},
        {"type": "signature_delta", "signature": block["signature"]},
    ],
    "text": lambda _, step: [{"type": "text_delta", "text": piece} for piece in step.pieces],
    "tool_use": lambda block, _: [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}],
}


def _anthropic_end(step: Step, _: str) -> list[JSON]:
    usage = {"output_tokens": step.output_tokens}
    delta = {"type": "message_delta", "delta": {"stop_reason": _stop_reason(step)}, "usage": usage}
    return [delta, {"type": "message_stop"}]


# Gemini generateContent.


def _google_reply(step: Step, model: str, parts: list[JSON], finish: str | None) -> JSON:
    usage = {"promptTokenCount": step.input_tokens, "candidatesTokenCount": step.output_tokens}
    usage["totalTokenCount"] = step.input_tokens + step.output_tokens
    candidate: JSON = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "scripted"}


def _google_parts(step: Step) -> list[JSON]:
    parts: list[JSON] = [{"text": step.reasoning, "thought": True}] if step.reasoning else []
    parts += [{"text": piece} for piece in step.pieces]
    return parts + [
        {"functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}}
        for call in step.tool_calls
    ]


def _google_whole(step: Step, model: str) -> JSON:
    return _google_reply(step, model, _google_parts(step), "STOP")


def _google_pieces(step: Step, model: str) -> list[JSON]:
    return [_google_reply(step, model, [part], None) for part in _google_parts(step)]


def _google_end(step: Step, model: str) -> list[JSON]:
    return [_google_reply(step, model, [], "STOP")]


# Ollama.


def _ollama_reply(step: Step, model: str, message: JSON, *, done: bool) -> JSON:
    reply: JSON = {"model": model, "message": {"role": "assistant", "content": "", **message}, "done": done}
    if done:
        reply |= {"done_reason": "stop", "prompt_eval_count": step.input_tokens, "eval_count": step.output_tokens}
    return reply


def _ollama_messages(step: Step) -> list[JSON]:
    messages: list[JSON] = [{"thinking": step.reasoning}] if step.reasoning else []
    messages += [{"content": piece} for piece in step.pieces]
    for call in step.tool_calls:
        function = {"name": call.name, "arguments": json.loads(call.arguments)}
        messages.append({"tool_calls": [{"id": call.id, "function": function}]})
    return messages


def _ollama_whole(step: Step, model: str) -> JSON:
    message: JSON = {"content": step.text}
    if step.reasoning:
        message["thinking"] = step.reasoning
    calls = [call for part in _ollama_messages(step) for call in part.get("tool_calls", ())]
    if calls:
        message["tool_calls"] = calls
    return _ollama_reply(step, model, message, done=True)


def _ollama_pieces(step: Step, model: str) -> list[JSON]:
    return [_ollama_reply(step, model, message, done=False) for message in _ollama_messages(step)]


def _ollama_end(step: Step, model: str) -> list[JSON]:
    return [_ollama_reply(step, model, {}, done=True)]


_CHAT = Spoken(whole=_chat_whole, pieces=_chat_pieces, end=_chat_end, framed=_data, last=b"data: [DONE]\n\n")
_SPOKEN: tuple[tuple[str, Spoken], ...] = (
    ("/chat/completions", _CHAT),
    ("/responses", Spoken(whole=_responses_whole, pieces=_responses_pieces, end=_responses_end, framed=_named)),
    ("/messages", Spoken(whole=_anthropic_whole, pieces=_anthropic_pieces, end=_anthropic_end, framed=_named)),
    ("enerateContent", Spoken(whole=_google_whole, pieces=_google_pieces, end=_google_end, framed=_data)),
    (
        "/api/chat",
        Spoken(
            whole=_ollama_whole,
            pieces=_ollama_pieces,
            end=_ollama_end,
            framed=_line,
            stream_type="application/x-ndjson",
        ),
    ),
)


def spoken_by(path: str) -> Spoken:
    """The format of a call, by its path."""
    return next((spoken for part, spoken in _SPOKEN if part in path), _CHAT)
