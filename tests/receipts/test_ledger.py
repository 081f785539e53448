"""The ledger under real conditions: full and locked disks, several processes, kills, hand-overs."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from llmring.errors import ConfigError, ReceiptError
from llmring.receipts import ledger as ledger_module
from llmring.receipts import writer as writer_module
from llmring.receipts.building import Attempted
from llmring.receipts.chain import Audit, audit
from llmring.receipts.checking import check
from llmring.receipts.checkpoint import read_checkpoint
from llmring.receipts.contents import digest, opening, request_bytes, response_bytes
from llmring.receipts.keys import prepare_next, read_key, take_next
from llmring.receipts.ledger import Ledger, open_ledger
from llmring.receipts.receipt import Entry, Gap, Handover, Receipt, read
from llmring.receipts.signing import PublicKey
from llmring.receipts.sqlite_store import SqliteStore, open_store
from llmring.receipts.writer import Writer
from llmring.usage import Usage
from tests.receipts.attempts import ANSWERED, ASKED, NOON, attempted, writer_at

DATABASE = "ledger.db"


def entries(directory: Path) -> list[Entry]:
    with closing(open_store(directory / DATABASE, must_exist=True)) as store:
        return [read(row.signed.payload_type, row.signed.payload) for row in store.rows()]


def receipts(directory: Path) -> list[Receipt]:
    return [entry for entry in entries(directory) if isinstance(entry, Receipt)]


def judged(directory: Path) -> Audit:
    with closing(open_store(directory / DATABASE, must_exist=True)) as store:
        keys = {key.key_id: PublicKey(key.raw) for key in store.public_keys()}
        head = store.head()
        found = check(store.held(0, head.size + 1), keys, head.ledger)
        return audit(
            found, keys, [store.public_keys()[0].key_id], store.checkpoints(), size=head.size, ledger=head.ledger
        )


def written(directory: Path, *ended: Attempted) -> Writer:
    writer = writer_at(directory)
    writer.take(ended)
    assert writer.flush()
    return writer


def test_an_attempt_becomes_a_receipt_with_nothing_of_what_was_said(tmp_path: Path) -> None:
    written(tmp_path, attempted()).close()
    (receipt,) = receipts(tmp_path)
    assert (receipt.sequence, receipt.previous, receipt.attempt, receipt.outcome) == (0, None, 1, "answered")
    assert (receipt.prompt_tokens, receipt.completion_tokens, receipt.total_tokens) == (1200, 80, 1280)
    assert (receipt.input_cost, receipt.output_cost, receipt.total_cost) == ("0.00018", "0.000048", "0.000228")
    assert (receipt.registry_version, receipt.price_digest) == (7, "0123456789abcdef")
    assert (receipt.took_milliseconds, receipt.served_model) == (812, "gpt-4o-mini-2024-07-18")
    assert receipt.timestamp == "2026-08-01T12:00:00.000000Z"
    assert b"canary" not in (tmp_path / DATABASE).read_bytes()
    assert judged(tmp_path).findings == ()


def test_the_owner_proves_what_was_asked_and_answered(tmp_path: Path) -> None:
    written(tmp_path, attempted()).close()
    with closing(open_store(tmp_path / DATABASE, must_exist=True)) as store:
        (row,) = store.rows()
    receipt = read(row.signed.payload_type, row.signed.payload)
    assert isinstance(receipt, Receipt) and row.salt is not None
    assert digest(opening(row.salt, "request"), request_bytes(ASKED)) == receipt.request_digest
    assert digest(opening(row.salt, "response"), response_bytes(ANSWERED)) == receipt.response_digest


def test_what_is_not_known_is_not_nought(tmp_path: Path) -> None:
    failed = attempted(outcome="ServerFault", status=500, usage=None, answered=None)
    wild = attempted(usage=Usage(input_tokens=2**60))
    below = attempted(usage=Usage(input_tokens=-1))
    written(tmp_path, failed, wild, below).close()
    for receipt in receipts(tmp_path):
        assert (receipt.total_tokens, receipt.total_cost, receipt.cost_status) == (None, None, "no_usage")
    assert receipts(tmp_path)[0].response_digest is None


def test_a_receipt_that_cannot_be_made_is_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise KeyError("the-key-canary")

    written(tmp_path, attempted(lock=broken), attempted()).close()
    first, gap = entries(tmp_path)
    assert isinstance(first, Receipt) and isinstance(gap, Gap)
    assert (gap.missing, gap.why) == (1, "a receipt cannot be made: KeyError")
    assert "canary" not in caplog.text


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    written(tmp_path / "new", attempted())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) >= {DATABASE, "signing.key"}


def test_writers_take_turns_on_one_chain(tmp_path: Path) -> None:
    first, second = written(tmp_path, attempted(1)), written(tmp_path, attempted(2))
    for writer in (first, second, first):
        writer.take([attempted(3)])
        assert writer.flush()
    assert [receipt.sequence for receipt in receipts(tmp_path)] == list(range(5))
    assert judged(tmp_path).findings == ()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    with closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_ledger_keeps_receipts_until_it_is_free(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = written(tmp_path, attempted(1))
    writer.take([attempted(2)])
    with locked(tmp_path):
        assert not writer.flush()
        assert not writer.flush()
        writer.take([attempted(3)])
    assert writer.waiting == 2
    assert writer.flush()
    assert [receipt.attempt for receipt in receipts(tmp_path)] == [1, 2, 3]
    assert judged(tmp_path).findings == ()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["receipts cannot be written, and are kept until they can", "receipts are written again"]
    assert "database is locked" in caplog.text


def test_a_full_disk_leaves_a_gap_that_says_how_many_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_KEPT", 5)
    written(tmp_path, attempted(1)).close()
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
    found = entries(tmp_path)
    gap = found[-1]
    assert isinstance(gap, Gap)
    assert (gap.missing, gap.began_at, gap.ended_at) == (
        5,
        "2026-08-01T12:00:07.000000Z",
        "2026-08-01T12:00:11.000000Z",
    )
    assert "database or disk is full" in gap.why
    assert [entry.attempt for entry in found if isinstance(entry, Receipt)] == [1, 2, 3, 4, 5, 6]
    assert judged(tmp_path).findings == ()
    assert "0 are missing" not in caplog.text


def test_what_is_lost_at_the_end_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = written(tmp_path, attempted(1))
    writer.take([attempted(2)])
    with locked(tmp_path):
        assert not writer.flush()
        writer.close()
    assert "1 receipts are lost" in caplog.text


def test_checkpoints_come_with_the_thousands_and_with_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "CHECKPOINT_ENTRIES", 4)
    now = writer_module.utc_now()
    writer = Writer(writer_at(tmp_path)._open_store, writer_at(tmp_path)._open_key, lambda: now)
    for count in (3, 1, 3):
        writer.take([attempted()] * count)
        writer.flush()
    now += timedelta(days=1)
    writer.take([attempted()])
    writer.flush()
    with closing(open_store(tmp_path / DATABASE, must_exist=True)) as store:
        assert [read_checkpoint(one).size for one in store.checkpoints()] == [4, 8]
    assert read_checkpoint(writer.checkpoint()).size == 8
    assert judged(tmp_path).checkpoints == 2


def test_a_key_is_handed_over_under_running_writers(tmp_path: Path) -> None:
    running, rotating = written(tmp_path, attempted(1)), writer_at(tmp_path)
    to = prepare_next(tmp_path / "signing.key")
    rotating.hand_over(to)
    # The file is not replaced yet: whoever comes now finishes that.
    running.take([attempted(2)])
    assert running.flush()
    assert read_key(tmp_path / "signing.key").key_id == to.key_id
    first, handover, second = entries(tmp_path)
    assert isinstance(handover, Handover)
    assert (first.key_id, second.key_id) == (handover.key_id, handover.to_key_id)
    found = judged(tmp_path)
    assert (found.findings, found.signers) == ((), (handover.key_id, to.key_id))
    with pytest.raises(ReceiptError, match="cannot replace the key"):
        take_next(tmp_path / "signing.key")


def test_another_key_does_not_sign_a_ledger(tmp_path: Path) -> None:
    written(tmp_path, attempted(1)).close()
    (tmp_path / "signing.key").unlink()
    writer = writer_at(tmp_path)
    writer.take([attempted(2)])
    assert not writer.flush()
    prepare_next(tmp_path / "signing.key")
    take_next(tmp_path / "signing.key")
    assert not writer.flush()
    assert len(receipts(tmp_path)) == 1
    with pytest.raises(ReceiptError, match="bring back the one"):
        writer.checkpoint()


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
    written(tmp_path, *[attempted(number) for number in range(6)]).close()
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
        assert [(one.deed, one.sequence) for one in judged(copy).findings] == [expected], edit


async def test_a_ledger_writes_while_it_is_open_and_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, is_flushed, token = writer_at(tmp_path), trio.Event(), trio.lowlevel.current_trio_token()
    flush = writer.flush

    def flush_and_tell() -> bool:
        is_written = flush()
        token.run_sync_soon(is_flushed.set)
        return is_written

    monkeypatch.setattr(writer, "flush", flush_and_tell)
    async with open_ledger(writer, required=True) as ledger:
        ledger.post(attempted(1))
        with trio.fail_after(20):
            await is_flushed.wait()
        assert [receipt.attempt for receipt in receipts(tmp_path)] == [1]
        ledger.post(attempted(2))
    assert [receipt.attempt for receipt in receipts(tmp_path)] == [1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name == "llmring receipts"]


def test_an_attempt_that_is_left_twice_has_one_receipt(tmp_path: Path) -> None:
    row, other = attempted(kind="batch", identity=b"1" * 16), attempted(kind="batch", identity=b"2" * 16)
    first = written(tmp_path, row, row)
    second = written(tmp_path, row, other, attempted(2))
    assert (first.written, second.written) == (1, 2)
    second.take([row])
    assert second.flush() and second.written == 2
    first.close()
    second.close()
    assert [one.receipt_id for one in receipts(tmp_path)][:2] == [
        f"rcpt_{name.hex()}" for name in (b"1" * 16, b"2" * 16)
    ]
    assert len(receipts(tmp_path)) == 3
    assert judged(tmp_path).findings == ()


async def test_whoever_waits_for_receipts_finds_them_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than the test may take: whoever waits is not kept for the group.
    monkeypatch.setattr(ledger_module, "GROUP_SECONDS", 1000.0)
    async with open_ledger(writer_at(tmp_path), required=True) as ledger:
        for number in range(1, 4):
            ledger.post(attempted(number))
            await ledger.settled()
            assert len(receipts(tmp_path)) == number


async def test_a_ledger_that_cannot_be_written_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []

    def refuse(self: Writer) -> bool:
        flushed.append(False)
        return False

    async with open_ledger(writer_at(tmp_path), required=True) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "flush", refuse)
            patched.setattr(ledger_module, "RETRY_SECONDS", 1000.0)
            ledger.post(attempted())
            await ledger.settled()
            assert flushed
            with trio.CancelScope() as scope:
                scope.cancel()
                await ledger.settled()
            assert not scope.cancelled_caught
    assert len(receipts(tmp_path)) == 1


async def test_a_disk_that_hangs_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def hang(self: Writer) -> bool:
        free.wait()
        return True

    monkeypatch.setattr(ledger_module, "SETTLE_SECONDS", 0.01)
    async with open_ledger(writer_at(tmp_path), required=True) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "flush", hang)
            ledger.post(attempted())
            await ledger.settled()
            with trio.CancelScope() as scope:
                scope.cancel()
                await ledger.settled()
            assert not scope.cancelled_caught
            free.set()


async def test_a_ledger_that_is_asked_for_must_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="receipts cannot be written"):
        async with open_ledger(writer_at(tmp_path / "file"), required=True):
            raise AssertionError("not opened")


async def test_a_ledger_that_nobody_asked_for_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    async with open_ledger(writer_at(tmp_path / "file"), required=False) as ledger:
        ledger.post(attempted())
    assert "receipts cannot be written, and are kept until they can" in caplog.text
    assert "1 receipts are lost" in caplog.text


async def test_a_cancelled_program_has_its_receipts(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_ledger(writer_at(tmp_path), required=True) as ledger:
            ledger.post(attempted())
            scope.cancel()
            await trio.sleep_forever()
    assert len(receipts(tmp_path)) == 1


async def test_more_than_the_queue_holds_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_WAITING", 3)
    ledger = Ledger(writer_at(tmp_path))
    for number in range(5):
        ledger.post(attempted(number))
    assert ledger.missing == 2
    ledger.start()
    await ledger.aclose()
    *kept, gap = entries(tmp_path)
    assert (len(kept), ledger.missing) == (3, 0)
    assert isinstance(gap, Gap)
    assert (gap.missing, gap.why) == (2, "they come faster than they can be written")


KILLED = """
import sys, time
from pathlib import Path
import trio
from llmring.receipts.ledger import open_ledger
from tests.receipts.attempts import attempted, writer_at

