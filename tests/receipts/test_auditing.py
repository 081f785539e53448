"""Whole ledgers and exports are audited in parts, by several processes: with the findings of one, whoever writes on."""

import os
import signal
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest

from llmring.config import LedgerPlace
from llmring.errors import ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.receipts import auditing
from llmring.receipts.auditing import audit_export, audit_ledger
from llmring.receipts.chain import Audit
from llmring.receipts.checkpoint import read_checkpoint
from llmring.receipts.exchange import export_lines
from llmring.receipts.keys import KeySet, prepare_next
from llmring.receipts.merkle import Frontier, root_of
from llmring.receipts.opening import open_store
from llmring.receipts.processes import MANY, all_done, processes_for
from llmring.receipts.signing import PublicKey
from llmring.receipts.store import Standing
from tests.receipts.attempts import attempted, writer_at, written
from tests.receipts.ledgers import file_place
from tests.receipts.samples import KEY

SIZE = 23
IN_POSTGRESQL = {
    "zeroblob(64)": r"decode(repeat('00', 64), 'hex')",
    "replace(payload, 'fast', 'slow')": "decode(replace(encode(payload, 'escape'), 'fast', 'slow'), 'escape')",
    "replace(payload, 'root', 'tree')": "decode(replace(encode(payload, 'escape'), 'root', 'tree'), 'escape')",
    " entries": " llmring.entries",
    " checkpoints": " llmring.checkpoints",
    "UPDATE ledger": "UPDATE llmring.ledger",
    "UPDATE keys": "UPDATE llmring.keys",
    "INTO keys": "INTO llmring.keys",
    "FROM keys": "FROM llmring.keys",
    ", x'": r", '\x",
    "= x'": r"= '\x",
}


@pytest.fixture
def ledger(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> LedgerPlace:
    """Audited in parts of five entries; with three checkpoints."""
    monkeypatch.setattr(auditing, "PART", 5)
    with closing(writer_at(place)) as writer:
        for number in range(SIZE):
            writer.take([attempted(number)])
            assert writer.flush()
            if number % 7 == 6:
                writer.checkpoint()
    return place


def judged(place: LedgerPlace, count: int) -> Audit:
    with closing(open_store(place, must_exist=True)) as store:
        return audit_ledger(store, processes=count)


def edit(place: LedgerPlace, statement: str) -> None:
    """Run what is told in SQLite's SQL."""
    if isinstance(place.where, LedgerUrl):
        with psycopg.connect(place.where.reveal()) as other:
            for told, meant in IN_POSTGRESQL.items():
                statement = statement.replace(told, meant)
            other.execute(statement.encode())
        return
    with closing(sqlite3.connect(place.where)) as file:
        file.execute(statement)
        file.commit()


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
def test_several_processes_find_what_one_finds(ledger: LedgerPlace, statement: str, told: str) -> None:
    edit(ledger, statement)
    alone = judged(ledger, 1)
    assert [str(one)[: len(told)] for one in alone.findings[:1]] == ([told] if told else [])
    assert (alone.root is None) == bool(told)
    assert judged(ledger, 2) == alone


OTHER = "ab" * 32


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE entries SET receipt_id = NULL WHERE sequence = 1",
            "altered: entry 1 ({name}): it is kept without its id",
        ),
        (
            "UPDATE entries SET receipt_id = 'rcpt_x' WHERE sequence = 1",
            "altered: entry 1 (rcpt_x): it is kept under another id than was signed",
        ),
        (
            "UPDATE entries SET salt = x'00' WHERE sequence = 1",
            "altered: entry 1 ({name}): it is kept with a salt that is none: one has 32 bytes",
        ),
        (
            "UPDATE entries SET timestamp = 'x' WHERE sequence = 1",
            "altered: entry 1 ({name}): it is kept under another time than was signed",
        ),
        (
            "UPDATE entries SET hash = zeroblob(64) WHERE sequence = 1",
            "altered: entry 1 ({name}): it is kept under another hash than was signed",
        ),
        (
            "UPDATE checkpoints SET size = 4 WHERE size = 7",
            "checkpoint: the one of 7 entries is kept as one of 4",
        ),
        (
            "UPDATE keys SET since = 7",
            "key: {key} is kept as one from entry 7 on, and by the entries from 0",
        ),
        (
            "INSERT INTO keys (since, key_id, public_key) SELECT 99, 'other', public_key FROM keys",
            "key: other is kept with another public key than it names",
        ),
        (
            f"INSERT INTO keys (since, key_id, public_key) VALUES (99, '{KEY.key_id}', x'{KEY.public.raw.hex()}')",
            f"key: {KEY.key_id} is kept as a key of the ledger, and none of its entries says so",
        ),
    ],
)
def test_what_is_kept_beside_the_signed_is_held_against_it(ledger: LedgerPlace, statement: str, told: str) -> None:
    with closing(open_store(ledger, must_exist=True)) as store:
        name, key = [row.receipt_id for row in store.rows()][1], store.head().key_id
    edit(ledger, statement)
    alone = judged(ledger, 1)
    assert str(alone.findings[0]) == told.format(name=name, key=key)
    assert alone.root is None
    assert judged(ledger, 2) == alone


