"""What can go wrong with a reply, as a table, through the router and in every format: the next route answers when
nothing was handed out yet, else it is an error; what lacks nothing is a whole answer. Never a cut that passes for an
end.

What the decoders alone make of it is in tests/codecs/test_stream_faults.py.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
import pytest
import trio.testing

from llmring.codecs.codec import HttpCall
from llmring.errors import StreamBroken
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedConnection, ScriptedProvider, ScriptedReply, Step, answer
from llmring.testing_wires import Ending
from tests.codecs.test_contract import FORMATS
from tests.codecs.test_stream_faults import ERRORS, without_usage
from tests.codecs.test_stream_faults import spoken as wire
from tests.router.world import lockfile

Clock = trio.testing.MockClock

KINDS = {
    "openai": "openai",
    "responses": "openai-responses",
    "anthropic": "anthropic",
    "google": "google",
    "ollama": "ollama",
}
EACH = pytest.mark.parametrize("form", list(KINDS))
STEP = answer("Hel", "lo", " there")
TEXT = STEP.text
JSON = "application/json"

Outcome = Literal["next", "broken", "whole"]
"""The next route has answered; an error with the text so far; the answer, whole."""


class Stream(msgspec.Struct, frozen=True):
    """A good one in its parts: before the first text, the texts, and what tells the end."""

    form: str
    head: list[bytes]
    texts: list[bytes]
    end: list[bytes]

    @property
    def whole(self) -> list[bytes]:
        return [*self.head, *self.texts, *self.end]

    @property
    def malformed(self) -> bytes:
        return b"{nonsense\n" if self.form == "ollama" else b"data: {nonsense\n\n"

    @property
    def error(self) -> bytes:
        return wire(self.form).framed(ERRORS[self.form])

    @property
    def reply(self) -> bytes:
        """The answer as a reply that is no stream."""
        return msgspec.json.encode(wire(self.form).whole(STEP, "faulty"))

    @property
    def comment(self) -> bytes:
        return b"\n" if self.form == "ollama" else b": ping\n\n"


def stream(form: str) -> Stream:
    frames = wire(form).reply(STEP, "faulty", stream=True)
    decoder = FORMATS[form].codec.open_stream({})
    at = [number for number, frame in enumerate(frames) if decoder.feed(frame)]
    return Stream(form, frames[: at[0]], frames[at[0] : at[-1] + 1], frames[at[-1] + 1 :])


class Faulty(ScriptedProvider):
    """The model "faulty" sends these pieces and ends so; "backup" answers."""

    def __init__(self, pieces: list[bytes], ending: Ending, content_type: str | None) -> None:
        super().__init__({"faulty": [answer()], "backup": [answer("saved")]})
        self.pieces = pieces
        self.step = Step(ending=ending)
        self.content_type = content_type

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> ScriptedConnection:
        self.connections += 1
        return FaultyConnection(self, base_url, dict(headers))


class FaultyConnection(ScriptedConnection):
    async def open(self, call: HttpCall) -> ScriptedReply:
        reply = await super().open(call)
        faulty = self._provider
        assert isinstance(faulty, Faulty), "made by one"
        if faulty.calls[-1].model == "backup":
            return reply
        content_type = faulty.content_type or reply.headers["content-type"]
        return ScriptedReply(faulty, faulty.step, list(faulty.pieces), content_type)


def router_lock(form: str) -> str:
    return f"""
[[profiles.default.bindings]]
alias = "chain"
models = ["tested:faulty", "spare:backup"]

[providers.tested]
kind = "{KINDS[form]}"
base_url = "http://tested"
api_key_env = "TEST_KEY_A"

