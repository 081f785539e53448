"""The ledger of a router: whether there is one, where, and who is told of what. Receipts and budgets are kept in it.

What is scripted never happened: with a `connect` of the caller's nothing is kept unless it was asked for. `receipts` is
what was given to `open_router`, and `is_real` that no such `connect` was.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import trio

from llmring.config import RECEIPTS_VARIABLE, Settings, ledger_place, read_signing_key
from llmring.errors import ConfigError
from llmring.money.budgets import Budgets
from llmring.receipts.ledger import Ledger, open_ledger
from llmring.receipts.opening import open_ledger_store, writer_for
from llmring.receipts.store import Store
from llmring.registry.catalog import Catalog
from llmring.router.batching import Books
from llmring.router.receipting import Receipts

Told = Callable[..., None]
"""Is told of attempts: a journey's `Ended`, and a stream's, which says of more."""


def open_books(
    settings: Settings, receipts: bool | Path | str | None, *, is_real: bool
) -> AbstractAsyncContextManager[Ledger | None]:
    """The ledger, where there is to be one. Raises ConfigError where it was asked for and there is no place for it."""
    asked = settings.receipts if receipts is None else receipts
    place = ledger_place(receipts, settings)
    if asked is False or (asked is None and (not is_real or place is None)):
        return nullcontext()
    if place is None:
        raise ConfigError(f"receipts: there is no home directory: name a file in `receipts`, or in {RECEIPTS_VARIABLE}")
    return open_ledger(writer_for(place, read_signing_key()), required=asked is not None)


def receipting(ledger: Ledger | None, catalog: Callable[[], Catalog]) -> tuple[Told, Books | None]:
    """Who is told of attempts, and of rows of batches."""
    if ledger is None:
        return nothing, None
    receipts = Receipts(ledger, catalog)
    return receipts.ended, receipts


def nothing(*_: object) -> None:
    """Where no receipts are kept."""


def budget_store(
    settings: Settings, receipts: bool | Path | str | None, *, is_real: bool
) -> Callable[[], Store] | None:
    """What opens the ledger that budgets are kept in; None where they are in memory alone."""
    asked = settings.receipts if receipts is None else receipts
    if not is_real and (asked is None or asked is False):
        return None
    return partial(open_ledger_store, ledger_place(receipts, settings))


@asynccontextmanager
async def kept(budgets: Budgets) -> AsyncGenerator[None]:
    """Around the nursery: when its last task has ended, all is spent."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await budgets.aclose()
