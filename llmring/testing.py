"""A scripted provider, for our tests and our users': no sockets, no sleeps, exact virtual times under trio's MockClock.

    provider = ScriptedProvider({"gpt-4o": [status(429, retry_after=20), answer("hi", after=0.5)]})
    async with open_router(lockfile, connect=provider) as router: ...

A script is a list of steps for each model; every call takes the next step, and the last one repeats. It stands in for
the connections alone: limits, breakers, codecs and failover are the real ones. `calls` lists what was sent, and when.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import trio

from llmring.errors import ConnectFailed, TransportBroken
from llmring.providers.codec import HttpCall

Ending = Literal["whole", "unfinished", "broken", "silent"]
"""How a reply ends: as it should; cleanly but without its finish; with a broken connection; never."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider does with one call. `after` are the seconds before status and headers, `each` those before every
    piece of a stream. `body` None: made in the wire format of the call."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes | None = None
    pieces: tuple[str, ...] = ()
    input_tokens: int = 10
    output_tokens: int = 5
    after: float = 0.0
    each: float = 0.0
    ending: Ending = "whole"
    connects: bool = True


def answer(
    *pieces: str,
    after: float = 0.0,
    each: float = 0.0,
    input_tokens: int = 10,
    output_tokens: int = 5,
    headers: Mapping[str, str] | None = None,
) -> Step:
    """A whole answer; a stream hands it out in these pieces."""
    return Step(
        pieces=pieces or ("ok",),
        after=after,
        each=each,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        headers=dict(headers or {}),
    )


def status(
    code: int,
    *,
    retry_after: float | None = None,
    after: float = 0.0,
    error: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Step:
    """An error reply. `error` is the provider's error object."""
    told = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    body = {"type": "error", "error": dict(error or {"message": f"scripted {code}"})}
    return Step(status=code, headers={**told, **(headers or {})}, body=json.dumps(body).encode(), after=after)


def cut(*pieces: str, after: float = 0.0, each: float = 0.0, ending: Ending = "broken") -> Step:
    """An answer that breaks off after these pieces."""
    return Step(pieces=pieces, after=after, each=each, ending=ending)


def hang() -> Step:
    """The call is taken and never answered."""
    return Step(after=float("inf"))


def no_connection(after: float = 0.0) -> Step:
    """The provider cannot be reached."""
    return Step(connects=False, after=after)


class ScriptedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call as the provider saw it. `at` is on the trio clock."""

    model: str
    at: float
    base_url: str
    headers: dict[str, str]
    body: dict[str, Any]


class ScriptedProvider:
    """Pass it as `connect` to `open_router`. Plays every provider of the lockfile; scripts are found by model name."""

    def __init__(self, script: Mapping[str, Sequence[Step]]) -> None:
        self.calls: list[ScriptedCall] = []
        self.in_flight = 0
        self.connections = 0
        self._script = {model: list(steps) for model, steps in script.items()}

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "ScriptedConnection":
        self.connections += 1
        return ScriptedConnection(self, base_url, dict(headers))

    def times(self, model: str) -> list[float]:
        """When calls for `model` came, on the trio clock."""
        return [call.at for call in self.calls if call.model == model]

    def take(self, model: str) -> Step:
        """The next step for `model`. A model without a script is a mistake in the test: KeyError."""
        steps = self._script[model]
        return steps.pop(0) if len(steps) > 1 else steps[0]


class ScriptedConnection:
    def __init__(self, provider: ScriptedProvider, base_url: str, headers: dict[str, str]) -> None:
        self._provider = provider
        self._base_url = base_url
        self._headers = headers

    async def open(self, call: HttpCall) -> "ScriptedReply":
        assert isinstance(call.body, bytes), "scripted providers take no files"
        body = msgspec.json.decode(call.body)
        model = body["model"]
        step = self._provider.take(model)
        headers = {**self._headers, **dict(call.headers)}
        self._provider.calls.append(
            ScriptedCall(model=model, at=trio.current_time(), base_url=self._base_url, headers=headers, body=body)
        )
        self._provider.in_flight += 1
        try:
            await trio.sleep(step.after)
        except BaseException:
            self._provider.in_flight -= 1
            raise
        if not step.connects:
            self._provider.in_flight -= 1
            raise ConnectFailed("scripted: nobody listens")
        return ScriptedReply(self._provider, step, _spell(step, body, call.path))

    async def aclose(self) -> None:
        self._provider.connections -= 1
        await trio.lowlevel.checkpoint()


class ScriptedReply:
    def __init__(self, provider: ScriptedProvider, step: Step, pieces: list[bytes]) -> None:
        self.status = step.status
        self.headers: Mapping[str, str] = {"content-type": "application/json", **step.headers}
        if pieces and pieces[0].startswith((b"data:", b"event:")):
            self.headers = {**self.headers, "content-type": "text/event-stream"}
        self._provider = provider
        self._step = step
        self._pieces = pieces

    async def receive(self) -> bytes:
        await trio.sleep(self._step.each)
        if self._pieces:
            return self._pieces.pop(0)
        if self._step.ending == "silent":
            await trio.sleep_forever()
        if self._step.ending == "broken":
            raise TransportBroken("scripted: the connection broke")
        return b""

    async def aclose(self) -> None:
        self._provider.in_flight -= 1
        await trio.lowlevel.checkpoint()


def _spell(step: Step, request: dict[str, Any], path: str) -> list[bytes]:
    """The reply in the wire format of the call, in pieces."""
    if step.body is not None:
        return [step.body]
    is_openai = path.endswith("/chat/completions")
    if not request.get("stream"):
        whole = _openai_whole(step, request) if is_openai else _anthropic_whole(step, request)
        text = json.dumps(whole).encode()
        return [text] if step.ending == "whole" else [text[: len(text) // 2]]
    return _openai_stream(step) if is_openai else _anthropic_stream(step, request)


def _openai_whole(step: Step, request: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(step.pieces)}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _openai_usage(step),
    }


def _openai_usage(step: Step) -> dict[str, int]:
    total = step.input_tokens + step.output_tokens
    return {
        "prompt_tokens": step.input_tokens,
        "completion_tokens": step.output_tokens,
        "total_tokens": total,
    }


def _openai_stream(step: Step) -> list[bytes]:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in step.pieces
    ]
    if step.ending == "whole":
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": _openai_usage(step)})
    lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return [*lines, b"data: [DONE]\n\n"] if step.ending == "whole" else lines


def _anthropic_whole(step: Step, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [{"type": "text", "text": "".join(step.pieces)}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": step.input_tokens, "output_tokens": step.output_tokens},
    }


def _anthropic_stream(step: Step, request: dict[str, Any]) -> list[bytes]:
    start = {**_anthropic_whole(step, request), "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": step.input_tokens, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for piece in step.pieces:
        delta = {"type": "text_delta", "text": piece}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    if step.ending == "whole":
        events.append({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": "end_turn"}
        usage = {"output_tokens": step.output_tokens}
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
        events.append({"type": "message_stop"})
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
