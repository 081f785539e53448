"""The journal of a map: whatever is killed when, no answered row is asked again, and none is lost."""

import json
import os
import resource
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, ChatResponse, Message
from llmring.errors import Attempt, ConfigError, LLMRingError, ServerFault
from llmring.refs import ModelRef
from llmring.router.map.batch_lines import BatchLine
from llmring.router.map.journal import (
    JournalRow,
    is_being_written,
    open_journal,
    open_scratch,
    read_journal,
)
from llmring.router.map.row_key import row_digest
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.testing import Step, answer, status
from llmring.usage import Cost, CostBreakdown, Usage
from tests.router.world import CHAIN, world

MODELS = [ModelRef("openai", "first")]
RESPONSE = ChatResponse(
    content="an answer",
    model=MODELS[0],
    alias="x",
    finish_reason="stop",
    parsed={"a": [1, None, 0.5]},
    usage=Usage(input_tokens=3),
    cost=Cost(status="priced", usd=Decimal("0.0012"), breakdown=CostBreakdown(input=Decimal("0.0012"))),
    attempts=(
        Attempt(model=MODELS[0], outcome="ServerFault: no", error=ServerFault("no"), sent=True),
        Attempt(model=MODELS[0], outcome="answered", sent=True, took_seconds=0.5),
    ),
)


def request(text: str = "hi", **fields: object) -> ChatRequest:
    return ChatRequest(model="x", messages=(Message(role="user", content=text),), **fields)  # type: ignore[arg-type]


def rows_of(path: Path) -> list[JournalRow]:
    return [row for row in read_journal(path) if isinstance(row, JournalRow)]


def test_an_answer_comes_back_as_it_was_but_for_the_errors_on_its_way(tmp_path: Path) -> None:
    with open_journal(tmp_path / "run.jsonl") as journal:
        key = journal.key(request(), MODELS)
        assert journal.answer(key) is None
        journal.settle(key, 0, RESPONSE, None)
        assert journal.answer(key) is not None
    with open_journal(tmp_path / "run.jsonl") as journal:
        kept = journal.answer(journal.key(request(), MODELS))
    assert kept is not None
    assert (kept.content, kept.parsed, kept.usage, kept.cost) == (
        RESPONSE.content,
        RESPONSE.parsed,
        RESPONSE.usage,
        RESPONSE.cost,
    )
    assert [(attempt.outcome, attempt.error) for attempt in kept.attempts] == [
        ("ServerFault: no", None),
        ("answered", None),
    ]


def test_a_failure_is_kept_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        key = journal.key(request(), MODELS)
        journal.settle(key, 0, None, ServerFault("down"))
    with open_journal(path) as journal:
        assert journal.answer(journal.key(request(), MODELS)) is None
        assert journal.answered == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"llmring_journal": 2},
        {"key": key, "row": 0, "error": {"type": "ServerFault", "message": "ServerFault: down"}},
    ]


def test_equal_rows_have_keys_of_their_own_in_the_order_they_come(tmp_path: Path) -> None:
    with open_journal(tmp_path / "run.jsonl") as journal:
        first, second, other = (journal.key(request(text), MODELS) for text in ("a", "a", "b"))
    assert second == f"{first}-1"
    assert "-" not in other


def test_a_key_is_what_is_asked_and_of_whom_and_not_for_how_long() -> None:
    same = row_digest(request(timeout=5.0), MODELS)
    assert same == row_digest(request(), MODELS)
    different = [
        row_digest(request("ho"), MODELS),
        row_digest(request(temperature=0.0), MODELS),
        row_digest(request(extra_params={"a": 1}), MODELS),
        row_digest(request(), [*MODELS, ModelRef("a", "b")]),
    ]
    assert len({same, *different}) == 5
    orders = [row_digest(request(metadata=pairs), MODELS) for pairs in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})]
    assert orders[0] == orders[1]


