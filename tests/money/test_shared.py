"""One budget for several routers and processes: in one ledger, over restarts, kills and a disk that refuses."""

import itertools
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
import trio
import trio.lowlevel

from bench.postgresql import Server
from llmring.config import LedgerPlace, Settings
from llmring.errors import BudgetExceeded, LLMRingError, ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.lockfile import Budget, parse_lockfile
from llmring.money.amounts import to_nanos
from llmring.money.budgets import account_of, named
from llmring.money.periods import RUN, period_of
from llmring.money.pot import IDLE_SECONDS, Pot, Waiting
from llmring.receipts.opening import open_store
from llmring.receipts.spending import Grant, Move, Spent
from llmring.router.bookkeeping import budget_store
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, Step, answer
from tests.money.spender import LOCKFILE, WORST
from tests.receipts.ledgers import database_place, spelled

FULL = answer("ok", input_tokens=28, output_tokens=1000)
SMALL = answer("ok", input_tokens=28, output_tokens=10)
ACCOUNT = account_of("shared", (None, None, None))
EACH = to_nanos(WORST)


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the key of a database is."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def shared(limit: Decimal) -> Budget:
    return Budget(name="shared", limit=limit, per="month")


@asynccontextmanager
async def opened(place: LedgerPlace, limit: Decimal, *script: Step) -> AsyncGenerator[Router]:
    lockfile = parse_lockfile(LOCKFILE, Path("test.lock"))
    provider = ScriptedProvider({"gpt-4o-mini": script or (FULL,)})
    keys = {"OPENAI_API_KEY": "key"}
    async with open_router(
        lockfile, connect=provider, receipts=spelled(place), budgets=[shared(limit)], keys=keys
    ) as router:
        yield router


async def ask(router: Router) -> None:
    await router.chat("alone", "abcd", max_tokens=1000, timeout=20)


async def ask_until_refused(router: Router, *, seconds: float = 20) -> tuple[int, LLMRingError]:
    """How many were answered, and the error."""
    for answered in itertools.count():
        try:
            await router.chat("alone", "abcd", max_tokens=1000, timeout=seconds)
        except LLMRingError as error:
            return answered, error
    raise AssertionError


def run(place: LedgerPlace, statement: str) -> list[tuple[object, ...]]:
    """A statement on the ledger's tables, and what it finds."""
    if isinstance(place.where, LedgerUrl):
        with psycopg.connect(place.where.reveal(), options="-c search_path=llmring") as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []
    with closing(sqlite3.connect(place.where)) as file:
        found = file.execute(statement).fetchall()
        file.commit()
        return found


