"""`llmring map --mode batch`, killed and stopped: what is on its way is read by the same command, and paid once."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.process import Simulator, running_simulator
from tests.cli.terminal import KEY, LOCKFILE, Terminal, command, environment

ROWS = 200
RUN = ("map", "summarizer", "in.jsonl", "--ordered", "--mode", "batch", "--checkpoint", "run.jsonl", "-o", "out.jsonl")


@pytest.fixture
def simulator(bare: Terminal) -> Iterator[Simulator]:
    slow = ProviderConfig(batch_seconds=2.0)
    with running_simulator(SimConfig(providers={"openai": slow, "anthropic": slow})) as running:
        (bare.directory / "llmring.lock").write_text(LOCKFILE.format(url=running.url))
        (bare.directory / "in.jsonl").write_text("".join(f'"row {number}"\n' for number in range(ROWS)))
        bare.variables["SIM_KEY"] = KEY
        yield running


def begun(bare: Terminal, until: str) -> subprocess.Popen[str]:
    """A run that has got so far that `until` is in its journal."""
    process = subprocess.Popen(
        command(*RUN), cwd=bare.directory, env=environment(bare.variables), stderr=subprocess.PIPE, text=True
    )
    journal, give_up_at = bare.directory / "run.jsonl", time.monotonic() + 30
    while time.monotonic() < give_up_at and not (journal.exists() and until in journal.read_text()):
        time.sleep(0.005)
    return process


def rows_at(simulator: Simulator) -> dict[str, Any]:
    keys = httpx2.get(f"{simulator.url}/__stats").json()["providers"]["openai"]["keys"]
    (models,) = [key["models"] for key in keys.values()]
    rows: dict[str, Any] = models["gpt-4o-mini"]["batch_rows"]
    return rows


@pytest.mark.parametrize("until", ['"keys"', '"id"'])
def test_a_run_that_is_killed_is_taken_up_and_nothing_is_paid_twice(
    bare: Terminal, simulator: Simulator, until: str
) -> None:
    process = begun(bare, until)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    if until == '"id"':
        shown = bare.run("map", "status", "run.jsonl", "--json").json()
        (batch,) = shown["batches"]
        assert (batch["model"], batch["rows"], batch["unanswered"]) == ("openai:gpt-4o-mini", ROWS, ROWS)
        assert "200" in bare.run("map", "status", "run.jsonl").out
        online = bare.run("map", "summarizer", "in.jsonl", "--checkpoint", "run.jsonl", "-o", "other.jsonl")
        assert (online.code, "would be paid for twice" in online.err) == (2, True)
    ended = bare.run(*RUN)
    assert ended.code == 0, ended.err
    assert rows_at(simulator) == {"answered": ROWS}
    lines = [json.loads(line) for line in (bare.directory / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, ROWS + 1))
    assert bare.run("map", "status", "run.jsonl", "--json").json()["batches"] == []


def test_ctrl_c_leaves_the_batches_at_work_and_says_so(bare: Terminal, simulator: Simulator) -> None:
    process = begun(bare, '"id"')
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "left behind, and to be paid for: batch batch_" in told
    ended = bare.run(*RUN)
    assert ended.code == 0, ended.err
    assert rows_at(simulator) == {"answered": ROWS}


def test_what_cannot_be_is_told_before_anything_is_sent(bare: Terminal, simulator: Simulator) -> None:
    without = bare.run("map", "summarizer", "in.jsonl", "--mode", "auto")
    assert (without.code, "needs a checkpoint" in without.err) == (2, True)
    wrong = bare.run(*RUN, "--adopt", "run-1")
    assert (wrong.code, "expected TAG=ID, or TAG=none" in wrong.err) == (2, True)
