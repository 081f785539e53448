"""What the world does to a command: readers that leave, full disks, odd terminals, foreign settings."""

import json
import os
import pty
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.latency import Fixed
from llmring.sim.process import Simulator, running_simulator
from tests.cli.terminal import KEY, Terminal, command, environment

SLOW = """
[[profiles.default.bindings]]
alias = "slow"
models = ["slow:m"]

[providers.slow]
kind = "openai"
base_url = "{url}/slow/v1"
api_key_env = "SIM_KEY"
"""


@pytest.fixture
def slow(terminal: Terminal) -> Iterator[Simulator]:
    """The alias `slow` takes three seconds for an answer."""
    config = SimConfig(providers={"slow": ProviderConfig(latency=Fixed(seconds=3.0))})
    with running_simulator(config) as running:
        (terminal.directory / "llmring.lock").write_text(SLOW.format(url=running.url))
        yield running


def start(terminal: Terminal, *arguments: str, rows: int = 2) -> "subprocess.Popen[bytes]":
    (terminal.directory / "in.jsonl").write_text("".join(f'"row {number}"\n' for number in range(rows)))
    return subprocess.Popen(
        command("map", *arguments), stderr=subprocess.PIPE, cwd=terminal.directory, env=environment({"SIM_KEY": KEY})
    )


def count(simulator: Simulator, what: str) -> int:
    """Of all requests that the simulator has seen."""
    stats = httpx2.get(f"{simulator.url}/__stats").json()["providers"].get("slow", {"keys": {}})
    return sum(model[what] for key in stats["keys"].values() for model in key["models"].values())


def wait_until_in_flight(simulator: Simulator, rows: int) -> None:
    while count(simulator, "in_flight") != rows:
        pass


@pytest.mark.parametrize("arguments", [["chat", "--temperature", "warm"], ["chat", "--nonsense"]])
def test_a_wrong_command_line_is_json_too(bare: Terminal, arguments: list[str]) -> None:
    ended = bare.run(*arguments, "--json")
    assert ended.code == 2
    assert ended.json()["error"]["message"] in ended.err


def test_a_prompt_without_quotes_is_asked_and_not_repeated_as_an_error(terminal: Terminal) -> None:
    ended = terminal.run("chat", "tell", "me", "more", "-m", "summarizer")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("echo: tell me more")


@pytest.mark.parametrize("prompt", ["", "  "])
def test_a_blank_prompt_is_not_sent(terminal: Terminal, prompt: str) -> None:
    assert terminal.run("chat", prompt, "-m", "summarizer").code == 2


def test_an_answer_that_the_terminal_cannot_spell_is_escaped(terminal: Terminal) -> None:
    terminal.variables["PYTHONIOENCODING"] = "latin-1"
    ended = terminal.run("chat", "\u65e5 and more", "-m", "summarizer")
    assert ended.code == 0
    assert ended.out.startswith("echo: \\u65e5 and more")


def test_chat_without_any_standard_input_wants_a_prompt(terminal: Terminal) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *command("chat", "-m", "summarizer")],
        capture_output=True,
        cwd=terminal.directory,
        env=environment(terminal.variables),
        check=False,
    )
    assert done.returncode == 2
    assert b"there is no prompt" in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_rows_under_way_are_kept_when_a_run_is_stopped(
    terminal: Terminal, slow: Simulator, ending: signal.Signals
) -> None:
    process = start(terminal, "slow", "in.jsonl", "-o", "out.jsonl")
    wait_until_in_flight(slow, 2)
    process.send_signal(ending)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 128 + ending
    assert len((terminal.directory / "out.jsonl.part").read_text().splitlines()) == 2
    assert "2 rows that were finished are in out.jsonl.part" in said


