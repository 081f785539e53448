"""Opening a router: its files read, its tasks started, and its end, whatever ends it.

A router begins with the lockfile and the catalog of this machine; what the network brings comes later, and nobody waits
for it. Its background tasks live in one nursery; a bug in one of them ends the block with that error, not with a group.
"""

import math
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from llmring.arguments import PATH, as_text, check_kind, check_patience, check_seconds
from llmring.codecs.capabilities import Capabilities
from llmring.config import (
    RECEIPTS_VARIABLE,
    Settings,
    find_lockfile,
    ledger_place,
    read_base_url,
    read_registry_url,
    read_settings,
    read_signing_key,
    status_directory,
)
from llmring.errors import ConfigError
from llmring.keys import check_keys, keys_in_use
from llmring.lockfile import Budget, Lockfile, ProviderSettings, read_lockfile
from llmring.lockfile.budgets import check_given
from llmring.money.budgets import Budgets
from llmring.pricing import Prices
from llmring.providers.crew import Crew
from llmring.providers.endpoint import Endpoint, endpoint
from llmring.providers.files import Files
from llmring.providers.overlay import Published, capabilities
from llmring.providers.tokens import is_loaded, load
from llmring.providers.transport import Connect, HttpxConnect
from llmring.receipts.ledger import Ledger, open_ledger
from llmring.receipts.opening import open_ledger_store, writer_for
from llmring.receipts.store import Store
from llmring.receipts.writer import utc_now
from llmring.refs import ModelRef
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Lists
from llmring.registry.refresher import Refresher
from llmring.registry.store import read_bundled
from llmring.router.batching import Books
from llmring.router.calls import Calls
from llmring.router.dispatcher import Dispatcher
from llmring.router.keeper import Keeper
from llmring.router.receipting import Receipts
from llmring.router.recorder import Recorder, open_recorder
from llmring.router.router import Router
from llmring.router.state_file import StateFile
from llmring.router.status_server import document, open_server
from llmring.telemetry.errands import watching
from llmring.telemetry.telemetry import Telemetry

Told = Callable[..., None]
"""Is told of attempts: the dispatcher's `Ended`, and a stream's, which says of more."""

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
    settings = read_settings()
    lockfile = _lockfile(lockfile, settings, keys)
    lists, directory = _lists(settings, refresh) if catalog is None else None, _shown_in(settings, status)
    calls, files, first = Calls(), Files(), catalog if catalog is not None else read_bundled()
    keeper = _keeper(settings, state, is_real=connect is None)
    counted = Budgets(
        check_given(budgets, lockfile.profiles),
        lockfile.budgets,
        budget_store(settings, receipts, is_real=connect is None),
        clock,
    )
    connects, told = connect if connect is not None else HttpxConnect(), telemetry or Telemetry()
    raised: BaseException | None = None
    try:
        # The ledger around the nursery, too: attempts are cut off until its last task has ended.
        async with (
            _recording(settings, decisions) as recorder,
            _ledger(settings, receipts, is_real=connect is None) as ledger,
            _keeping(keeper),
            _kept(counted),
            trio.open_nursery() as nursery,
        ):

            def prices(ref: ModelRef) -> Prices | None:
                return router.catalog.prices(ref)

            def takes(about: Endpoint, ref: ModelRef) -> Capabilities:
                return _capabilities(router.catalog, about, ref)

            def hire(name: str, provider: ProviderSettings | None) -> Crew:
                about = endpoint(name, provider, read_base_url(name))
                crew = Crew(
                    about,
                    keys_in_use(about, keys),
                    connects,
                    jitter,
                    partial(takes, about),
                    files,
                    keeper.recall,
                    watching(told),
                    keys_given=keys is not None,
                )
                for worker in crew.workers:
                    nursery.start_soon(worker.run)
                return crew

            ended, books = _receipting(ledger, lambda: router.catalog)
            dispatcher = Dispatcher(
                lockfile,
                profile if profile is not None else settings.profile,
                hire,
                jitter,
                prices,
                ended,
                counted,
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
                ledger.status if ledger is not None else _nothing,
                counted,
            )
            refresher = Refresher(lists, first, router.adopt) if lists is not None else None
            for task in (dispatcher.watch, counted.run, _load_vocabularies, *_tasks(keeper, recorder, refresher)):
                nursery.start_soon(task)
            _show(router, lockfile.path, directory, nursery)
            try:
                with told.watching(router):
                    yield router
            except Exception as error:  # noqa: BLE001 - carried past the nursery, which would wrap it in a group
                raised = error
            finally:
                is_cancelled = trio.current_effective_deadline() == -math.inf
                with trio.CancelScope(shield=True):
                    await calls.drain(0.0 if is_cancelled else grace)
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # One background task has failed, or one of them and the block: one exception comes out, the first.
        raise _first(group) from group
    if raised is not None:
        raise raised


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


