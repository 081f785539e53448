"""A provider that keeps its word, and a client that keeps its limits by a Budget: a simulation of both, seeded.

The server has one continuously refilled bucket for each limit, full at the start, and says in every reply what remains.
Requests need 0 to 200 ms to reach it, each its own time, so they overtake one another; replies likewise.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget, Reservation

UPLINK_SECONDS = 0.2

Levels = dict[Dimension, float]


class Server:
    """`limits` per minute."""

    def __init__(self, limits: Mapping[Dimension, float]) -> None:
        self.limits: Levels = dict(limits)
        self.levels: Levels = dict(limits)
        self._at = 0.0

    def refill(self, now: float) -> None:
        for dimension, limit in self.limits.items():
            self.levels[dimension] = min(limit, self.levels[dimension] + limit / 60.0 * (now - self._at))
        self._at = now

    def admit(self, charge: Mapping[Dimension, float], now: float) -> bool:
        self.refill(now)
        if any(self.levels[dimension] < charge[dimension] - 1e-6 for dimension in self.limits):
            return False
        for dimension in self.limits:
            self.levels[dimension] -= charge[dimension]
        return True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`utilisation` is the admitted part of all that the binding limit had to give."""

    sent: int
    refused: int
    utilisation: float


class Run(msgspec.Struct, kw_only=True):
    """A client that always has one more request to send.

    `charge` draws what the server takes for a request; the client reserves `overestimate` times its tokens. `known`: it
    was told the limits before; else it learns them from replies. `events` are things that happen to the server.
    """

    limits: dict[Dimension, float]
    charge: Callable[[random.Random], Levels]
    seed: int = 0
    known: bool = True
    connections: float = math.inf
    latency_seconds: float = 1.0
    seconds: float = 600.0
    overestimate: float = 1.0
    rounding: float = 1.0
    events: tuple[tuple[float, Callable[[Server], None]], ...] = ()

    def go(self) -> Outcome:
        return _Client(self).go()


class _Client:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.random = random.Random(run.seed)
        self.server = Server(run.limits)
        limits = [Limit(dimension=dimension, amount=amount) for dimension, amount in run.limits.items()]
        self.budget = Budget(limits if run.known else (), 0.0)
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.in_flight = self.sent = self.refused = 0
        self.admitted: Levels = dict.fromkeys(run.limits, 0.0)

    def go(self) -> Outcome:
        for at, happen in self.run.events:
            self.at(at, partial(self.happen, happen))
        actual = self.run.charge(self.random)
        while self.now < self.run.seconds:
            reserved: Levels = {**actual, "tokens": actual["tokens"] * self.run.overestimate}
            wait = self.budget.wait(reserved, self.now)[0] if self.in_flight < self.run.connections else math.inf
            if wait == 0.0:
                self.send(actual, self.budget.reserve(reserved, self.now))
                actual = self.run.charge(self.random)
            elif self.queue and self.queue[0][0] <= self.now + wait:
                self.now, _, act = heapq.heappop(self.queue)
                act()
            else:
                self.now += wait
        return Outcome(
            sent=self.sent,
            refused=self.refused,
            utilisation=max(
                self.admitted[dimension] / (limit * (1.0 + self.run.seconds / 60.0))
                for dimension, limit in self.run.limits.items()
            ),
        )

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (when, next(self.numbers), act))

    def happen(self, change: Callable[[Server], None]) -> None:
        self.server.refill(self.now)
        change(self.server)

    def send(self, actual: Levels, reservation: Reservation) -> None:
        self.sent += 1
        self.in_flight += 1
        self.at(self.now + self.random.uniform(0.0, UPLINK_SECONDS), lambda: self.arrive(actual, reservation))

    def arrive(self, actual: Levels, reservation: Reservation) -> None:
        if self.server.admit(actual, self.now):
            for dimension in self.admitted:
                self.admitted[dimension] += actual[dimension]
        else:
            self.refused += 1
        updates = [
            LimitUpdate(
                dimension=dimension,
                limit=limit,
                remaining=max(0.0, self.run.rounding * (self.server.levels[dimension] // self.run.rounding)),
                rounding=self.run.rounding,
            )
            for dimension, limit in self.server.limits.items()
        ]
        takes = self.run.latency_seconds + self.random.uniform(0.0, UPLINK_SECONDS)
        self.at(self.now + takes, lambda: self.reply(updates, reservation))

    def reply(self, updates: list[LimitUpdate], reservation: Reservation) -> None:
        self.in_flight -= 1
        for update in updates:
            self.budget.observe(update, reservation, self.now)
        self.budget.settle(reservation, reservation.charge, self.now)
