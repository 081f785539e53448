"""`llmring map --checkpoint`, killed again and again: nothing lost, nothing that was finished paid twice."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.latency import Fixed
from llmring.sim.process import Simulator, running_simulator
from tests.cli.terminal import KEY, Terminal, command, environment

ROWS = 2000
KILLS = 6
CONNECTIONS = 64

LOCKFILE = """
[[profiles.default.bindings]]
alias = "steady"
models = ["steady:m"]

[providers.steady]
kind = "openai"
base_url = "{url}/steady/v1"
api_key_env = "SIM_KEY"
max_in_flight = 64
"""


@pytest.fixture
def steady(bare: Terminal) -> Iterator[Simulator]:
    config = SimConfig(providers={"steady": ProviderConfig(latency=Fixed(seconds=0.05))})
    with running_simulator(config) as running:
        (bare.directory / "llmring.lock").write_text(LOCKFILE.format(url=running.url))
        (bare.directory / "in.jsonl").write_text("".join(f'"row {number}"\n' for number in range(ROWS)))
        bare.variables["SIM_KEY"] = KEY
        yield running


def received(simulator: Simulator) -> int:
    """Requests, by the simulator's own count."""
    # Before the first one it is not listed.
    steady = httpx2.get(f"{simulator.url}/__stats").json()["providers"].get("steady", {"keys": {}})
    return sum(model["received"] for key in steady["keys"].values() for model in key["models"].values())


def asked_and_written(simulator: Simulator, journal: Path) -> tuple[int, int]:
    """Requests, and whole lines of the journal."""
    lines = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
    return received(simulator), max(0, lines)


def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_been(bare: Terminal, steady: Simulator) -> None:
    # Forced: a fast machine may have ended a run before it was killed.
    always = ("map", "steady", "in.jsonl", "--ordered", "--quiet", "--force")
    arguments = (*always, "--checkpoint", "run.jsonl", "-o", "out.jsonl")
    journal = bare.directory / "run.jsonl"
    chance = random.Random(5)
    asked = written = 0
    for number in range(KILLS):
        process = subprocess.Popen(
            command(*arguments), cwd=bare.directory, env=environment(bare.variables), stderr=subprocess.DEVNULL
        )
        time.sleep(0.5 + chance.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        asked, written = asked_and_written(steady, journal)
        # Asked twice at most: what was on the wire when a process was killed.
        assert asked - written <= (number + 1) * CONNECTIONS
    ended = bare.run(*arguments)
    assert (ended.code, ended.err) == (0, "")
    # What was written is not asked again: the last run asked for the others alone.
    assert received(steady) - asked == ROWS - written
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert len({line["key"] for line in lines}) == len(lines) == ROWS
    undisturbed = bare.run("map", "steady", "in.jsonl", "--ordered", "--quiet", "-o", "other.jsonl")
    assert undisturbed.code == 0
    assert (bare.directory / "out.jsonl").read_bytes() == (bare.directory / "other.jsonl").read_bytes()


def test_a_finished_run_asks_nothing_again_and_says_so(bare: Terminal, steady: Simulator) -> None:
    (bare.directory / "in.jsonl").write_text('"a"\n"b"\n')
    first = bare.run("map", "steady", "in.jsonl", "--checkpoint", "run.jsonl", "-o", "out.jsonl")
    assert first.code == 0
    again = bare.run("map", "steady", "in.jsonl", "--checkpoint", "run.jsonl", "-o", "more.jsonl")
    assert "2 of 2 rows answered, 2 of them by an earlier run" in again.err
    assert received(steady) == 2
    (bare.directory / "text").write_text("mine\n")
    wrong = bare.run("map", "steady", "in.jsonl", "--checkpoint", "text", "-o", "x.jsonl")
    assert wrong.code == 2
    assert "text is not a journal of llmring: it was not touched" in wrong.err
    assert (bare.directory / "text").read_text() == "mine\n"