def _tasks(*actors: Keeper | Recorder | Refresher | None) -> list[Callable[[], Awaitable[None]]]:
    """What those run that there are."""
    return [actor.run for actor in actors if actor is not None]


@asynccontextmanager
async def _recording(
    settings: Settings, decisions: Path | str | Literal[False] | None
) -> AsyncGenerator[Recorder | None]:
    """None where no decisions are kept. Raises ConfigError.

    Around the nursery, not in it: the rows of a map leave their records until its last task has ended.
    """
    path = settings.decisions if decisions is None else decisions
    recorder = open_recorder(Path(path)) if path else None
    try:
        yield recorder
    finally:
        if recorder is not None:
            recorder.close()


def _keeper(settings: Settings, state: Path | str | Literal[False] | None, *, is_real: bool) -> Keeper:
    """What somebody's own `connect` teaches, of a test maybe, is not true of the provider that it stands in for."""
    directory = settings.state_directory if is_real else None
    if state is not None:
        directory = Path(state) if state else None
    return Keeper(StateFile(Path(os.path.expanduser(directory))) if directory is not None else None)


@asynccontextmanager
async def _keeping(keeper: Keeper) -> AsyncGenerator[None]:
    """Around the nursery: when its last task has ended, all is known."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await keeper.save()


def _ledger(
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


def budget_store(
    settings: Settings, receipts: bool | Path | str | None, *, is_real: bool
) -> Callable[[], Store] | None:
    """What opens the ledger that budgets are kept in; None where they are in memory alone."""
    asked = settings.receipts if receipts is None else receipts
    if not is_real and (asked is None or asked is False):
        return None
    return partial(open_ledger_store, ledger_place(receipts, settings))


@asynccontextmanager
async def _kept(budgets: Budgets) -> AsyncGenerator[None]:
    """Around the nursery: when its last task has ended, all is spent."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await budgets.aclose()


def _receipting(ledger: Ledger | None, catalog: Callable[[], Catalog]) -> tuple[Told, Books | None]:
    """Who is told of attempts, and of rows of batches."""
    if ledger is None:
        return _nothing, None
    receipts = Receipts(ledger, catalog)
    return receipts.ended, receipts


def _nothing(*_: object) -> None:
    pass


def _shown_in(settings: Settings, status: bool | Path | str | None) -> Path | None:
    """The directory in which a router is shown to `llmring status`; None where it is not. Raises ConfigError."""
    asked = status if status is not None else settings.status
    if asked is None or asked is False:
        return None
    return status_directory(asked if asked is not True else None)


def _show(router: Router, lockfile: Path, directory: Path | None, nursery: trio.Nursery) -> None:
    """Show a router, where it is to be shown and can be."""
    if directory is None:
        return
    path, started_at = lockfile.absolute(), datetime.now(UTC)
    server = open_server(directory, lambda: document(router.status(), path, started_at))
    if server is not None:
        nursery.start_soon(server.run)


async def _load_vocabularies() -> None:
    """Have text counted exactly, where the extra `tokens` is installed; until then a token is four characters."""
    if not is_loaded():
        await trio.to_thread.run_sync(load, abandon_on_cancel=True)


def _capabilities(catalog: Catalog, about: Endpoint, ref: ModelRef) -> Capabilities:
    """What a model takes, behind its provider."""
    facts = catalog.get(ref)
    published = (
        None
        if facts is None
        else Published(
            can=facts.capabilities,
            max_input_tokens=facts.max_input_tokens,
            max_output_tokens=facts.max_output_tokens,
            reasoning_tokens=facts.recommended_reasoning_tokens,
        )
    )
    return about.wire.bounded(capabilities(about.kind, ref.model, published))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
