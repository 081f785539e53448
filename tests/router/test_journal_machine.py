"""A journal under any interleaving of settling, failing and being killed: the file may be cut at any byte, and the same
answers are there as were whole in it."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmring.errors import ConfigError, ServerFault
from llmring.router.map.journal import Journal, JournalRow, is_being_written, open_journal, read_journal
from llmring.router.map.row_key import row_digest
from llmring.router.map.rows import Row
from llmring.testing import answer, status
from tests.router.test_journal import MODELS, RESPONSE, request
from tests.router.world import world

HEAD = b'{"llmring_journal":2}\n'

texts = st.sampled_from(["a", "b", "c"])
places = st.integers(0, 1000)


class Killed(RuleBasedStateMachine):
    """One file, and run after run that writes it. `lines` is what is whole in it: a key, and the answer's text or None
    for a failure."""

    @initialize()
    def begin(self) -> None:
        self.folder = ExitStack()
        self.path = Path(self.folder.enter_context(tempfile.TemporaryDirectory())) / "run.jsonl"
        self.run = ExitStack()
        self.journal: Journal | None = None
        self.lines: list[tuple[str, str | None]] = []
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.settled = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.run.close()
            self.folder.close()

    @property
    def open_one(self) -> Journal:
        assert self.journal is not None, "it is open"
        return self.journal

    @precondition(lambda self: self.journal is None)
    @rule()
    def start(self) -> None:
        """The whole lines stand as they stood, and nothing else."""
        before = self.path.read_bytes() if self.path.exists() else b""
        self.journal = self.run.enter_context(open_journal(self.path))
        whole = before[: before.rfind(b"\n") + 1]
        assert self.path.read_bytes() == (whole or HEAD)
        self.asked, self.keys = [], []

    @precondition(lambda self: self.journal is not None)
    @rule(text=texts)
    def ask(self, text: str) -> None:
        """Keys depend on the rows alone, and on nothing that happened to the file."""
        key = self.open_one.key(request(text), MODELS)
        number = self.asked.count(text)
        digest = row_digest(request(text), MODELS)
        assert key == (f"{digest}-{number}" if number else digest)
        self.asked.append(text)
        self.keys.append(key)

    @precondition(lambda self: self.journal is not None and self.keys)
    @rule(place=places, text=st.sampled_from(["yes", "", "two\nlines", "ünï\u2028cödé \x00"]))
    def answer(self, place: int, text: str) -> None:
        key = self.keys[place % len(self.keys)]
        text = f"{text} {self.settled}"
        self.open_one.settle(key, self.settled, msgspec.structs.replace(RESPONSE, content=text), None)
        self.lines.append((key, text))
        self.settled += 1

    @precondition(lambda self: self.journal is not None and self.keys)
    @rule(place=places)
    def fail(self, place: int) -> None:
        key = self.keys[place % len(self.keys)]
        self.open_one.settle(key, self.settled, None, ServerFault("down"))
        self.lines.append((key, None))
        self.settled += 1

    @precondition(lambda self: self.journal is not None)
    @rule()
    def sync(self) -> None:
        self.open_one.sync()

    @precondition(lambda self: self.journal is not None)
    @rule()
    def start_another(self) -> None:
        """Only one run at a time, and the second changes nothing."""
        before = self.path.read_bytes()
        with pytest.raises(ConfigError, match="is being written by another run"), open_journal(self.path):
            pass
        assert self.path.read_bytes() == before

    @precondition(lambda self: self.journal is not None)
    @rule(
        cut=st.one_of(st.integers(0, 3), st.integers(0, 1500), st.just(10**9)),
        from_end=st.booleans(),
        zeros=st.sampled_from([0, 0, 7]),
    )
    def kill(self, cut: int, from_end: bool, zeros: int) -> None:
        """At any byte; a file system that lost power may leave zeros behind what it had written."""
        self.run.close()
        self.journal = None
        whole = self.path.read_bytes()
        left = whole[: max(0, len(whole) - cut) if from_end else cut]
        if left.startswith(HEAD):
            left += bytes(zeros)
        self.path.write_bytes(left)
        self.lines = self.lines[: max(0, left.count(b"\n") - 1)]

    @invariant()
    def what_was_whole_is_there_and_nothing_else(self) -> None:
        if not self.path.exists():
            return
        rows = [row for row in read_journal(self.path) if isinstance(row, JournalRow)]
        assert [(row.key, row.response.content if row.response is not None else None) for row in rows] == self.lines
        assert all((row.error_type == "ServerFault") == (row.response is None) for row in rows)
        assert is_being_written(self.path) is (self.journal is not None)
        if self.journal is not None:
            answers = {key: text for key, text in self.lines if text is not None}
            assert self.journal.answered == len(answers)
            for key in {*self.keys, *answers}:
                kept = self.journal.answer(key)
                assert (kept.content if kept is not None else None) == answers.get(key)


TestKilled = Killed.TestCase
TestKilled.settings = settings(max_examples=60, stateful_step_count=30)


# A router's maps.

ROWS = ["a", "b", "a", "wrong", "c", "d"]
"""One comes twice, one is refused."""


async def mapped(path: Path, name: str) -> tuple[list[Row], int]:
    """The rows in their order, answered with a name and a number, and how many requests were sent."""
    steps = [answer(f"{name} {number}") for number in range(len(ROWS))]
    if name == "first":
        steps[3] = status(400, error={"message": "no", "type": "invalid_request_error"})
    async with (
        world({"first": steps}) as (router, provider),
        router.map("alone", ROWS, checkpoint=path, ordered=True, window=1) as run,
    ):
        rows = [row async for row in run]
    return rows, len(provider.calls)


def told(rows: list[Row]) -> list[tuple[int, object, str | None]]:
    return [(row.index, row.prompt, row.response.content if row.response is not None else None) for row in rows]


async def test_a_map_that_is_cut_at_any_byte_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first, sent = await mapped(path, "first")
    assert (sent, [row.ok for row in first]) == (6, [True, True, True, False, True, True])
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in sorted({*range(0, len(whole) + 1, 37), *(end + step for end in ends for step in (-1, 0) if end > 0)}):
        path.write_bytes(whole[:cut])
        kept = [row.ok and ends[row.index + 1] <= cut for row in first]
        rows, sent = await mapped(path, "second")
        assert sent == kept.count(False), f"cut at {cut}"
        assert [row.resumed for row in rows] == kept
        numbers = iter(range(len(ROWS)))
        assert told(rows) == [
            row if is_kept else (row[0], row[1], f"second {next(numbers)}")
            for row, is_kept in zip(told(first), kept, strict=True)
        ]
        again, sent = await mapped(path, "third")
        assert (told(again), sent) == (told(rows), 0)
