"""Gemini generateContent and streamGenerateContent, the provider's side: replies and streams written. Requests are
read in google_request.py, errors written in google_dialect.py.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import secrets
from collections.abc import Iterator

import msgspec

from llmring.sim import google_dialect
from llmring.sim.google_request import read
from llmring.sim.google_rules import is_gemini_3
from llmring.sim.seals import seal
from llmring.sim.wire import Answer, Ask, Call, Problem, Script, pieces

__all__ = ["read", "script", "whole"]

_encode = msgspec.json.encode
_Part = dict[str, object]


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    parts: list[_Part] = []
    if answer.thinking and ask.thinking == "shown":
        parts.append({"text": answer.thinking, "thought": True})
    parts += _call_parts(ask, answer)
    if answer.text:
        parts.append({"text": answer.text, **_signature(ask, answer)})
    candidates = [_candidate(parts, index, answer if finished else None) for index in range(ask.choices)]
    return _encode(_reply(ask, candidates, _usage(ask, answer), f"sim-{secrets.token_hex(10)}"))


def script(ask: Ask, answer: Answer) -> Script:
    """Without alt=sse a stream is one JSON array, cut where its elements end."""
    reply_id, so_far = f"sim-{secrets.token_hex(10)}", _usage(ask, answer, tokens=1)

    def event(part: _Part, *, last: bool = False) -> bytes:
        usage = _usage(ask, answer) if last else so_far
        return _encode(_reply(ask, [_candidate([part], 0, answer if last else None)], usage, reply_id))

    chunks = [event(part) for part in _streamed_parts(ask, answer)]
    # A signed text ends with an empty part that carries the signature.
    signature = _signature(ask, answer) if not answer.calls else {}
    ending = event({"text": "", **signature}, last=True)
    failed = google_dialect.failure(Problem(kind="server_error")).body
    broken = b'{"candidates": [{"content": {"parts": [{"te'
    if ask.echo.get("events"):
        return Script(
            opening=b"",
            chunks=tuple(b"data: " + chunk + b"\r\n\r\n" for chunk in chunks),
            ending=b"data: " + ending + b"\r\n\r\n",
            terminator=b"",
            failure=b"data: " + failed + b"\r\n\r\n",
            broken=b"data: " + broken + b"\r\n\r\n",
            content_type=b"text/event-stream",
        )
    return Script(
        opening=b"[",
        chunks=tuple((b",\r\n" if at else b"") + chunk for at, chunk in enumerate(chunks)),
        ending=b",\r\n" + ending,
        terminator=b"]",
        failure=b",\r\n" + failed + b"]",
        broken=b",\r\n" + broken,
        content_type=b"application/json; charset=UTF-8",
    )


def _streamed_parts(ask: Ask, answer: Answer) -> Iterator[_Part]:
    """Text in fragments; a call whole in one part."""
    if answer.thinking and ask.thinking == "shown":
        yield from ({"text": piece, "thought": True} for piece in pieces(answer.thinking))
    if answer.calls:
        yield from _call_parts(ask, answer)
    else:
        for piece in pieces(answer.text):
            yield {"text": piece}


def _call_parts(ask: Ask, answer: Answer) -> list[_Part]:
    """Of calls made at once only the first is signed."""
    parts = [_call_part(ask, call) for call in answer.calls]
    if parts:
        parts[0].update(_signature(ask, answer))
    return parts


def _call_part(ask: Ask, call: Call) -> _Part:
    named = {"name": call.name, "args": msgspec.json.decode(call.arguments)}
    if is_gemini_3(ask.model):
        named["id"] = secrets.token_hex(4)
    return {"functionCall": named}


def _signature(ask: Ask, answer: Answer) -> dict[str, object]:
    return {"thoughtSignature": seal("google", ask.model, answer.thinking)} if ask.sealed else {}


def _candidate(parts: list[_Part], index: int, ended: Answer | None) -> dict[str, object]:
    content: dict[str, object] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate: dict[str, object] = {"content": content}
    if ended is not None:
        candidate["finishReason"] = "MAX_TOKENS" if ended.finish == "length" else "STOP"
    candidate["index"] = index
    if ended is not None and ended.calls:
        candidate["finishMessage"] = "Model generated function call(s)."
    return candidate


def _reply(ask: Ask, candidates: list[dict[str, object]], usage: dict[str, object], reply_id: str) -> dict[str, object]:
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": ask.model.removeprefix("models/"),
        "responseId": reply_id,
    }


def _usage(ask: Ask, answer: Answer, tokens: int | None = None) -> dict[str, object]:
    """Thoughts are beside the candidates, cached tokens inside the prompt. `tokens`: said so far."""
    said = (answer.output_tokens - answer.thinking_tokens) * ask.choices if tokens is None else tokens
    thought = answer.thinking_tokens * ask.choices
    usage: dict[str, object] = {"promptTokenCount": ask.input_tokens}
    if said:
        usage["candidatesTokenCount"] = said
    usage["totalTokenCount"] = ask.input_tokens + said + thought
    if answer.cache.read_tokens:
        usage["cachedContentTokenCount"] = answer.cache.read_tokens
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": answer.cache.read_tokens}]
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": ask.input_tokens}]
    if thought:
        usage["thoughtsTokenCount"] = thought
    usage["serviceTier"] = "standard"
    return usage