@given(st.data())
def test_a_journal_cut_anywhere_is_whole_up_to_its_last_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "run.jsonl"
    with open_journal(path) as journal:
        keys = [journal.key(request(str(number)), MODELS) for number in range(5)]
        for number, key in enumerate(keys):
            journal.settle(key, number, RESPONSE, None)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = max(0, whole[:cut].count(b"\n") - 1)
    assert [row.key for row in rows_of(path)] == keys[:kept]
    assert path.read_bytes() == whole[:cut]
    with open_journal(path) as journal:
        assert journal.answered == kept
        again = [journal.key(request(str(number)), MODELS) for number in range(5)]
        assert [journal.answer(key) is not None for key in again] == [n < kept for n in range(5)]
        for number in range(kept, 5):
            journal.settle(again[number], number, RESPONSE, None)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("hello", "is not a journal of llmring: it was not touched"),
        ('{"a": 1}\n', "is not a journal of llmring: it was not touched"),
        ('{"llmring_journal": 3}\n', "is a journal of version 3; this llmring writes 2"),
        ('{"llmring_journal":1}\nnonsense\n{"key":"a","row":1}\n', "line 2: not a line of a journal"),
    ],
)
def test_what_is_no_journal_is_not_touched(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught, open_journal(path):
        pass
    assert problem in str(caught.value)
    assert path.read_text() == content
    with pytest.raises(ConfigError) as read:
        list(read_journal(path))
    assert str(read.value) == str(caught.value)


def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        key = journal.key(request(), MODELS)
        journal.settle(key, 0, None, ServerFault("down"))
        assert list(read_journal(path)) == [
            JournalRow(key, error_type="ServerFault", error_message="ServerFault: down"),
        ]
        assert is_being_written(path) is True
        journal.settle(key, 0, RESPONSE, None)
    assert is_being_written(path) is False
    failed, answered = rows_of(path)
    assert failed.response is None
    assert answered.response is not None and answered.response.cost == RESPONSE.cost


def test_asking_whether_a_journal_is_being_written_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.touch()
    assert is_being_written(path) is False
    with open_journal(path):
        pass


def test_an_answer_of_another_llmring_is_a_row_without_one(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        journal.settle("k", 0, RESPONSE, None)
    path.write_text(path.read_text().replace('"finish_reason":"stop"', '"finish_reason":"stopped by another llmring"'))
    assert list(read_journal(path)) == [JournalRow("k")]


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot open the journal"):
        list(read_journal(tmp_path / name))


def test_a_line_in_the_place_of_a_torn_one_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        keys = [journal.key(request(text), MODELS) for text in ("a", "b")]
        for number, key in enumerate(keys):
            journal.settle(key, number, RESPONSE, None)
    path.write_bytes(path.read_bytes()[:-9])
    with open_journal(path) as journal:
        assert [journal.answer(key) is not None for key in keys] == [True, False]
        journal.settle(keys[1], 1, msgspec.structs.replace(RESPONSE, content="anew"), None)
        kept = journal.answer(keys[1])
    assert kept is not None and kept.content == "anew"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts reads")
def test_answers_are_read_many_at_a_time(tmp_path: Path) -> None:
    def reads() -> int:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["syscr"])

    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        keys = [journal.key(request(str(number)), MODELS) for number in range(200)]
        for number, key in enumerate(keys):
            journal.settle(key, number, RESPONSE, None)
    with open_journal(path) as journal:
        before = reads()
        assert all(journal.answer(key) is not None for key in keys)
        assert reads() - before < 20


BEGUN = BatchLine(tag="run-1", model="openai:first", format="openai-chat", at=datetime.now(UTC), keys=("k", "l"))


def test_a_batch_is_open_until_its_end_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = [BEGUN, BatchLine(tag="run-1", id="batch_1"), BatchLine(tag="run-1", end="ended")]
    states: list[list[str | None]] = []
    for line in lines:
        with open_journal(path) as journal:
            journal.note_batch(line)
        with open_journal(path) as journal:
            states.append([batch.id for batch in journal.batches.values()])
    assert states == [[None], ["batch_1"], []]
    assert list(read_journal(path)) == lines


def test_rows_and_batches_stand_beside_one_another(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with open_journal(path) as journal:
        journal.note_batch(BEGUN)
        journal.settle("k", 0, RESPONSE, None)
    with open_journal(path) as journal:
        (batch,) = journal.batches.values()
        assert (batch.ref, batch.keys, batch.opening()) == (MODELS[0], ("k", "l"), BEGUN)
        assert [journal.answer(key) is not None for key in batch.keys] == [True, False]


@pytest.mark.parametrize("line", ["{}", '{"batch": {"tag": "t"}}', '{"batch": {"tag": "t", "end": "later"}}'])
def test_a_line_that_is_neither_a_row_nor_a_batch_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(f'{{"llmring_journal":1}}\n{line}\n')
    with pytest.raises(ConfigError, match="line 2: not a line of a journal") as caught, open_journal(path):
        pass
    with pytest.raises(ConfigError, match="line 2: not a line of a journal"):
        list(read_journal(path))
    assert path.name in str(caught.value)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    refused = pytest.raises(ConfigError, match="is being written by another run")
    with open_journal(path), refused, open_journal(path):
        pass
    with open_journal(path):
        pass
    with pytest.raises(ConfigError, match="cannot open the journal"), open_journal(tmp_path):
        pass


# A router's maps.


async def mapped(path: Path, rows: Sequence[str], *steps: Step, text: str = CHAIN) -> tuple[list[Row], int]:
    """The rows in order, and how many requests were sent."""
    async with world({"first": steps or [answer("ok")], "second": [status(500)]}, text) as (router, provider):
        run = router.map("alone", rows, checkpoint=path, ordered=True)
        finished = await run.to_list()
    assert run.report.rows == len(finished)
    return finished, len(provider.calls)


async def test_a_second_run_asks_only_what_was_not_answered(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first, sent = await mapped(path, ["a", "b", "a"])
    assert (len(first), sent) == (3, 3)
    again, sent = await mapped(path, ["new", "a", "b", "a", "a"], answer("other"))
    assert sent == 2
    assert [row.resumed for row in again] == [False, True, True, True, False]
    assert [row.response.content for row in again if row.response is not None] == ["other", "ok", "ok", "ok", "other"]


async def test_another_setting_or_another_model_is_another_row(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await mapped(path, ["a"])
    warm = CHAIN.replace('alias = "alone"\n', 'alias = "alone"\nconstraints = { temperature = 1.5 }\n')
    _, sent = await mapped(path, ["a"], text=warm)
    assert sent == 1


async def test_rows_that_failed_are_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    refused = status(400, error={"message": "no", "type": "invalid_request_error"})
    failed, _ = await mapped(path, ["a", "b"], refused)
    assert [row.ok for row in failed] == [False, False]
    answered, sent = await mapped(path, ["a", "b"])
    assert ([row.ok for row in answered], sent) == ([True, True], 2)


async def test_what_was_paid_for_is_kept_when_the_reader_leaves(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    async with world({"first": [answer("ok")]}) as (router, provider):
        run = router.map("alone", [str(n) for n in range(40)], checkpoint=path, window=8)
        async with run:
            await anext(run)
    sent = len(provider.calls)
    rest, more = await mapped(path, [str(n) for n in range(40)])
    assert sum(row.resumed for row in rest) + more == 40
    assert sent + more <= 40 + 8


async def test_a_journal_that_cannot_be_opened_stops_the_run_before_anything_is_sent(tmp_path: Path) -> None:
    async with world({"first": [answer("ok")]}) as (router, provider):
        with pytest.raises(ConfigError, match="cannot open the journal"):
            async with router.map("alone", ["a"], checkpoint=tmp_path):
                pass
    assert provider.calls == []


async def test_a_cancelled_run_leaves_a_journal_that_can_be_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    async with world({"first": [answer("ok"), answer("slow", after=3600.0)]}) as (router, _):
        with trio.move_on_after(0.3):
            async with router.map("alone", ["a", "b"], checkpoint=path) as run:
                async for _row in run:
                    pass
    rest, sent = await mapped(path, ["a", "b"])
    assert sent + sum(row.resumed for row in rest) == 2
    assert sent >= 1


async def test_an_answer_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    await mapped(path, ["a"])
    path.write_text(path.read_text().replace('"finish_reason":"stop"', '"finish_reason":"stopped by another llmring"'))
    rows, sent = await mapped(path, ["a"])
    assert (rows[0].resumed, sent) == (False, 1)


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """Files cannot grow beyond `size` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def collect(run: MapRun, rows: list[Row]) -> None:
    async for row in run:
        rows.append(row)  # noqa: PERF401 - kept when it raises


async def test_a_journal_that_cannot_be_written_stops_the_run_and_loses_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rows: list[Row] = []
    async with world({"first": [answer("ok", after=0.1)]}) as (router, provider):
        with full_disk(2**16):
            async with router.map("alone", [str(n) for n in range(1000)], checkpoint=path, window=4) as run:
                with pytest.raises(LLMRingError, match=f"cannot write {path}: File too large"):
                    await collect(run, rows)
    assert 0 < len(provider.calls) == len(rows) < 1000
    assert path.read_bytes().endswith(b"}\n")
    rest, sent = await mapped(path, [str(n) for n in range(1000)])
    assert all(row.ok for row in rest)
    assert sent + sum(row.resumed for row in rest) == 1000


def test_a_journal_is_a_regular_file() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: it is no regular file"), open_journal(Path("/dev/zero")):
        pass


@pytest.mark.skipif(os.name != "posix", reason="an open file keeps its name there")
def test_a_scratch_journal_has_no_name_that_a_kill_could_leave_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_scratch() as journal:
        journal.settle("k", 0, RESPONSE, None)
        assert journal.answer("k") is not None
        assert list(tmp_path.iterdir()) == []
