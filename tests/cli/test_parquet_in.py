"""What a map reads of Parquet: the same objects as of CSV, with values that have types."""

import struct
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.cli.arrow_values import speller
from llmring.cli.lines import open_lines
from llmring.cli.records import Columns, Unreadable
from llmring.errors import ConfigError
from tests.cli.terminal import Terminal

ALL = frozenset({"id", "a", "b", "c"})


def write(path: Path, *columns: tuple[str, Any], **options: Any) -> Path:
    """A file with these columns; a list stands for an array whose type is plain."""
    arrays = [pyarrow.array(values) if isinstance(values, list) else values for _, values in columns]
    table = pyarrow.Table.from_arrays(arrays, names=[name for name, _ in columns])
    pyarrow.parquet.write_table(table, path, **options)
    return path


async def read(path: Path, columns: frozenset[str] = ALL) -> list[Any]:
    """What every row is, as JSON or Unreadable."""
    rows: list[Any] = []
    with open_lines(path, Columns(read=columns, needed=())) as lines:
        while line := await lines.next_line():
            rows.append(line if isinstance(line, Unreadable) else msgspec.json.decode(line))
        assert lines.total == len(rows)
    return rows


def test_a_parquet_file_is_mapped_by_its_columns(terminal: Terminal) -> None:
    path = terminal.directory / "in.parquet"
    write(path, ("id", [7, 8, 9]), ("text", ['an "end"\nand more', "second", None]), ("stars", [4.5, None, 1.0]))
    ended = terminal.run("map", "summarizer", "in.parquet", "-p", "Say: {text}", "--ordered", "--quiet")
    rows = ended.lines()
    assert [(row["row"], row["id"]) for row in rows] == [(1, 7), (2, 8), (3, 9)]
    assert rows[0]["content"].startswith('echo: Say: an "end" and more')
    assert rows[1]["content"].startswith("echo: Say: second")
    assert rows[2]["error"]["message"] == "row 3: the row has no 'text'; it has 'id'"
    assert ended.code == 1


def test_a_parquet_file_may_bring_its_messages_and_options(terminal: Terminal) -> None:
    messages = [[{"role": "user", "content": "hello", "tool_call_id": None}], [{"role": "user", "content": "ho"}]]
    write(
        terminal.directory / "IN.PARQUET", ("messages", messages), ("max_tokens", [2, None]), ("more", [b"\xff", b""])
    )
    rows = terminal.run("map", "summarizer", "IN.PARQUET", "--ordered", "-q").lines()
    assert rows[0]["content"] == "echo: he"
    assert rows[1]["content"].startswith("echo: ho")


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        (pyarrow.array([True, None]), True),
        (pyarrow.array([2**64 - 1], pyarrow.uint64()), 2**64 - 1),
        (pyarrow.array([0.1], pyarrow.float32()), 0.1),
        (pyarrow.array([0.1], pyarrow.float16()), 0.1),
        (pyarrow.array([Decimal("1.10")]), "1.10"),
        (pyarrow.array([Decimal(0)], pyarrow.decimal128(20, 9)), "0.000000000"),
        (pyarrow.array([date(2024, 2, 29)]), "2024-02-29"),
        (pyarrow.array([time(1, 2, 3)]), "01:02:03"),
        (pyarrow.array([datetime(2024, 2, 29, 1, 2, 3)]), "2024-02-29T01:02:03"),  # noqa: DTZ001 - without a zone
        (pyarrow.array([1_000_001_999], pyarrow.timestamp("ns", "UTC")), "1970-01-01T00:00:01.000001Z"),
        (
            pyarrow.array(
                [datetime(2024, 7, 1, tzinfo=timezone(timedelta(hours=2)))], pyarrow.timestamp("s", "+02:00")
            ),
            "2024-07-01T00:00:00+02:00",
        ),
        (pyarrow.array([timedelta(hours=1, seconds=1)]), "PT3601S"),
        (pyarrow.array(["x", "y"]).dictionary_encode(), "x"),
        (pyarrow.array([[1, None]]), [1, None]),
        (pyarrow.array([{"x": "y", "z": None}, {"x": None, "z": [{"t": 1}]}]), {"x": "y"}),
        (pyarrow.array([[("x", 1), ("y", None)]], pyarrow.map_(pyarrow.string(), pyarrow.int8())), {"x": 1}),
        (pyarrow.array([[1]], pyarrow.list_(pyarrow.timestamp("ns"))), ["1970-01-01T00:00:00"]),
        (
            pyarrow.ExtensionArray.from_storage(pyarrow.uuid(), pyarrow.array([b"x" * 16], pyarrow.binary(16))),
            str(UUID(bytes=b"x" * 16)),
        ),
    ],
)
async def test_every_type_has_one_spelling(tmp_path: Path, values: Any, spelled: Any) -> None:
    rows = await read(write(tmp_path / "in.parquet", ("a", values)))
    assert rows[0] == {"a": spelled}


