"""How a ledger and its key are found: by the ledger's path and, where there is one, a key from the environment.

Loads the libraries of databases and signatures with the first receipt, and not before.
"""

from functools import partial
from pathlib import Path

from llmring.errors import ReceiptError
from llmring.receipts.keys import key_for
from llmring.receipts.signing import PrivateKey, ReceiptSigner
from llmring.receipts.store import Store
from llmring.receipts.writer import Writer

KEY_NAME = "signing.key"


def key_path(ledger: Path) -> Path:
    """The key file of a ledger: beside it."""
    return ledger.parent / KEY_NAME


def writer_for(ledger: Path, given_key: str | None) -> Writer:
    """A writer of the ledger at this path; both are made where there are none. `given_key` stands for the key file.

    Reads and makes nothing yet.
    """
    return Writer(partial(open_ledger_store, ledger), partial(_open_key, ledger, given_key))


def open_ledger_store(path: Path | None) -> Store:
    """The store of the ledger at this path, to write to. Raises ReceiptError, also where no path is known."""
    if path is None:
        raise ReceiptError("there is no home directory for the ledger: name a file in `receipts`, or in its variable")
    from llmring.receipts.sqlite_store import open_store

    return open_store(path)


def _open_key(ledger: Path, given: str | None, current: str | None) -> PrivateKey:
    return ReceiptSigner.load_private_key(given) if given is not None else key_for(key_path(ledger), current)
