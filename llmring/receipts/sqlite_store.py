"""The ledger as one SQLite file, for any number of processes of one machine. Effects; blocks, so it is for threads.

The only file that imports sqlite3. What it refuses becomes a ReceiptError that names the file.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from llmring.errors import ReceiptError
from llmring.receipts import lending
from llmring.receipts.checking import Held
from llmring.receipts.schema import ID_BYTES, MIGRATIONS, VERSION, filled, foreign, is_current
from llmring.receipts.signing import Signed
from llmring.receipts.spending import Grant, Move, Spent
from llmring.receipts.store import Addition, End, Head, Key, LedgerGone, LedgerMissing, Row, Standing, Store, held_of
from llmring.receipts.tables import (
    CHECKPOINT_COLUMNS,
    HEAD_COLUMNS,
    KEY_COLUMNS,
    ROW_COLUMNS,
    checkpoint_cells,
    checkpoint_of,
    failed,
    hash_of,
    head_cells,
    head_of,
    key_cells,
    key_of,
    kind_of,
    row_cells,
    row_of,
    size_of,
)

LOCKED_SECONDS = 1.0
"""How long a write waits for another process's."""

_MAKING_TRIES = 100
"""In that time, where SQLite does not wait by itself."""

Found = TypeVar("Found")
_APPLICATION = 0x4C4C5247
_HEAD = f"SELECT {HEAD_COLUMNS} FROM ledger"
_ROW = f"SELECT {ROW_COLUMNS} FROM entries"
_NEWEST = f"{_ROW} ORDER BY sequence DESC LIMIT 1"
_CHECKPOINTS = f"SELECT {CHECKPOINT_COLUMNS} FROM checkpoints ORDER BY size"
_NEWEST_CHECKPOINT = f"SELECT {CHECKPOINT_COLUMNS} FROM checkpoints ORDER BY size DESC LIMIT 1"


