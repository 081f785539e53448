"""The waiting line of a route: who is next, and how a waiter gets its permit. No task of its own; see worker.py.

A request waits at all its routes at once and takes the first permit that any of them gives: that is the shortest wait
whatever happens meanwhile, without a guess. A permit is reserved for a waiter before it wakes, so that nobody who comes
later can take the room it was woken for.

The classes of work and their tenants have their turns by fairness.py. Inside a tenant's work, calls that somebody waits
for go by their deadlines and batches in the order in which they came; a large request at the head is never overtaken by
small ones behind it.
"""

import heapq
import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec
import trio

from llmring.errors import Dimension
from llmring.providers.bell import Bell
from llmring.providers.fairness import INTERACTIVE, Fairness, Flow, Priority
from llmring.providers.regime import Charge, add

_LEFT_BEHIND = 64
"""Places of those who left that are kept at least, before they are cleared away."""


class Returnable(Protocol):
    """What a line hands out: a right that can be given back unused."""

    def settle(self, outcome: Literal["not_sent"], now: float, /) -> None: ...


Permit = TypeVar("Permit", bound=Returnable)


class Waiter(Generic[Permit]):
    """One request in line. `number` orders requests by when they were first made; `deadline` is on the trio clock.
    `places` is in how many lines it stands. `is_served`: it has its permit, or was sent away, so that no line holds it
    any more."""

    __slots__ = ("_woken", "deadline", "flow", "is_served", "number", "permit", "places")

    def __init__(self, number: int, deadline: float, flow: Flow = INTERACTIVE) -> None:
        self.number = number
        self.deadline = deadline
        self.flow = flow
        self.places = 1
        self.permit: Permit | None = None
        self.is_served = False
        self._woken = Bell()

    async def wait(self, places: "Sequence[tuple[Line[Permit], Charge]]", until: float) -> Permit | None:
        """Stand in line at every place. None when the clock says `until`, or when a place turned out hopeless.

        Cancelled: leaves every line, and a permit that was given in the same moment goes back unused.
        """
        self.places = max(1, len(places))
        for line, charge in places:
            line.enter(self, charge)
        try:
            await self._woken.wait(until)
        except BaseException:
            if self.permit is not None:
                self.permit.settle("not_sent", trio.current_time())
            raise
        finally:
            if self.permit is None or self.places > 1:
                # Who gave the permit has taken it off the line.
                for line, _ in places:
                    line.leave(self)
        return self.permit

    def give(self, permit: Permit) -> None:
        """Hand over the permit. The caller has seen that it is not served yet."""
        self.permit = permit
        self.is_served = True
        self._woken.ring()

    def send_away(self) -> None:
        """This place cannot serve it in time: let it look at its routes again."""
        self.is_served = True
        self._woken.ring()


class _Tenant(msgspec.Struct, Generic[Permit]):
    """The waiters of one tenant, the first to be served at the front of the heap. `began` is where in virtual time it
    began to wait. `charge` sums what they ask for, as their class's does; none of them is due after `latest`."""

    flow: Flow
    began: float
    charge: dict[Dimension, float] = {}
    latest: float = -math.inf
    heap: list[tuple[float, int, int, Waiter[Permit]]] = []


class _Class(Generic[Permit]):
    """The tenants of one class, by when their next request starts in virtual time. `places` has what each waiter asks
    for and with whom it is counted; `charge` sums that, a share for every line that one stands in."""

    __slots__ = ("charge", "places", "starts", "tenants")

    def __init__(self) -> None:
        self.places: dict[Waiter[Permit], tuple[Charge, _Tenant[Permit]]] = {}
        self.tenants: dict[str, _Tenant[Permit]] = {}
        self.starts: list[tuple[float, int, str]] = []
        self.charge: dict[Dimension, float] = {}


class Head(msgspec.Struct, Generic[Permit]):
    """Who is next; `start` is when, in virtual time."""

    waiter: Waiter[Permit]
    charge: Charge
    start: float