[providers.spare]
kind = "openai-compatible"
base_url = "http://spare"
api_key_env = "TEST_KEY_B"
"""


async def read(router: Router, handed_out: list[str]) -> bool:
    """Whether usage was told."""
    async with router.stream("chain", "hi") as chunks:
        async for chunk in chunks:
            assert not chunk.restarted
            handed_out.append(chunk.content)
        assert chunks.response is not None
        assert chunks.response.content == "".join(handed_out)
        return chunks.response.usage is not None


async def check(form: str, pieces: list[bytes], ending: Ending, outcome: Outcome, content_type: str | None) -> str:
    """What was handed out."""
    provider = Faulty(pieces, ending, content_type)
    handed_out: list[str] = []
    async with open_router(lockfile(router_lock(form)), connect=provider, jitter=lambda: 0.0) as router:
        match outcome:
            case "next":
                await read(router, handed_out)
                assert handed_out[0] == "saved"
            case "broken":
                with pytest.raises(StreamBroken) as caught:
                    await read(router, handed_out)
                assert caught.value.partial == "".join(handed_out)
                assert [call.model for call in provider.calls] == ["faulty"]
            case "whole":
                await read(router, handed_out)
                assert [call.model for call in provider.calls] == ["faulty"]
        assert provider.in_flight == 0
        for route in router.dispatcher.routes("chain", None):
            assert (route.in_flight, route.credential.in_flight, route.budget.outstanding("requests")) == (0, 0, 0.0)
    return "".join(handed_out)


Spoil = Callable[[Stream], list[bytes]]

FAULTS: dict[str, tuple[Spoil, Ending, Outcome]] = {
    # Before any text.
    "nothing, and closed": (lambda _: [], "unfinished", "next"),
    "nothing, and broken": (lambda _: [], "broken", "next"),
    "nothing, and silent": (lambda _: [], "silent", "next"),
    "keep-alives, and silent": (lambda good: [good.comment] * 3, "silent", "next"),
    "keep-alives, and closed": (lambda good: [good.comment] * 3, "unfinished", "next"),
    "a beginning, and closed": (lambda good: good.head, "unfinished", "next"),
    "a beginning, and broken": (lambda good: good.head, "broken", "next"),
    "a beginning, and silent": (lambda good: good.head, "silent", "next"),
    "malformed at once": (lambda good: [*good.head, good.malformed, *good.texts, *good.end], "whole", "next"),
    "an error at once": (lambda good: [*good.head, good.error], "whole", "next"),
    "an error with a text in the same bytes": (
        lambda good: [b"".join([*good.head, good.texts[0], good.error])],
        "whole",
        "next",
    ),
    "a page of HTML": (lambda _: [b"<html><body>Bad gateway</body></html>"], "whole", "next"),
    "an error as JSON": (lambda good: [msgspec.json.encode(ERRORS[good.form])], "whole", "next"),
    "an empty object": (lambda _: [b"{}"], "whole", "next"),
    "half of a whole reply": (lambda good: [good.reply[: len(good.reply) // 2]], "unfinished", "next"),
    "[DONE] alone": (lambda _: [b"data: [DONE]\n\n"], "whole", "next"),
    # After the first text.
    "a text, and closed": (lambda good: [*good.head, good.texts[0]], "unfinished", "broken"),
    "a text, and broken": (lambda good: [*good.head, good.texts[0]], "broken", "broken"),
    "a text, and silent": (lambda good: [*good.head, good.texts[0]], "silent", "broken"),
    "all texts, and closed": (lambda good: [*good.head, *good.texts], "unfinished", "broken"),
    "all texts, and [DONE]": (lambda good: [*good.head, *good.texts, b"data: [DONE]\n\n"], "whole", "broken"),
    "malformed after a text": (
        lambda good: [*good.head, good.texts[0], good.malformed, *good.texts[1:], *good.end],
        "whole",
        "broken",
    ),
    "an error after a text": (lambda good: [*good.head, good.texts[0], good.error], "whole", "broken"),
    "an error after a text, and silent": (lambda good: [*good.head, good.texts[0], good.error], "silent", "broken"),
    # Where nothing is missing.
    "good": (lambda good: good.whole, "whole", "whole"),
    "good in one piece": (lambda good: [b"".join(good.whole)], "whole", "whole"),
    "good byte by byte": (lambda good: [bytes([byte]) for byte in b"".join(good.whole)], "whole", "whole"),
    "keep-alives all over": (
        lambda good: [part for frame in good.whole for part in (good.comment, frame)],
        "whole",
        "whole",
    ),
    "broken behind the end": (lambda good: good.whole, "broken", "whole"),
    "silent behind the end": (lambda good: good.whole, "silent", "whole"),
    "the end twice": (lambda good: [*good.whole, good.end[-1]], "whole", "whole"),
    "all of the end twice": (lambda good: [*good.whole, *good.end], "whole", "whole"),
    "malformed behind the end": (lambda good: [*good.whole, good.malformed], "whole", "whole"),
    "no usage": (lambda good: [without_usage(good.form, frame) for frame in good.whole], "whole", "whole"),
    "a whole reply instead": (lambda good: [good.reply], "whole", "whole"),
    "a whole reply instead, and broken": (lambda good: [good.reply], "broken", "whole"),
    "a whole reply instead, and silent": (lambda good: [good.reply], "silent", "whole"),
}
"""By name: the pieces that come, how the connection ends, and what comes of it."""

UNMARKED: dict[str, Outcome] = {"malformed behind the end": "broken", "all texts, and [DONE]": "broken"}
"""Gemini says nowhere that an event was the last."""


@EACH
@pytest.mark.parametrize("name", list(FAULTS))
async def test_every_fault_of_a_stream(autojump_clock: Clock, form: str, name: str) -> None:
    spoil, ending, outcome = FAULTS[name]
    if form == "google":
        outcome = UNMARKED.get(name, outcome)
    for content_type in (None, JSON):
        handed_out = await check(form, spoil(stream(form)), ending, outcome, content_type)
        if outcome == "whole":
            assert handed_out == TEXT
        elif outcome == "broken":
            assert TEXT.startswith(handed_out) and handed_out


@EACH
async def test_what_comes_behind_the_end_does_not_belong_to_the_answer(autojump_clock: Clock, form: str) -> None:
    good = stream(form)
    handed_out = await check(form, [*good.whole, good.texts[-1]], "whole", "whole", None)
    assert handed_out == (f"{TEXT} there" if form == "google" else TEXT)


@EACH
@pytest.mark.parametrize("ending", ["unfinished", "broken"])
async def test_a_cut_at_any_byte_is_an_error_or_lost_nothing(autojump_clock: Clock, form: str, ending: Ending) -> None:
    good = stream(form)
    data = b"".join(good.whole)
    ends = [len(b"".join(good.whole[: number + 1])) for number in range(len(good.whole))]
    for cut in sorted({*range(0, len(data), 61), *ends, *(end - 1 for end in ends)}):
        provider = Faulty([data[at : min(at + 16, cut)] for at in range(0, cut, 16)], ending, None)
        handed_out: list[str] = []
        async with open_router(lockfile(router_lock(form)), connect=provider, jitter=lambda: 0.0) as router:
            broken = None
            try:
                await read(router, handed_out)
            except StreamBroken as error:
                broken = error
        text = "".join(handed_out)
        if broken is not None:
            assert text == broken.partial != "", f"cut at {cut}"
        else:
            assert text == (TEXT if len(provider.calls) == 1 else "saved"), f"cut at {cut}"


# Replies that are no streams.

REPLIES: dict[str, tuple[Callable[[bytes], bytes], Ending, bool]] = {
    "good": (lambda reply: reply, "whole", True),
    "half of it": (lambda reply: reply[: len(reply) // 2], "unfinished", False),
    "all but a byte": (lambda reply: reply[:-1], "unfinished", False),
    "broken off": (lambda reply: reply[: len(reply) // 2], "broken", False),
    "never finished": (lambda reply: reply[: len(reply) // 2], "silent", False),
    "nothing": (lambda _: b"", "whole", False),
    "a page of HTML": (lambda _: b"<html><body>Bad gateway</body></html>", "whole", False),
    "an empty object": (lambda _: b"{}", "whole", False),
    "null": (lambda _: b"null", "whole", False),
    "an empty list": (lambda _: b"[]", "whole", False),
    "an error": (lambda reply: reply, "whole", False),
}
"""By name: what becomes of the body, how the connection ends, and whether it is an answer."""


@EACH
@pytest.mark.parametrize("name", list(REPLIES))
async def test_every_fault_of_a_whole_reply(autojump_clock: Clock, form: str, name: str) -> None:
    spoil, ending, is_answer = REPLIES[name]
    body = spoil(stream(form).reply) if name != "an error" else msgspec.json.encode(ERRORS[form])
    provider = Faulty([body] if body else [], ending, JSON)
    async with open_router(lockfile(router_lock(form)), connect=provider, jitter=lambda: 0.0) as router:
        response = await router.chat("chain", "hi")
    assert response.content == (TEXT if is_answer else "saved")
    assert len(provider.calls) == (1 if is_answer else 2)