@contextmanager
def locked(place: LedgerPlace) -> Iterator[None]:
    """Another program has the table of budgets."""
    if isinstance(place.where, LedgerUrl):
        with psycopg.connect(place.where.reveal()) as connection:
            connection.execute("LOCK TABLE llmring.budgets")
            yield
        return
    with closing(sqlite3.connect(place.where, isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")


def spent(place: LedgerPlace) -> Spent:
    with closing(open_store(place, must_exist=True)) as store:
        (one,) = store.spending([period_of("month", datetime.now(UTC)).key])
    return one


async def test_what_was_spent_is_kept_for_the_next_router(place: LedgerPlace) -> None:
    async with opened(place, WORST * 3) as router:
        await ask(router)
        await ask(router)
    assert spent(place) == Spent(account=ACCOUNT, period=spent(place).period, spent=2 * EACH, held=0)
    async with opened(place, WORST * 3) as router:
        await ask(router)
        with pytest.raises(BudgetExceeded) as caught:
            await ask(router)
    assert (caught.value.spent, caught.value.reserved) == (3 * WORST, Decimal(0))
    # Another limit is another limit for what was spent already.
    async with opened(place, WORST * 4) as router:
        await ask(router)
    async with opened(place, WORST * 2) as router:
        with pytest.raises(BudgetExceeded):
            await ask(router)
    assert spent(place).spent == 4 * EACH


async def test_two_routers_spend_one_cap_to_the_last_cent_and_no_further(place: LedgerPlace) -> None:
    """100 answers at the most; each of them asks for 80."""
    answered = refused = 0

    async def spend(router: Router) -> None:
        nonlocal answered, refused
        for _ in range(20):
            try:
                await ask(router)
                answered += 1
            except BudgetExceeded:
                refused += 1

    async with opened(place, WORST * 100) as one, opened(place, WORST * 100) as other, trio.open_nursery() as nursery:
        for router in (one, other):
            for _ in range(4):
                nursery.start_soon(spend, router)
    assert (answered, refused) == (100, 60)
    assert (spent(place).spent, spent(place).held) == (100 * EACH, 0)


async def test_what_comes_back_to_one_router_may_be_spent_by_the_other(place: LedgerPlace) -> None:
    """Each reservation is nearly the whole cap, and costs a hundredth of it."""
    cap = WORST * Decimal("1.1")
    async with opened(place, cap, SMALL) as one, opened(place, cap, SMALL) as other:
        await ask(one)
        await ask(other)
        await ask(one)


@contextmanager
def spender(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.money.spender", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_processes_share_a_cap(place: LedgerPlace) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(spender(spelled(place), WORST * 120)) for _ in range(2)]
        said = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert all(lines[-1].startswith("BudgetExceeded") for lines in said)
    assert sum(lines.count("answered") for lines in said) == 120
    assert (spent(place).spent, spent(place).held) == (120 * EACH, 0)


async def test_what_a_killed_process_was_allowed_counts_as_spent_and_is_little(place: LedgerPlace) -> None:
    """10 answers, an eleventh under way; the slice is 2 % of 100 answers."""
    with spender(spelled(place), WORST * 100, 10) as process:
        assert process.stdout is not None
        for _ in range(10):
            assert process.stdout.readline() == "answered\n"
        # The eleventh is on its way, now or in a moment.
        process.kill()
    left = spent(place)
    counted = left.spent + left.held
    assert 10 * EACH <= counted <= (11 + 2) * EACH + EACH
    async with opened(place, WORST * 100) as router:
        answered, error = await ask_until_refused(router, seconds=1)
    assert isinstance(error, BudgetExceeded)
    assert answered == (100 * EACH - counted) // EACH


async def test_the_first_model_is_asked_where_the_ledger_has_the_money_for_it(place: LedgerPlace) -> None:
    """It needs more than a slice; the next model would go with what a slice has."""
    text = '[[profiles.default.bindings]]\nalias = "both"\nmodels = ["openai:gpt-4o", "openai:gpt-4o-mini"]\n'
    provider = ScriptedProvider({"gpt-4o": [FULL], "gpt-4o-mini": [FULL]})
    dear = (28 * Decimal("2.50") + 1000 * Decimal(10)) / 10**6
    budgets = [shared(dear * 3 + WORST), Budget(name="day", limit=dear * 9, per="day")]
    lockfile = parse_lockfile(text, Path("test.lock"))
    async with open_router(
        lockfile, connect=provider, receipts=spelled(place), budgets=budgets, keys={"OPENAI_API_KEY": "key"}
    ) as router:
        asked = [(await router.chat("both", "abcd", max_tokens=1000, timeout=20)).model.model for _ in range(4)]
    # What three of them leave is enough for the other alone.
    assert asked == ["gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o-mini"]


async def test_what_this_process_has_set_aside_itself_is_waited_for(place: LedgerPlace) -> None:
    """All of the cap is allowed: there is nothing to ask the ledger for."""
    slow = answer("ok", after=0.3, input_tokens=8, output_tokens=10)
    async with opened(place, WORST * 3 / 2, slow) as router, trio.open_nursery() as nursery:
        with trio.fail_after(20):
            for _ in range(3):
                nursery.start_soon(ask, router)
                await trio.sleep(0.1)


async def test_the_budget_that_is_short_is_the_one_that_is_named(place: LedgerPlace) -> None:
    budgets = [Budget(name="roomy", limit=Decimal(1), per="day"), Budget(name="short", limit=WORST / 2, per="month")]
    lockfile = parse_lockfile(LOCKFILE, Path("test.lock"))
    provider = ScriptedProvider({"gpt-4o-mini": [FULL]})
    async with open_router(
        lockfile, connect=provider, receipts=spelled(place), budgets=budgets, keys={"OPENAI_API_KEY": "key"}
    ) as router:
        with pytest.raises(BudgetExceeded, match="budget 'short'") as caught:
            await ask(router)
    assert caught.value.per == "month"


async def test_a_server_that_is_killed_has_kept_what_was_allowed(own_postgresql: Server, tmp_path: Path) -> None:
    """Two routers, and the server ends at once while both spend: of 200 answers not one more, and not one less."""
    place, answered = database_place(own_postgresql.new_database(), tmp_path), 0

    async def spend(router: Router) -> None:
        nonlocal answered
        while True:
            try:
                await ask(router)
                answered += 1
                if answered in (40, 80, 120):
                    await trio.to_thread.run_sync(own_postgresql.crash)
                    await trio.to_thread.run_sync(own_postgresql.start)
            except ReceiptError:
                await trio.sleep(0.05)
            except BudgetExceeded:
                return

    async with opened(place, WORST * 200) as one, opened(place, WORST * 200) as other, trio.open_nursery() as nursery:
        await ask(one)
        await ask(other)
        for router in (one, other):
            nursery.start_soon(spend, router)
    assert answered + 2 == 200
    assert (spent(place).spent, spent(place).held) == (200 * EACH, 0)


async def test_a_ledger_that_refuses_has_requests_refused_when_the_slice_is_used_up(
    place: LedgerPlace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="llmring")
    async with opened(place, WORST * 200) as router:
        await ask(router)
        with locked(place):
            sent, error = await ask_until_refused(router)
            assert isinstance(error, ReceiptError)
            assert re.match(r"budget 'shared' cannot be kept.*( is locked|lock timeout)", str(error))
            # A slice is four of them, and it had been renewed ahead.
            assert 1 <= sent <= 8
            (told,) = router.status().budgets
            assert told.problem is not None
        with trio.fail_after(20):
            while True:
                try:
                    await ask(router)
                    break
                except ReceiptError:
                    await trio.sleep(0.1)
        assert router.status().budgets[0].problem is None


def test_budgets_are_kept_also_where_receipts_are_not(tmp_path: Path) -> None:
    at_home = Settings(data_directory=tmp_path)
    assert budget_store(at_home, False, is_real=True) is not None
    assert budget_store(at_home, None, is_real=False) is None
    assert budget_store(at_home, False, is_real=False) is None
    homeless = budget_store(Settings(), None, is_real=True)
    assert homeless is not None
    with pytest.raises(ReceiptError, match="no home directory"):
        homeless()


# The parts.


def test_an_account_is_named_by_its_budget_and_whose_it_is() -> None:
    assert account_of("a|b", (None, "", "x")) == '["a|b",null,"","x"]'
    assert named(account_of("a|b", (None, "", "x"))) == ("a|b", (None, "", "x"))


def pot(cap: int = 1000) -> Pot:
    budget = Budget(name="x", limit=Decimal(cap) / 10**9, per="run")
    return Pot(budget, RUN, ACCOUNT, (None, None, None), holder="a", is_shared=True, now=0.0)


def test_what_is_given_back_is_not_used_though_nobody_hears_of_it(place: LedgerPlace) -> None:
    with closing(open_store(place)) as store:
        one = pot()
        one.waiting[Waiting(300, lambda: None)] = None
        move = one.move(0.0, 0)
        one.stands(move, store.exchange([move])[0], 0.0)
        assert (one.allowed, one.waiting) == (320, {})
        move = one.move(IDLE_SECONDS, 5)
        assert (move.held, move.wanted) == (0, 0)
        store.exchange([move])
        one.failed(OSError("the answer was lost"))
        assert one.take(1, IDLE_SECONDS) is None


def test_rows_of_those_that_are_done_become_one(place: LedgerPlace) -> None:
    def done(holder: str, at: int) -> Move:
        about = {"account": ACCOUNT, "period": "run", "holder": holder, "cap": 100, "at": at}
        return Move(**about, spent=7, held=7, least=7, wanted=7, is_last=True)  # type: ignore[arg-type] # as written

    with closing(open_store(place)) as store:
        store.exchange([done("a", 0), done("a", 1), done("b", 2), done("c", 9000)])
        assert store.spending(["run"]) == [Spent(account=ACCOUNT, period="run", spent=21, held=0)]
    assert run(place, "SELECT holder, spent FROM budgets ORDER BY holder") == [("", 14), ("c", 7)]


def test_a_ledger_of_the_first_version_is_brought_up(place: LedgerPlace) -> None:
    with closing(open_store(place)):
        pass
    with closing(open_store(place)) as store:
        before = store.head().ledger
    in_file = "PRAGMA user_version = 1"
    run(place, "DROP TABLE budgets")
    run(place, "UPDATE version SET version = 1" if isinstance(place.where, LedgerUrl) else in_file)
    with pytest.raises(ReceiptError, match="it is brought to 2 when written to"):
        open_store(place, must_exist=True)
    with closing(open_store(place)) as store:
        assert (store.spending(["run"]), store.head().ledger) == ([], before)


@pytest.mark.parametrize(
    ("now", "day", "month_ends"),
    [
        ("2026-11-21T23:59:59.999999+00:00", "2026-11-21", "2026-12-01"),
        ("2026-11-22T00:30:00+01:00", "2026-11-21", "2026-12-01"),
        ("2028-02-29T00:00:00+00:00", "2028-02-29", "2028-03-01"),
        ("2026-12-31T12:00:00+00:00", "2026-12-31", "2027-01-01"),
    ],
)
def test_periods_are_of_utc(now: str, day: str, month_ends: str) -> None:
    at = datetime.fromisoformat(now)
    today, month = period_of("day", at), period_of("month", at)
    assert (today.key, month.key) == (day, day[:7])
    assert today.holds(at)
    assert month.holds(at)
    assert month.ends_at == datetime.fromisoformat(f"{month_ends}T00:00:00+00:00")


async def test_a_day_and_a_month_pay_for_what_is_a_large_part_of_both(place: LedgerPlace) -> None:
    """What was allowed of the one is not given back while the other is asked."""
    budgets = [Budget(name="shared", limit=WORST * 3, per=per) for per in ("day", "month")]
    lockfile = parse_lockfile(LOCKFILE, Path("test.lock"))
    provider = ScriptedProvider({"gpt-4o-mini": [FULL]})
    async with open_router(
        lockfile, connect=provider, receipts=spelled(place), budgets=budgets, keys={"OPENAI_API_KEY": "key"}
    ) as router:
        for _ in range(3):
            await ask(router)
        with pytest.raises(BudgetExceeded):
            await ask(router)


def test_a_pot_that_has_all_that_there_is_asks_for_no_more() -> None:
    """Spent to the last hundredth, and with requests that wait for one another."""
    pot = Pot(shared(Decimal(1)), RUN, ACCOUNT, (None, None, None), holder="a", is_shared=True, now=0.0)
    number = pot.take(0, 0.0)
    assert number is not None
    pot.ask(pot.cap)
    pot.stands(pot.move(0.0, 0), Grant(allowed=pot.cap), 0.0)
    assert pot.take(pot.cap - 1, 0.0) is not None
    assert not pot.is_urgent()
    assert not pot.is_due(0.0)
    pot.waiting[Waiting(pot.cap, lambda: None)] = None
    assert not pot.is_urgent()
