"""Whole ledgers and exports are audited in parts, by several processes: with the findings of one, whoever writes on."""

import os
import signal
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from llmring.errors import ReceiptError
from llmring.receipts import auditing
from llmring.receipts.auditing import audit_export, audit_ledger
from llmring.receipts.chain import Audit
from llmring.receipts.exchange import export_lines
from llmring.receipts.keys import KeySet, prepare_next
from llmring.receipts.processes import MANY, all_done, processes_for
from llmring.receipts.signing import PublicKey
from llmring.receipts.sqlite_store import SqliteStore, open_store
from llmring.receipts.store import Standing
from tests.receipts.attempts import attempted, writer_at

SIZE = 23


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Audited in parts of five entries; with three checkpoints."""
    monkeypatch.setattr(auditing, "PART", 5)
    with closing(writer_at(tmp_path)) as writer:
        for number in range(SIZE):
            writer.take([attempted(number)])
            assert writer.flush()
            if number % 7 == 6:
                writer.checkpoint()
    return tmp_path / "ledger.db"


def judged(path: Path, count: int) -> Audit:
    with closing(open_store(path, must_exist=True)) as store:
        return audit_ledger(store, processes=count)


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(statement)
        other.commit()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT 1", ""),
        ("UPDATE entries SET payload = replace(payload, 'fast', 'slow') WHERE sequence = 5", "altered: entry 5"),
        ("UPDATE entries SET signature = zeroblob(64) WHERE sequence = 22", "altered: entry 22"),
        ("DELETE FROM entries WHERE sequence BETWEEN 4 AND 15", "removed: entries 4 to 15"),
        ("DELETE FROM entries WHERE sequence > 18", "cut off: entries 19 to 22"),
        ("DELETE FROM entries", "cut off: entries 0 to 22"),
        ("UPDATE entries SET sequence = 99 WHERE sequence = 9", "moved: entry 9"),
        ("UPDATE entries SET sequence = -9223372036854775808 WHERE sequence = 22", "moved: entry 22"),
        ("UPDATE entries SET sequence = 9223372036854775807 WHERE sequence = 0", "moved: entry 0"),
        (
            """INSERT INTO entries SELECT sequence + 1000000000000, kind, NULL, timestamp, payload, signature, key_id,
               hash, salt FROM entries WHERE sequence IN (3, 17)""",
            "added: entry 3",
        ),
    ],
)
def test_several_processes_find_what_one_finds(ledger: Path, statement: str, told: str) -> None:
    edit(ledger, statement)
    alone = judged(ledger, 1)
    assert [str(one)[: len(told)] for one in alone.findings[:1]] == ([told] if told else [])
    assert (alone.root is None) == bool(told)
    assert judged(ledger, 2) == alone


def test_an_export_is_audited_alike(ledger: Path) -> None:
    with closing(open_store(ledger, must_exist=True)) as store:
        keys = KeySet(keys=tuple(PublicKey(key.raw) for key in store.public_keys()), current_key_id=None)
        rows = [row.signed for row in store.rows()]
        lines = list(export_lines(store.head().ledger, keys, rows, store.checkpoints()))
    whole = audit_export(lines, processes=2)
    assert (whole.entries, whole.findings, whole.checkpoints) == (SIZE, (), 3)
    assert whole == audit_export(lines, processes=1)
    broken = [*lines[:8], b"{}\n", *lines[9:15], *lines[16:]]
    found = audit_export(broken, processes=2)
    assert [(one.deed, one.sequence) for one in found.findings] == [("altered", 7), ("removed", 14)]
    assert found == audit_export(broken, processes=1)


class Busy(SqliteStore):
    """A ledger that a router writes to as soon as an audit has begun: receipts, a checkpoint and a hand-over."""

    def standing(self) -> Standing:
        found = super().standing()
        with closing(writer_at(self.path.parent)) as writer:
            writer.hand_over(prepare_next(self.path.parent / "signing.key"))
            writer.take([attempted(1), attempted(2)])
            assert writer.flush()
            writer.checkpoint()
        return found


def test_what_is_written_meanwhile_is_no_finding(ledger: Path) -> None:
    with closing(Busy(ledger, sqlite3.connect(ledger, isolation_level=None))) as store:
        found = audit_ledger(store)
    assert (found.entries, found.findings, found.checkpoints) == (SIZE, (), 3)
    after = judged(ledger, 1)
    assert (after.entries, after.findings, len(after.signers)) == (SIZE + 3, (), 2)


def double(number: int) -> int:
    return 2 * number


def die_but_in(process: int, number: int) -> int:
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    raise ReceiptError(f"not {number}")


def test_work_is_given_back_in_its_order() -> None:
    assert all_done((partial(double, number) for number in range(50)), 2) == [2 * number for number in range(50)]
    assert all_done((partial(double, number) for number in range(3)), 1) == [0, 2, 4]
    assert all_done([], 2) == list[int]()


def test_a_process_that_is_killed_costs_nothing_but_time() -> None:
    works = [partial(die_but_in, os.getpid(), number) for number in range(12)]
    assert all_done(works, 2) == list(range(12))


def test_an_error_in_another_process_is_raised_in_this_one() -> None:
    with pytest.raises(ReceiptError, match="not 3"):
        all_done([partial(double, 1), partial(refuse, 3), partial(double, 2)], 2)


def test_few_entries_are_checked_where_they_are() -> None:
    assert processes_for(MANY - 1) == 1
    assert processes_for(MANY) >= 1
