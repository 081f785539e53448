"""The tables of a ledger, version by version, as each database spells them, and which version may be used. Pure.

A migration is never changed, only another one added to the list: what makes a ledger of one version out of the version
before, in one transaction. `{ledger}` and `{now}` stand for a new ledger's id and the time.
"""

from datetime import datetime

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.receipt import timestamp

ID_BYTES = 16


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """The same change twice. In PostgreSQL every name is in the schema `llmring`, and is written so."""

    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        sqlite=(
            """CREATE TABLE ledger (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, size INTEGER NOT NULL,
               last BLOB, frontier BLOB NOT NULL, key_id TEXT, checkpoint_size INTEGER NOT NULL,
               checkpoint_at TEXT NOT NULL)""",
            """CREATE TABLE entries (sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, receipt_id TEXT UNIQUE,
               timestamp TEXT NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL, key_id TEXT NOT NULL,
               hash BLOB NOT NULL, salt BLOB)""",
            """CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, payload BLOB NOT NULL, signature BLOB NOT NULL,
               key_id TEXT NOT NULL)""",
            "CREATE TABLE keys (since INTEGER PRIMARY KEY, key_id TEXT NOT NULL, public_key BLOB NOT NULL)",
            "INSERT INTO ledger VALUES (1, '{ledger}', 0, NULL, x'', NULL, 0, '{now}')",
        ),
        postgresql=(
            """CREATE TABLE llmring.ledger (one BIGINT PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL,
               size BIGINT NOT NULL, last BYTEA, frontier BYTEA NOT NULL, key_id TEXT, checkpoint_size BIGINT NOT NULL,
               checkpoint_at TEXT NOT NULL)""",
            """CREATE TABLE llmring.entries (sequence BIGINT PRIMARY KEY, kind TEXT NOT NULL, receipt_id TEXT UNIQUE,
               timestamp TEXT NOT NULL, payload BYTEA NOT NULL, signature BYTEA NOT NULL, key_id TEXT NOT NULL,
               hash BYTEA NOT NULL, salt BYTEA)""",
            """CREATE TABLE llmring.checkpoints (size BIGINT PRIMARY KEY, payload BYTEA NOT NULL,
               signature BYTEA NOT NULL, key_id TEXT NOT NULL)""",
            "CREATE TABLE llmring.keys (since BIGINT PRIMARY KEY, key_id TEXT NOT NULL, public_key BYTEA NOT NULL)",
            "INSERT INTO llmring.ledger VALUES (1, '{ledger}', 0, NULL, '', NULL, 0, '{now}')",
        ),
    ),
    Migration(
        sqlite=(
            """CREATE TABLE budgets (account TEXT NOT NULL, period TEXT NOT NULL, holder TEXT NOT NULL,
               spent BIGINT NOT NULL, allowed BIGINT NOT NULL, heard_at BIGINT NOT NULL, ended BIGINT NOT NULL,
               PRIMARY KEY (account, period, holder))""",
        ),
        postgresql=(
            """CREATE TABLE llmring.budgets (account TEXT NOT NULL, period TEXT NOT NULL, holder TEXT NOT NULL,
               spent BIGINT NOT NULL, allowed BIGINT NOT NULL, heard_at BIGINT NOT NULL, ended BIGINT NOT NULL,
               PRIMARY KEY (account, period, holder))""",
        ),
    ),
)
"""By number, from 1."""

VERSION = len(MIGRATIONS)


def is_current(name: str, version: int, *, may_write: bool) -> bool:
    """Whether the ledger called `name`, of `version`, is to be used as it is; else it is to be migrated.

    Raises ReceiptError: it is of a later version, or of an earlier one and only to be read.
    """
    if version > VERSION:
        raise ReceiptError(f"the ledger {name} is of version {version}, and this llmring knows {VERSION}")
    if version < VERSION and not may_write:
        raise ReceiptError(f"the ledger {name} is of version {version}: it is brought to {VERSION} when written to")
    return version == VERSION


def foreign(name: str) -> ReceiptError:
    return ReceiptError(f"{name} is a database of something else: it was not touched")


def filled(statement: str, random: bytes, now: datetime) -> str:
    """A statement of a migration. `random` is ID_BYTES from the system, for the ledger that is being made, if it makes
    one."""
    return statement.replace("{ledger}", random.hex()).replace("{now}", timestamp(now))
