"""What a map reads: CSV beside JSONL, and prompts with columns in them."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.cli.cells import plain
from llmring.cli.misspelt import MOST_NAMES, Misspelt
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


def test_a_csv_file_may_set_every_option(terminal: Terminal) -> None:
    columns = {
        "max_tokens": "3",
        "temperature": " 0.5 ",
        "seed": "7",
        "stop": "[END]",
        "show_reasoning": "FALSE",
        "cache": "TRUE",
        "response_format": "text",
        "metadata": '{"a": "b"}',
        "tools": '[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]',
        "tool_choice": "none",
        "reasoning_effort": "",
        "top_k": " ",
        "messages": '[{"role": "user", "content": "hello"}]',
    }
    with (terminal.directory / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerow(columns)
        writer.writerow({**columns, "max_tokens": "many"})
        writer.writerow({**columns, "messages": "hello"})
    first, second, third = terminal.run("map", "summarizer", "in.csv", "--ordered", "-q").lines()
    assert first["content"] == "echo: hello "
    assert second["error"]["message"] == "row 2: Expected `int | null`, got `str` - at `$.max_tokens`"
    assert third["error"]["message"].startswith("row 3: column 'messages' takes JSON: ")


def test_a_cell_is_text_unless_it_is_what_its_option_takes() -> None:
    cells = {
        "stop": '["a", "b"]',
        "cache": "1h",
        "tool_choice": '{"function": {"name": "f"}}',
        "prompt": " ",
        "id": "7",
    }
    meant = {"stop": ["a", "b"], "tool_choice": {"function": {"name": "f"}}}
    assert plain(cells) == {**cells, **meant}
    assert plain({"stop": "[1", "cache": "true", "max_tokens": "", "id": "", "n": 5}) == {
        "stop": "[1",
        "cache": True,
        "id": "",
        "n": 5,
    }


def test_a_name_that_is_nearly_an_options_is_told_once(terminal: Terminal) -> None:
    rows = '{"prompt": "ok", "max_token": 5, "temprature": 0, "title": "x", "id": 1}\n' * 3
    (terminal.directory / "in.jsonl").write_text(rows)
    ended = terminal.run("map", "summarizer", "in.jsonl", "-q")
    assert ended.code == 0
    assert sorted(ended.err.splitlines()) == [
        "line 1: 'max_token' is not read: did you mean 'max_tokens'?",
        "line 1: 'temprature' is not read: did you mean 'temperature'?",
    ]
    (terminal.directory / "in.csv").write_text("prompt,Max Tokens,language\nok,5,en\n")
    told = "the columns of INPUT: 'Max Tokens' is not read: did you mean 'max_tokens'?\n"
    assert terminal.run("map", "summarizer", "in.csv", "-q").err == told
    assert terminal.run("map", "summarizer", "in.csv", "-q", "--key", "Max Tokens").err == ""
    assert terminal.run("map", "summarizer", "in.csv", "-q", "-p", "{prompt}").err == ""


def test_names_are_told_up_to_a_bound() -> None:
    said: list[str] = []
    misspelt = Misspelt(["max_tokens"], said.append)
    misspelt.look(map(str, range(MOST_NAMES)), "line 1")
    misspelt.look(["max_token"], "line 2")
    assert said == []


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
        ('a\n"open\n', "in.csv: not CSV: unexpected end of data, in the record that begins in line 2"),
        ('a\n1\n"two\nlines"\n"open\n1\n2\n', "unexpected end of data, in the record that begins in line 5"),
        ('"a', "unexpected end of data, in the record that begins in line 1"),
        (b"a\n1\n\xe9\n", "in.csv, line 3: not UTF-8: save the file in that encoding"),
        (b"a\xe9\n", "in.csv, line 1: not UTF-8"),
        (b"\xef\xbb\xbfa\n1\n2\xc3", "in.csv, line 3: not UTF-8"),
        ("b;c\n1;2\n", "in.csv has no column 'a'; it has 'b;c'"),
    ],
)
def test_a_csv_file_that_is_none_is_named(terminal: Terminal, content: str | bytes, problem: str) -> None:
    (terminal.directory / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = terminal.run("map", "summarizer", "in.csv", "-p", "{a}", "-q")
    assert ended.code == 2
    assert problem in ended.err
