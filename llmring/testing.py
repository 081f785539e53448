"""A scripted provider, for our tests and our users': no sockets, no sleeps, exact virtual times under trio's MockClock.

    provider = ScriptedProvider({"gpt-4o": [status(429, retry_after=20), answer("hi", after=0.5)]})
    async with open_router(lockfile, connect=provider) as router: ...

A script is a list of steps for each model; every call takes the next step, and the last one repeats. It stands in for
the connections alone: limits, breakers, codecs and failover are the real ones. `calls` lists what was sent, and when.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import trio

from llmring.chat import ToolCall
from llmring.codecs.codec import HttpCall
from llmring.errors import ConnectFailed, TransportBroken
from llmring.testing_wires import Ending, Step, spoken_by

__all__ = ["Ending", "ScriptedCall", "ScriptedProvider", "Step", "answer", "cut", "hang", "no_connection", "status"]


def answer(
    *pieces: str,
    after: float = 0.0,
    each: float = 0.0,
    input_tokens: int = 10,
    output_tokens: int = 5,
    reasoning: str = "",
    tool_calls: Sequence[ToolCall] = (),
    headers: Mapping[str, str] | None = None,
    served_model: str | None = None,
) -> Step:
    """A whole answer; a stream hands it out in these pieces. Without pieces and calls, it is "ok".

    `served_model` is the name that the reply gives; without it, the one that was asked for.
    """
    return Step(
        pieces=pieces or (() if tool_calls else ("ok",)),
        reasoning=reasoning,
        tool_calls=tuple(tool_calls),
        after=after,
        each=each,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        headers=dict(headers or {}),
        served_model=served_model,
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
    """Pass it as `connect` to `open_router`. Plays every provider of the lockfile; scripts are found by model name.

    `by_key` has scripts, by model name, for calls with one key: that of the lockfile's variables, not their names.
    """

    def __init__(
        self,
        script: Mapping[str, Sequence[Step]],
        by_key: Mapping[str, Mapping[str, Sequence[Step]]] | None = None,
    ) -> None:
        self.calls: list[ScriptedCall] = []
        self.in_flight = 0
        self.connections = 0
        self._script = {model: list(steps) for model, steps in script.items()}
        self._by_key = {
            key: {model: list(steps) for model, steps in models.items()} for key, models in (by_key or {}).items()
        }

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "ScriptedConnection":
        self.connections += 1
        return ScriptedConnection(self, base_url, dict(headers))

    def times(self, model: str) -> list[float]:
        """When calls for `model` came, on the trio clock."""
        return [call.at for call in self.calls if call.model == model]

    def take(self, model: str, headers: Mapping[str, str] | None = None) -> Step:
        """The next step for `model`, called with `headers`. A model without a script is a mistake in the test:
        KeyError."""
        steps = self._steps(model, (headers or {}).values())
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def _steps(self, model: str, sent: Collection[str]) -> list[Step]:
        for key, script in self._by_key.items():
            if model in script and any(value in (key, f"Bearer {key}") for value in sent):
                return script[model]
        return self._script[model]


class ScriptedConnection:
    def __init__(self, provider: ScriptedProvider, base_url: str, headers: dict[str, str]) -> None:
        self._provider = provider
        self._base_url = base_url
        self._headers = headers

    async def open(self, call: HttpCall) -> "ScriptedReply":
        assert isinstance(call.body, bytes), "scripted providers take no files"
        body = msgspec.json.decode(call.body)
        spoken = spoken_by(call.path)
        model = spoken.model(call.path, body)
        headers = {**self._headers, **dict(call.headers)}
        step = self._provider.take(model, headers)
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
        if step.body is not None:
            return ScriptedReply(self._provider, step, [step.body], None)
        stream = spoken.streams(call.path, body)
        pieces = spoken.reply(step, step.served_model or model, stream)
        return ScriptedReply(self._provider, step, pieces, spoken.stream_type if stream else None)

    async def aclose(self) -> None:
        self._provider.connections -= 1
        await trio.lowlevel.checkpoint()


class ScriptedReply:
    def __init__(self, provider: ScriptedProvider, step: Step, pieces: list[bytes], stream_type: str | None) -> None:
        self.status = step.status
        self.headers: Mapping[str, str] = {"content-type": "application/json", **step.headers}
        if stream_type is not None:
            self.headers = {**self.headers, "content-type": stream_type}
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
