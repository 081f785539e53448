"""What a map writes beside JSON lines: CSV and Parquet, whole or not at all, and nothing that was paid for lost."""

import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.cli.csv_out import write_csv
from llmring.cli.output import FileOutput
from llmring.cli.output_forms import convert_for
from llmring.cli.parquet_out import GROUP_ROWS
from llmring.errors import LLMRingError
from tests.cli.terminal import KEY, Terminal, command, environment

ANSWERED = {
    "content": "an answer",
    "model": "openai:first",
    "finish_reason": "stop",
    "usage": {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
    "cost_usd": "0.0000004",
    "cost_status": "priced",
}
FAILED = {"error": {"type": "ServerFault", "message": "down"}}
COLUMNS = ["row", "content", "model", "finish_reason", "error", "input_tokens", "output_tokens", "cost_usd"]


def part(*rows: dict[str, Any]) -> io.BytesIO:
    """What a map keeps until its output is whole."""
    lines = (msgspec.json.encode({"row": number, **row}) for number, row in enumerate(rows, 1))
    return io.BytesIO(b"".join(line + b"\n" for line in lines))


def as_csv(*rows: dict[str, Any]) -> list[dict[str, str]]:
    written = io.BytesIO()
    write_csv(part(*rows), written)
    return list(csv.DictReader(io.StringIO(written.getvalue().decode(), newline="")))


def as_parquet(*rows: dict[str, Any]) -> Any:
    convert = convert_for(Path("out.parquet"))
    assert convert is not None
    written = io.BytesIO()
    convert(part(*rows), written)
    return pyarrow.parquet.read_table(io.BytesIO(written.getvalue()))


def test_a_csv_table_has_a_line_for_every_row() -> None:
    assert as_csv(ANSWERED, FAILED) == [
        dict(zip(COLUMNS, ["1", "an answer", "openai:first", "stop", "", "12", "3", "0.0000004"], strict=True)),
        dict(zip(COLUMNS, ["2", "", "", "", "ServerFault: down", "", "", ""], strict=True)),
    ]


def test_a_csv_table_is_written_by_the_rfc() -> None:
    written = io.BytesIO()
    write_csv(part({**ANSWERED, "content": 'say "a, b"\r\nc\rd\ne'}), written)
    head, record = written.getvalue().split(b"\r\n", 1)
    assert head == ",".join(COLUMNS).encode()
    assert record == b'1,"say ""a, b""\r\nc\rd\ne",openai:first,stop,,12,3,0.0000004\r\n'


@given(st.text())
def test_what_is_in_a_cell_is_what_was_answered(text: str) -> None:
    (row,) = as_csv({**ANSWERED, "content": text, "id": text})
    assert row["content"] == row["id"] == text


def test_columns_that_only_some_rows_need_are_there_when_one_does() -> None:
    calls = [{"id": "c1", "name": "f", "arguments": "{}"}]
    first, second = as_csv(
        {**ANSWERED, "tool_calls": calls, "parsed": {"a": 12345678901234567890123}, "id": {"k": 1}},
        {**ANSWERED, "reasoning": "hm", "id": "x", "notes": ["n"], "refusal": "no"},
    )
    assert list(first) == ["row", "id", *COLUMNS[1:], "refusal", "reasoning", "parsed", "tool_calls", "notes"]
    assert (json.loads(first["tool_calls"]), first["parsed"]) == (calls, '{"a":12345678901234567890123}')
    assert (first["id"], second["id"]) == ('{"k":1}', "x")
    assert (second["reasoning"], second["refusal"], second["notes"]) == ("hm", "no", '["n"]')


def test_a_parquet_table_has_types() -> None:
    table = as_parquet({**ANSWERED, "id": 7, "parsed": {"a": 1}}, {**FAILED, "id": None})
    integer, text = pyarrow.int64(), pyarrow.string()
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == {
        "row": integer,
        "id": integer,
        "content": text,
        "model": text,
        "finish_reason": text,
        "error": text,
        "input_tokens": integer,
        "output_tokens": integer,
        "cost_usd": pyarrow.decimal128(38, 18),
        "parsed": text,
    }
    first, second = table.to_pylist()
    assert first["cost_usd"] == Decimal("0.0000004")
    assert (first["content"], first["id"], first["input_tokens"], first["parsed"]) == ("an answer", 7, 12, '{"a":1}')
    assert (second["content"], second["id"], second["error"]) == (None, None, "ServerFault: down")


@pytest.mark.parametrize(("ids", "kept"), [([1, "a", None], ["1", "a", None]), ([True, 2**70], ["true", str(2**70)])])
def test_ids_that_are_not_all_integers_are_texts(ids: list[Any], kept: list[str | None]) -> None:
    rows: list[dict[str, Any]] = [json.loads(json.dumps({**ANSWERED, "id": one})) for one in ids]
    lines = b"".join(json.dumps({"row": 1, **row}).encode() + b"\n" for row in rows)
    convert = convert_for(Path("out.parquet"))
    assert convert is not None
    written = io.BytesIO()
    convert(io.BytesIO(lines), written)
    assert pyarrow.parquet.read_table(io.BytesIO(written.getvalue())).column("id").to_pylist() == kept


def test_a_table_without_rows_is_a_table() -> None:
    assert as_csv() == []
    assert as_parquet().column_names == COLUMNS


def test_a_large_table_is_written_in_groups(tmp_path: Path) -> None:
    written = io.BytesIO()
    convert = convert_for(Path("out.parquet"))
    assert convert is not None
    convert(part(*[ANSWERED] * (2 * GROUP_ROWS + 1)), written)
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(written.getvalue())).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [
        GROUP_ROWS,
        GROUP_ROWS,
        1,
    ]


