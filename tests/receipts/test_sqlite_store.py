"""The ledger as a file: full and locked disks, other files, edits."""

import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from llmring.errors import ConfigError, ReceiptError
from llmring.receipts import writer as writer_module
from llmring.receipts.keys import read_key
from llmring.receipts.ledger import open_ledger
from llmring.receipts.receipt import Gap, Receipt
from llmring.receipts.sqlite_store import SqliteStore, open_store
from llmring.receipts.writer import Writer
from tests.receipts.attempts import NOON, attempted, writer_at, written
from tests.receipts.ledgers import entries, file_place, judged, receipts

DATABASE = "ledger.db"


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    written(file_place(tmp_path / "new"), attempted())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) >= {DATABASE, "signing.key"}


def test_many_make_a_ledger_in_the_same_moment(tmp_path: Path) -> None:
    for round_ in range(20):
        path, together = tmp_path / f"{round_}.db", threading.Barrier(6)

        def make(path: Path = path, together: threading.Barrier = together) -> int:
            together.wait()
            with closing(open_store(path)) as store:
                return store.head().size

        with ThreadPoolExecutor(6) as pool:
            assert [made.result() for made in [pool.submit(make) for _ in range(6)]] == [0] * 6


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    with closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_that_is_removed_while_it_is_written_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    place = file_place(tmp_path)
    writer = written(place, attempted(1))
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    if replaced:
        written(place, attempted(2)).close()
    writer.take([attempted(3)])
    assert writer.flush()
    writer.close()
    assert [one.attempt for one in receipts(place)] == ([2, 3] if replaced else [3])
    assert judged(place).findings == ()
    assert "was removed or replaced while it was open: receipts go on in a new one" in caplog.text


def test_a_locked_ledger_keeps_receipts_until_it_is_free(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = written(file_place(tmp_path), attempted(1))
    writer.take([attempted(2)])
    with locked(tmp_path):
        assert not writer.flush()
        assert not writer.flush()
        writer.take([attempted(3)])
    assert writer.waiting == 2
    assert writer.flush()
    assert [receipt.attempt for receipt in receipts(file_place(tmp_path))] == [1, 2, 3]
    assert judged(file_place(tmp_path)).findings == ()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["receipts cannot be written, and are kept until they can", "receipts are written again"]
    assert "database is locked" in caplog.text


def test_a_full_disk_leaves_a_gap_that_says_how_many_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_KEPT", 5)
    written(file_place(tmp_path), attempted(1)).close()
    opened: list[SqliteStore] = []

    def full() -> SqliteStore:
        store = open_store(tmp_path / DATABASE)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        opened.append(store)
        return store

    writer = Writer(full, lambda _: read_key(tmp_path / "signing.key"))
    later = [attempted(number, ended_at=NOON + timedelta(seconds=number)) for number in range(2, 12)]
    # Each takes a good part of a page of 4 kB: some still find room.
    writer.take(later[:5])
    assert not writer.flush()
    writer.take(later[5:])
    assert (writer.waiting, writer.missing) == (5, 5)
    opened[0]._connection.execute("PRAGMA max_page_count = 100000")
    assert writer.flush()
    assert (writer.waiting, writer.missing) == (0, 0)
    found = entries(file_place(tmp_path))
    gap = found[-1]
    assert isinstance(gap, Gap)
    assert (gap.missing, gap.began_at, gap.ended_at) == (
        5,
        "2026-08-01T12:00:07.000000Z",
        "2026-08-01T12:00:11.000000Z",
    )
    assert "database or disk is full" in gap.why
    assert [entry.attempt for entry in found if isinstance(entry, Receipt)] == [1, 2, 3, 4, 5, 6]
    assert judged(file_place(tmp_path)).findings == ()
    assert "0 are missing" not in caplog.text


def test_what_is_lost_at_the_end_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = written(file_place(tmp_path), attempted(1))
    writer.take([attempted(2)])
    with locked(tmp_path):
        assert not writer.flush()
        writer.close()
    assert "1 receipts are lost" in caplog.text


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (("CREATE TABLE notes (a)",), "a database of something else: it was not touched"),
        (("PRAGMA application_id = 1280070215", "PRAGMA user_version = 99"), "of version 99, and this llmring knows 2"),
    ],
)
def test_another_database_is_not_touched(tmp_path: Path, statements: tuple[str, ...], why: str) -> None:
    path = tmp_path / DATABASE
    with closing(sqlite3.connect(path)) as other:
        for statement in statements:
            other.execute(statement)
        other.commit()
    before = path.read_bytes()
    for must_exist in (True, False):
        with pytest.raises(ReceiptError, match=why):
            open_store(path, must_exist=must_exist)
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(ReceiptError, match="file is not a database"):
        open_store(tmp_path / DATABASE)
    with pytest.raises(ReceiptError, match="there is no ledger"):
        open_store(tmp_path / "nowhere.db", must_exist=True)
    with pytest.raises(ReceiptError, match="exists"):
        open_store(tmp_path / DATABASE / "x.db")


def test_whoever_edits_the_database_is_found_out(tmp_path: Path) -> None:
    written(file_place(tmp_path), *[attempted(number) for number in range(6)]).close()
    edits = {
        "UPDATE entries SET payload = replace(payload, '0.000228', '0.000001') WHERE sequence = 3": ("altered", 3),
        "UPDATE entries SET receipt_id = 'rcpt_other' WHERE sequence = 2": ("altered", 2),
        "UPDATE entries SET timestamp = '1999' WHERE sequence = 0": ("altered", 0),
        "DELETE FROM entries WHERE sequence = 4": ("removed", 4),
        "DELETE FROM entries WHERE sequence = 5": ("cut off", 5),
    }
    for edit, expected in edits.items():
        with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute(edit)
            saved = list(other.iterdump())
            other.execute("ROLLBACK")
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        (copy / DATABASE).unlink(missing_ok=True)
        with closing(sqlite3.connect(copy / DATABASE)) as other:
            other.executescript("\n".join(saved))
            other.executescript("PRAGMA application_id = 1280070215; PRAGMA user_version = 2")
        assert [(one.deed, one.sequence) for one in judged(file_place(copy)).findings] == [expected], edit


async def test_a_ledger_that_is_asked_for_must_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="receipts cannot be written"):
        async with open_ledger(writer_at(file_place(tmp_path / "file")), required=True):
            raise AssertionError("not opened")


async def test_a_ledger_that_nobody_asked_for_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    async with open_ledger(writer_at(file_place(tmp_path / "file")), required=False) as ledger:
        ledger.post(attempted())
    assert "receipts cannot be written, and are kept until they can" in caplog.text
    assert "1 receipts are lost" in caplog.text


def test_requests_and_answers_are_let_go_of_before_they_are_written(tmp_path: Path) -> None:
    writer = written(file_place(tmp_path), attempted(1))
    with locked(tmp_path):
        lock = partial(str, "ab")
        of_the_attempt = weakref.ref(lock)
        writer.take([attempted(2, lock=lock)])
        del lock
        assert not writer.flush()
    assert writer.waiting == 1
    assert of_the_attempt() is None