def test_keys_that_were_handed_over_to_are_kept_from_then_on(ledger: LedgerPlace) -> None:
    assert ledger.key is not None
    with closing(writer_at(ledger)) as writer:
        writer.open()
        writer.hand_over(prepare_next(ledger.key))
    assert judged(ledger, 1).findings == ()
    edit(ledger, "UPDATE keys SET since = since + 1 WHERE since > 0")
    (finding,) = judged(ledger, 1).findings
    assert finding.what.endswith(f"is kept as one from entry {SIZE + 2} on, and by the entries from {SIZE + 1}")


COLUMNS = {
    "ledger": ("id", "size", "last", "frontier", "key_id", "checkpoint_size", "checkpoint_at"),
    "entries": ("sequence", "kind", "receipt_id", "timestamp", "payload", "signature", "key_id", "hash", "salt"),
    "checkpoints": ("size", "payload", "signature", "key_id"),
    "keys": ("since", "key_id", "public_key"),
}
JUNK = ("'abc'", "x'00'", "''", "-5", "1.5", "99999999999999999999", "9223372036854775807", "NULL")


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in COLUMNS for column in COLUMNS[table]])
def test_whatever_is_written_over_a_column_is_found_out(tmp_path: Path, table: str, column: str) -> None:
    place = file_place(tmp_path)
    with closing(writer_at(place)) as writer:
        writer.take([attempted(1), attempted(2)])
        assert writer.flush()
        writer.checkpoint()
    where = " WHERE sequence = 1" if table == "entries" else ""
    assert isinstance(place.where, Path)
    whole = place.where.read_bytes()
    for junk in JUNK:
        place.where.write_bytes(whole)
        try:
            edit(place, f"UPDATE {table} SET {column} = {junk}{where}")
        except sqlite3.Error:
            # The tables themselves refuse some of it.
            continue
        try:
            is_found = bool(judged(place, 1).findings)
        except ReceiptError as error:
            is_found = "is damaged" in str(error)
        assert is_found != (column == "salt" and junk == "NULL"), junk


