"""Batches of a map on virtual time: when they are looked at, what is waited for, and what is never paid for twice."""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from llmring.codecs.codec import HttpCall
from llmring.errors import BadRequest, LLMRingError, ServerFault, TransportBroken
from llmring.router.map.batch_plan import BatchProgress
from llmring.router.opening import open_router
from llmring.router.router import Router
from tests.router.world import lockfile

ALONE = """
[providers.anthropic]
api_key_env = "TEST_KEY_B"
"""
MODEL = "anthropic:claude-haiku-4-5"
BATCHES = "/v1/messages/batches"

QUICK = 40.0
"""A clock that jumps would do so whenever a thread forces the journal to disk: these tests have one that runs."""


class Said(msgspec.Struct, frozen=True):
    """What a call gets: a status, or a connection that breaks behind it (0); after so many seconds."""

    status: int = 200
    after: float = 0.0


class BatchProvider:
    """Anthropic's batches, over when they have been looked at `looks` times. Scripts are taken call by call, by the
    method and the first path that fits; a batch is made by every POST that is not refused."""

    def __init__(self, looks: int = 1, submits: Sequence[Said] = (), polls: Sequence[Said] = ()) -> None:
        self.looks = looks
        self.scripts = {"POST": list(submits), "GET": list(polls)}
        self.calls: list[tuple[str, str, float]] = []
        self.batches: dict[str, list[str]] = {}
        self.asked = trio.Event()

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "BatchProvider":
        return self

    async def open(self, call: HttpCall) -> "Reply":
        self.calls.append((call.method, call.path, trio.current_time()))
        self.asked.set()
        about_batches = call.path.startswith(BATCHES) and not call.path.endswith("/results")
        script = self.scripts.get(call.method, []) if about_batches else []
        said = script.pop(0) if script else Said()
        if said.status < 300:
            reply = self.reply(call)
        else:
            kind = "invalid_request_error" if said.status == 400 else "api_error"
            reply = Reply(said.status, {"type": "error", "error": {"type": kind, "message": "scripted"}})
        await trio.sleep(said.after)
        if said.status == 0:
            raise TransportBroken("scripted: the connection broke")
        return reply

    def reply(self, call: HttpCall) -> "Reply":
        assert isinstance(call.body, bytes)
        if call.path == "/v1/messages":
            return Reply(200, answer("online"))
        if call.path == BATCHES:
            batch_id = f"msgbatch_{len(self.batches)}"
            self.batches[batch_id] = [row["custom_id"] for row in json.loads(call.body)["requests"]]
            return Reply(200, {"id": batch_id, "processing_status": "in_progress"})
        batch_id = call.path.split("/")[4]
        if call.path.endswith("/results"):
            result = {"type": "succeeded", "message": answer("batched")}
            return Reply(200, *({"custom_id": key, "result": result} for key in self.batches[batch_id]))
        if call.method == "GET":
            self.looks -= 1
        ended = {"processing_status": "ended", "results_url": "there"} if self.looks <= 0 else {}
        return Reply(200, {"id": batch_id, "processing_status": "in_progress", **ended})

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def times(self, method: str, path: str) -> list[float]:
        return [at for how, where, at in self.calls if (how, where) == (method, path)]


def answer(text: str) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 5}
    content = [{"type": "text", "text": text}]
    return {"id": "msg_1", "model": "claude-haiku-4-5", "content": content, "stop_reason": "end_turn", "usage": usage}


