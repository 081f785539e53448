"""Calls go on while the ledger cannot be written; the status says how many attempts have no receipt, and so does a gap
in the ledger as soon as it can be written again."""

import resource
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from bench.postgresql import Server
from llmring.config import LedgerPlace
from llmring.ledger_url import LedgerUrl
from llmring.receipts import writer as writer_module
from llmring.receipts.auditing import audit_ledger
from llmring.receipts.opening import open_store
from llmring.receipts.receipt import Entry, Gap, Receipt, read
from llmring.receipts.writer import Writer
from llmring.router.opening import open_router
from llmring.status import ReceiptsStatus
from llmring.testing import ScriptedProvider, answer
from tests.router.world import lockfile

KEPT, CALLS = 3, 5
Outage = Callable[[], AbstractContextManager[None]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def until(monkeypatch: pytest.MonkeyPatch) -> Until:
    """Waits for what comes true with one of the next tries to write the ledger."""
    flush = Writer.flush
    tried: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []

    def flush_and_tell(self: Writer) -> bool:
        done = flush(self)
        while tried:
            token, event = tried.pop()
            token.run_sync_soon(event.set)
        return done

    monkeypatch.setattr(Writer, "flush", flush_and_tell)

    async def wait(is_true: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not is_true():
                event = trio.Event()
                tried.append((trio.lowlevel.current_trio_token(), event))
                # It may have come true in the ledger's thread meanwhile.
                if not is_true():
                    await event.wait()

    return wait


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Files that do not grow any more, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@pytest.mark.parametrize(("outage", "why"), [(locked, "database is locked"), (full, "disk")])
async def test_a_file_that_takes_nothing(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch, outage: Callable[[Path], Outage], why: str
) -> None:
    path = tmp_path / "ledger.db"
    place = LedgerPlace(where=path, key=tmp_path / "signing.key")
    await suffers(place, path, partial(outage, path), why, until, monkeypatch)  # type: ignore[arg-type]  # as it is called


async def test_a_database_that_is_away(
    own_postgresql: Server, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    url = own_postgresql.new_database()
    place = LedgerPlace(where=LedgerUrl(url), key=tmp_path / "llmring" / "signing.key")
    await suffers(place, url, partial(stopped, own_postgresql), "connection", until, monkeypatch)


async def suffers(
    place: LedgerPlace,
    asked: Path | str,
    outage: Outage,
    why: str,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "MOST_KEPT", KEPT)
    provider = ScriptedProvider({"first": [answer("ok")]})
    async with open_router(lockfile(), connect=provider, receipts=asked) as router:

        def now() -> ReceiptsStatus:
            told = router.status().receipts
            assert told is not None
            return told

        await router.chat("alone", "before")
        await until(lambda: len(entries(place)) == 1)
        assert now() == ReceiptsStatus(waiting=0, missing=0, why="")
        with outage():
            for _ in range(CALLS):
                assert (await router.chat("alone", "meanwhile")).content == "ok"
            await until(lambda: now().missing == CALLS - KEPT and bool(now().why))
            assert now().waiting == KEPT
            assert why in now().why
        await until(lambda: now() == ReceiptsStatus(waiting=0, missing=0, why=""))
    *kept, gap = entries(place)
    assert len([entry for entry in kept if isinstance(entry, Receipt)]) == 1 + KEPT
    assert isinstance(gap, Gap)
    assert gap.missing == CALLS - KEPT
    with closing(open_store(place, must_exist=True)) as store:
        assert audit_ledger(store).findings == ()


def entries(place: LedgerPlace) -> list[Entry]:
    with closing(open_store(place, must_exist=True)) as store:
        return [read(row.signed.payload_type, row.signed.payload) for row in store.rows()]
