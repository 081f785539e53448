"""Budgets: the actor that owns what every budget has left, and keeps it in the ledger. A thread does the writing.

A request reserves here what it may cost, in memory and at once. Behind that the process is allowed slices of every cap
by the ledger (receipts/spending.py), a little ahead of what it needs, and tells it in groups what was spent; so a
process that is killed leaves no more than a slice and what was under way to count as spent, and nothing passes a cap.
What cannot be kept is refused as soon as what is allowed already is used up.
"""

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
import trio

from llmring.errors import ReceiptError
from llmring.lockfile.budgets import EACH, Budget, check_given
from llmring.lockfile.profiles import Profile
from llmring.money.amounts import to_usd
from llmring.money.periods import Period, period_of
from llmring.money.pot import Names, Pot
from llmring.receipts.spending import Grant, Move
from llmring.receipts.store import Store
from llmring.status import BudgetStatus
from llmring.zones import zone

_LOG = logging.getLogger("llmring")

GROUP_SECONDS = 1.0
"""How long what was spent waits for more of it, before it is written."""

CLOSE_SECONDS = 5.0
"""What a closing router waits for its last words to be written."""

_HOLDER_BYTES = 8
_MOST_SCOPES = 4096


class Scope(msgspec.Struct, frozen=True):
    """Whose request it is."""

    alias: str
    profile: str
    tenant: str


class _Applying(msgspec.Struct, frozen=True):
    """A budget that a request is paid from, its name in the ledger, and whose money that is."""

    budget: Budget
    account: str
    names: Names


