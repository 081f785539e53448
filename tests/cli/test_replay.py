"""`llmring replay` as a user types it, on what `llmring map --decisions` has kept."""

import json
import stat
from pathlib import Path

import pytest

from tests.cli.terminal import KEY, Terminal

OTHER = """
[[profiles.default.bindings]]
alias = "summarizer"
models = ["anthropic:claude-haiku-4-5"]

[[profiles.default.bindings]]
alias = "broken"
models = ["google:gemini-2.5-flash"]

[[profiles.same.bindings]]
alias = "summarizer"
models = ["openai:gpt-4o-mini"]
"""


@pytest.fixture
def kept(terminal: Terminal) -> Path:
    """Four answers and a failure."""
    rows = "".join(f'"the prompt canary {number}"\n' for number in range(4))
    (terminal.directory / "in.jsonl").write_text(rows)
    (terminal.directory / "other.lock").write_text(OTHER)
    path = terminal.directory / "decisions.jsonl"
    arguments = ("in.jsonl", "-q", "--decisions", "decisions.jsonl")
    assert terminal.run("map", "summarizer", *arguments).code == 0
    terminal.variables["LLMRING_DECISIONS"] = str(path)
    assert terminal.run("chat", "the prompt canary", "--model", "broken").code == 1
    del terminal.variables["LLMRING_DECISIONS"]
    return path


def test_what_was_recorded_comes_out_again(terminal: Terminal, kept: Path) -> None:
    ended = terminal.run("replay", "decisions.jsonl")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("5 requests, ")
    assert ended.out.endswith(" decisions: all come out as they were recorded\n")
    text = kept.read_text()
    assert "canary" not in text and KEY not in text
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_forged_record_is_the_first_difference(terminal: Terminal, kept: Path) -> None:
    lines = kept.read_text().splitlines()
    forged = json.loads(lines[2])
    forged["trace"]["decisions"][0] |= {"routes": [1], "taken": 1}
    lines[2] = json.dumps(forged)
    kept.write_text("\n".join(lines) + "\n")
    ended = terminal.run("replay", "decisions.jsonl")
    assert (ended.code, ended.out) == (1, "")
    assert "decisions.jsonl, line 3: summarizer: decision 1, at 0.000 s, is go to 0, not go to 1" in ended.err
    told = terminal.run("replay", "decisions.jsonl", "--json")
    assert told.code == 1
    assert told.json()["difference"]["line"] == 3


def test_another_lockfile_is_compared(terminal: Terminal, kept: Path) -> None:
    ended = terminal.run("replay", "decisions.jsonl", "--lock", "other.lock")
    assert (ended.code, ended.err) == (0, "")
    assert "5 requests, 4 of them answered by another model" in ended.out
    assert "1 would be answered that failed" in ended.out
    assert "1 met a model of which the record does not know whether it was free: assumed to be" in ended.out
    told = terminal.run("replay", "decisions.jsonl", "--lock", "other.lock", "--json").json()
    assert told["moved"] == [{"from": "openai:gpt-4o-mini", "to": "anthropic:claude-haiku-4-5", "requests": 4}]
    assert (told["recorded"]["failed"], told["replayed"]["failed"]) == (1, 0)
    assert float(told["replayed"]["cost_usd"]) > float(told["recorded"]["cost_usd"]) > 0.0


def test_another_profile_is_compared(terminal: Terminal, kept: Path) -> None:
    told = terminal.run("replay", "decisions.jsonl", "--lock", "other.lock", "--profile", "same", "--json").json()
    assert (told["moved"], told["newly_failed"]) == ([], 0)
    assert told["replayed"]["errors"] == {"UnknownAlias": 1}
    wrong = terminal.run("replay", "decisions.jsonl", "--profile", "nobody")
    assert wrong.code == 2
    assert "unknown profile 'nobody'" in wrong.err


@pytest.mark.parametrize("more", [(), ("--lock", "other.lock")])
def test_a_bad_line_is_named_by_its_number(terminal: Terminal, kept: Path, more: tuple[str, ...]) -> None:
    kept.write_text(kept.read_text() + '{"llmring_decisions": 1}\n')
    ended = terminal.run("replay", "decisions.jsonl", *more)
    assert (ended.code, ended.out) == (2, "")
    assert "decisions.jsonl, line 6: not a record of decisions: " in ended.err


def test_a_file_that_is_not_there_is_one_line(bare: Terminal) -> None:
    ended = bare.run("replay", "decisions.jsonl")
    assert (ended.code, ended.err) == (2, "Error: cannot read decisions.jsonl: No such file or directory\n")
