"""The ledger in PostgreSQL, for any number of processes of any number of machines. Effects; blocks: for threads.

The head is one row, and whoever adds entries holds it locked from reading it until the commit. What is there is in the
schema `llmring`, with a table that says so; a schema of that name with anything else in it is not touched.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from llmring.ledger_url import LedgerUrl
from llmring.receipts import lending
from llmring.receipts.checking import Held
from llmring.receipts.postgresql_connection import CommitLost, Connection, ConnectionLost, Run
from llmring.receipts.schema import ID_BYTES, MIGRATIONS, VERSION, filled, foreign, is_current
from llmring.receipts.signing import Signed
from llmring.receipts.spending import Grant, Move, Spent
from llmring.receipts.store import Addition, CommitUnknown, End, Head, Key, LedgerMissing, Row, Standing, Store, held_of
from llmring.receipts.tables import (
    CHECKPOINT_COLUMNS,
    HEAD_COLUMNS,
    KEY_COLUMNS,
    ROW_COLUMNS,
    Cells,
    checkpoint_cells,
    checkpoint_of,
    head_cells,
    head_of,
    key_cells,
    key_of,
    kind_of,
    row_cells,
    row_of,
    size_of,
)

PAGE = 2048
"""Entries that are read at a time."""

Found = TypeVar("Found")
_APPLICATION = "llmring receipts"
_MIGRATING = 0x6C6C6D72696E67
"""The advisory lock of whoever makes or migrates a ledger."""
_LENDING = 0x6C6C6D6C656E64
"""The advisory lock of whoever has budgets in an exchange. It is not the head's, so that nobody who is allowed money
waits for receipts to be signed."""

_LOOK = """SELECT count(*) FILTER (WHERE classid = 'pg_class'::regclass AND objid IN (
        SELECT oid FROM pg_class WHERE relname = 'version' AND relkind = 'r')), count(*)
    FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
    AND refobjid IN (SELECT oid FROM pg_namespace WHERE nspname = 'llmring')"""
_KEYS = f"SELECT {KEY_COLUMNS} FROM llmring.keys ORDER BY since"
_CHECKPOINTS = f"SELECT {CHECKPOINT_COLUMNS} FROM llmring.checkpoints ORDER BY size"
_HEAD = f"SELECT {HEAD_COLUMNS} FROM llmring.ledger"
_ROW = f"SELECT {ROW_COLUMNS} FROM llmring.entries"
_ROW_NAMES = ROW_COLUMNS.split(", ")
# Each alone, or with nothing where there is none.
_NEWEST = f"""SELECT entry.*, made.* FROM (SELECT) AS here
    LEFT JOIN ({_ROW} ORDER BY sequence DESC LIMIT 1) AS entry ON TRUE
    LEFT JOIN (SELECT {CHECKPOINT_COLUMNS} FROM llmring.checkpoints ORDER BY size DESC LIMIT 1) AS made ON TRUE"""
_FIRST = -(2**63)
_BUDGETS = re.compile(r"\bbudgets\b")
# Columns as lists: one statement for any number of rows.
_ENTRIES = f"""INSERT INTO llmring.entries ({ROW_COLUMNS}) SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[],
    %b::bytea[], %s::text[], %s::text[], %s::text[], %b::bytea[], %b::bytea[])"""
_KEY = f"INSERT INTO llmring.keys ({KEY_COLUMNS}) VALUES (%s, %s, %s)"
_CHECKPOINT = f"""INSERT INTO llmring.checkpoints ({CHECKPOINT_COLUMNS}) VALUES (%s, %s, %s, %s)
    ON CONFLICT (size) DO UPDATE SET payload = EXCLUDED.payload, signature = EXCLUDED.signature,
    key_id = EXCLUDED.key_id"""
_STAND = """UPDATE llmring.ledger
    SET size = %s, last = %s, frontier = %s, key_id = %s, checkpoint_size = %s, checkpoint_at = %s"""


class PostgresqlStore:
    """Made by `open_store`. For one thread at a time, whichever that is."""

    def __init__(self, url: LedgerUrl, connection: Connection, *, may_write: bool) -> None:
        self._url = url
        self._connection = connection
        self._name = connection.name
        self._looking = connection.writing if may_write else connection.reading

    def append(self, make: Callable[[End], Addition]) -> None:
        self._on_one_that_lives(lambda: self._append(make))

    def _on_one_that_lives(self, work: Callable[[], Found]) -> Found:
        """Do `work`, a transaction, once more on another connection where the one that there was is lost."""
        is_old = self._connection.is_open
        try:
            return work()
        except ConnectionLost:
            # One that nothing was asked of for long is lost without a word: by a server's restart, a pool, a router.
            if not is_old:
                raise
            return work()

    def _append(self, make: Callable[[End], Addition]) -> None:
        new: Addition | None = None
        try:
            with self._connection.writing() as run:
                new = make(_end(run, self._locked_head(run)))
                self._write(run, new)
        except CommitLost as error:
            assert new is not None, "it was to be committed"
            raise CommitUnknown(str(error), new) from error

    def _write(self, run: Run, new: Addition) -> None:
        if new.rows:
            run(_ENTRIES, [list(column) for column in zip(*map(row_cells, new.rows), strict=True)])
        for key in new.keys:
            run(_KEY, key_cells(key))
        if new.checkpoint is not None:
            run(_CHECKPOINT, checkpoint_cells(new.checkpoint, new.head.size))
        run(_STAND, head_cells(new.head))

    def _locked_head(self, run: Run) -> Head:
        return head_of(run(f"{_HEAD} FOR UPDATE"), self._name)

    def holds(self, new: Addition) -> bool:
        last = new.rows[-1]
        with self._connection.writing() as run:
            # Whoever was to commit it held this lock.
            self._locked_head(run)
            return run("SELECT hash FROM llmring.entries WHERE sequence = %s", (last.sequence,)) == [(last.hash,)]

    def head(self) -> Head:
        return head_of(self._all(_HEAD), self._name)

    def end(self) -> End:
        with self._connection.reading() as run:
            return _end(run, head_of(run(_HEAD), self._name))

    def public_keys(self) -> list[Key]:
        return [key_of(cells) for cells in self._all(_KEYS)]

    def standing(self) -> Standing:
        with self._connection.reading() as run:
            ((entries, last),) = run("SELECT count(*), max(sequence) FROM llmring.entries")
            made = run(_CHECKPOINTS)
            return Standing(
                head=head_of(run(_HEAD), self._name),
                keys=[key_of(cells) for cells in run(_KEYS)],
                checkpoints=[checkpoint_of(cells) for cells in made],
                checkpoint_sizes=[size_of(cells) for cells in made],
                entries=entries,
                last=last,
            )

    def again(self) -> Callable[[], Store]:
        return partial(open_store, self._url, must_exist=True)

    def next_number(self, after: int | None) -> int | None:
        above, given = ("", ()) if after is None else (" WHERE sequence > %s", (after,))
        ((number,),) = self._all(f"SELECT min(sequence) FROM llmring.entries{above}", given)
        return int(number) if number is not None else None

    def held(self, first: int, last: int) -> list[Held]:
        found = self._all(f"{_ROW} WHERE sequence BETWEEN %s AND %s ORDER BY sequence", (first, last))
        return [held_of(row_of(cells)) for cells in found]

    def rows(
        self,
        *,
        newest: int | None = None,
        first: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[Row]:
        # As SQLite compares text, whatever the database's language is.
        bounds = {'timestamp COLLATE "C" >= %s': since, 'timestamp COLLATE "C" < %s': until}
        within = [bound for bound in bounds.values() if bound is not None]
        tests = "".join(f" AND {test}" for test, bound in bounds.items() if bound is not None)
        asked = f"{_ROW} WHERE sequence >= %s{tests} ORDER BY sequence"
        start = _FIRST if first is None else first
        if newest is not None:
            yield from map(row_of, self._all(f"{asked} DESC LIMIT %s", (start, *within, newest)))
            return
        # What comes meanwhile stands behind it: a snapshot would be kept by the server for as long as its reader takes.
        ((last,),) = self._all("SELECT max(sequence) FROM llmring.entries")
        while last is not None and start <= last and (page := self._all(f"{asked} LIMIT {PAGE}", (start, *within))):
            yield from (row_of(cells) for cells in page if cells[0] <= last)
            start = page[-1][0] + 1

    def of_type(self, payload_type: str) -> list[Row]:
        return [
            row_of(cells) for cells in self._all(f"{_ROW} WHERE kind = %s ORDER BY sequence", (kind_of(payload_type),))
        ]

    def find(self, receipt_id: str) -> Row | None:
        found = self._all(f"{_ROW} WHERE receipt_id = %s", (receipt_id,))
        return row_of(found[0]) if found else None

    def hashes(self, size: int) -> list[bytes]:
        return [cells[0] for cells in self._all("SELECT hash FROM llmring.entries ORDER BY sequence LIMIT %s", (size,))]

    def checkpoints(self) -> list[Signed]:
        return [checkpoint_of(cells) for cells in self._all(_CHECKPOINTS)]

    def exchange(self, moves: Sequence[Move]) -> list[Grant]:
        return self._on_one_that_lives(lambda: self._exchange(moves))

    def _exchange(self, moves: Sequence[Move]) -> list[Grant]:
        with self._connection.writing() as run:
            # Whoever waits here sees in what follows all that was written before.
            run("SELECT pg_advisory_xact_lock(%s)", (_LENDING,))
            return [lending.exchange(_asking(run), move) for move in moves]

    def spending(self, periods: Sequence[str]) -> list[Spent]:
        with self._looking() as run:
            return lending.spending(_asking(run), periods)

    def close(self) -> None:
        self._connection.close()

    def _all(self, query: str, given: Cells = ()) -> list[Cells]:
        with self._looking() as run:
            return run(query, given)


def _end(run: Run, head: Head) -> End:
    """In one question more, as others may be waiting for the head."""
    ((*cells,),) = run(_NEWEST)
    newest, checkpoint = cells[: len(_ROW_NAMES)], cells[len(_ROW_NAMES) :]
    return End(
        head=head,
        newest=row_of(newest) if newest[0] is not None else None,
        checkpoint=checkpoint_of(checkpoint) if checkpoint[0] is not None else None,
    )


def _asking(run: Run) -> lending.Ask:
    """Runs statements of lending.py: with this library's marks, in our schema."""

    def ask(statement: str, given: Sequence[Any]) -> list[Cells]:
        return run(_BUDGETS.sub("llmring.budgets", statement).replace("?", "%s"), given)

    return ask


