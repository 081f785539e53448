"""No cap is passed, for any order of what processes that share a ledger do, over midnights, kills and lost answers."""

import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bench.postgresql import Server
from llmring.config import LedgerPlace
from llmring.lockfile import Budget
from llmring.money.periods import Period
from llmring.money.pot import Pot, Waiting
from llmring.receipts.opening import open_store
from llmring.receipts.store import Store
from tests.receipts.ledgers import database_place, file_place

fates = st.sampled_from(["answered", "answered", "answered", "answered", "lost", "refused"])
ACCOUNT = '["daily",null,null,null]'


class Machine(RuleBasedStateMachine):
    """`spent` is what was settled, by period, and `lost` what a killed process had under way: all of it may be billed.
    Each process has a pot for each period that it has drawn on."""

    new_place: "staticmethod[[], LedgerPlace]"
    store: Store

    @initialize(cap=st.integers(0, 3000))
    def begin(self, cap: int) -> None:
        self.store = open_store(self.new_place())
        self.cap = cap
        self.budget = Budget(name="daily", limit=Decimal(cap) / 10**9, per="day")
        self.now = 0.0
        self.day = 0
        self.names = 0
        self.processes: dict[int, dict[int, Pot]] = {}
        self.open: dict[int, list[tuple[Pot, int]]] = {}
        self.settled: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.start()
        self.start()

    @rule()
    def start(self) -> None:
        self.names += 1
        self.processes[self.names] = {}
        self.open[self.names] = []

    def pots(self) -> Iterator[tuple[int, int, Pot]]:
        for name, pots in self.processes.items():
            for day, pot in pots.items():
                yield name, day, pot

    def pick(self, which: int) -> int | None:
        names = sorted(self.processes)
        return names[which % len(names)] if names else None

    def pot(self, name: int) -> Pot:
        pots = self.processes[name]
        if self.day not in pots:
            period = Period(key=f"day-{self.day}")
            holder = f"{name}-{self.day}"
            pots[self.day] = Pot(
                self.budget, period, ACCOUNT, (None, None, None), holder=holder, is_shared=True, now=self.now
            )
        return pots[self.day]

    @rule(which=st.integers(0, 9), amount=st.integers(1, 300), fate=fates)
    def reserve(self, which: int, amount: int, fate: str) -> None:
        """Now, or when the ledger was asked; or it is waited for."""
        name = self.pick(which)
        if name is None:
            return
        pot = self.pot(name)
        one = Waiting(amount, lambda: None)
        for _ in range(2):
            number = pot.take(amount, self.now)
            if number is not None:
                self.open[name].append((pot, number))
                return
            if pot.is_hopeless(amount):
                return
            pot.waiting[one] = None
            self.exchange(which, fate)

    @rule(which=st.integers(0, 9), one=st.integers(0, 99), share=st.floats(0, 1))
    def settle(self, which: int, one: int, share: float) -> None:
        name = self.pick(which)
        if name is not None and self.open[name]:
            pot, number = self.open[name].pop(one % len(self.open[name]))
            cost = int(pot.held(number) * share)
            day = int(pot.period.key.removeprefix("day-"))
            self.settled[day] = self.settled.get(day, 0) + cost
            pot.end(number, cost, self.now)

    @rule(which=st.integers(0, 9), fate=fates)
    def exchange(self, which: int, fate: str) -> None:
        """With all that is due: answered; done, and nobody hears of it; or not done."""
        name = self.pick(which)
        for pot in self.processes[name].values() if name is not None else ():
            if not pot.is_due(self.now):
                continue
            move = pot.move(self.now, int(self.now))
            standing = self.store.exchange([move])[0] if fate != "refused" else None
            if standing is not None and fate == "answered":
                pot.stands(move, standing, self.now)
            else:
                pot.failed(OSError("no answer"))

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 70.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(hour=st.integers(0, 4))
    def midnight(self, hour: int) -> None:
        """Seldom."""
        self.day += hour == 0

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=st.integers(0, 30))
    def kill(self, which: int) -> None:
        name = self.pick(which) if which < 10 else None
        if name is None:
            return
        self.open.pop(name)
        for day, pot in self.processes.pop(name).items():
            self.taken[day] = self.taken.get(day, 0) + pot.allowed - pot.spent
            self.lost[day] = self.lost.get(day, 0) + pot.reserved

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=st.integers(0, 30))
    def close(self, which: int) -> None:
        name = self.pick(which) if which < 10 else None
        if name is None:
            return
        self.open.pop(name)
        for day, pot in self.processes.pop(name).items():
            self.lost[day] = self.lost.get(day, 0) + pot.reserved
            self.store.exchange([pot.move(self.now, int(self.now), is_last=True)])

    @invariant()
    def never_passed(self) -> None:
        days: dict[int, int] = dict(self.settled)
        for day, lost in self.lost.items():
            days[day] = days.get(day, 0) + lost
        for _, day, pot in self.pots():
            days[day] = days.get(day, 0) + pot.reserved
            assert pot.spent + pot.reserved <= pot.allowed
        for one in self.store.spending([f"day-{day}" for day in range(self.day + 1)]):
            assert one.spent + one.held <= self.cap
            # What the ledger counts is never less than what was, or may be, billed.
            assert days.get(int(one.period.removeprefix("day-")), 0) <= one.spent + one.held
        assert all(spent <= self.cap for spent in days.values())

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        never_killed = not self.taken
        for name in list(self.processes):
            for pot, number in self.open[name]:
                day = int(pot.period.key.removeprefix("day-"))
                self.settled[day] = self.settled.get(day, 0) + pot.held(number)
                pot.end(number, pot.held(number), self.now)
            for pot in self.processes[name].values():
                self.store.exchange([pot.move(self.now, int(self.now), is_last=True)])
        found = {one.period: one for one in self.store.spending([f"day-{day}" for day in range(self.day + 1)])}
        for day in range(self.day + 1):
            one = found.get(f"day-{day}")
            whole = self.settled.get(day, 0) + self.lost.get(day, 0)
            if never_killed:
                assert (one.spent, one.held) == (whole, 0) if one is not None else whole == 0
            else:
                assert (one.spent + one.held if one is not None else 0) >= whole
        self.store.close()


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 40), ("postgresql", 10)])
def test_no_cap_is_passed(kind: str, examples: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    def place() -> LedgerPlace:
        if kind == "sqlite":
            return file_place(Path(tempfile.mkdtemp(dir=tmp_path)))
        server: Server = request.getfixturevalue("postgresql")
        return database_place(server.new_database(), tmp_path)

    how = settings(max_examples=examples, stateful_step_count=40, deadline=None)

    class Placed(Machine):
        new_place = staticmethod(place)

    run_state_machine_as_test(Placed, settings=how)
