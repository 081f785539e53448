"""What a binding says besides its models holds for its requests, and who answered is told."""

from pathlib import Path

import pytest
import trio

from llmring.errors import AllModelsFailed
from llmring.lockfile import read_lockfile
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, answer, hang
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock

BOUND = (
    CHAIN
    + """
[[profiles.default.bindings]]
alias = "careful"
models = ["openai:first"]
constraints = { temperature = 0, max_tokens = 50, stop = ["END"], timeout = 5, min_context = 1000 }
"""
)


async def test_constraints_are_what_requests_get_that_leave_it_open(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}, BOUND) as (router, provider):
        await router.chat("careful", "hi", max_tokens=7)
        async with router.stream("careful", "hi") as stream:
            _ = [chunk async for chunk in stream]
        async with router.map("careful", ["hi"]) as run:
            _ = [row async for row in run]
        await router.chat("alone", "hi")
    asked, streamed, mapped, alone = [call.body for call in provider.calls]
    assert (asked["temperature"], asked["max_completion_tokens"], asked["stop"]) == (0, 7, ["END"])
    assert (streamed["temperature"], streamed["max_completion_tokens"]) == (0, 50)
    assert (mapped["temperature"], mapped["max_completion_tokens"]) == (0, 50)
    assert "temperature" not in alone


async def test_a_constraint_bounds_the_time_of_a_call(autojump_clock: Clock) -> None:
    async with world({"first": [hang()]}, BOUND) as (router, _):
        with pytest.raises(AllModelsFailed):
            await router.chat("careful", "hi")
        assert trio.current_time() == 5.0


async def test_an_alias_of_a_package_can_be_asked(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "sums_library"
    package.mkdir(parents=True)
    (package / "llmring.lock").write_text('[[bindings]]\nalias = "summarizer"\nmodels = "openai:first"')
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    path = tmp_path / "llmring.lock"
    path.write_text('[extends]\npackages = ["sums_library"]\n[providers.openai]\napi_key_env = "TEST_KEY_A"\n')
    provider = ScriptedProvider({"first": [answer("ok")]})
    async with open_router(read_lockfile(path), connect=provider) as router:
        response = await router.chat("sums_library:summarizer", "hi")
        async with router.map("sums_library:summarizer", ["hi"]) as run:
            rows = [row async for row in run]
    assert (response.alias, str(response.model)) == ("sums_library:summarizer", "openai:first")
    assert rows[0].ok


async def test_an_answer_of_another_model_is_noted(autojump_clock: Clock) -> None:
    script = {"first": [answer("ok"), answer("ok", served_model="second-rate"), answer("ok", served_model="cheap")]}
    async with world(script) as (router, _):
        assert (await router.chat("alone", "hi")).notes == ()
        noted = await router.chat("alone", "hi")
        async with router.stream("alone", "hi") as stream:
            chunks = [chunk async for chunk in stream]
    assert [str(note) for note in noted.notes] == ["model changed: openai:first was asked and second-rate answered"]
    assert [note.parameter for note in chunks[-1].notes] == ["model"]