class Reply:
    def __init__(self, status: int, *lines: dict[str, Any]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._pieces = [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop() if self._pieces else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def routed(provider: BatchProvider) -> AsyncGenerator[Router]:
    async with open_router(lockfile(ALONE), connect=provider, jitter=lambda: 0.0) as router:
        yield router


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def gaps(times: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(times)]


async def test_a_batch_is_looked_at_ever_less_often(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider(looks=12)
    async with routed(provider) as router:
        rows = await router.map(MODEL, ["a", "b"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    assert [row.response.content for row in rows if row.response is not None] == ["batched", "batched"]
    looked = gaps(provider.times("GET", f"{BATCHES}/msgbatch_0"))
    assert looked[:3] == pytest.approx([5.0, 7.5, 11.25])
    assert looked[-3:] == pytest.approx([60.0] * 3)
    assert provider.times("DELETE", f"{BATCHES}/msgbatch_0") != []


async def test_a_provider_that_is_down_for_a_while_is_waited_for(autojump_clock: object, tmp_path: Path) -> None:
    down = [Said(500), Said(429), Said(0), Said(502), Said(529)] * 4
    provider = BatchProvider(polls=down)
    async with routed(provider) as router:
        rows = await router.map(MODEL, ["a"], mode="auto", checkpoint=tmp_path / "run.jsonl").to_list()
    assert [row.response.content for row in rows if row.response is not None] == ["batched"]
    assert len(provider.times("GET", f"{BATCHES}/msgbatch_0")) == 21
    assert provider.times("POST", "/v1/messages") == []


async def test_a_batch_that_is_refused_for_load_is_handed_in_later(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider(submits=[Said(529), Said(429)] * 8)
    async with routed(provider) as router:
        (row,) = await router.map(MODEL, ["a"], mode="auto", checkpoint=tmp_path / "run.jsonl").to_list()
    assert row.ok
    assert len(provider.batches) == 1
    # One intention, for nothing was made in between.
    assert sum("keys" in line.get("batch", {}) for line in lines(tmp_path / "run.jsonl")) == 1


@pytest.mark.parametrize("mode", ["batch", "auto"])
async def test_a_refusal_for_good_gives_the_rows_back(autojump_clock: object, tmp_path: Path, mode: Any) -> None:
    provider = BatchProvider(submits=[Said(400)])
    async with routed(provider) as router:
        rows = await router.map(MODEL, ["a", "b"], mode=mode, checkpoint=tmp_path / "run.jsonl").to_list()
    if mode == "batch":
        assert [type(row.error) for row in rows] == [BadRequest, BadRequest]
    else:
        assert [row.response.content for row in rows if row.response is not None] == ["online", "online"]
    assert lines(tmp_path / "run.jsonl")[1]["batch"]["end"] == "void"


async def test_a_provider_that_keeps_failing_is_given_up(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider(submits=[Said(500)] * 6)
    async with routed(provider) as router:
        (row,) = await router.map(MODEL, ["a"], mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    assert isinstance(row.error, ServerFault)
    assert provider.batches == {}


@pytest.mark.parametrize("said", [Said(0), Said(502), Said(504), Said(200, after=3600.0)])
async def test_where_nobody_knows_whether_a_batch_was_made_nothing_is_sent_again(
    autojump_clock: object, tmp_path: Path, said: Said
) -> None:
    provider = BatchProvider(submits=[said])
    async with routed(provider) as router:
        for _ in range(2):
            with pytest.raises(LLMRingError, match="anthropic finds no batch by its name"):
                await router.map(MODEL, ["a"], mode="auto", checkpoint=tmp_path / "run.jsonl").to_list()
    assert len(provider.calls) == 1
    (line,) = lines(tmp_path / "run.jsonl")
    assert "end" not in line["batch"]


async def test_a_run_that_is_left_while_it_hands_in_still_writes_the_id(mock_clock: MockClock, tmp_path: Path) -> None:
    mock_clock.rate = QUICK
    path, provider = tmp_path / "run.jsonl", BatchProvider(submits=[Said(200, after=3.0)])
    async with routed(provider) as router:
        async with router.map(MODEL, ["a"], mode="batch", checkpoint=path):
            await provider.asked.wait()
        assert [line["batch"].get("id") for line in lines(path)] == [None, "msgbatch_0"]
        (row,) = await router.map(MODEL, ["a"], mode="batch", checkpoint=path).to_list()
    assert row.ok
    assert len(provider.batches) == 1


async def test_rows_that_come_slowly_are_not_kept_waiting_for_a_full_batch(
    autojump_clock: object, tmp_path: Path
) -> None:
    async def slowly() -> AsyncGenerator[str]:
        for number in range(4):
            await trio.sleep(4.0 if number < 3 else 3600.0)
            yield str(number)

    provider = BatchProvider()
    async with routed(provider) as router:
        rows = await router.map(MODEL, slowly(), mode="batch", checkpoint=tmp_path / "run.jsonl").to_list()
    assert all(row.ok for row in rows)
    assert [len(keys) for keys in provider.batches.values()] == [3, 1]


@pytest.mark.parametrize("window", [1, 3])
async def test_a_window_smaller_than_a_batch_makes_smaller_batches(
    autojump_clock: object, tmp_path: Path, window: int
) -> None:
    provider = BatchProvider()
    async with routed(provider) as router:
        run = router.map(MODEL, map(str, range(6)), mode="batch", checkpoint=tmp_path / "run.jsonl", window=window)
        rows = await run.to_list()
    assert all(row.ok for row in rows)
    assert max(map(len, provider.batches.values())) <= window


@pytest.mark.parametrize("mode", ["batch", "auto"])
async def test_rows_that_wait_for_a_batch_to_fill_are_not_handed_in_after_a_stop(
    autojump_clock: object, tmp_path: Path, mode: Any
) -> None:
    async def slowly() -> AsyncGenerator[str]:
        for number in range(9):
            await trio.sleep(1.0)
            yield str(number)

    provider = BatchProvider()
    async with routed(provider) as router:
        async with router.map(MODEL, slowly(), mode=mode, checkpoint=tmp_path / "run.jsonl") as run:
            await trio.sleep(4.5)
            run.stop()
            assert [row async for row in run] == []
        assert provider.calls == []
        rows = await router.map(MODEL, map(str, range(9)), mode=mode, checkpoint=tmp_path / "run.jsonl").to_list()
    assert [row.ok for row in rows] == [True] * 9


async def test_the_progress_counts_batches(mock_clock: MockClock, tmp_path: Path) -> None:
    mock_clock.rate = QUICK
    provider = BatchProvider(looks=5)
    run_path = tmp_path / "run.jsonl"
    async with routed(provider) as router, router.map(MODEL, ["a", "b"], mode="batch", checkpoint=run_path) as run:
        assert run.progress(2).batches is None
        await trio.sleep(30)
        shown = run.progress(2)
        assert shown.batches == BatchProgress(batches=1, rows=2, done=0)
        assert shown.eta_seconds is None
        assert [row.ok async for row in run] == [True, True]
        assert run.progress(2).batches is None


async def test_a_budget_bounds_what_is_in_batches_too(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider(looks=1)
    async with routed(provider) as router:
        (usual,) = router.estimate(MODEL, "abcd", max_tokens=1000)
        assert usual.high_usd is not None
        run = router.map(
            MODEL,
            [f"abc{number}" for number in range(9)],
            max_tokens=1000,
            mode="batch",
            checkpoint=tmp_path / "run.jsonl",
            budget=usual.high_usd * Decimal("3.5"),
        )
        rows = await run.to_list()
    # What is set aside is the most that an online call can cost. Each batch gives back what it did not use.
    assert [len(keys) for keys in provider.batches.values()] == [3, 3, 3]
    assert all(row.ok for row in rows)


async def test_keys_of_the_caller_are_what_the_provider_takes(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider()
    names = ["plain-1", "not plain/2", "é" * 40]
    path = tmp_path / "run.jsonl"
    async with routed(provider) as router:
        for _ in range(2):
            run = router.map(MODEL, names, mode="batch", checkpoint=path, key=str)
            assert all(row.ok for row in await run.to_list())
    (keys,) = provider.batches.values()
    assert keys[0] == "plain-1"
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", key) for key in keys)


async def test_equal_rows_are_one_row_of_a_batch(autojump_clock: object, tmp_path: Path) -> None:
    provider = BatchProvider()
    async with routed(provider) as router:
        run = router.map(MODEL, ["a", "b", "a"], mode="batch", checkpoint=tmp_path / "run.jsonl", dedupe=True)
        rows = await run.to_list()
    assert [len(keys) for keys in provider.batches.values()] == [2]
    assert [row.duplicate_of for row in rows] == [None, None, 0]
    assert run.report.usd == sum(row.response.cost.usd for row in rows[:2] if row.response and row.response.cost.usd)


async def test_never_spilling_hands_in_nothing_at_a_second_model(autojump_clock: object, tmp_path: Path) -> None:
    text = f'[[profiles.default.bindings]]\nalias = "chain"\nmodels = ["ollama:llama3", "{MODEL}"]\n{ALONE}'
    provider = BatchProvider()
    async with open_router(lockfile(text), connect=provider, jitter=lambda: 0.0) as router:
        for spill, ok in (("never", False), ("auto", True)):
            path = tmp_path / f"{spill}.jsonl"
            rows = await router.map("chain", ["a"], mode="batch", checkpoint=path, spill=spill).to_list()  # type: ignore[arg-type]
            assert [row.ok for row in rows] == [ok]
            assert len(provider.batches) == int(ok)


async def test_a_batch_is_looked_at_with_the_key_that_handed_it_in(
    mock_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_clock.rate = QUICK
    monkeypatch.setenv("TEST_KEY_FIRST", "key-first")
    monkeypatch.setenv("TEST_KEY_SECOND", "key-second")
    path, used = tmp_path / "run.jsonl", list[str]()
    provider = BatchProvider(looks=3)

    def connect(base_url: str, headers: Mapping[str, str]) -> BatchProvider:
        used.append(headers["x-api-key"])
        return provider

    def keys(*names: str) -> str:
        return "[providers.anthropic]\napi_key_env = [" + ", ".join(f'"TEST_KEY_{name}"' for name in names) + "]\n"

    async with (
        open_router(lockfile(keys("FIRST", "SECOND")), connect=connect, jitter=lambda: 0.0) as router,
        router.map(MODEL, ["a"], mode="batch", checkpoint=path),
    ):
        await provider.asked.wait()
    assert lines(path)[0]["batch"]["variable"] == "TEST_KEY_FIRST"
    used.clear()
    # The other one is first now.
    async with open_router(lockfile(keys("SECOND", "FIRST")), connect=connect, jitter=lambda: 0.0) as router:
        (row,) = await router.map(MODEL, ["a"], mode="batch", checkpoint=path).to_list()
    assert row.ok
    assert set(used) == {"key-first"}
    assert len(provider.batches) == 1
