"""Which ledger a command is about, and what it says of the ledger's entries."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from llmring.cli.running import Failed
from llmring.config import (
    RECEIPTS_VARIABLE,
    SIGNING_KEY_VARIABLE,
    LedgerPlace,
    ledger_place,
    read_settings,
    read_signing_key,
)
from llmring.errors import ConfigError, LLMRingError, ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.keys import KeySet
from llmring.receipts.opening import open_store, writer_for
from llmring.receipts.receipt import Entry, Receipt, read
from llmring.receipts.signing import PublicKey, Signed, spelled
from llmring.receipts.store import Row, Store
from llmring.receipts.writer import Writer

Work = TypeVar("Work", bound=Callable[..., Any])

ledger_option = click.option(
    "--ledger",
    metavar="LEDGER",
    help="The ledger, a file or postgresql://... Default: LLMRING_RECEIPTS, then ~/.local/share/llmring/ledger.db.",
)
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True), help="Default: standard output."
)
force_option = click.option("--force", is_flag=True, help="Replace an OUTPUT that exists.")


def chosen_ledger(argument: str | None) -> LedgerPlace:
    """The ledger that the command line and the environment lead to. Raises ConfigError."""
    place = ledger_place(argument, read_settings())
    if place is None:
        raise ConfigError(f"there is no home directory: name a ledger with --ledger, or in {RECEIPTS_VARIABLE}")
    return place


def key_file(place: LedgerPlace) -> Path:
    """Where its key is. Raises ConfigError."""
    if place.key is None:
        raise ConfigError(f"there is no home directory for the key: set {SIGNING_KEY_VARIABLE}")
    return place.key


@contextmanager
def failures() -> Iterator[None]:
    """An error of ours ends the command in one line."""
    try:
        yield
    except LLMRingError as error:
        raise Failed(error) from error


@contextmanager
def reading(place: LedgerPlace) -> Iterator[Store]:
    """A ledger that is there, to be read. Raises ReceiptError: LedgerMissing where there is none."""
    with closing(open_store(place, must_exist=True)) as store:
        yield store


@contextmanager
def ledger_writer(place: LedgerPlace) -> Iterator[Writer]:
    """A writer of a ledger that is there, with its key. Raises ReceiptError."""
    with closing(writer_for(place, read_signing_key())) as writer:
        yield writer


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def found_row(store: Store, receipt_id: str) -> Row:
    """The entry of a receipt. Raises ReceiptError where there is none."""
    row = store.find(receipt_id)
    if row is None:
        raise ReceiptError(f"there is no receipt {receipt_id!r} in the ledger")
    return row


def reading_keys(store: Store) -> dict[str, PublicKey]:
    """The public keys of a ledger, by their ids."""
    return {key.key_id: key for key in key_set(store).keys}


def key_set(store: Store) -> KeySet:
    """The public keys of a ledger."""
    keys = tuple(PublicKey(key.raw) for key in store.public_keys())
    return KeySet(keys=keys, current_key_id=store.head().key_id)


def entry_of(signed: Signed) -> Entry:
    """An entry with its signature, where it has a place for one. Raises ReceiptError."""
    entry = read(signed.payload_type, signed.payload)
    if isinstance(entry, Receipt | BatchReceipt):
        return msgspec.structs.replace(entry, signature=spelled(signed.signature))
    return entry
