"""Files, schemas and efforts on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def schema(terminal: Terminal) -> Path:
    path = terminal.directory / "city.schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


def test_an_answer_has_to_fit_a_schema(terminal: Terminal, schema: Path) -> None:
    ended = terminal.run("chat", "a city", "-m", "summarizer", "--schema", schema.name)
    assert ended.json() == {"city": "text"}
    whole = terminal.run("chat", "a city", "-m", "summarizer", "--schema", schema.name, "--json").json()
    assert whole["parsed"] == {"city": "text"}


def test_rows_have_to_fit_a_schema(terminal: Terminal, schema: Path) -> None:
    ended = terminal.run("map", "summarizer", "-", "--schema", schema.name, "-q", stdin='"one"\n"two"\n')
    assert [row["parsed"] for row in ended.lines()] == [{"city": "text"}] * 2


def test_a_row_may_have_a_format_of_its_own(terminal: Terminal) -> None:
    row = {"prompt": "one", "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "name": "c"}}}
    ended = terminal.run("map", "summarizer", "-", "-q", stdin=json.dumps(row) + "\n")
    assert [row["parsed"] for row in ended.lines()] == [{"city": "text"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "schema x.json: no such file or directory"),
        ("{", "schema x.json is not a JSON object"),
        ("[1]", "schema x.json is not a JSON object"),
        ('{"type": "robot"}', "the schema is not valid JSON schema"),
    ],
)
def test_a_wrong_schema_is_named_before_anything_is_sent(terminal: Terminal, text: str | None, problem: str) -> None:
    if text is not None:
        (terminal.directory / "x.json").write_text(text)
    ended = terminal.run("chat", "hi", "-m", "summarizer", "--schema", "x.json")
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


@pytest.mark.parametrize("model", ["summarizer", "anthropic:claude-haiku-4-5"])
def test_files_go_with_the_prompt_and_no_copy_stays(terminal: Terminal, model: str) -> None:
    (terminal.directory / "a.pdf").write_bytes(b"%PDF-1.4\n")
    (terminal.directory / "b.txt").write_text("words")
    ended = terminal.run("chat", "what?", "-m", model, "-f", "a.pdf", "--file", "b.txt")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("echo: what?")


@pytest.mark.parametrize(("name", "problem"), [("gone.pdf", "no such file or directory"), (".", "is a directory")])
def test_a_wrong_file_is_named(terminal: Terminal, name: str, problem: str) -> None:
    ended = terminal.run("chat", "what?", "-m", "summarizer", "-f", name)
    assert ended.code == 2
    assert problem in ended.err


def test_what_was_not_done_as_asked_is_noted(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "openai:gpt-4o", "--effort", "high", "-v")
    assert "- reasoning_effort dropped: the model takes no such parameter" in ended.err
    assert ended.out.startswith("echo: hi")


def test_an_unknown_effort_is_refused(terminal: Terminal) -> None:
    ended = terminal.run("chat", "hi", "-m", "summarizer", "--effort", "hard")
    assert ended.code == 2
    assert "'minimal'" in ended.err
