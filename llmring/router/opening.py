"""Opening a router: its files read, its tasks started, and its end, whatever ends it.

A router begins with the lockfile and the catalog of this machine; what the network brings comes later, and nobody waits
for it. What each of its parts is opened with stands where that part is; here they are put together.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import trio

from llmring.arguments import PATH, as_text, check_kind, check_patience, check_seconds
from llmring.config import Settings, find_lockfile, read_registry_url, read_settings
from llmring.errors import ConfigError
from llmring.keys import check_keys
from llmring.lockfile import Budget, Lockfile, read_lockfile
from llmring.lockfile.budgets import check_given
from llmring.money.budgets import Budgets
from llmring.pricing import Prices
from llmring.providers.files import Files
from llmring.providers.tokens import is_loaded, load
from llmring.providers.transport import Connect, HttpxConnect
from llmring.receipts.writer import utc_now
from llmring.refs import ModelRef
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Lists
from llmring.registry.refresher import Refresher
from llmring.registry.store import read_bundled
from llmring.router.bookkeeping import budget_store, kept, nothing, open_books, receipting
from llmring.router.calls import Calls
from llmring.router.dispatcher import Dispatcher
from llmring.router.hiring import Hiring
from llmring.router.keeper import Keeper, keeper_in, keeping
from llmring.router.recorder import Recorder, recording
from llmring.router.router import Router
from llmring.router.status_server import StatusServer, server_of, shown_in
from llmring.router.supervising import supervised
from llmring.telemetry.errands import watching
from llmring.telemetry.telemetry import Telemetry

TIMEOUT_SECONDS = 600.0
GRACE_SECONDS = 10.0

_SWITCHES = ("status", "receipts")
"""What may be True, and is then where it is by default."""


@asynccontextmanager
async def open_router(
    lockfile: Path | str | Lockfile | None = None,
    *,
    profile: str | None = None,
    timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - of each call, not of this function
    grace: float = GRACE_SECONDS,
    connect: Connect | None = None,
    keys: Mapping[str, str] | None = None,
    catalog: Catalog | None = None,
    refresh: bool | None = None,
    status: bool | Path | str | None = None,
    decisions: Path | str | Literal[False] | None = None,
    state: Path | str | Literal[False] | None = None,
    receipts: bool | Path | str | None = None,
    budgets: Sequence[Budget] = (),
    telemetry: Telemetry | None = None,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[Router]:
    """Open a router for the length of the `async with`. Reads files; nothing waits for the network.

    `lockfile`: a path, or one that was read already; by default LLMRING_LOCKFILE_PATH, ./llmring.lock, the bundled one.
    `profile`: by default LLMRING_PROFILE, then the lockfile's. `timeout` bounds a call in seconds. Leaving the block
    refuses new calls, waits up to `grace` seconds for those under way, then cuts them off with RouterClosed. `keys`, by
    the names of variables ({"OPENAI_API_KEY": "sk-..."}), stand in for the environment, which is not asked then.
    `connect` makes connections (llmring.testing has a scripted provider); `jitter()` gives a number in [0, 1), and
    `clock()` the time of day, by which days and months begin.

    Without a `catalog` the newest one of this machine is used, and renewed behind the calls' backs when it is a day
    old: see LLMRING_REGISTRY_URL. `refresh` false keeps off the network; by default LLMRING_REGISTRY_REFRESH says.

    `status` true lets `llmring status` of the same user look at the router, through a socket in a private directory, or
    in the directory that it names; by default LLMRING_STATUS says. A socket that cannot be made is a warning.

    `decisions` names a file: for every request a line is appended with what was seen and decided, for `llmring replay`;
    by default LLMRING_DECISIONS names it, and False keeps none. What cannot be written is dropped and logged.

    `state` names a directory: what was learned of limits and of the size and speed of answers is kept there for the
    next process, without prompts or keys. By default LLMRING_STATE says, else it is the user's own; nothing is kept
    with False, nor, unless `state` names a directory, with a `connect` of the caller's.

    `receipts` true keeps a signed receipt of every attempt in a ledger of this user's, or in the file that it names,
    with the key beside it or in LLMRING_SIGNING_KEY, or in a database, postgresql://...; false keeps none. By default
    LLMRING_RECEIPTS says; else they are kept as well as can be, but where `connect` is given: what is scripted never
    happened.

    `budgets` cap what may be spent, beside those of the lockfile, whose aliases and profiles they name. They are kept
    in the ledger, also where no receipts are; in memory alone for this router with a `connect` of the caller's, unless
    receipts are asked for.

    `telemetry` says where spans and metrics go, and whether with prompts and answers; by default to the providers that
    the program sets for all of its libraries, without.

    Raises ConfigError. What the block raises comes out as it is, never in an ExceptionGroup.
    """
    _check(timeout, grace, profile, {"status": status, "decisions": decisions, "state": state, "receipts": receipts})
    settings, is_real = read_settings(), connect is None
    lockfile = _lockfile(lockfile, settings, keys)
    lists = _lists(settings, refresh) if catalog is None else None
    shown = shown_in(settings, status)
    calls, files, first = Calls(), Files(), catalog if catalog is not None else read_bundled()
    keeper = keeper_in(settings, state, is_real=is_real)
    store = budget_store(settings, receipts, is_real=is_real)
    counted = Budgets(check_given(budgets, lockfile.profiles), lockfile.budgets, store, clock)
    told = telemetry or Telemetry()
    # All that is kept around the nursery: attempts are cut off until its last task has ended.
    async with (
        recording(settings, decisions) as recorder,
        open_books(settings, receipts, is_real=is_real) as ledger,
        keeping(keeper),
        kept(counted),
        supervised(calls, grace) as nursery,
    ):

        def prices(ref: ModelRef) -> Prices | None:
            # Of the catalog as it is by then.
            return router.catalog.prices(ref)

        hiring = Hiring(
            nursery,
            connect if connect is not None else HttpxConnect(),
            keys,
            jitter,
            lambda: router.catalog,
            files,
            keeper.recall,
            watching(told),
        )
        ended, books = receipting(ledger, lambda: router.catalog)
        dispatcher = Dispatcher(
            lockfile,
            profile if profile is not None else settings.profile,
            hiring.hire,
            jitter,
            prices,
            ended,
            counted,
            hiring.unasked,
        )
        keeper.memories = dispatcher.memories
        router = Router(
            dispatcher,
            first,
            files,
            calls,
            nursery,
            timeout,
            told,
            recorder,
            ended,
            books,
            ledger.status if ledger is not None else nothing,
            counted,
        )
        refresher = Refresher(lists, first, router.adopt) if lists is not None else None
        server = server_of(router.status, lockfile.path, shown)
        for task in (dispatcher.watch, counted.run, _load_vocabularies, *_tasks(keeper, recorder, refresher, server)):
            nursery.start_soon(task)
        with told.watching(router):
            yield router


def _check(timeout: float, grace: float, profile: str | None, places: Mapping[str, object]) -> None:
    """Raises ConfigError, also for what is neither a path nor a word of its own."""
    check_seconds("timeout", timeout, ConfigError)
    check_patience("grace", grace, ConfigError)
    if profile is not None:
        as_text("profile", profile, ConfigError)
    for name, place in places.items():
        if place is None or place is False or (place is True and name in _SWITCHES):
            continue
        check_kind(name, PATH, place, ConfigError)


def _lockfile(asked: Path | str | Lockfile | None, settings: Settings, keys: Mapping[str, str] | None) -> Lockfile:
    """The lockfile to begin with, which `keys` fit. Raises ConfigError."""
    if asked is not None and not isinstance(asked, Lockfile):
        check_kind("lockfile", PATH, asked, ConfigError)
    lockfile = asked if isinstance(asked, Lockfile) else read_lockfile(find_lockfile(asked, settings, Path.cwd()))
    check_keys(keys, lockfile)
    return lockfile


def _lists(settings: Settings, refresh: bool | None) -> Lists:
    """The registry's lists of this machine. Raises ConfigError for an address that cannot be one."""
    may_ask = settings.refresh if refresh is None else refresh
    fetch = fetch_from(read_registry_url()) if may_ask else None
    return Lists(read_bundled(), Cache(settings.cache_directory), fetch)


def _tasks(*actors: Keeper | Recorder | Refresher | StatusServer | None) -> list[Callable[[], Awaitable[None]]]:
    """What those run that there are."""
    return [actor.run for actor in actors if actor is not None]


async def _load_vocabularies() -> None:
    """Have text counted exactly, where the extra `tokens` is installed; until then a token is four characters."""
    if not is_loaded():
        await trio.to_thread.run_sync(load, abandon_on_cancel=True)