def open_store(url: LedgerUrl, *, must_exist: bool = False) -> PostgresqlStore:
    """Open a ledger, or make one in a database that is there. With `must_exist` one that is there, only to be read.

    Raises ReceiptError: it cannot be opened, is no ledger, or is of a later llmring.
    """
    connection = Connection(url)
    try:
        _prepare(connection, may_write=not must_exist)
    except BaseException:
        connection.close()
        raise
    return PostgresqlStore(url, connection, may_write=not must_exist)


def _prepare(connection: Connection, *, may_write: bool) -> None:
    with connection.writing() if may_write else connection.reading() as run:
        version = _version(run, connection.name)
        if version is None and not may_write:
            raise LedgerMissing(f"there is no ledger {connection.name}")
        if version is not None and is_current(connection.name, version, may_write=may_write):
            return
    with connection.writing(long=True) as run:
        run("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        # Another process may have been faster.
        version = _version(run, connection.name)
        if version is None:
            _make(run)
        for migration in MIGRATIONS[version or 0 :]:
            for statement in migration.postgresql:
                run(filled(statement, os.urandom(ID_BYTES), datetime.now(UTC)))
        run("UPDATE llmring.version SET version = %s", (VERSION,))


def _version(run: Run, name: str) -> int | None:
    """None where there is no ledger yet, and room for one. Raises ReceiptError where the room is taken."""
    # Both of one moment: another process may be making it.
    ((tables, things),) = run(_LOOK)
    if not tables and things:
        raise foreign(f"the schema llmring of {name}")
    if not tables:
        return None
    # As JSON, for a table of something else has other columns.
    said = "SELECT to_jsonb(one) ->> 'application', to_jsonb(one) ->> 'version' FROM llmring.version AS one LIMIT 2"
    found = run(said)
    if len(found) == 1 and found[0][0] == _APPLICATION:
        with suppress(TypeError, ValueError):
            return int(found[0][1])
    raise foreign(f"the schema llmring of {name}")


def _make(run: Run) -> None:
    # Where somebody who may has made the schema for us, it need not be allowed to us.
    if not run("SELECT 1 FROM pg_namespace WHERE nspname = 'llmring'"):
        run("CREATE SCHEMA llmring")
    run("CREATE TABLE llmring.version (application TEXT NOT NULL, version BIGINT NOT NULL)")
    run("INSERT INTO llmring.version VALUES (%s, 0)", (_APPLICATION,))
