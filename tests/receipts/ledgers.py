"""Ledgers in every store there is, and what is found in them."""

from contextlib import closing
from pathlib import Path

from llmring.config import LedgerPlace
from llmring.ledger_url import LedgerUrl
from llmring.receipts.auditing import audit_ledger
from llmring.receipts.chain import Audit
from llmring.receipts.opening import open_store
from llmring.receipts.receipt import Entry, Receipt, read


def file_place(directory: Path) -> LedgerPlace:
    """A file with its key beside it."""
    return LedgerPlace(where=directory / "ledger.db", key=directory / "signing.key")


def database_place(url: str, directory: Path) -> LedgerPlace:
    """A database, and the key in `directory`."""
    return LedgerPlace(where=LedgerUrl(url), key=directory / "signing.key")


def spelled(place: LedgerPlace) -> str:
    """As a program or a variable names it, with its password."""
    return place.where.reveal() if isinstance(place.where, LedgerUrl) else str(place.where)


def entries(place: LedgerPlace) -> list[Entry]:
    with closing(open_store(place, must_exist=True)) as store:
        return [read(row.signed.payload_type, row.signed.payload) for row in store.rows()]


def receipts(place: LedgerPlace) -> list[Receipt]:
    return [entry for entry in entries(place) if isinstance(entry, Receipt)]


def judged(place: LedgerPlace) -> Audit:
    with closing(open_store(place, must_exist=True)) as store:
        return audit_ledger(store)