async def test_what_is_null_or_no_number_of_json_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ("a", [float("nan"), 1.0, float("inf")]), ("b", [None, "", "x"]))
    assert await read(path) == [{}, {"a": 1.0, "b": ""}, {"b": "x"}]


async def test_a_value_beyond_what_can_be_spelled_spoils_its_row_alone(tmp_path: Path) -> None:
    days = pyarrow.array([1, 10**7, None], pyarrow.date32())
    path = write(tmp_path / "in.parquet", ("id", ["x", "y", "z"]), ("a", days))
    first, second, third = await read(path)
    assert (first, third) == ({"id": "x", "a": "1970-01-02"}, {"id": "z"})
    assert second == Unreadable("column 'a' cannot be spelled in JSON: date value out of range", "y")


def test_an_unreadable_row_keeps_its_id(terminal: Terminal) -> None:
    days = pyarrow.array([10**7], pyarrow.date32())
    write(terminal.directory / "in.parquet", ("id", ["mine"]), ("day", days))
    (row,) = terminal.run("map", "summarizer", "in.parquet", "-p", "{day}", "-q").lines()
    assert row["id"] == "mine"
    assert row["error"]["message"].startswith("row 1: column 'day' cannot be spelled")


@given(st.lists(st.fixed_dictionaries({"a": st.none() | st.text(), "b": st.none() | st.lists(st.integers(-9, 9))})))
async def test_rows_come_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "in.parquet"
    schema = pyarrow.schema([("a", pyarrow.string()), ("b", pyarrow.list_(pyarrow.int64()))])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path, row_group_size=2)
    assert await read(path) == [{name: one for name, one in row.items() if one is not None} for row in rows]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_short_number_is_the_number_that_was_stored(value: float) -> None:
    spelled = speller(pyarrow, pyarrow.float32())(value)
    assert struct.pack("<f", spelled) == struct.pack("<f", value)
    assert len(repr(spelled)) <= len(repr(value))


@pytest.mark.parametrize("length", [2_000, 200_000])
async def test_a_row_group_larger_than_memory_is_read_in_pieces(tmp_path: Path, length: int) -> None:
    path = tmp_path / "in.parquet"
    texts = [f"{number:08}" * length for number in range(8_000_000 // length)]
    paged = {"compression": "none", "use_dictionary": False, "write_batch_size": 1}
    write(path, ("a", texts), row_group_size=len(texts), **paged)
    assert path.stat().st_size > 60_000_000
    before = pyarrow.total_allocated_bytes()
    most = 0
    with open_lines(path, Columns(read=ALL, needed=())) as lines:
        while await lines.next_line():
            most = max(most, pyarrow.total_allocated_bytes() - before)
    assert most < 25_000_000


@pytest.mark.parametrize(
    ("columns", "arguments", "problem"),
    [
        ([("text", ["x"])], [], "in.parquet has no column 'prompt' or 'messages'; it has 'text'"),
        ([("text", ["x"])], ["-p", "{txt}"], "in.parquet has no column 'txt'; it has 'text'"),
        ([("text", ["x"]), ("text", ["y"])], ["-p", "{text}"], "two columns are called 'text'"),
        ([("text", [b"x"])], ["-p", "{text}"], "column 'text' holds binary, which has no spelling in JSON"),
        ([("text", [[{"deep": b"x"}]])], ["-p", "{text}"], "column 'text' holds binary"),
    ],
)
def test_columns_that_make_no_rows_end_with_2_before_anything_is_sent(
    terminal: Terminal, columns: list[tuple[str, Any]], arguments: list[str], problem: str
) -> None:
    write(terminal.directory / "in.parquet", *columns)
    ended = terminal.run("map", "summarizer", "in.parquet", "-q", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


@pytest.mark.parametrize("content", [b"", b"no Parquet at all"])
async def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match=r"in\.parquet: not Parquet: "):
        await read(tmp_path / "in.parquet")


async def test_a_file_that_is_damaged_further_on_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ("a", [f"{number}" * 50 for number in range(20_000)]))
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + b"\xff" * 3000 + whole[middle + 3000 :])
    with pytest.raises(ConfigError, match=r"in\.parquet: not Parquet: "):
        await read(path)


@pytest.mark.parametrize(
    "arguments", [["in.parquet", "-p", "{text}"], ["in.jsonl", "-o", "out.parquet"]], ids=["input", "output"]
)
def test_without_pyarrow_the_extra_is_named(terminal: Terminal, tmp_path: Path, arguments: list[str]) -> None:
    write(terminal.directory / "in.parquet", ("text", ["x"]))
    (terminal.directory / "in.jsonl").write_text('"one"\n')
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "pyarrow.py").write_text("raise ModuleNotFoundError('no module named pyarrow', name='pyarrow')\n")
    terminal.variables["PYTHONPATH"] = f"{blocked}:{Path(__file__).parents[2]}"
    ended = terminal.run("map", "summarizer", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "parquet needs pyarrow: pip install 'llmring[parquet]'" in ended.err
    assert not list(terminal.directory.glob("out*"))
