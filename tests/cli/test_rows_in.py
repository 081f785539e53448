"""What a map reads: CSV beside JSONL, and prompts with columns in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.cli.template import Template
from llmring.errors import ConfigError, InvalidRequest
from tests.cli.terminal import Terminal


def test_a_template_is_filled_from_columns() -> None:
    template = Template("Tag {text}, in {{braces}}: {n}{n}")
    assert template.names == ("text", "n", "n")
    assert template.fill({"text": "a {b}", "n": [1, 0.5], "more": 1}) == "Tag a {b}, in {braces}: [1,0.5][1,0.5]"


@pytest.mark.parametrize("text", ["{", "}", "{}", "{0!r}", "{a:>10}", "{a"])
def test_a_hole_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--prompt: "):
        Template(text)


def test_nothing_but_columns_is_read_into_a_template() -> None:
    with pytest.raises(InvalidRequest, match=r"the row has no 'text.__class__'; it has 'text'"):
        Template("{text.__class__}").fill({"text": "a"})
    with pytest.raises(InvalidRequest, match="the row has no 'a'; it has nothing"):
        Template("{a}").fill({})


@given(st.text())
def test_what_a_column_holds_is_text_and_no_template(text: str) -> None:
    assert Template("<{a}>").fill({"a": text}) == f"<{text}>"


def test_a_csv_file_is_mapped_by_its_columns(terminal: Terminal) -> None:
    (terminal.directory / "in.csv").write_bytes(
        b'\xef\xbb\xbfid,text,note\r\n7,"first, with\nan ""end""",x\r\n8,second,\r\n\r\n9,,y\r\n1,2,3,4\r\n'
    )
    ended = terminal.run("map", "summarizer", "in.csv", "--prompt", "Say: {text}", "--ordered", "--quiet")
    rows = ended.lines()
    assert [(row["row"], row.get("id")) for row in rows] == [(1, "7"), (2, "8"), (3, "9"), (4, None)]
    assert rows[0]["content"].startswith('echo: Say: first, with an "end"')
    assert rows[1]["content"].startswith("echo: Say: second")
    assert "the row has no 'text'; it has 'id', 'note'" in rows[2]["error"]["message"]
    assert rows[3]["error"]["type"] == "InvalidRequest"
    assert ended.code == 1


def test_a_csv_file_may_bring_its_prompts(terminal: Terminal) -> None:
    (terminal.directory / "in.csv").write_text("prompt\nhello\n")
    assert terminal.run("map", "summarizer", "in.csv", "-q").lines()[0]["content"].startswith("echo: hello")


def test_rows_of_json_fill_a_template_too(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('{"text": "a", "id": 1}\n"bare"\n')
    rows = terminal.run("map", "summarizer", "in.jsonl", "-p", "Say {text}", "--ordered", "-q").lines()
    assert rows[0]["content"].startswith("echo: Say a")
    assert "with --prompt a row is an object" in rows[1]["error"]["message"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "names its columns; this one is empty"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ('a\n"open\n', "not CSV: unexpected end of data"),
    ],
)
def test_a_csv_file_that_is_none_is_named(terminal: Terminal, content: str, problem: str) -> None:
    (terminal.directory / "in.csv").write_text(content)
    ended = terminal.run("map", "summarizer", "in.csv", "-p", "{a}", "-q")
    assert ended.code == 2
    assert problem in ended.err