class SqliteStore:
    """Made by `open_store`. For one thread at a time, whichever that is."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._file = _file_at(path)

    def append(self, make: Callable[[End], Addition]) -> None:
        if _file_at(self.path) != self._file:
            # SQLite would go on writing into the file without a name.
            raise LedgerGone(f"the ledger {self.path} was removed or replaced while it was open")
        self._alone(lambda: self._write(make(self._end())))

    def _alone(self, work: Callable[[], Found]) -> Found:
        """Do `work` in a transaction of its own."""
        try:
            # Immediately: from what is read first to the end, nobody else writes.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                found = work()
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself has rolled back for some errors, such as a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error
        return found

    def _write(self, new: Addition) -> None:
        run = self._connection.execute
        self._connection.executemany(_insert("entries", ROW_COLUMNS), map(row_cells, new.rows))
        self._connection.executemany(_insert("keys", KEY_COLUMNS), map(key_cells, new.keys))
        if new.checkpoint is not None:
            made = checkpoint_cells(new.checkpoint, new.head.size)
            run(_insert("checkpoints", CHECKPOINT_COLUMNS, "INSERT OR REPLACE"), made)
        run(
            "UPDATE ledger SET size = ?, last = ?, frontier = ?, key_id = ?, checkpoint_size = ?, checkpoint_at = ?",
            head_cells(new.head),
        )

    def holds(self, new: Addition) -> bool:
        last = new.rows[-1]
        return self._all("SELECT hash FROM entries WHERE sequence = ?", (last.sequence,)) == [(last.hash,)]

    def head(self) -> Head:
        return self._asked(self._head)

    def _head(self) -> Head:
        return head_of(self._connection.execute(_HEAD).fetchall(), str(self.path))

    def end(self) -> End:
        with self._one_moment():
            return self._end()

    def _end(self) -> End:
        newest = self._all(_NEWEST)
        checkpoint = self._all(_NEWEST_CHECKPOINT)
        return End(
            head=self._head(),
            newest=row_of(newest[0]) if newest else None,
            checkpoint=checkpoint_of(checkpoint[0]) if checkpoint else None,
        )

    def public_keys(self) -> list[Key]:
        return [key_of(cells) for cells in self._all(f"SELECT {KEY_COLUMNS} FROM keys ORDER BY since")]

    def standing(self) -> Standing:
        with self._one_moment():
            ((entries, last),) = self._all("SELECT count(*), max(sequence) FROM entries")
            made = self._all(_CHECKPOINTS)
            return Standing(
                head=self.head(),
                keys=self.public_keys(),
                checkpoints=[checkpoint_of(cells) for cells in made],
                checkpoint_sizes=[size_of(cells) for cells in made],
                entries=entries,
                last=last,
            )

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """What is read meanwhile is of one state of the file."""
        self._all("BEGIN")
        try:
            yield
        finally:
            self._all("COMMIT")

    def again(self) -> Callable[[], Store]:
        return partial(open_store, self.path.absolute(), must_exist=True)

    def next_number(self, after: int | None) -> int | None:
        above, given = ("", ()) if after is None else (" WHERE sequence > ?", (after,))
        ((number,),) = self._all(f"SELECT min(sequence) FROM entries{above}", given)
        return int(number) if number is not None else None

    def held(self, first: int, last: int) -> list[Held]:
        rows = self._all(f"{_ROW} WHERE sequence BETWEEN ? AND ? ORDER BY sequence", (first, last))
        return [held_of(row_of(cells)) for cells in rows]

    def rows(
        self,
        *,
        newest: int | None = None,
        first: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[Row]:
        bounds: dict[str, Any] = {"sequence >= ?": first, "timestamp >= ?": since, "timestamp < ?": until}
        given: list[Any] = [bound for bound in bounds.values() if bound is not None]
        tests = " AND ".join(test for test, bound in bounds.items() if bound is not None)
        query = f"{_ROW} WHERE {tests or 'TRUE'} ORDER BY sequence"
        if newest is not None:
            query += " DESC LIMIT ?"
            given.append(newest)
        try:
            for cells in self._connection.execute(query, given):
                yield row_of(cells)
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error

    def of_type(self, payload_type: str) -> list[Row]:
        rows = self._all(f"{_ROW} WHERE kind = ? ORDER BY sequence", (kind_of(payload_type),))
        return [row_of(cells) for cells in rows]

    def find(self, receipt_id: str) -> Row | None:
        rows = self._all(f"{_ROW} WHERE receipt_id = ?", (receipt_id,))
        return row_of(rows[0]) if rows else None

    def hashes(self, size: int) -> list[bytes]:
        return [hash_of(cells) for cells in self._all("SELECT hash FROM entries ORDER BY sequence LIMIT ?", (size,))]

    def checkpoints(self) -> list[Signed]:
        return [checkpoint_of(cells) for cells in self._all(_CHECKPOINTS)]

    def exchange(self, moves: Sequence[Move]) -> list[Grant]:
        return self._alone(lambda: [lending.exchange(self._ask, move) for move in moves])

    def spending(self, periods: Sequence[str]) -> list[Spent]:
        return self._asked(lambda: lending.spending(self._ask, periods))

    def _ask(self, statement: str, given: Sequence[Any]) -> list[Any]:
        return self._connection.execute(statement, given).fetchall()

    def close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error

    def _all(self, query: str, given: tuple[Any, ...] = ()) -> list[Any]:
        return self._asked(lambda: self._connection.execute(query, given).fetchall())

    def _asked(self, ask: Callable[[], Found]) -> Found:
        try:
            return ask()
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error


def open_store(path: Path, *, must_exist: bool = False) -> SqliteStore:
    """Open a ledger, or make one for its user alone. With `must_exist` one that is there, and only to be read.

    Raises ReceiptError: it cannot be opened, is no ledger, or is of a later llmring.
    """
    try:
        if must_exist and not path.is_file():
            raise LedgerMissing(f"there is no ledger {path}")
        if not must_exist:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Before SQLite would, for it makes files that others may read.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=LOCKED_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise _failed(path, error) from error
    try:
        connection.execute("PRAGMA query_only = ON" if must_exist else "PRAGMA synchronous = FULL")
        _prepare(connection, path, may_write=not must_exist)
    except sqlite3.Error as error:
        connection.close()
        raise _failed(path, error) from error
    except BaseException:
        connection.close()
        raise
    return SqliteStore(path, connection)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is there, whatever its name; None: none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _prepare(connection: sqlite3.Connection, path: Path, *, may_write: bool) -> None:
    # In one look: another process may make it in this moment.
    connection.execute("BEGIN")
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_new = application == 0 and version == 0 and _count_tables(connection) == 0
    connection.execute("COMMIT")
    if application != _APPLICATION and not is_new:
        raise foreign(str(path))
    is_ready = is_current(str(path), version, may_write=may_write)
    if not may_write:
        return
    _let_readers_read(connection)
    if is_ready:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    for migration in MIGRATIONS[_pragma(connection, "user_version") :]:
        for statement in migration.sqlite:
            connection.execute(filled(statement, os.urandom(ID_BYTES), datetime.now(UTC)))
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _let_readers_read(connection: sqlite3.Connection) -> None:
    """Have them not hold up the writer. Where the file system cannot, SQLite stays with what it can."""
    for left in reversed(range(_MAKING_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # For this one lock SQLite does not wait by itself: another process makes the ledger in this moment.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
            time.sleep(LOCKED_SECONDS / _MAKING_TRIES)
        else:
            return


def _insert(table: str, columns: str, verb: str = "INSERT") -> str:
    return f"{verb} INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(', ')))})"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _count_tables(connection: sqlite3.Connection) -> int:
    value: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return value


def _failed(path: Path, error: Exception) -> ReceiptError:
    return failed(str(path), (getattr(error, "strerror", None) or str(error)).lower())