# The command.


@pytest.mark.parametrize("name", ["out.csv", "OUT.CSV", "out.parquet"])
def test_a_map_writes_the_table_that_its_output_is_named_for(terminal: Terminal, name: str) -> None:
    rows = [{"prompt": "one", "id": "a"}, {"neither": 1, "id": "b"}, {"prompt": "two\nlines", "id": "c"}]
    (terminal.directory / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = terminal.run("map", "summarizer", "in.jsonl", "--ordered", "-q", "-o", name)
    assert (ended.code, ended.out, ended.err) == (1, "", "")
    path = terminal.directory / name
    if name == "out.parquet":
        table = pyarrow.parquet.read_table(path).to_pylist()
    else:
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == ["a", "b", "c"]
    assert table[0]["content"].startswith("echo: one")
    assert table[1]["error"].startswith("InvalidRequest: line 2: ")
    assert float(table[2]["cost_usd"]) > 0
    assert sorted(one.name for one in terminal.directory.iterdir()) == sorted(["in.jsonl", "llmring.lock", name])


def test_what_one_map_writes_another_one_reads(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('{"prompt": "one", "id": 1}\n{"prompt": "two", "id": 2}\n')
    for source, target in (("in.jsonl", "a.parquet"), ("a.parquet", "b.csv"), ("b.csv", "c.jsonl")):
        prompt = [] if source == "in.jsonl" else ["-p", "{content}"]
        assert terminal.run("map", "summarizer", source, "--ordered", "-q", "-o", target, *prompt).code == 0
    lines = [json.loads(line) for line in (terminal.directory / "c.jsonl").read_text().splitlines()]
    assert [(line["id"], line["content"][:21]) for line in lines] == [
        ("1", "echo: echo: echo: one"),
        ("2", "echo: echo: echo: two"),
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_map_that_is_stopped_keeps_json_lines(terminal: Terminal, name: str) -> None:
    process = subprocess.Popen(
        command("map", "summarizer", "-", "-o", name, "-q"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=terminal.directory,
        env=environment({"SIM_KEY": KEY}),
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(b'"one"\n')
    process.stdin.flush()
    kept = terminal.directory / f"{name}.part"
    while process.poll() is None and not (kept.exists() and kept.read_bytes().endswith(b"\n")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert f"1 rows that were finished are in {name}.part, as JSON lines" in said
    assert json.loads(kept.read_text())["content"].startswith("echo: one")
    assert not (terminal.directory / name).exists()


def test_a_killed_run_is_taken_up_and_becomes_a_table(terminal: Terminal) -> None:
    """The `.part` of a run with a journal is made anew from that."""
    (terminal.directory / "in.jsonl").write_text('"one"\n"two"\n')
    (terminal.directory / "out.csv.part").write_text('{"row": 1, "content": "half')
    ended = terminal.run("map", "summarizer", "in.jsonl", "--checkpoint", "run.jsonl", "-o", "out.csv", "-q")
    assert (ended.code, ended.err) == (0, "")
    assert len((terminal.directory / "out.csv").read_text().splitlines()) == 3
    assert not (terminal.directory / "out.csv.part").exists()


def test_a_table_that_cannot_be_written_leaves_the_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious\n")
    line = part({**ANSWERED, "content": "x" * 10_000}).getvalue()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def convert(lines: Any, table: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
        write_csv(lines, table)

    try:
        cannot = pytest.raises(
            LLMRingError, match=r"cannot finish .*out\.csv: File too large; all 1 rows are in .*\.part"
        )
        with cannot, FileOutput(path, force=True, convert=convert) as output:
            output.write(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "precious\n"
    assert (tmp_path / "out.csv.part").read_bytes() == line
    assert not (tmp_path / "out.csv.part.new").exists()


def test_ctrl_c_while_the_table_is_made_says_where_the_rows_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def convert(lines: Any, table: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), FileOutput(tmp_path / "out.csv", force=False, convert=convert) as output:
        output.write(part(ANSWERED).getvalue())
    assert "1 rows that were finished are in" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv.part"]


DYING = """
import os, signal, sys
from pathlib import Path
from llmring.cli.output import FileOutput

def convert(lines, table):
    table.write(b"row,cont")
    table.flush()
    os.kill(os.getpid(), signal.SIGKILL)

with FileOutput(Path("out.csv"), force=True, convert=convert) as output:
    output.write(b'{"row":1,"error":{}}\\n')
"""


def test_a_kill_while_the_table_is_made_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious\n")
    died = subprocess.run([sys.executable, "-c", DYING], cwd=tmp_path, env=environment({}), check=False)
    assert died.returncode == -signal.SIGKILL
    assert path.read_text() == "precious\n"
    assert (tmp_path / "out.csv.part").read_bytes() == b'{"row":1,"error":{}}\n'
    # What the kill has left is in nobody's way.
    assert (tmp_path / "out.csv.part.new").exists()
    with FileOutput(path, force=True, journal=tmp_path / "run.jsonl", convert=write_csv) as output:
        output.write(part(ANSWERED).getvalue())
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    assert len(path.read_text().splitlines()) == 2


def test_a_table_goes_to_a_regular_file(terminal: Terminal) -> None:
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    os.mkfifo(terminal.directory / "pipe.csv")
    ended = terminal.run("map", "summarizer", "in.jsonl", "-o", "pipe.csv", "--force")
    assert ended.code == 2
    assert "pipe.csv is no regular file" in ended.err
