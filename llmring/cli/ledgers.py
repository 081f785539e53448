"""Which ledger a command is about, and what it says of the ledger's entries."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from llmring.cli.running import Failed
from llmring.config import RECEIPTS_VARIABLE, SIGNING_KEY_VARIABLE, LedgerPlace, ledger_place, read_settings
from llmring.errors import ConfigError, LLMRingError
from llmring.receipts.keys import KeySet
from llmring.receipts.opening import open_store
from llmring.receipts.receipt import Entry, Receipt, read
from llmring.receipts.signing import PublicKey, Signed, spelled
from llmring.receipts.store import Store

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
    """A ledger that is there, to be read, all of it as at the first look. Raises ReceiptError."""
    with closing(open_store(place, must_exist=True)) as store:
        yield store


def key_set(store: Store) -> KeySet:
    """The public keys of a ledger."""
    keys = tuple(PublicKey(key.raw) for key in store.public_keys())
    return KeySet(keys=keys, current_key_id=store.head().key_id)


def entry_of(signed: Signed) -> Entry:
    """An entry with its signature, where it has a place for one. Raises ReceiptError."""
    entry = read(signed.payload_type, signed.payload)
    if isinstance(entry, Receipt):
        return msgspec.structs.replace(entry, signature=spelled(signed.signature))
    return entry
