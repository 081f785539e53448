"""How a ledger and its key are found: by the ledger's place and, where there is one, a key from the environment.

Loads the libraries of databases and signatures with the first receipt, and not before.
"""

from functools import partial

from llmring.config import SIGNING_KEY_VARIABLE, LedgerPlace
from llmring.errors import ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.receipts.keys import key_for
from llmring.receipts.signing import PrivateKey, ReceiptSigner
from llmring.receipts.store import Store
from llmring.receipts.writer import Writer


def writer_for(place: LedgerPlace, given_key: str | None) -> Writer:
    """A writer of the ledger there; ledger and key are made where there are none. `given_key` stands for the key file.

    Reads and makes nothing yet.
    """
    return Writer(partial(open_store, place), partial(_open_key, place, given_key))


def open_ledger_store(place: LedgerPlace | None) -> Store:
    """The store of the ledger there, to write to. Raises ReceiptError, also where no place is known."""
    if place is None:
        raise ReceiptError("there is no home directory for the ledger: name a file in `receipts`, or in its variable")
    return open_store(place)


def open_store(place: LedgerPlace, *, must_exist: bool = False) -> Store:
    """Open a ledger, or make one. With `must_exist` one that is there, only to be read.

    Raises ReceiptError: it cannot be opened, is no ledger, is of a later llmring, or psycopg is not installed.
    """
    if not isinstance(place.where, LedgerUrl):
        from llmring.receipts import sqlite_store

        return sqlite_store.open_store(place.where, must_exist=must_exist)
    try:
        from llmring.receipts import postgresql_store
    except ImportError as error:
        if (error.name or "").startswith("llmring"):
            raise
        raise ReceiptError(f"the ledger {place.where} needs psycopg: pip install 'llmring[postgres]'") from error
    return postgresql_store.open_store(place.where, must_exist=must_exist)


def _open_key(place: LedgerPlace, given: str | None, current: str | None) -> PrivateKey:
    if given is not None:
        return ReceiptSigner.load_private_key(given)
    if place.key is None:
        raise ReceiptError(f"there is no home directory for the key: set {SIGNING_KEY_VARIABLE}")
    return key_for(place.key, current)