def test_a_failed_row_that_ends_the_run_does_not_cut_off_those_on_the_wire(terminal: Terminal, slow: Simulator) -> None:
    process = subprocess.Popen(
        command("map", "slow", "-", "-o", "out.jsonl", "--on-error", "raise", "--checkpoint", "run"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment({"SIM_KEY": KEY}),
    )
    assert process.stdin is not None
    process.stdin.write(b'"one"\n"two"\n')
    process.stdin.flush()
    wait_until_in_flight(slow, 2)
    said = process.communicate(b'{"prompt": "ok", "max_tokens": -5}\n', timeout=60)[1].decode()
    assert process.returncode == 1
    assert "Error: line 3: max_tokens must be at least 1" in said
    assert "2 rows that were finished are in out.jsonl.part" in said
    assert len((terminal.directory / "out.jsonl.part").read_text().splitlines()) == 2
    # Its head, and the answers.
    assert len((terminal.directory / "run").read_text().splitlines()) == 3


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_rows_in_line_are_not_sent_any_more_when_a_run_is_stopped(
    terminal: Terminal, slow: Simulator, ending: signal.Signals
) -> None:
    (terminal.directory / "llmring.lock").write_text(SLOW.format(url=slow.url) + "max_in_flight = 2\n")
    process = start(terminal, "slow", "in.jsonl", "-o", "out.jsonl", "--window", "9", rows=9)
    wait_until_in_flight(slow, 2)
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode == 128 + ending
    assert len((terminal.directory / "out.jsonl.part").read_text().splitlines()) == 2
    assert count(slow, "received") == 2


def test_a_second_ctrl_c_cuts_off(terminal: Terminal, slow: Simulator) -> None:
    process = start(terminal, "slow", "in.jsonl", "-o", "out.jsonl")
    assert process.stderr is not None
    wait_until_in_flight(slow, 2)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith(b"stopping")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(terminal.directory.glob("out*"))


def test_nobody_reading_the_progress_does_not_end_the_run(terminal: Terminal, slow: Simulator) -> None:
    """Three rows of three seconds one after the other: the first plain line comes after five."""
    process = start(terminal, "slow", "in.jsonl", "-o", "out.jsonl", "--window", "1", rows=3)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(60) == 0
    assert len((terminal.directory / "out.jsonl").read_text().splitlines()) == 3


def test_a_disk_that_fills_up_keeps_whole_rows_and_says_so(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text("".join(f'"row {number}"\n' for number in range(100)))
    done = subprocess.run(
        command("map", "summarizer", "in.jsonl", "-o", "out.jsonl"),
        capture_output=True,
        cwd=terminal.directory,
        env=environment(terminal.variables),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
        check=False,
    )
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "cannot write out.jsonl.part" in said and "Traceback" not in said
    kept = (terminal.directory / "out.jsonl.part").read_text().splitlines()
    assert kept and all("content" in json.loads(line) for line in kept)


def test_a_link_stays_a_link(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    (terminal.directory / "link.jsonl").symlink_to("real.jsonl")
    assert terminal.run("map", "summarizer", "in.jsonl", "-o", "link.jsonl").code == 0
    assert (terminal.directory / "link.jsonl").is_symlink()
    assert "content" in (terminal.directory / "real.jsonl").read_text()


def test_a_device_is_written_to_and_never_replaced(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    pipe = terminal.directory / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    assert terminal.run("map", "summarizer", "in.jsonl", "-o", "pipe", "--force").code == 0
    assert b"content" in reader.communicate(timeout=60)[0]
    assert pipe.is_fifo()


def test_a_terminal_as_input_stays_blocking(terminal: Terminal) -> None:
    """What is shared with the shell must not be changed: it would stay so after a kill."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("map", "summarizer", "-", "-q"),
        stdin=theirs,
        stdout=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment(terminal.variables),
    )
    assert process.stdout is not None
    os.write(ours, b'"one"\n')
    assert b"content" in process.stdout.readline()
    assert os.get_blocking(theirs)
    process.kill()
    process.communicate()
    os.close(ours)
    os.close(theirs)


def test_rows_are_read_as_they_are_meant(terminal: Terminal) -> None:
    """A byte order mark is no content, nothing that is set is ignored, and an id survives what is wrong beside it."""
    rows = b'\xef\xbb\xbf"one"\n{"prompt": "x", "max_tokens": 0}\n{"id": "mine", "prompt": 5}\n'
    ended = terminal.run("map", "summarizer", "-", "--ordered", "-q", stdin=rows)
    first, second, third = ended.lines()
    assert first["content"].startswith("echo: one")
    assert "max_tokens" in second["error"]["message"]
    assert (third["id"], third["error"]["type"]) == ("mine", "InvalidRequest")


@pytest.mark.parametrize(
    "variables",
    [{"LLMRING_PROFILE": "prod"}, {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}],
)
def test_the_demo_needs_nothing_of_the_environment(bare: Terminal, variables: dict[str, str]) -> None:
    bare.variables |= variables
    ended = bare.run("demo", "--rows", "5", "--quiet")
    assert ended.code == 0
    assert "lost: 0" in ended.out


def test_part_is_beside_its_file(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    (terminal.directory / "deep").mkdir()
    assert terminal.run("map", "summarizer", "in.jsonl", "-o", str(Path("deep", "out.jsonl"))).code == 0
    assert [path.name for path in (terminal.directory / "deep").iterdir()] == ["out.jsonl"]
