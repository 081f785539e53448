"""Where a map's rows go while it runs: answers that were paid for are never overwritten, mixed or mistaken."""

import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatResponse, ToolCall
from llmring.cli.output import FileOutput
from llmring.cli.part_rows import missing_answers
from llmring.cli.rows import Mark, written
from llmring.errors import ConfigError, LLMRingError
from llmring.refs import ModelRef
from llmring.router.map.journal import open_journal
from llmring.router.map.rows import Row
from llmring.usage import Cost, Usage
from tests.cli.terminal import Terminal

RESPONSE = ChatResponse(
    content="yes",
    model=ModelRef("openai", "first"),
    alias="x",
    finish_reason="stop",
    usage=Usage(input_tokens=3, output_tokens=5),
    cost=Cost(status="priced", usd=Decimal("0.0012")),
)
CALLED = msgspec.structs.replace(RESPONSE, content="", tool_calls=(ToolCall(id="1", name="f", arguments='{"a":1}'),))
OTHER = msgspec.structs.replace(RESPONSE, content="no")


def line(response: ChatResponse, number: int = 1, **more: Any) -> bytes:
    return written(Row(index=number, prompt="", response=response, **more), Mark(number))


def journal_of(path: Path, *responses: ChatResponse) -> Path:
    with open_journal(path) as journal:
        for number, response in enumerate(responses):
            journal.settle(str(number), number, response, None)
    return path


def test_a_run_with_another_journal_leaves_paid_answers_alone(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n"two"\n')
    part = terminal.directory / "out.jsonl.part"
    begun = ("map", "summarizer", "in.jsonl", "-q", "--checkpoint")
    kept = terminal.run(*begun, "first.run").out
    part.write_text(kept)
    ended = terminal.run(*begun, "second.run", "-o", "out.jsonl")
    assert ended.code == 2
    assert "out.jsonl.part holds 2 rows that the journal second.run does not have: name the journal" in ended.err
    assert part.read_text() == kept
    assert not (terminal.directory / "second.run").exists()
    # The one that wrote them has them all.
    assert terminal.run(*begun, "first.run", "-o", "out.jsonl").code == 0
    assert not part.exists()
    assert len((terminal.directory / "out.jsonl").read_text().splitlines()) == 2


@given(st.lists(st.sampled_from([RESPONSE, CALLED, OTHER])), st.lists(st.sampled_from([RESPONSE, CALLED, OTHER])))
def test_answers_are_counted_by_what_they_are(
    tmp_path_factory: pytest.TempPathFactory, kept: list[ChatResponse], rows: list[ChatResponse]
) -> None:
    directory = tmp_path_factory.mktemp("counted")
    path = directory / "part"
    path.write_bytes(b"".join(line(response, number) for number, response in enumerate(rows)))
    expected = Counter(map(repr, rows)) - Counter(map(repr, kept))
    with path.open("rb") as part:
        assert missing_answers(part, journal_of(directory / "run", *kept)) == expected.total()
        assert missing_answers(part, None) == len(rows)


def test_what_was_not_paid_for_may_go(tmp_path: Path) -> None:
    path = tmp_path / "part"
    failed = written(Row(index=0, prompt="", error=LLMRingError("down")), Mark(1))
    path.write_bytes(failed + line(RESPONSE, duplicate_of=0) + line(RESPONSE)[:-1])
    with path.open("rb") as part:
        assert missing_answers(part, tmp_path / "none.run") == 0
    path.write_bytes(b"a text of somebody's\n")
    with path.open("rb") as part:
        assert missing_answers(part, tmp_path / "none.run") == 1


@pytest.mark.parametrize("force", [False, True])
def test_one_run_at_a_time_writes_an_output(tmp_path: Path, force: bool) -> None:
    path, journal = tmp_path / "out.jsonl", journal_of(tmp_path / "run", RESPONSE)
    with FileOutput(path, force=force, journal=journal) as output:
        for other in (None, journal):
            with pytest.raises(ConfigError, match=r"out.jsonl.part is being written by another run: wait for its end"):
                FileOutput(path, force=True, journal=other).__enter__()
        output.write(line(RESPONSE))
        with pytest.raises(ConfigError, match="is being written by another run"):
            FileOutput(path, force=True, journal=journal).__enter__()
    assert path.read_bytes() == line(RESPONSE)
    assert not (tmp_path / "out.jsonl.part").exists()


def test_rows_whose_file_was_moved_away_are_kept_and_the_message_says_where(tmp_path: Path) -> None:
    """And the file that another run has begun under the name stays with it."""
    path, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    first, second = FileOutput(path, force=False), FileOutput(path, force=False)
    first.__enter__().write(line(RESPONSE))
    part.rename(tmp_path / "moved")
    second.__enter__().write(line(OTHER))
    with pytest.raises(LLMRingError, match=r"was moved away or deleted meanwhile; all 1 rows are in ") as caught:
        first.__exit__(None, None, None)
    assert Path(str(caught.value).rpartition("rows are in ")[2]).read_bytes() == line(RESPONSE)
    assert not path.exists()
    second.__exit__(None, None, None)
    assert path.read_bytes() == line(OTHER)


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_run_that_is_interrupted_says_where_its_rows_are_when_somebody_has_deleted_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output = FileOutput(tmp_path / name, force=False).__enter__()
    output.write(line(RESPONSE))
    (tmp_path / f"{name}.part").unlink()
    output.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    said = capsys.readouterr().err.strip()
    assert Path(said.rpartition("finished are in ")[2]).read_bytes() == line(RESPONSE)


def test_a_file_that_somebody_made_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    made = pytest.raises(LLMRingError, match=r"somebody else has made it meanwhile; all 1 rows are in .*out.jsonl.part")
    with made, FileOutput(path, force=False) as output:
        output.write(line(RESPONSE))
        path.write_text("precious\n")
    assert path.read_text() == "precious\n"
    assert (tmp_path / "out.jsonl.part").read_bytes() == line(RESPONSE)


def test_a_run_that_hands_out_nothing_leaves_what_an_earlier_one_has_written(tmp_path: Path) -> None:
    journal, part = journal_of(tmp_path / "run", RESPONSE), tmp_path / "out.jsonl.part"
    part.write_bytes(line(RESPONSE))
    with pytest.raises(KeyboardInterrupt), FileOutput(tmp_path / "out.jsonl", force=False, journal=journal):
        raise KeyboardInterrupt
    assert part.read_bytes() == line(RESPONSE)
    with FileOutput(tmp_path / "out.jsonl", force=False, journal=journal):
        pass
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_an_empty_file_of_a_killed_run_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.part").touch()
    with FileOutput(tmp_path / "out.jsonl", force=False) as output:
        output.write(line(OTHER))
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["content"] == "no"


def test_what_is_no_file_of_rows_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.jsonl.part")
    with pytest.raises(ConfigError, match=r"out.jsonl.part is no regular file"):
        FileOutput(tmp_path / "out.jsonl", force=False).__enter__()
    (tmp_path / "precious").write_text("precious\n")
    (tmp_path / "other.part").symlink_to("precious")
    with pytest.raises(ConfigError, match="cannot write"):
        FileOutput(tmp_path / "other", force=False, journal=tmp_path / "run").__enter__()
    assert (tmp_path / "precious").read_text() == "precious\n"