class Line(Generic[Permit]):
    """Waiters of one route. `changed()` is called when one comes; `cost(charge)` is a request's part of its limits."""

    def __init__(
        self,
        changed: Callable[[], None],
        fairness: Fairness | None = None,
        cost: Callable[[Charge], float] = lambda _: 1.0,
    ) -> None:
        self._changed = changed
        self.fairness = fairness if fairness is not None else Fairness()
        self._cost = cost
        self._classes: dict[Priority, _Class[Permit]] = {"interactive": _Class(), "batch": _Class()}
        self._entries = 0

    def __len__(self) -> int:
        return sum(len(each.places) for each in self._classes.values())

    def waits(self, priority: Priority) -> bool:
        """Whether anybody of that class stands here."""
        return bool(self._classes[priority].places)

    def ahead(self, priority: Priority) -> Mapping[Dimension, float]:
        """What those ask for who will be served before a newcomer of that class, without what they may get elsewhere:
        for calls the other calls, for a batch everybody."""
        calls = self._classes["interactive"].charge
        if priority == "interactive":
            return calls
        total = dict(calls)
        add(total, self._classes["batch"].charge, 1.0)
        return total

    def before(self, newcomer: Flow, deadline: float, charge: Charge) -> Mapping[Dimension, float]:
        """The part of `ahead` that a newcomer's turn and deadline leave before it: of its own tenant what is due
        earlier, of every other what its share brings it until then. An estimate, each dimension by itself; takes as
        long as there are tenants, and those who are due earlier where it is not the last."""
        kind = self._classes[newcomer.priority]
        due = deadline if newcomer.priority == "interactive" else 0.0
        own = kind.tenants.get(newcomer.tenant)
        total = dict(_due_by(own, due, kind.places)) if own is not None else {}
        until = {dimension: total.get(dimension, 0.0) + amount for dimension, amount in charge.items()}
        for tenant in kind.tenants.values():
            if tenant is not own:
                share = tenant.flow.weight / newcomer.weight
                for dimension, amount in tenant.charge.items():
                    brought = min(amount, share * until.get(dimension, 0.0))
                    total[dimension] = total.get(dimension, 0.0) + brought
        if newcomer.priority == "batch":
            add(total, self._classes["interactive"].charge, 1.0)
        return total

    def enter(self, waiter: Waiter[Permit], charge: Charge) -> None:
        flow = waiter.flow
        kind = self._classes[flow.priority]
        place = kind.places.get(waiter)
        if place is not None:
            before, counted_with = place
            _count(kind, counted_with, waiter, before, -1.0)
            _count(kind, counted_with, waiter, charge, 1.0)
            kind.places[waiter] = charge, counted_with
            return
        self.fairness.came(flow.priority)
        tenant = kind.tenants.get(flow.tenant)
        if tenant is None:
            tenant = kind.tenants[flow.tenant] = _Tenant(flow, self.fairness.start(flow))
            heapq.heappush(kind.starts, (tenant.began, waiter.number, flow.tenant))
        elif _next_of(tenant, kind.places) is None:
            tenant.began = self.fairness.start(flow)
            tenant.latest = -math.inf
        kind.places[waiter] = charge, tenant
        _count(kind, tenant, waiter, charge, 1.0)
        due = waiter.deadline if flow.priority == "interactive" else 0.0
        if due > tenant.latest:
            tenant.latest = due
        self._entries += 1
        heapq.heappush(tenant.heap, (due, waiter.number, self._entries, waiter))
        self._changed()

    def leave(self, waiter: Waiter[Permit]) -> None:
        kind = self._classes[waiter.flow.priority]
        place = kind.places.pop(waiter, None)
        if place is None:
            return
        self.fairness.left(waiter.flow.priority)
        if not kind.places:
            # Sums of fractions do not come back to nothing by themselves, nor do those who were passed over go. Virtual
            # time begins anew.
            kind.charge.clear()
            kind.tenants.clear()
            kind.starts.clear()
            return
        charge, tenant = place
        _count(kind, tenant, waiter, charge, -1.0)
        if len(tenant.heap) > 2 * len(kind.places) + _LEFT_BEHIND:
            tenant.heap = [entry for entry in tenant.heap if entry[3] in kind.places]
            heapq.heapify(tenant.heap)

    def _first(self, priority: Priority) -> Head[Permit] | None:
        """The next of a class to be served, among its tenants. Those served elsewhere are passed over."""
        kind = self._classes[priority]
        while kind.starts:
            start, number, name = kind.starts[0]
            tenant = kind.tenants[name]
            waiter = _next_of(tenant, kind.places)
            if waiter is None:
                heapq.heappop(kind.starts)
                del kind.tenants[name]
                continue
            due = self.fairness.finish(tenant.flow)
            if due < tenant.began:
                due = tenant.began
            if due > start:
                # Served since, here or at another model.
                heapq.heapreplace(kind.starts, (due, number, name))
                continue
            # Less than its place in the heap where those before cost less than was thought: those after it gain that.
            return Head(waiter, kind.places[waiter][0], due)
        return None

    def heads(self) -> list[Head[Permit]]:
        """The next to be served, and behind a batch's request the call that may go while that one does not fit yet."""
        calls, batches = self._classes["interactive"].places, self._classes["batch"].places
        call = self._first("interactive") if calls else None
        batch = self._first("batch") if batches else None
        if call is None:
            return [] if batch is None else [batch]
        if batch is None:
            return [call]
        if self.fairness.class_start("interactive") <= self.fairness.class_start("batch"):
            # What the call lacks must not be given to the batch in front of it.
            return [call]
        return [batch, call] if self.fairness.may_overtake(self._cost(batch.charge)) else [batch]

    def may_pass(self, flow: Flow) -> bool:
        """Whether a newcomer that fits may go before all who wait here: nobody does, or a call comes to batches alone,
        and in its turn."""
        if not self.waits("interactive") and not self.waits("batch"):
            return True
        heads = self.heads()
        if not heads:
            return True
        if flow.priority == "batch" or self.waits("interactive"):
            return False
        starts = self.fairness.class_start("interactive"), self.fairness.class_start("batch")
        return starts[0] <= starts[1] or self.fairness.may_overtake(self._cost(heads[0].charge))

    def passed(self, flow: Flow, cost: float) -> None:
        """A newcomer went without waiting."""
        self.fairness.served(flow, self.fairness.start(flow), cost, in_turn=False)

    def serve(self, head: Head[Permit], permit: Permit, cost: float, *, in_turn: bool) -> None:
        """Give the next one its permit, which takes `cost` of the limits. Not `in_turn`: before one that did not
        fit."""
        self.fairness.served(head.waiter.flow, head.start, cost, in_turn=in_turn)
        self.leave(head.waiter)
        head.waiter.give(permit)


