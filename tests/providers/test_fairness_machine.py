"""Turns under any interleaving of coming, leaving, being served and ending: whoever waits all the time is never further
from another who does than one largest request of each, calls and batches go 9 to 1, and somebody is always next.

Beside the line stands the plain account of what each got, by weight, since both waited.
"""

import itertools
import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmring.providers.fairness import Fairness, Flow, Priority
from llmring.providers.line import Head, Line, Waiter
from llmring.providers.regime import Charge

MACHINE = settings(max_examples=80, stateful_step_count=40)

TENANTS = ("one", "two", "three")
NINE_TO_ONE: dict[Priority, float] = {"interactive": 9.0, "batch": 1.0}
CLASSES: tuple[Priority, ...] = ("interactive", "batch")

tenants = st.sampled_from(TENANTS)
classes = st.sampled_from(CLASSES)
sizes = st.one_of(st.sampled_from([0.5, 1.0, 10.0]), st.floats(0.1, 10.0))
weights = st.sampled_from([0.5, 1.0, 2.0, 5.0])
times = st.integers(1, 8)
places = st.integers(0, 1000)

Party = tuple[Priority, str]
"""A tenant of a class; of a class, all: ""."""


def _parties(flow: Flow) -> tuple[Party, Party]:
    return (flow.priority, flow.tenant), (flow.priority, "")


class Right:
    """What the line hands out: nothing is done with it."""

    def settle(self, outcome: str, now: float, /) -> None:
        raise AssertionError("nobody is cancelled here")


def _rank(waiter: Waiter[Right]) -> tuple[float, int]:
    """Its place among those of its flow: calls by their deadlines, batches in the order in which they came."""
    return (waiter.deadline if waiter.flow.priority == "interactive" else 0.0, waiter.number)


def _nobody() -> None:
    """No worker: the machine serves the line itself."""


class Apart:
    """How far two who wait all the time have been from one another, in service by weight."""

    def __init__(self) -> None:
        self.now = self.least = self.most = 0.0

    def move(self, by: float) -> None:
        self.now += by
        self.least, self.most = min(self.least, self.now), max(self.most, self.now)


