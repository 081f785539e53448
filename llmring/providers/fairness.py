"""Whose turn is it? Start-time fair queueing over two classes of work and the tenants in each. Pure; holds no waiters.

Everybody who waits is served in the order of virtual start times: a tenant's next request starts where its last one
ended, and one that cost more ended later. So in any stretch of time all who wait get shares by their weights, whatever
the size of their requests (Goyal, Vin, Cheng, https://doi.org/10.1145/248156.248171). What went while nobody waited
does not count, but for what of it is still in service: shares are of what is scarce.
"""

from collections.abc import Hashable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

Priority = Literal["interactive", "batch"]
"""Somebody is waiting for the answer, or nobody is."""

SHARES: dict[Priority, float] = {"interactive": 9.0, "batch": 1.0}
"""Of what there is, when both wait."""

RESERVE_SHARE = 0.1
"""Of every limit, and of the connections, batches leave free for calls that somebody waits for."""

RESERVE_SECONDS = 600.0
"""As long as there was such a call in the last ten minutes. It is kept once, so it costs a map seconds."""


class Flow(msgspec.Struct, frozen=True):
    """Whose work it is. Requests of one flow are served in their own order; a flow of `weight` 2 gets twice the share
    of the others in its class. The weight is that of each request, and above 0."""

    priority: Priority = "interactive"
    tenant: str = ""
    weight: float = 1.0


INTERACTIVE = Flow()
BATCH = Flow("batch")

_NOTHING = 1e-9
"""Sums of fractions do not come back to nothing by themselves."""

Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """Virtual time among equals. `now` is the start of the newest that was served in its turn."""

    __slots__ = ("_finish", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._finish: dict[Key, float] = {}

    def begin(self, in_service: Mapping[Key, float]) -> None:
        """Forget what was; all begin with what they have in service."""
        self.now = 0.0
        self._finish = dict(in_service) if in_service else {}

    def start(self, key: Key) -> float:
        """When the next of `key` starts, when it begins to wait now."""
        finish = self._finish.get(key, 0.0)
        return max(self.now, finish)

    def finish(self, key: Key) -> float:
        return self._finish.get(key, 0.0)

    def served(self, key: Key, start: float, cost: float, *, in_turn: bool) -> None:
        """One of `key` that started at `start` was served. Not `in_turn`: while another one's turn could not be."""
        self._finish[key] = start + cost
        if in_turn and start > self.now:
            self.now = start

    def correct(self, key: Key, cost: float) -> None:
        """The last ones of `key` cost so much more than was thought."""
        if key in self._finish:
            self._finish[key] += cost


class Fairness:
    """The turns at one credential, whatever model is asked: one `Turns` of classes, one of tenants in each class.

    `waiting` counts those in line, by class, and `in_line` all of them. Turns begin when somebody has to wait.
    """

    def __init__(self) -> None:
        self.waiting: dict[Priority, int] = {"interactive": 0, "batch": 0}
        self.in_line = 0
        self._in_service: dict[Priority, dict[str, float]] = {"interactive": {}, "batch": {}}
        self._classes: Turns[Priority] = Turns()
        self._tenants: dict[Priority, Turns[str]] = {"interactive": Turns(), "batch": Turns()}
        self._starts: dict[Priority, float] = {}

    def _begin(self) -> None:
        sums: dict[Priority, float] = {}
        for priority, tenants in self._in_service.items():
            if tenants:
                sums[priority] = sum(tenants.values()) / SHARES[priority]
            self._tenants[priority].begin(tenants)
        self._classes.begin(sums)

    def came(self, priority: Priority) -> None:
        """One more waits."""
        if self.in_line == 0:
            self._begin()
        if self.waiting[priority] == 0:
            self._starts[priority] = self._classes.start(priority)
        self.waiting[priority] += 1
        self.in_line += 1

    def left(self, priority: Priority) -> None:
        """One fewer waits."""
        self.waiting[priority] -= 1
        self.in_line -= 1

    def class_start(self, priority: Priority) -> float:
        """The smaller one's turn it is."""
        if self.waiting[priority] == 0:
            return self._classes.start(priority)
        began, finish = self._starts[priority], self._classes.finish(priority)
        return max(began, finish)

    def start(self, flow: Flow) -> float:
        """When a flow that begins to wait starts among the tenants of its class."""
        return self._tenants[flow.priority].start(flow.tenant)

    def finish(self, flow: Flow) -> float:
        """Before this, the flow's next one does not start."""
        return self._tenants[flow.priority].finish(flow.tenant)

    def may_overtake(self, cost: float) -> bool:
        """Whether a call may go before a batch's request of that cost, whose turn it is but which does not fit yet: for
        as long as it would have gone before the next one anyway."""
        return self.class_start("interactive") < self.class_start("batch") + cost / SHARES["batch"]

    def served(self, flow: Flow, start: float, cost: float, *, in_turn: bool = True) -> None:
        """A request of `flow` goes now; `start` as `start` gave it when it began to wait."""
        priority = flow.priority
        in_service = self._in_service[priority]
        in_service[flow.tenant] = in_service.get(flow.tenant, 0.0) + cost / flow.weight
        if self.in_line:
            self._classes.served(priority, self.class_start(priority), cost / SHARES[priority], in_turn=in_turn)
            self._tenants[priority].served(flow.tenant, start, cost / flow.weight, in_turn=True)

    def ended(self, flow: Flow, cost: float, actual: float) -> None:
        """A request of `flow` that was served at a cost has cost `actual` in the end."""
        in_service = self._in_service[flow.priority]
        left = in_service.get(flow.tenant, 0.0) - cost / flow.weight
        if left > _NOTHING:
            in_service[flow.tenant] = left
        else:
            # Gone already, where all of it is next to nothing.
            in_service.pop(flow.tenant, None)
        if actual != cost:
            self._classes.correct(flow.priority, (actual - cost) / SHARES[flow.priority])
            self._tenants[flow.priority].correct(flow.tenant, (actual - cost) / flow.weight)
