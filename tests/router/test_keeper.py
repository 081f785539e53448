"""A router that takes over what an earlier one has learned, and keeps what it learns itself."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

from llmring.router.keeper import WRITE_EVERY_SECONDS
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer, status
from llmring.testing_wires import Step
from tests.router.world import CHAIN, lockfile, standing

Clock = trio.testing.MockClock
RATE = 5.0
PROMPT, ANSWER = "the-prompt-canary", "the-answer-canary"


class Refusing(ScriptedProvider):
    """Has room for ten requests, and `RATE` more a second; refuses the others, and says nothing of that but 429."""

    def __init__(self, rate: float = RATE) -> None:
        super().__init__({"first": [answer(ANSWER, after=0.5)]})
        self.refused = 0
        self._rate = rate
        self._level, self._at = 10.0, trio.current_time()

    def take(self, model: str, headers: Mapping[str, str] | None = None) -> Step:
        now = trio.current_time()
        self._level, self._at = min(10.0, self._level + self._rate * (now - self._at)), now
        if self._level < 1.0:
            self.refused += 1
            return status(429)
        self._level -= 1.0
        return super().take(model, headers)


def entries(directory: Path) -> list[dict[str, object]]:
    path = directory / "limits.json"
    return list(json.loads(path.read_bytes())["entries"]) if path.exists() else []


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def limits(router: Router) -> dict[str, float | None]:
    (route,) = standing(router)
    return {limit.dimension: limit.amount for limit in route.limits}


async def run(directory: Path | Literal[False], rows: int) -> tuple[int, float]:
    """A map against the refusing provider: how many requests it refused, and how long the map took."""
    provider, start = Refusing(), trio.current_time()
    async with open_router(lockfile(), connect=provider, state=directory, jitter=lambda: 0.5) as router:
        rows_back = await router.map("alone", [PROMPT] * rows).to_list()
        assert all(row.ok for row in rows_back)
        ended = trio.current_time()
    return provider.refused, ended - start


async def test_the_second_run_begins_with_what_the_first_has_learned(autojump_clock: Clock, tmp_path: Path) -> None:
    (first, _), *later = [await run(tmp_path, 300) for _ in range(3)]
    assert first > 100
    assert [refused for refused, _ in later] == [0, 0]
    assert all(took < 1.1 * 300 / RATE for _, took in later)
    # And without the file it begins anew.
    assert (await run(False, 300))[0] > 100


async def test_a_day_later_it_begins_with_half_of_it(autojump_clock: Clock, tmp_path: Path) -> None:
    await run(tmp_path, 300)
    state = json.loads((tmp_path / "limits.json").read_bytes())
    (limit,) = state["entries"][0]["memory"]["limits"]
    state["entries"][0]["at"] = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    (tmp_path / "limits.json").write_text(json.dumps(state))
    async with open_router(lockfile(), connect=Refusing(), state=tmp_path) as router:
        await router.chat("alone", PROMPT)
        (told,) = [limit for limit in standing(router)[0].limits if limit.amount is not None]
    assert told.amount == limit["amount"] == pytest.approx(60.0 * RATE, rel=0.1)
    assert told.period_seconds == pytest.approx(120.0, rel=1e-3)


HEADERS = {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "40"}


async def test_limits_that_were_told_and_the_size_and_speed_of_answers_are_taken_over(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    script: Mapping[str, list[Step]] = {"first": [answer(ANSWER, after=2, output_tokens=50, headers=HEADERS)]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), state=tmp_path) as router:
        await router.chat("alone", PROMPT)
        (route,) = standing(router)
    async with open_router(lockfile(), connect=ScriptedProvider(script), state=tmp_path) as router:
        router.estimate("alone", PROMPT)
        (before,) = standing(router)
    assert before.expected_output_tokens == route.expected_output_tokens == 50.0
    assert before.seconds == route.seconds == 2.0
    (limit,) = before.limits
    assert limit.amount == 100.0
    assert limit.level is not None and 39.0 < limit.level < 41.0


async def test_another_key_is_another_account(autojump_clock: Clock, tmp_path: Path) -> None:
    script: Mapping[str, list[Step]] = {"first": [answer(headers=HEADERS)]}
    for key in ("a", "b"):
        keys = {"TEST_KEY_A": key}
        async with open_router(lockfile(), connect=ScriptedProvider(script), state=tmp_path, keys=keys) as router:
            router.estimate("alone", PROMPT)
            assert not any(route.limits for route in standing(router))
            await router.chat("alone", PROMPT)
    assert len(entries(tmp_path)) == 2


async def test_the_file_holds_no_prompt_no_answer_and_no_key(autojump_clock: Clock, tmp_path: Path) -> None:
    await run(tmp_path, 20)
    text = (tmp_path / "limits.json").read_text()
    assert "openai" in text and "first" in text
    assert not any(secret in text for secret in (PROMPT, ANSWER, "key-a"))


async def test_it_is_written_every_minute_while_it_changes(autojump_clock: Clock, tmp_path: Path) -> None:
    provider = ScriptedProvider({"first": [answer()]})
    async with open_router(lockfile(), connect=provider, state=tmp_path) as router:
        await router.chat("alone", PROMPT)
        assert entries(tmp_path) == []
        await written(tmp_path, 0)
        before = (tmp_path / "limits.json").stat().st_mtime_ns
        await trio.sleep(10 * WRITE_EVERY_SECONDS)
        assert (tmp_path / "limits.json").stat().st_mtime_ns == before
        await router.chat("alone", PROMPT)
        await written(tmp_path, before)


async def written(directory: Path, since: int) -> None:
    """Virtual time passes while the thread writes, so nobody can say how much."""
    for _ in range(1_000_000):
        if entries(directory) and (directory / "limits.json").stat().st_mtime_ns != since:
            return
        await trio.sleep(1.0)
    raise AssertionError("it was not written")


async def test_a_router_that_was_not_used_writes_and_reads_nothing(autojump_clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text("damaged, and nobody looks")
    async with open_router(lockfile(), connect=ScriptedProvider({}), state=tmp_path):
        await trio.sleep(3 * WRITE_EVERY_SECONDS)
    assert names(tmp_path) == ["limits.json"]


@pytest.mark.parametrize("state", [None, False])
async def test_what_a_connect_of_ones_own_teaches_is_not_kept(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Literal[False] | None
) -> None:
    """A scripted provider is not the one that it stands in for."""
    monkeypatch.setenv("LLMRING_STATE", str(tmp_path))
    provider = ScriptedProvider({"first": [answer()]})
    async with open_router(lockfile(), connect=provider, state=state) as router:
        await router.chat("alone", PROMPT)
    assert names(tmp_path) == []


async def test_a_file_that_cannot_be_written_hinders_nobody(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    provider = ScriptedProvider({"first": [answer("fine")]})
    async with open_router(lockfile(), connect=provider, state=tmp_path / "state") as router:
        assert (await router.chat("alone", PROMPT)).content == "fine"
    assert any(record.levelno == logging.WARNING and "not kept" in record.message for record in caplog.records)


async def test_a_block_that_is_cancelled_or_fails_keeps_what_it_has_learned(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    for name in ("cancelled", "failed"):
        provider = ScriptedProvider({"first": [answer()]})
        with trio.CancelScope() as scope, suppress(ZeroDivisionError):
            async with open_router(lockfile(), connect=provider, state=tmp_path / name) as router:
                await router.chat("alone", PROMPT)
                if name == "failed":
                    raise ZeroDivisionError
                scope.cancel()
                await trio.sleep_forever()
        assert len(entries(tmp_path / name)) == 1


async def test_an_edited_lockfile_goes_on_with_what_was_learned_and_keeps_it(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "test.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [answer(headers=HEADERS)]})
    async with open_router(path, connect=provider, state=tmp_path / "state") as router:
        await router.chat("alone", PROMPT)
        path.write_text(CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 7'))
        router.dispatcher.reload()
        router.estimate("alone", PROMPT)
        assert limits(router) == {"requests": 100.0}
    assert len(entries(tmp_path / "state")) == 1
