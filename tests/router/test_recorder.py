"""The file of decisions: what is in it, whose it is, and what becomes of a router that cannot write it."""

import logging
import os
import stat
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from llmring.errors import AllModelsFailed, ConfigError
from llmring.lockfile.digest import lock_digest
from llmring.router import recorder as recorder_module
from llmring.router.opening import open_router
from llmring.router.recorder import open_recorder
from llmring.router.records import Record, read_records
from llmring.router.replay import difference
from llmring.testing import ScriptedProvider, Step, answer, cut, hang, status
from tests.router.test_trace import VECTORS
from tests.router.world import lockfile

Clock = trio.testing.MockClock
SCRIPT = {"first": [status(429, retry_after=20)], "second": [answer("the-answer-canary", after=1)]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def records(path: Path) -> list[Record]:
    return [record for _, record in read_records(path)]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def outcomes(path: Path) -> list[tuple[str, str]]:
    return [(record.kind, record.trace.outcome) for record in records(path)]


async def test_every_request_leaves_a_line_that_comes_out_as_it_was(autojump_clock: Clock, path: Path) -> None:
    provider = ScriptedProvider(SCRIPT)
    async with open_router(lockfile(), connect=provider, decisions=path) as router:
        await router.chat("chain", "the-prompt-canary", max_tokens=50)
        await router.chat("chain", "the-prompt-canary")
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "the-prompt-canary", timeout=5)
        await router.map("chain", ["the-prompt-canary"] * 3).to_list()
    found = records(path)
    assert outcomes(path) == [
        ("chat", "answered"),
        ("chat", "answered"),
        ("chat", "AllModelsFailed"),
        *[("chat", "answered")] * 3,
    ]
    assert all(difference(record.trace) is None for record in found)
    assert {record.lock for record in found} == {lock_digest(lockfile())}
    assert (found[0].max_tokens, found[0].usages[0].output_tokens) == (50, 5)
    assert found[3].trace.patient
    assert found[3].trace.seconds is None
    text = text_of(path)
    assert "canary" not in text and "key-a" not in text and "key-b" not in text


async def test_streams_vectors_and_calls_that_were_left_leave_a_line_too(autojump_clock: Clock, path: Path) -> None:
    script: dict[str, list[Step]] = {"first": [VECTORS, answer("ok"), cut("a", each=1), hang()]}
    async with open_router(lockfile(), connect=ScriptedProvider(script), decisions=path) as router:
        await router.embed("alone", ["hello"])
        async with router.stream("alone", "x") as stream:
            async for _ in stream:
                pass
        async with router.stream("alone", "x") as left:
            await anext(left)
        with trio.move_on_after(5):
            await router.chat("alone", "x")
        with trio.move_on_after(5):
            async with router.stream("alone", "x"):
                pass
    assert outcomes(path) == [
        ("embed", "answered"),
        ("stream", "answered"),
        ("stream", "answered"),
        ("chat", "cut off"),
        ("stream", "cut off"),
    ]
    assert [len(record.usages) for record in records(path)] == [1, 1, 0, 0, 0]
    assert all(difference(record.trace) is None for record in records(path))


async def test_rows_of_a_map_that_is_cut_off_by_the_end_leave_a_line(autojump_clock: Clock, path: Path) -> None:
    provider = ScriptedProvider({"first": [hang()]})
    with trio.move_on_after(3):
        async with (
            open_router(lockfile(), connect=provider, decisions=path, grace=0) as router,
            router.map("alone", ["a", "b"]) as run,
        ):
            await anext(run)
    assert outcomes(path) == [("chat", "cut off")] * 2


async def test_lines_are_there_while_the_router_lives(path: Path) -> None:
    class Watched(recorder_module.Recorder):
        def _write(self, batch: list[recorder_module.Ended]) -> None:
            super()._write(batch)
            trio.from_thread.run_sync(written.set)

    written = trio.Event()
    async with open_router(lockfile(), connect=ScriptedProvider({"first": [answer("ok")]})) as router:
        trace = (await router.chat("alone", "hello")).trace
    assert trace is not None
    opened = open_recorder(path)
    watched = Watched(path, opened._fd, torn=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        watched.post("chat", lockfile(), lambda: trace, None, ())
        with trio.fail_after(20):
            await written.wait()
        assert outcomes(path) == [("chat", "answered")]
        nursery.cancel_scope.cancel()
    opened.close()


async def test_the_file_is_its_users_alone_and_is_appended_to(autojump_clock: Clock, path: Path) -> None:
    for _ in range(2):
        async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT), decisions=str(path)) as router:
            await router.chat("chain", "hello")
    assert mode_of(path) == 0o600
    assert len(records(path)) == 2


@pytest.fixture
def torn(path: Path) -> Path:
    path.write_text('{"llmring_deci')
    return path


async def test_half_a_line_that_was_left_behind_spoils_no_other(autojump_clock: Clock, torn: Path) -> None:
    async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT), decisions=torn) as router:
        await router.chat("chain", "hello")
    first, second = text_of(torn).splitlines()
    assert first == '{"llmring_deci'
    assert msgspec.json.decode(second, type=Record).trace.outcome == "answered"


async def test_the_environment_names_the_file_and_false_keeps_none(
    autojump_clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRING_DECISIONS", str(path))
    async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT), decisions=False) as router:
        await router.chat("chain", "hello")
    assert text_of(path) == ""
    async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT)) as router:
        await router.chat("chain", "hello")
    assert len(records(path)) == 1


@pytest.mark.parametrize("name", ["no/such/directory", ".", "pipe"])
async def test_a_file_that_cannot_be_written_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="cannot write decisions to"):
        async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT), decisions=tmp_path / name):
            raise AssertionError("not opened")


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is full")
async def test_what_cannot_be_written_is_dropped_counted_and_said(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_router(lockfile(), connect=ScriptedProvider(SCRIPT)) as router:
        trace = (await router.chat("chain", "hello")).trace
    assert trace is not None
    tested = recorder_module.Recorder(FULL, os.open(FULL, os.O_WRONLY), torn=False)
    for _ in range(3):
        tested.post("chat", lockfile(), lambda: trace, None, ())
    with caplog.at_level(logging.WARNING, "llmring"):
        tested.close()
    assert tested.dropped == 3
    assert [record.getMessage() for record in caplog.records] == [
        "decisions are not recorded in /dev/full: No space left on device",
        "/dev/full lacks 3 records of decisions",
    ]


async def test_a_full_queue_drops_the_newest(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_router(lockfile(), connect=ScriptedProvider({"first": [answer("ok")]})) as router:
        trace = (await router.chat("alone", "hello")).trace
    assert trace is not None
    tested = open_recorder(path)
    one = lockfile()
    for _ in range(recorder_module.MOST_WAITING + 5):
        tested.post("chat", one, lambda: trace, None, ())
    tested.close()
    assert tested.dropped == 5
    assert len(records(path)) == recorder_module.MOST_WAITING
    assert "they come faster than they can be written" in caplog.text