def _count(kind: _Class[Permit], tenant: _Tenant[Permit], waiter: Waiter[Permit], charge: Charge, sign: float) -> None:
    """A waiter comes, or goes: with the tenant that it came to, which may have been taken off the list meanwhile."""
    add(kind.charge, charge, sign / waiter.places)
    add(tenant.charge, charge, sign / waiter.places)


def _next_of(tenant: _Tenant[Permit], places: Container[Waiter[Permit]]) -> Waiter[Permit] | None:
    """Its first one that still waits at `places`."""
    heap = tenant.heap
    while heap:
        waiter = heap[0][3]
        if not waiter.is_served and waiter in places:
            return waiter
        heapq.heappop(heap)
    return None


def _due_by(
    tenant: _Tenant[Permit], due: float, places: Mapping[Waiter[Permit], tuple[Charge, _Tenant[Permit]]]
) -> Mapping[Dimension, float]:
    """What those of a tenant ask for who are due then, or before."""
    if tenant.latest <= due:
        return tenant.charge
    total: dict[Dimension, float] = {}
    # Down the heap, as far as it is no later.
    heap, indexes = tenant.heap, [0]
    while indexes:
        index = indexes.pop()
        if index < len(heap) and heap[index][0] <= due:
            waiter = heap[index][3]
            if not waiter.is_served and waiter in places:
                add(total, places[waiter][0], 1.0 / waiter.places)
            indexes += (2 * index + 1, 2 * index + 2)
    return total