async def main():
    async with open_ledger(writer_at(Path(sys.argv[1])), required=True) as ledger:
        for number in range(10**9):
            ledger.post(attempted(number))
            print(number, time.monotonic(), flush=True)
            # Like a program that keeps the loop busy: nothing of trio's runs meanwhile.
            time.sleep(0.002)

trio.run(main)
"""


@pytest.mark.parametrize("seconds", [0.1, 0.9, 1.7])
def test_a_kill_loses_nothing_that_is_older_than_a_second(tmp_path: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline()]
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            lines.append(process.stdout.readline())
        killed_at = time.monotonic()
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    told = [line.split() for line in lines if line.endswith("\n") and len(line.split()) == 2]
    old = [int(number) for number, at in told if float(at) < killed_at - 1.0]
    kept = [receipt.attempt for receipt in receipts(tmp_path)] if (tmp_path / DATABASE).exists() else []
    assert kept[: len(old)] == old
    assert kept == list(range(len(kept)))
    if kept:
        assert judged(tmp_path).findings == ()
    written(tmp_path, attempted(0)).close()
    assert judged(tmp_path).findings == ()


def test_an_attempt_is_left_behind_in_microseconds(tmp_path: Path) -> None:
    ledger = Ledger(writer_at(tmp_path))
    one = attempted()
    began = time.process_time()
    for _ in range(ledger_module.MOST_WAITING):
        ledger.post(one)
    assert (time.process_time() - began) / ledger_module.MOST_WAITING < 10e-6


def test_requests_and_answers_are_let_go_of_before_they_are_written(tmp_path: Path) -> None:
    writer = written(tmp_path, attempted(1))
    with locked(tmp_path):
        lock = partial(str, "ab")
        of_the_attempt = weakref.ref(lock)
        writer.take([attempted(2, lock=lock)])
        del lock
        assert not writer.flush()
    assert writer.waiting == 1
    assert of_the_attempt() is None


def test_a_key_may_be_handed_over_before_there_is_a_receipt(tmp_path: Path) -> None:
    writer = writer_at(tmp_path)
    writer.open()
    writer.hand_over(prepare_next(tmp_path / "signing.key"))
    take_next(tmp_path / "signing.key")
    writer.take([attempted(1)])
    assert writer.flush()
    found = judged(tmp_path)
    assert (found.findings, len(found.signers)) == ((), 2)


def test_opening_a_router_loads_no_library_before_there_is_a_receipt() -> None:
    program = (
        "import sys, llmring; llmring.open_router, llmring.ReceiptSigner;"
        "assert 'llmring.receipts.ledger' in sys.modules;"
        "print({'nacl', 'rfc8785', 'sqlite3'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
