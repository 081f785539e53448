"""The ledger as one SQLite file, for any number of processes of one machine. Effects; blocks, so it is for threads.

The only file that imports sqlite3. What it refuses becomes a ReceiptError that names the file.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from llmring.errors import ReceiptError
from llmring.receipts import lending
from llmring.receipts.checking import Held
from llmring.receipts.signing import Signed
from llmring.receipts.spending import Grant, Move, Spent
from llmring.receipts.store import Addition, Head, Key, Row, Standing, Store, held_of

LOCKED_SECONDS = 1.0
"""How long a write waits for another process's."""

Found = TypeVar("Found")
_APPLICATION = 0x4C4C5247
_TYPE = "application/vnd.llmring.{}+json"

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE ledger (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, size INTEGER NOT NULL,
           last BLOB, frontier BLOB NOT NULL, key_id TEXT, checkpoint_size INTEGER NOT NULL,
           checkpoint_at TEXT NOT NULL)""",
        """CREATE TABLE entries (sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, receipt_id TEXT UNIQUE,
           timestamp TEXT NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL, key_id TEXT NOT NULL,
           hash BLOB NOT NULL, salt BLOB)""",
        """CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, payload BLOB NOT NULL, signature BLOB NOT NULL,
           key_id TEXT NOT NULL)""",
        "CREATE TABLE keys (since INTEGER PRIMARY KEY, key_id TEXT NOT NULL, public_key BLOB NOT NULL)",
        """INSERT INTO ledger VALUES (1, lower(hex(randomblob(16))), 0, NULL, x'', NULL, 0,
           strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))""",
    ),
    (lending.CREATE,),
)
"""By number, from 1: what makes a ledger of one version out of the version before. Never changed, only added to."""

VERSION = len(_MIGRATIONS)
_HEAD = "SELECT id, size, last, frontier, key_id, checkpoint_size, checkpoint_at FROM ledger"
_ROW = "SELECT sequence, kind, payload, signature, key_id, receipt_id, timestamp, hash, salt FROM entries"


class SqliteStore:
    """Made by `open_store`. For one thread at a time, whichever that is."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def append(self, make: Callable[[Head], Addition]) -> None:
        self._alone(lambda: self._write(make(self._head())))

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
        rows = (
            (
                row.sequence,
                _kind(row.signed.payload_type),
                row.receipt_id,
                row.timestamp,
                row.signed.payload,
                row.signed.signature,
                row.signed.key_id,
                row.hash,
                row.salt,
            )
            for row in new.rows
        )
        self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        for key in new.keys:
            run("INSERT INTO keys VALUES (?, ?, ?)", (key.since, key.key_id, key.raw))
        if new.checkpoint is not None:
            one = new.checkpoint
            given = (new.head.size, one.payload, one.signature, one.key_id)
            run("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", given)
        head = new.head
        run(
            "UPDATE ledger SET size = ?, last = ?, frontier = ?, key_id = ?, checkpoint_size = ?, checkpoint_at = ?",
            (head.size, head.last, head.frontier, head.key_id, head.checkpoint_size, head.checkpoint_at),
        )

    def head(self) -> Head:
        return self._asked(self._head)

    def _head(self) -> Head:
        row = self._connection.execute(_HEAD).fetchone()
        if row is None:
            raise ReceiptError(f"the ledger {self.path} is damaged: it does not say how many entries it has")
        ledger, size, last, frontier, key_id, checkpoint_size, checkpoint_at = row
        return Head(
            ledger=ledger,
            size=size,
            last=last,
            frontier=frontier,
            key_id=key_id,
            checkpoint_size=checkpoint_size,
            checkpoint_at=checkpoint_at,
        )

    def public_keys(self) -> list[Key]:
        rows = self._all("SELECT key_id, public_key, since FROM keys ORDER BY since")
        return [Key(key_id, raw, since) for key_id, raw, since in rows]

    def standing(self) -> Standing:
        self._all("BEGIN")
        try:
            ((entries, last),) = self._all("SELECT count(*), max(sequence) FROM entries")
            return Standing(
                head=self.head(), keys=self.public_keys(), checkpoints=self.checkpoints(), entries=entries, last=last
            )
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
        return [held_of(_row(row)) for row in rows]

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
            for row in self._connection.execute(query, given):
                yield _row(row)
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error

    def of_type(self, payload_type: str) -> list[Row]:
        rows = self._all(f"{_ROW} WHERE kind = ? ORDER BY sequence", (_kind(payload_type),))
        return [_row(row) for row in rows]

    def find(self, receipt_id: str) -> Row | None:
        rows = self._all(f"{_ROW} WHERE receipt_id = ?", (receipt_id,))
        return _row(rows[0]) if rows else None

    def hashes(self, size: int) -> list[bytes]:
        return [row[0] for row in self._all("SELECT hash FROM entries ORDER BY sequence LIMIT ?", (size,))]

    def checkpoints(self) -> list[Signed]:
        rows = self._all("SELECT payload, signature, key_id FROM checkpoints ORDER BY size")
        return [Signed(_TYPE.format("checkpoint"), *row) for row in rows]

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
            raise ReceiptError(f"there is no ledger {path}")
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


def _prepare(connection: sqlite3.Connection, path: Path, *, may_write: bool) -> None:
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_new = application == 0 and version == 0 and _count_tables(connection) == 0
    if application != _APPLICATION and not is_new:
        raise ReceiptError(f"{path} is a database of something else: it was not touched")
    if version > VERSION:
        raise ReceiptError(f"the ledger {path} is of version {version}, and this llmring knows {VERSION}")
    if not may_write:
        if version < VERSION:
            raise ReceiptError(f"the ledger {path} is of version {version}: it is brought to {VERSION} when written to")
        return
    # Readers do not hold up the writer. Where the file system cannot, SQLite stays with what it can.
    connection.execute("PRAGMA journal_mode = WAL")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    for number in range(_pragma(connection, "user_version"), VERSION):
        for statement in _MIGRATIONS[number]:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _count_tables(connection: sqlite3.Connection) -> int:
    value: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return value


def _kind(payload_type: str) -> str:
    return payload_type.removeprefix("application/vnd.llmring.").removesuffix("+json")


def _row(row: tuple[Any, ...]) -> Row:
    sequence, kind, payload, signature, key_id, receipt_id, timestamp, digest, salt = row
    signed = Signed(_TYPE.format(kind), _bytes(payload), _bytes(signature), str(key_id))
    return Row(sequence, signed, receipt_id, timestamp, _bytes(digest), salt)


def _bytes(value: Any) -> bytes:
    """As it was written; of a row that somebody changed by hand, whatever it is now."""
    return value if isinstance(value, bytes) else str(value).encode()


def _failed(path: Path, error: Exception) -> ReceiptError:
    return ReceiptError(f"the ledger {path}: {(getattr(error, 'strerror', None) or str(error)).lower()}")