def test_a_salt_may_be_deleted_and_that_is_told(ledger: LedgerPlace) -> None:
    edit(ledger, "UPDATE entries SET salt = NULL WHERE sequence IN (2, 9)")
    alone = judged(ledger, 1)
    assert (alone.findings, alone.closed) == ((), 2)
    assert judged(ledger, 2) == alone


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE ledger SET size = 20", ["size: 20, and by the entries 23"]),
        ("UPDATE ledger SET size = -1", ["size: -1, and by the entries 23"]),
        ("UPDATE ledger SET size = 99", ["size: 99, and by the entries 23"]),
        (f"UPDATE ledger SET last = x'{OTHER}'", ["last: abababababababab, and by the entries {last}"]),
        ("UPDATE ledger SET last = NULL", ["last: none, and by the entries {last}"]),
        (
            f"UPDATE ledger SET frontier = x'{OTHER * 4}'",
            ["frontier: of the root {forged}, and by the entries {root}"],
        ),
        (
            f"UPDATE ledger SET frontier = x'{OTHER}'",
            ["frontier: of no tree of 23, and by the entries {root}"],
        ),
        ("UPDATE ledger SET key_id = 'somebody'", ["key_id: somebody, and by the entries {key}"]),
        ("UPDATE ledger SET key_id = NULL", ["key_id: none, and by the entries {key}"]),
        ("UPDATE ledger SET checkpoint_size = 14", ["checkpoint_size: 14, and by the checkpoints 21"]),
        (
            "UPDATE ledger SET checkpoint_at = '2999-01-01T00:00:00.000000Z'",
            ["checkpoint_at: 2999-01-01T00:00:00.000000Z, and by the checkpoints {at}"],
        ),
        (
            "DELETE FROM checkpoints WHERE size = 21",
            ["checkpoint_size: 21, and by the checkpoints 14", "checkpoint_at: "],
        ),
        (
            f"UPDATE ledger SET size = 24, last = x'{OTHER}', checkpoint_size = 0, key_id = 'somebody'",
            ["checkpoint_size: 0, and by the checkpoints 21"],
        ),
        (
            f"UPDATE ledger SET size = 22, last = x'{OTHER}', checkpoint_size = 0",
            ["size: 22, ", "last: ", "checkpoint_size: 0, "],
        ),
    ],
)
def test_a_head_that_says_other_than_the_entries_is_found_out(
    ledger: LedgerPlace, statement: str, told: list[str]
) -> None:
    with closing(open_store(ledger, must_exist=True)) as store:
        before, tree = store.standing(), root_of(store.hashes(SIZE))
    assert before.head.last is not None
    said = {
        "last": before.head.last.hex()[:16],
        "root": f"of the root {tree.hex()[:16]}",
        "forged": Frontier.decode(SIZE, bytes.fromhex(OTHER * 4)).root().hex()[:16],
        "key": before.head.key_id,
        "at": before.head.checkpoint_at,
    }
    edit(ledger, statement)
    alone = judged(ledger, 1)
    heads = [str(one) for one in alone.findings if one.deed == "head"]
    assert len(heads) == len(told)
    for one, start in zip(heads, told, strict=True):
        assert one.startswith("head: " + start.format_map(said))
    assert alone.root is None
    assert judged(ledger, 2) == alone


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE ledger SET size = 20", "size: 20, and by the entries 23"),
        (f"UPDATE ledger SET last = x'{OTHER}'", "last: abababababababab, and by the entries "),
        ("UPDATE ledger SET last = NULL", "last: none, and by the entries "),
        (f"UPDATE ledger SET frontier = x'{OTHER * 4}'", "frontier: one without the newest entry"),
        (f"UPDATE ledger SET frontier = x'{OTHER}'", "frontier: of no tree of 23"),
        ("UPDATE ledger SET key_id = NULL", "key_id: none, and by the entries "),
        ("UPDATE ledger SET checkpoint_size = 14", "checkpoint_size: 14, and by the checkpoints 21"),
        ("UPDATE ledger SET checkpoint_at = '2999'", "checkpoint_at: 2999, and by the checkpoints 20"),
        ("UPDATE ledger SET id = 'another'", "ledger: another, and by the entries "),
        ("DELETE FROM entries WHERE sequence = 22", "size: 23, and by the entries 22"),
        ("DELETE FROM entries", "size: 23, and by the entries 0"),
        ("UPDATE entries SET payload = replace(payload, 'fast', 'slow') WHERE sequence = 22", "last: "),
        ("DELETE FROM checkpoints", "checkpoint_size: 21, and by the checkpoints 0"),
        ("UPDATE checkpoints SET payload = replace(payload, 'root', 'tree') WHERE size = 21", "not a checkpoint: "),
        ("UPDATE checkpoints SET size = 999 WHERE size = 14", "checkpoint_size: 21, and by the checkpoints 14"),
    ],
)
def test_a_head_that_does_not_fit_the_newest_entry_is_not_gone_on_from(
    ledger: LedgerPlace, statement: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = writer_at(ledger)
    running.open()
    edit(ledger, statement)
    later = writer_at(ledger)
    with pytest.raises(ReceiptError, match=why) as raised:
        later.open()
    assert "`llmring receipts verify` says what was done; bring back a copy of the ledger, or name" in str(raised.value)
    for writer in (running, later):
        writer.take([attempted(1)])
        assert not writer.flush()
        assert (writer.waiting, writer.missing, writer.why) == (1, 0, str(raised.value))
        with pytest.raises(ReceiptError, match=why):
            writer.checkpoint()
    assert caplog.text.count("receipts cannot be written, and are kept until they can") == 2
    with closing(open_store(ledger, must_exist=True)) as store:
        assert store.standing().entries <= SIZE


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE ledger SET checkpoint_at = 'never'", "checkpoint_at: never, which is no time"),
        ("UPDATE ledger SET checkpoint_at = '2026-08-01'", "checkpoint_at: 2026-08-01, which is no time"),
        ("UPDATE ledger SET checkpoint_size = 1", "checkpoint_size: 1, and by the checkpoints 0"),
        (f"UPDATE ledger SET last = x'{OTHER}' WHERE size = 0", f"last: {OTHER[:16]}, and by the entries none"),
        ("UPDATE ledger SET key_id = 'mine' WHERE size = 0", "key_id: mine, and by the entries none"),
        (f"UPDATE ledger SET frontier = x'{OTHER}' WHERE size = 0", "frontier: of no tree of 0, and by the entries"),
    ],
)
def test_a_head_before_the_first_checkpoint_is_looked_at_too(place: LedgerPlace, statement: str, told: str) -> None:
    writer = writer_at(place)
    writer.open()
    if "size = 0" not in statement:
        writer.take([attempted(1)])
        assert writer.flush()
    edit(place, statement)
    assert [str(one)[: len(told) + 6] for one in judged(place, 1).findings] == [f"head: {told}"]
    with pytest.raises(ReceiptError, match=f"the ledger's head is not that of its entries .{told}"):
        writer_at(place).open()