class Budgets:
    """`given` are the program's own budgets, `found` the lockfile's; both hold. Without `open_store` they are kept in
    memory, for as long as the router lives. `clock()` is the time of day."""

    def __init__(
        self,
        given: Sequence[Budget],
        found: Sequence[Budget],
        open_store: Callable[[], Store] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.clock = clock
        self._given = tuple(given)
        self._all: tuple[Budget, ...] = ()
        self._open_store = open_store
        self._store: Store | None = None
        self._pots: dict[tuple[str, str], Pot] = {}
        self._leaving: list[Pot] = []
        self._scopes: dict[Scope, tuple[_Applying, ...]] = {}
        self._periods: dict[tuple[str, str], Period] = {}
        self._run = os.urandom(_HOLDER_BYTES).hex()
        self._numbers = itertools.count()
        self._news = trio.Event()
        self._hurry = trio.Event()
        self._is_failing = False
        self.follow(found)

    @property
    def are_set(self) -> bool:
        """Whether there is any budget."""
        return bool(self._all)

    def check(self, profiles: Mapping[str, Profile]) -> None:
        """Raises ConfigError for one of the program's that would hold nothing back in a lockfile with these."""
        check_given(self._given, profiles)

    def follow(self, found: Sequence[Budget]) -> None:
        """The lockfile's budgets are these from now on. What was spent stays spent."""
        self._all = (*self._given, *found)
        self._scopes.clear()
        if self._open_store is None and any(budget.per != "run" for budget in self._all):
            _LOG.warning("budgets are kept in memory, for there is no ledger: they begin anew with every router")

    def pots(self, scope: Scope) -> list[Pot]:
        """What a request is paid from now."""
        found = self._scopes.get(scope)
        if found is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            found = self._scopes[scope] = tuple(_applying(self._all, scope))
        now = self.clock()
        return [self._pot(one, now) for one in found]

    def _pot(self, one: _Applying, now: datetime) -> Pot:
        budget = one.budget
        kind = (budget.per, budget.timezone)
        period = self._periods.get(kind)
        if period is None or not period.holds(now):
            period = self._periods[kind] = period_of(budget.per, now, zone(budget.timezone))
            self._forget_ended(now)
        key = (one.account, period.key)
        pot = self._pots.get(key)
        if pot is None:
            pot = self._pots[key] = Pot(
                budget,
                period,
                one.account,
                one.names,
                holder=f"{self._run}-{next(self._numbers)}",
                is_shared=self._open_store is not None and budget.per != "run",
                now=trio.current_time(),
            )
            self._news.set()
        elif pot.budget is not budget:
            pot.recap(budget)
        return pot

    def _forget_ended(self, now: datetime) -> None:
        """Those in memory alone, of days that are over."""
        for key, pot in list(self._pots.items()):
            if not pot.is_shared and not pot.under_way and not pot.period.holds(now):
                del self._pots[key]

    def touched(self, pot: Pot) -> None:
        """Something was taken from a pot, or is waited for."""
        if not self._hurry.is_set() and pot.is_urgent():
            self._hurry.set()

    def status(self) -> tuple[BudgetStatus, ...]:
        """Every budget that was drawn on, in its present period."""
        now = self.clock()
        pots = (pot for pot in self._pots.values() if pot.period.holds(now))
        return tuple(sorted(map(_status, pots), key=lambda one: (one.name, one.alias or "", one.tenant or "")))

    # The ledger.

    async def run(self) -> None:
        """Keep the ledger and this process in step until cancelled; an exchange that has begun is ended first."""
        while True:
            if self._leaving or any(pot.is_shared for pot in self._pots.values()):
                with trio.move_on_after(GROUP_SECONDS):
                    await self._hurry.wait()
            else:
                await self._news.wait()
            self._news, self._hurry = trio.Event(), trio.Event()
            await self._save()

    async def _save(self) -> None:
        now, clock = trio.current_time(), self.clock()
        for key, pot in list(self._pots.items()):
            if pot.is_over(now, ended=not pot.period.holds(clock)):
                del self._pots[key]
                self._leaving.append(pot)
        leaving = list(self._leaving)
        due = [pot for pot in self._pots.values() if pot.is_due(now)]
        at = int(clock.timestamp())
        moves = [pot.move(now, at) for pot in due] + [pot.move(now, at, is_last=True) for pot in leaving]
        if not moves:
            return
        try:
            standings = await trio.to_thread.run_sync(self._exchange, moves)
        except ReceiptError as error:
            self._failed(error, due)
            return
        if self._is_failing:
            _LOG.warning("budgets are kept in the ledger again")
        self._is_failing = False
        self._leaving = [pot for pot in self._leaving if pot not in leaving]
        for pot, move, standing in zip(due, moves, standings, strict=False):
            pot.stands(move, standing, now)
            self.touched(pot)

    def _failed(self, error: ReceiptError, due: Sequence[Pot]) -> None:
        if not self._is_failing:
            _LOG.error("budgets cannot be kept, and what is not allowed yet is refused until they can: %s", error)
        self._is_failing = True
        for pot in due:
            pot.failed(error)

    def _exchange(self, moves: Sequence[Move]) -> list[Grant]:
        """In a thread. A store that has refused is opened anew the next time."""
        assert self._open_store is not None, "what is shared is in a ledger"
        if self._store is None:
            self._store = self._open_store()
        try:
            return self._store.exchange(moves)
        except ReceiptError:
            store, self._store = self._store, None
            store.close()
            raise

    async def aclose(self) -> None:
        """Tell the ledger what was spent, and give back the rest; what is under way counts as spent. Bounded: after
        some seconds what was allowed stays taken, which is logged. Shield it."""
        known = [pot for pot in self._pots.values() if pot.is_shared and not pot.is_untouched]
        pots = [*known, *self._leaving]
        if not pots and self._store is None:
            return
        now, at = trio.current_time(), int(self.clock().timestamp())
        moves = [pot.move(now, at, is_last=True) for pot in pots]
        with trio.move_on_after(CLOSE_SECONDS) as waited:
            await trio.to_thread.run_sync(self._end, moves, abandon_on_cancel=True)
        if waited.cancelled_caught:
            _LOG.error("the ledger was not told what budgets have left: what this process was allowed counts as spent")

    def _end(self, moves: Sequence[Move]) -> None:
        try:
            if moves:
                self._exchange(moves)
            if self._store is not None:
                self._store.close()
        except ReceiptError as error:
            _LOG.error("what this process was allowed of its budgets counts as spent: %s", error)


def _applying(budgets: Sequence[Budget], scope: Scope) -> Iterator[_Applying]:
    """The budgets that a request is paid from: of two that share an account and a period, the lower one."""
    found: dict[tuple[str, str, str], _Applying] = {}
    for budget in budgets:
        wanted = (budget.alias, budget.profile, budget.tenant)
        given = (scope.alias, scope.profile, scope.tenant)
        if any(name not in (None, EACH, own) for name, own in zip(wanted, given, strict=True)):
            continue
        alias, profile, tenant = (None if name is None else own for name, own in zip(wanted, given, strict=True))
        account = account_of(budget.name, (alias, profile, tenant))
        key = (account, budget.per, budget.timezone)
        other = found.get(key)
        if other is None or budget.limit < other.budget.limit:
            found[key] = _Applying(budget, account, (alias, profile, tenant))
    yield from found.values()


def account_of(name: str, names: Names) -> str:
    """What a budget is called in the ledger: a list in JSON, of its name and whose it is."""
    return msgspec.json.encode([name, *names]).decode()


def named(account: str) -> tuple[str, Names]:
    """The name of a budget, and whose it is, by what it is called in the ledger."""
    name, alias, profile, tenant = msgspec.json.decode(account, type=tuple[str, str | None, str | None, str | None])
    return name, (alias, profile, tenant)


def _status(pot: Pot) -> BudgetStatus:
    alias, profile, tenant = pot.names
    return BudgetStatus(
        name=pot.budget.name,
        limit_usd=to_usd(pot.cap),
        spent_usd=to_usd(pot.spent_by_all),
        reserved_usd=to_usd(pot.reserved),
        per=pot.budget.per,
        resets_at=pot.resets_at,
        alias=alias,
        profile=profile,
        tenant=tenant,
        waiting=len(pot.waiting),
        problem=str(pot.problem) if pot.problem is not None else None,
    )
