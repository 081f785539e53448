"""`llmring map status`: what a journal says of its run, without touching either."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.chat import ChatResponse
from llmring.cli.tally import Spent, Tally
from llmring.errors import AllModelsFailed, LLMRingError, ServerFault
from llmring.refs import ModelRef
from llmring.router.map.journal import JournalRow, open_journal
from llmring.usage import Cost, Usage
from tests.cli.terminal import LOCKFILE, Terminal

FIRST = ModelRef("openai", "first")
RESPONSE = ChatResponse(
    content="an answer",
    model=FIRST,
    alias="x",
    finish_reason="stop",
    usage=Usage(input_tokens=3, cache_read_tokens=4, output_tokens=5),
    cost=Cost(status="priced", usd=Decimal("0.0012")),
)
UNPRICED = msgspec.structs.replace(
    RESPONSE, model=ModelRef("openai", "second"), cost=Cost(status="model_not_in_registry")
)


def settle(path: Path, *rows: tuple[str, ChatResponse | LLMRingError]) -> None:
    with open_journal(path) as journal:
        for number, (key, outcome) in enumerate(rows):
            if isinstance(outcome, ChatResponse):
                journal.settle(key, number, outcome, None)
            else:
                journal.settle(key, number, None, outcome)


def status(terminal: Terminal) -> Any:
    ended = terminal.run("map", "status", "run.jsonl", "--json")
    assert (ended.code, ended.err) == (0, "")
    return ended.json()


def test_a_row_counts_as_a_run_would_find_it() -> None:
    failed = JournalRow("a", error_type="ServerFault", error_message="first")
    again = JournalRow("a", error_type="AllModelsFailed", error_message="second")
    answered, unreadable = JournalRow("a", RESPONSE), JournalRow("a")

    def counts(*rows: JournalRow) -> tuple[int, int, int]:
        tally = Tally(rows)
        return tally.answered, tally.failed, tally.unreadable

    assert counts() == (0, 0, 0)
    assert counts(failed, again) == counts(unreadable, failed) == (0, 1, 0)
    assert counts(failed, answered) == counts(answered, failed) == counts(unreadable, answered) == (1, 0, 0)
    assert counts(answered, unreadable) == counts(failed, unreadable) == (0, 0, 1)
    assert Tally([failed, again]).errors == {"AllModelsFailed": 1}


def test_every_answer_was_paid_for() -> None:
    tally = Tally([JournalRow("a", RESPONSE), JournalRow("a"), JournalRow("a", RESPONSE), JournalRow("b", UNPRICED)])
    assert (tally.answered, tally.rows) == (2, 2)
    assert tally.by_model["openai:first"] == Spent(answers=2, input_tokens=14, output_tokens=10, usd=Decimal("0.0024"))
    assert tally.total() == Spent(answers=3, input_tokens=21, output_tokens=15, usd=Decimal("0.0024"), unpriced=1)


def test_a_journal_says_how_far_its_run_has_come(bare: Terminal) -> None:
    path = bare.directory / "run.jsonl"
    settle(path, ("a", RESPONSE), ("b", ServerFault("old")), ("c", AllModelsFailed("x", [])), ("d", ServerFault("new")))
    settle(path, ("b", UNPRICED), ("e", ServerFault("newest")))
    before = path.read_bytes()
    said = status(bare)
    assert (said["answered"], said["failed"], said["running"], said["resumable"]) == (2, 2 + 1, False, True)
    assert said["errors"] == {
        "ServerFault": {"rows": 2, "newest": "ServerFault: newest"},
        "AllModelsFailed": {"rows": 1, "newest": "all models of 'x' failed: "},
    }
    assert said["models"]["openai:first"] == {
        "answers": 1,
        "input_tokens": 7,
        "output_tokens": 5,
        "cost_usd": "0.0012",
        "unpriced": 0,
    }
    assert (said["total"]["cost_usd"], said["total"]["unpriced"], said["size_bytes"]) == ("0.0012", 1, len(before))
    assert datetime.fromisoformat(said["last_write"]).timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-5)
    if said["first_write"] is not None:
        assert said["first_write"] <= said["last_write"]
        assert said["rows_per_second"] is None or said["rows_per_second"] > 0
    assert path.read_bytes() == before

    ended = bare.run("map", "status", "run.jsonl")
    assert ended.out.startswith("run.jsonl: 2 rows answered, 3 failed\nNo run is writing it: the same command takes it")
    assert "openai:second  1        7          5           1 unpriced" in ended.out
    assert ended.out.splitlines()[-2:] == [
        "2 x ServerFault, the newest: ServerFault: newest",
        "1 x AllModelsFailed, the newest: all models of 'x' failed: ",
    ]


def test_a_run_that_is_writing_its_journal_is_told_and_not_disturbed(bare: Terminal) -> None:
    with open_journal(bare.directory / "run.jsonl") as journal:
        journal.settle("a", 0, RESPONSE, None)
        said = status(bare)
        assert (said["running"], said["resumable"], said["answered"]) == (True, False, 1)
        assert "A run is writing it now." in bare.run("map", "status", "run.jsonl").out
        journal.settle("b", 1, RESPONSE, None)
    said = status(bare)
    assert (said["running"], said["resumable"], said["answered"]) == (False, True, 2)


def test_a_torn_last_line_is_not_there_yet(bare: Terminal) -> None:
    path = bare.directory / "run.jsonl"
    settle(path, ("a", RESPONSE), ("b", RESPONSE))
    path.write_bytes(path.read_bytes()[:-2])
    torn = path.read_bytes()
    assert status(bare)["answered"] == 1
    assert path.read_bytes() == torn


def test_an_empty_journal_is_one(bare: Terminal) -> None:
    (bare.directory / "run.jsonl").touch()
    said = status(bare)
    assert (said["answered"], said["failed"], said["models"], said["resumable"]) == (0, 0, {}, True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("notes.txt", "notes.txt is not a journal of llmring: it was not touched"),
        ("gone.jsonl", "cannot open the journal gone.jsonl: No such file or directory"),
        (".", "cannot open the journal .: it is no regular file"),
    ],
)
def test_what_is_no_journal_ends_with_2(bare: Terminal, name: str, problem: str) -> None:
    (bare.directory / "notes.txt").write_text('"one"\n')
    ended = bare.run("map", "status", name, "--json")
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


def test_an_alias_called_status_stands_behind_two_dashes(terminal: Terminal) -> None:
    lockfile = terminal.directory / "llmring.lock"
    lockfile.write_text(lockfile.read_text().replace('"summarizer"', '"status"'))
    assert 'alias = "summarizer"' in LOCKFILE
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    for arguments in (["--", "status", "in.jsonl"], ["-q", "status", "in.jsonl"]):
        ended = terminal.run("map", *arguments)
        assert ended.code == 0
        assert json.loads(ended.out)["content"].startswith("echo: one")
    assert "is not a journal" in terminal.run("map", "status", "in.jsonl").err


def test_a_map_and_its_journal_agree(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n"two"\n{"neither": 1}\n')
    ended = terminal.run("map", "summarizer", "in.jsonl", "--checkpoint", "run.jsonl", "-q")
    cost = sum(Decimal(row["cost_usd"]) for row in ended.lines() if "error" not in row)
    said = status(terminal)
    assert (said["answered"], said["failed"]) == (2, 0)
    assert Decimal(said["total"]["cost_usd"]) == cost > 0


def test_the_shell_is_offered_status(bare: Terminal) -> None:
    bare.variables |= {"_LLMRING_COMPLETE": "bash_complete", "COMP_WORDS": "llmring map sta", "COMP_CWORD": "2"}
    assert "plain,status" in bare.run().out.splitlines()