def test_a_ledger_that_was_made_in_the_future_gets_its_first_checkpoint(place: LedgerPlace) -> None:
    """By whoever wrote the time there: nobody has signed it."""
    writer = written(place, attempted(1))
    edit(place, "UPDATE ledger SET checkpoint_at = '9998-01-01T00:00:00.000000Z'")
    writer.take([attempted(2)])
    assert writer.flush()
    assert judged(place, 1).checkpoints == 1


def test_a_head_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A column of SQLite holds what it is given."""
    place = file_place(tmp_path)
    writer = written(place, attempted(1))
    edit(place, "UPDATE ledger SET size = 'many'")
    why = "ledger.db is damaged: its head cannot be read: Expected `int`, got `str` - at `.*size`"
    with pytest.raises(ReceiptError, match=why):
        judged(place, 1)
    writer.take([attempted(2)])
    assert not writer.flush()
    assert "its head cannot be read" in writer.why


def test_receipts_that_were_held_back_are_written_when_the_head_is_back(ledger: LedgerPlace) -> None:
    edit(ledger, "UPDATE ledger SET size = 20")
    writer = writer_at(ledger)
    writer.take([attempted(1)])
    assert not writer.flush()
    edit(ledger, "UPDATE ledger SET size = 23")
    assert writer.flush()
    assert (judged(ledger, 1).findings, judged(ledger, 1).entries) == ((), SIZE + 1)


@pytest.mark.parametrize("size", [*range(18), 64])
def test_a_head_fits_at_every_size(place: LedgerPlace, size: int) -> None:
    with closing(writer_at(place)) as writer:
        writer.open()
        for number in range(size):
            writer.take([attempted(number)])
            assert writer.flush()
            if number % 5 == 3:
                writer.checkpoint()
    assert judged(place, 1).findings == ()
    writer_at(place).open()


def test_an_export_is_audited_alike(ledger: LedgerPlace) -> None:
    with closing(open_store(ledger, must_exist=True)) as store:
        keys = KeySet(keys=tuple(PublicKey(key.raw) for key in store.public_keys()), current_key_id=None)
        rows = [row.signed for row in store.rows()]
        head = store.head()
        lines = list(export_lines(head.ledger, keys, head.size, rows, store.checkpoints()))
    whole = audit_export(lines, processes=2)
    assert (whole.entries, whole.findings, whole.checkpoints) == (SIZE, (), 3)
    assert whole == audit_export(lines, processes=1)
    broken = [*lines[:8], b"{}\n", *lines[9:15], *lines[16:]]
    found = audit_export(broken, processes=2)
    assert [(one.deed, one.sequence) for one in found.findings] == [("altered", 7), ("removed", 14)]
    assert found == audit_export(broken, processes=1)


def test_an_export_that_was_cut_off_is_known_for_one(ledger: LedgerPlace) -> None:
    with closing(open_store(ledger, must_exist=True)) as store:
        keys = KeySet(keys=tuple(PublicKey(key.raw) for key in store.public_keys()), current_key_id=None)
        rows = [row.signed for row in store.rows()]
        checkpoints = store.checkpoints()
    newest = read_checkpoint(checkpoints[-1])
    head, *entries = list(export_lines(newest.ledger, keys, SIZE, rows, checkpoints))
    assert [one.deed for one in audit_export([head, *entries[:4]]).findings] == ["cut off"]
    # Whoever lowers the number has to take the checkpoint away too.
    lowered = head.replace(b'"size":%d' % SIZE, b'"size":4')
    assert lowered != head and newest.size > 4
    assert [one.deed for one in audit_export([lowered, *entries[:4]]).findings] == ["cut off"]
    older = msgspec.json.encode({**msgspec.json.decode(head), "size": None, "checkpoint": None})
    assert audit_export([older, *entries]).findings == ()


def test_what_is_written_meanwhile_is_no_finding(ledger: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the audit has begun: receipts, a checkpoint and a hand-over."""

    def standing() -> Standing:
        found, key = look(), ledger.key
        assert key is not None
        with closing(writer_at(ledger)) as writer:
            writer.hand_over(prepare_next(key))
            writer.take([attempted(1), attempted(2)])
            assert writer.flush()
            writer.checkpoint()
        return found

    with closing(open_store(ledger, must_exist=True)) as store:
        look = store.standing
        monkeypatch.setattr(store, "standing", standing)
        found = audit_ledger(store)
    assert (found.entries, found.findings, found.checkpoints) == (SIZE, (), 3)
    after = judged(ledger, 1)
    assert (after.entries, after.findings, len(after.signers)) == (SIZE + 3, (), 2)


def test_how_a_ledger_stands_is_of_one_moment(place: LedgerPlace) -> None:
    """While entries and checkpoints are written, from one look to the next."""
    writer, is_over = written(place, attempted(0)), threading.Event()

    def write() -> None:
        for _ in range(5000):
            if is_over.is_set():
                break
            writer.take([attempted(1), attempted(2)])
            writer.flush()
            writer.checkpoint()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for must_exist in (True, False):
            sizes: set[int] = set()
            with closing(open_store(place, must_exist=must_exist)) as store:
                while len(sizes) < 20 and writing.is_alive():
                    now = store.standing()
                    sizes.add(now.entries)
                    assert (now.entries, now.last) == (now.head.size, now.head.size - 1)
                    newest = read_checkpoint(now.checkpoints[-1]).size if now.checkpoints else 0
                    assert newest == now.head.checkpoint_size
    finally:
        is_over.set()
        writing.join(60)


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
