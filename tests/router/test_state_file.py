"""The state file on disk: what is in it, who may read it, and what becomes of it between processes."""

import json
import logging
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers.memory import KeptLimit, KeptOutput, KeptSpeed, Memory
from llmring.providers.worker import Kept, Recalled
from llmring.refs import ModelRef
from llmring.router.state_file import MOST_ENTRIES, StateFile

REF = ModelRef("openai", "gpt-4o")
MEMORY = Memory(
    limits=(KeptLimit(dimension="requests", amount=300.0, level=-2.5, learned=True, sure=True, age_seconds=7.0),),
    output=KeptOutput(count=3, mean=100.0, variance=25.0),
    speed=KeptSpeed(first=0.5, per_token=None),
)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(ref: ModelRef = REF, account: str = "account", memory: Memory = MEMORY) -> Kept:
    return Kept(ref=ref, account=account, uses=1, memory=memory)


def write(file: StateFile, *all_kept: Kept) -> bool:
    return file.write(all_kept, file.clock())


def of(tokens: float) -> Memory:
    return Memory(output=KeptOutput(count=1, mean=tokens, variance=0.0))


def test_what_one_writes_the_next_one_reads(tmp_path: Path, clock: Clock) -> None:
    assert write(StateFile(tmp_path / "new" / "one", clock), kept())
    clock.now += timedelta(seconds=90)
    tested = StateFile(tmp_path / "new" / "one", clock)
    assert tested.recall(REF, "account") == Recalled(MEMORY, 90.0)
    assert tested.recall(REF, "another") is None
    assert tested.recall(ModelRef("openai", "gpt-4o-mini"), "account") is None
    assert tested.recall(ModelRef("azure", "gpt-4o"), "account") is None