class Turns(RuleBasedStateMachine):
    """One line. `exact`: what requests cost is known before."""

    @initialize(weights=st.tuples(*[weights] * 3), exact=st.booleans())
    def begin(self, weights: tuple[float, ...], exact: bool) -> None:
        self.exact = exact
        self.weights: dict[str, float] = dict(zip(TENANTS, weights, strict=True))
        self.line: Line[Right] = Line(_nobody, Fairness(), lambda charge: charge["requests"])
        self.numbers = itertools.count()
        self.waiting: dict[Waiter[Right], float] = {}
        self.in_service: list[tuple[Flow, float]] = []
        self.largest: dict[Party, float] = {}
        self.ahead: dict[Party, float] = {}
        self.apart: dict[tuple[Party, Party], Apart] = {}

    @rule(kind=classes, tenant=tenants, size=sizes, count=times, deadline=st.sampled_from([5.0, 60.0, math.inf]))
    def come(self, kind: Priority, tenant: str, size: float, count: int, deadline: float) -> None:
        flow = Flow(kind, tenant, self.weights[tenant])
        for _ in range(count):
            if self.line.may_pass(flow):
                self.line.passed(flow, size)
                self._serve(flow, size)
                continue
            self._enter(flow, size, deadline)

    @rule(kind=classes, tenant=tenants, size=sizes, count=times)
    def come_to_wait(self, kind: Priority, tenant: str, size: float, count: int) -> None:
        """There is no room for it, whoever waits."""
        for _ in range(count):
            self._enter(Flow(kind, tenant, self.weights[tenant]), size, math.inf)

    @precondition(lambda self: self.waiting)
    @rule(count=times)
    def serve(self, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            self._take(self.line.heads()[0], in_turn=True)

    @precondition(lambda self: self.waiting)
    @rule()
    def overtake(self) -> None:
        """The batch whose turn it is does not fit yet."""
        heads = self.line.heads()
        if len(heads) == 2:
            self._take(heads[1], in_turn=False)

    @precondition(lambda self: self.waiting)
    @rule(place=places, count=times)
    def leave(self, place: int, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            waiter = list(self.waiting)[place % len(self.waiting)]
            self.line.leave(waiter)
            self._is_gone(waiter)

    @precondition(lambda self: self.in_service)
    @rule(place=places, count=times, share=st.sampled_from([0.0, 0.3, 1.0, 4.0]))
    def end(self, place: int, count: int, share: float) -> None:
        for _ in range(min(count, len(self.in_service))):
            flow, cost = self.in_service.pop(place % len(self.in_service))
            self.line.fairness.ended(flow, cost, cost if self.exact else share * cost)

    @invariant()
    def all_who_wait_are_counted(self) -> None:
        assert len(self.line) == len(self.waiting)
        for kind in CLASSES:
            count = sum(waiter.flow.priority == kind for waiter in self.waiting)
            assert self.line.fairness.waiting[kind] == count
            assert self.line.waits(kind) == (count > 0)

    @invariant()
    def nobody_is_far_from_its_share(self) -> None:
        for (one, other), apart in self.apart.items() if self.exact else ():
            bound = self._largest(one) + self._largest(other) + max(self._ahead(one), self._ahead(other))
            if not one[1]:
                # A call may go before a batch's request that does not fit yet, for as long as that one is large.
                bound += self._largest(("batch", ""))
            assert apart.most - apart.least <= bound + 1e-6, f"{one} and {other} are {apart.most - apart.least} apart"

    def teardown(self) -> None:
        """Everybody is served in the end, and nothing is left in service."""
        if not hasattr(self, "line"):
            return
        while self.waiting:
            self.serve(1)
            self.nobody_is_far_from_its_share()
        assert self.line.heads() == []
        self.end(0, len(self.in_service), 1.0)
        assert self.line.fairness._in_service == {"interactive": {}, "batch": {}}

    def _enter(self, flow: Flow, size: float, deadline: float) -> None:
        before = self._parties()
        waiter: Waiter[Right] = Waiter(next(self.numbers), deadline, flow)
        charge: Charge = {"requests": size}
        if not self.waiting:
            # What is in service when the line begins counts as served, and who has more of it waits for the others.
            self.ahead = {}
            for served, cost in self.in_service:
                for party in _parties(served):
                    self.ahead[party] = self.ahead.get(party, 0.0) + cost
        self.line.enter(waiter, charge)
        self.waiting[waiter] = size
        self._note(flow, size)
        for newcomer in self._parties() - before:
            for other in before:
                if (newcomer[0] == other[0]) == bool(newcomer[1]) == bool(other[1]):
                    self.apart[newcomer, other] = Apart()
            before = before | {newcomer}

    def _take(self, head: Head[Right], *, in_turn: bool) -> None:
        waiter = head.waiter
        kin = [_rank(other) for other in self.waiting if other.flow == waiter.flow]
        assert _rank(waiter) == min(kin), "a tenant's own are served in their order"
        cost = self.waiting[waiter]
        self._serve(waiter.flow, cost)
        self.line.serve(head, Right(), cost, in_turn=in_turn)
        self._is_gone(waiter)

    def _serve(self, flow: Flow, cost: float) -> None:
        self.in_service.append((flow, cost))
        self._note(flow, cost)
        for served in _parties(flow):
            for (one, other), apart in self.apart.items():
                if served in (one, other):
                    by = cost / self._weight(served)
                    apart.move(by if served == one else -by)

    def _is_gone(self, waiter: Waiter[Right]) -> None:
        del self.waiting[waiter]
        here = self._parties()
        self.apart = {pair: apart for pair, apart in self.apart.items() if here.issuperset(pair)}

    def _parties(self) -> set[Party]:
        """Those who wait, and their classes."""
        return {party for waiter in self.waiting for party in _parties(waiter.flow)}

    def _note(self, flow: Flow, size: float) -> None:
        for party in _parties(flow):
            self.largest[party] = max(size, self.largest.get(party, 0.0))

    def _weight(self, party: Party) -> float:
        return self.weights[party[1]] if party[1] else NINE_TO_ONE[party[0]]

    def _largest(self, party: Party) -> float:
        return self.largest[party] / self._weight(party)

    def _ahead(self, party: Party) -> float:
        return self.ahead.get(party, 0.0) / self._weight(party)


TestTurns = Turns.TestCase
TestTurns.settings = MACHINE
