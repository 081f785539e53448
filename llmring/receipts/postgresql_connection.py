"""A connection to PostgreSQL that is made when it is needed, made again after it was lost, and waited for with bounds.

Effects; blocks. It keeps no state of a session, so that a pool between (PgBouncer in transaction mode) does no harm:
no prepared statement has a name, and what is set is set for one transaction. psycopg's errors become ReceiptErrors
that hold no address and no value.
"""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llmring.errors import ConfigError, ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.receipts.tables import Cells, failed

CONNECT_SECONDS = 3
"""For each address of each host."""

WRITE_SECONDS = 8.0
READ_SECONDS = 60.0
LOCK_SECONDS = 3.0
"""How long a write waits for another process's."""

SLACK_SECONDS = 2.0
"""On top of what the server has been told, before it is taken for one that hangs."""

_FIXED = {"client_encoding": "utf8"}
_DEFAULTS = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "llmring"}
# What is on disk when a commit returns is on disk, also where the server is set to be lenient.
_WRITE = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SELECT set_config('statement_timeout', '{seconds:g}s', true), set_config('lock_timeout', '{lock:g}s', true),
           set_config('idle_in_transaction_session_timeout', '{seconds:g}s', true),
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
               WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
"""
_READ = """
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SELECT set_config('statement_timeout', '{seconds:g}s', true),
           set_config('idle_in_transaction_session_timeout', '{seconds:g}s', true)
"""
_GONE = ("08", "57P", "25P03", "25006")
"""How the codes begin of errors that another connection may not have: of connections, of servers that shut down, of
those that only read."""


class ConnectionLost(ReceiptError):
    """Before a commit: nothing was written."""


class CommitLost(ReceiptError):
    """The commit was sent, and no word of it came."""


class Run(Protocol):
    """Runs a statement of the transaction, and gives what it found."""

    def __call__(self, query: str, given: Sequence[object] = ()) -> list[Cells]: ...


class Connection:
    """Connects with the first transaction. For one thread at a time."""

    def __init__(self, url: LedgerUrl) -> None:
        self.name = str(url)
        self._url = url
        self._open: tuple[psycopg.Connection[Any], socket.socket] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, which may have been lost since it was last used."""
        return self._open is not None

    @contextmanager
    def writing(self, *, long: bool = False) -> Iterator[Run]:
        """A transaction that is committed with the block, and undone by whatever the block raises. `long`: it may take
        as long as reading does.

        Raises ReceiptError: ConnectionLost and CommitLost for what they say.
        """
        (connection, wire), is_committing = self._connected(), False
        seconds = READ_SECONDS if long else WRITE_SECONDS
        begin = _WRITE.format(seconds=seconds, lock=seconds if long else LOCK_SECONDS)
        with _bounded(wire, seconds + SLACK_SECONDS) as hangs:
            try:
                connection.execute(begin.encode())
                yield partial(_run, connection.cursor(binary=True))
                is_committing = True
                status = connection.execute("COMMIT").statusmessage
            except psycopg.Error as error:
                raise self._failed(error, hangs, is_committing=is_committing) from error
            except BaseException:
                self.close()
                raise
        if status != "COMMIT":
            raise failed(self.name, "the database has undone what was written")

    @contextmanager
    def reading(self) -> Iterator[Run]:
        """A transaction that sees all as it is at its first statement, and writes nothing. Raises ReceiptError."""
        connection, wire = self._connected()
        with _bounded(wire, READ_SECONDS + SLACK_SECONDS) as hangs:
            try:
                connection.execute(_READ.format(seconds=READ_SECONDS).encode())
                yield partial(_run, connection.cursor(binary=True))
                connection.execute("COMMIT")
            except psycopg.Error as error:
                raise self._failed(error, hangs) from error
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """What is under way is undone by the server."""
        opened, self._open = self._open, None
        if opened is not None:
            connection, wire = opened
            with suppress(psycopg.Error):
                connection.close()
            wire.close()

    def _connected(self) -> tuple[psycopg.Connection[Any], socket.socket]:
        if self._open is None:
            try:
                said = make_conninfo(self._url.reveal(), **_FIXED)
                given = make_conninfo(said, **{k: v for k, v in _DEFAULTS.items() if k not in conninfo_to_dict(said)})
            except (psycopg.ProgrammingError, ValueError, ConfigError):
                # What these say, and where they come from, may hold a piece of the password.
                raise failed(self.name, "libpq does not understand the URL or its options") from None
            try:
                connection = psycopg.connect(given, autocommit=True, prepare_threshold=None)
            except psycopg.Error as error:
                raise failed(self.name, _why(error)) from error
            # A duplicate of its socket, which never comes to be another connection's.
            family = socket.AF_UNIX if connection.info.host.startswith("/") else socket.AF_INET
            self._open = connection, socket.fromfd(connection.fileno(), family, socket.SOCK_STREAM)
        return self._open

    def _failed(self, error: psycopg.Error, hangs: threading.Event, *, is_committing: bool = False) -> ReceiptError:
        """The error that is raised for psycopg's. The connection is given up: another is quickly made."""
        is_lost = self._open is None or self._open[0].closed or (error.sqlstate or "").startswith(_GONE)
        self.close()
        message = f"the ledger {self.name}: {'the database does not answer' if hangs.is_set() else _why(error)}"
        if is_committing:
            return CommitLost(message)
        return ConnectionLost(message) if is_lost else ReceiptError(message)


def _run(cursor: psycopg.Cursor[Any], query: str, given: Sequence[object] = ()) -> list[Cells]:
    # As bytes: psycopg's types would have every query be one literal, and ours are put together from constants.
    cursor.execute(query.encode(), given or None)
    return cursor.fetchall() if cursor.description is not None else []


@contextmanager
def _bounded(wire: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Cut the connection where the server says nothing for so long; whether it was cut."""
    hangs = threading.Event()
    timer = threading.Timer(seconds, _cut, (wire, hangs))
    timer.daemon = True
    timer.start()
    try:
        yield hangs
    finally:
        timer.cancel()


def _cut(wire: socket.socket, hangs: threading.Event) -> None:
    hangs.set()
    with suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


def _why(error: psycopg.Error) -> str:
    """What the server said, or the library, in one line; without details, which may hold values."""
    said = error.diag.message_primary or str(error) or type(error).__name__
    return " ".join(said.split())