def test_it_is_its_users_alone_and_says_nothing_of_the_account(tmp_path: Path) -> None:
    tested = StateFile(tmp_path / "state")
    before = os.umask(0)
    try:
        write(tested, kept(account="the-account-canary"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(tested.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tested.path.parent.stat().st_mode) == 0o700
    assert b"canary" not in tested.path.read_bytes()
    # Under another salt it is another digest.
    other = StateFile(tmp_path / "other")
    write(other, kept(account="the-account-canary"))
    digests = {json.loads(one.path.read_bytes())["entries"][0]["account"] for one in (tested, other)}
    assert len(digests) == 2


def test_nothing_is_read_before_the_first_question_and_then_once(tmp_path: Path, clock: Clock) -> None:
    tested = StateFile(tmp_path, clock)
    write(StateFile(tmp_path, clock), kept())
    assert tested.recall(REF, "account") == Recalled(MEMORY, 0.0)
    write(StateFile(tmp_path, clock), kept(memory=of(1.0)))
    assert tested.recall(REF, "account") == Recalled(MEMORY, 0.0)


def test_a_model_is_forgotten_after_thirty_days(tmp_path: Path, clock: Clock) -> None:
    write(StateFile(tmp_path, clock), kept())
    clock.now += timedelta(days=30)
    assert StateFile(tmp_path, clock).recall(REF, "account") is None
    other = ModelRef("openai", "o3")
    write(StateFile(tmp_path, clock), kept(other))
    assert [entry["model"] for entry in json.loads((tmp_path / "limits.json").read_bytes())["entries"]] == ["o3"]


def test_a_clock_that_was_wrong_does_not_keep_an_entry_for_ever(tmp_path: Path, clock: Clock) -> None:
    write(StateFile(tmp_path, clock), kept())
    clock.now -= timedelta(days=400)
    assert StateFile(tmp_path, clock).recall(REF, "account") == Recalled(MEMORY, 0.0)
    write(StateFile(tmp_path, clock), kept(ModelRef("openai", "o3")))
    assert StateFile(tmp_path, clock).recall(REF, "account") is None


def test_only_the_newest_thousand_are_kept(tmp_path: Path, clock: Clock) -> None:
    write(StateFile(tmp_path, clock), kept())
    clock.now += timedelta(seconds=1)
    write(StateFile(tmp_path, clock), *[kept(ModelRef("a", str(number))) for number in range(MOST_ENTRIES)])
    tested = StateFile(tmp_path, clock)
    assert tested.recall(REF, "account") is None
    assert tested.recall(ModelRef("a", "0"), "account") is not None


GOOD = {"llmring_state": 1, "salt": "00" * 16, "entries": []}
ENTRY = {"provider": "a", "model": "b", "account": "c", "at": "2026-01-01T00:00:00Z", "memory": {}}
NO_RATE = {"limits": [{"dimension": "requests", "amount": 0, "level": 1}]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json.dumps(GOOD).encode()[:-1],
        json.dumps({"llmring_state": "1"}).encode(),
        json.dumps({"llmring_state": 1}).encode(),
        json.dumps({**GOOD, "salt": "no hex"}).encode(),
        json.dumps({**GOOD, "salt": "00"}).encode(),
        json.dumps({**GOOD, "salt": "00" * 65}).encode(),
        json.dumps({**GOOD, "entries": [{**ENTRY, "at": "2026-01-01T00:00:00"}]}).encode(),
        json.dumps({**GOOD, "entries": [{**ENTRY, "memory": NO_RATE}]}).encode(),
    ],
)
def test_a_damaged_file_is_a_warning_and_is_replaced(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "limits.json").write_bytes(data)
    tested = StateFile(tmp_path)
    assert tested.recall(REF, "account") is None
    assert [(record.levelno, "is damaged" in record.message) for record in caplog.records] == [(logging.WARNING, True)]
    assert write(tested, kept())
    assert StateFile(tmp_path).recall(REF, "account") is not None


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_are_an_error(tmp_path: Path, data: bytes, cut: int) -> None:
    write(StateFile(tmp_path), kept())
    whole = (tmp_path / "limits.json").read_bytes()
    (tmp_path / "limits.json").write_bytes(whole[:cut] + data + whole[cut + len(data) :])
    StateFile(tmp_path).recall(REF, "account")
    assert write(StateFile(tmp_path), kept())


def test_a_file_of_a_later_llmring_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "limits.json"
    path.write_text('{"llmring_state": 2, "salt": 17}')
    tested = StateFile(tmp_path)
    assert tested.recall(REF, "account") is None
    assert not write(tested, kept())
    assert path.read_text() == '{"llmring_state": 2, "salt": 17}'
    assert len(caplog.records) == 1 and "version 2" in caplog.text


@pytest.mark.parametrize("what", ["a file in the way", "a directory in the way", "a pipe in the way"])
def test_what_cannot_be_read_or_written_is_a_warning(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "state"
    if what == "a file in the way":
        directory.write_text("")
    else:
        directory.mkdir()
    if what == "a directory in the way":
        (directory / "limits.json").mkdir()
    if what == "a pipe in the way":
        os.mkfifo(directory / "limits.json")
    tested = StateFile(directory)
    assert tested.recall(REF, "account") is None
    assert write(tested, kept()) == (what == "a pipe in the way")
    assert write(tested, kept()) == (what == "a pipe in the way")
    assert caplog.records
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len({record.message for record in caplog.records}) == len(caplog.records)


def test_two_that_share_a_file_keep_what_is_the_others(tmp_path: Path, clock: Clock) -> None:
    one, two = StateFile(tmp_path, clock), StateFile(tmp_path, clock)
    other = ModelRef("anthropic", "claude")
    # Both begin with nothing, and so with salts of their own.
    assert one.recall(REF, "account") is None
    assert two.recall(REF, "account") is None
    write(one, kept(memory=of(1.0)), kept(other, memory=of(2.0)))
    clock.now += timedelta(seconds=1)
    write(two, kept(memory=of(3.0)), kept(account="another", memory=of(4.0)))
    clock.now += timedelta(seconds=1)
    third = StateFile(tmp_path, clock)
    assert third.recall(REF, "account") == Recalled(of(3.0), 1.0)
    assert third.recall(REF, "another") == Recalled(of(4.0), 1.0)
    assert third.recall(other, "account") == Recalled(of(2.0), 2.0)


def test_who_waited_for_the_lock_does_not_put_older_news_in_the_place_of_newer(tmp_path: Path, clock: Clock) -> None:
    before = clock.now
    clock.now += timedelta(seconds=1)
    StateFile(tmp_path, clock).write([kept(memory=of(1.0))], clock.now)
    StateFile(tmp_path, clock).write([kept(memory=of(2.0))], before)
    assert StateFile(tmp_path, clock).recall(REF, "account") == Recalled(of(1.0), 0.0)


WRITER = """
import sys
import time
from pathlib import Path
from llmring.providers.memory import Memory
from llmring.providers.worker import Kept
from llmring.refs import ModelRef
from llmring.router import state_file

state_file.LOCK_TRIES = 1000
file = state_file.StateFile(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    ref = ModelRef("provider", f"{sys.argv[2]}-{number}")
    assert file.write([Kept(ref=ref, account="account", uses=1, memory=Memory())], file.clock())
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    times = 20
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name, str(times)]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = json.loads((tmp_path / "limits.json").read_bytes())["entries"]
    assert {entry["model"] for entry in found} == {f"{name}-{number}" for name in "abc" for number in range(times)}


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    write(StateFile(tmp_path), kept())
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), "x", "1000000"],
        )
        before = (tmp_path / "limits.json").stat().st_mtime_ns
        while (tmp_path / "limits.json").stat().st_mtime_ns == before:
            assert writer.poll() is None
        writer.kill()
        writer.wait()
        tested = StateFile(tmp_path)
        assert tested.recall(REF, "account") is not None
        assert write(tested, kept())


@pytest.mark.parametrize("fails", ["unlink", "open", "write", "replace"])
def test_a_write_that_fails_at_any_step_leaves_the_old_file(
    tmp_path: Path, clock: Clock, fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left behind of a new one does not hinder the next."""
    tested = StateFile(tmp_path, clock)
    write(tested, kept(memory=of(1.0)))
    clock.now += timedelta(seconds=1)

    def fail(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if fails in ("unlink", "replace"):
            patch.setattr(Path, fails, fail)
        elif fails == "open":
            patch.setattr(os, "open", fail)
        else:
            patch.setattr(msgspec.json, "encode", fail)
        assert not write(tested, kept(memory=of(2.0)))
    assert "No space left on device" in caplog.text
    assert StateFile(tmp_path, clock).recall(REF, "account") == Recalled(of(1.0), 1.0)
    assert write(tested, kept(memory=of(3.0)))
    assert StateFile(tmp_path, clock).recall(REF, "account") == Recalled(of(3.0), 0.0)


def test_a_lock_that_is_not_given_back_costs_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    tested = StateFile(tmp_path)
    write(tested, kept(memory=of(1.0)))
    with (tmp_path / "limits.lock").open("rb") as holder:
        fcntl.flock(holder.fileno(), fcntl.LOCK_EX)
        assert not write(tested, kept())
    assert 0.9 < sum(waited) <= 1.0
    assert "is not kept" in caplog.text
    assert write(tested, kept())
