"""How many requests a server works on at once, found out from how long they take: against a server with a queue."""

import heapq
import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers.concurrency import MOST, Concurrency


class Loop:
    """Always as many in flight as may be, at a server with `slots` and a queue; `service()` in seconds.

    `seen` is the limit at the end of every second, `answers` when each answer came.
    """

    def __init__(self, slots: int, service: Callable[[], float] = lambda: 1.0, most: int = MOST) -> None:
        self.tested = Concurrency(most)
        self.slots = slots
        self.service = service
        self.now = 0.0
        self.seen: list[int] = []
        self.answers: list[float] = []
        self._queue: list[tuple[float, int]] = []
        self._busy: list[tuple[float, float, int]] = []

    def run(self, until: float) -> None:
        while True:
            while len(self._queue) + len(self._busy) < self.tested.limit:
                ticket = self.tested.sent(len(self._queue) + len(self._busy) + 1)
                self._queue.append((self.now, ticket))
            while self._queue and len(self._busy) < self.slots:
                heapq.heappush(self._busy, (self.now + self.service(), *self._queue.pop(0)))
            at, sent_at, ticket = self._busy[0]
            self.seen += [self.tested.limit] * max(0, math.floor(min(at, until)) - len(self.seen))
            if at > until:
                return
            heapq.heappop(self._busy)
            self.now = at
            self.answers.append(at)
            self.tested.answered(ticket, "model", at - sent_at, 1.0, at)

    def rate(self, since: float) -> float:
        return sum(at > since for at in self.answers) / (self.now - since)


@pytest.mark.parametrize("slots", [1, 2, 4, 16, 40])
def test_it_settles_between_what_the_server_works_on_and_twice_that(slots: int) -> None:
    loop = Loop(slots)
    loop.run(900.0)
    settled = loop.seen[60:]
    within = sum(slots <= limit <= min(MOST, max(2 * slots, slots + 2)) for limit in settled)
    # The rest are the rounds in which half of it is tried.
    assert within >= 0.9 * len(settled)
    assert min(settled) >= slots // 2
    assert loop.rate(60.0) >= 0.95 * slots


@pytest.mark.parametrize(("before", "after"), [(16, 4), (4, 16), (1, 8), (8, 1)])
def test_it_follows_a_server_that_changes(before: int, after: int) -> None:
    loop = Loop(before)
    loop.run(200.0)
    loop.slots = after
    loop.run(300.0)
    loop.run(600.0)
    settled = loop.seen[300:]
    assert sum(after <= limit <= max(2 * after, after + 2) for limit in settled) >= 0.85 * len(settled)
    assert loop.rate(300.0) >= 0.95 * after


def test_it_follows_a_server_that_changes_at_any_moment() -> None:
    """Also while half the number is being tried: what is measured before and after is not to be compared."""
    stuck: list[float] = []
    for quarter in range(240):
        changed_at = 600.0 + quarter / 4
        loop = Loop(16)
        loop.run(changed_at)
        loop.slots = 2
        loop.run(changed_at + 300.0)
        if max(loop.seen[math.ceil(changed_at) + 150 :]) > 4:
            stuck.append(changed_at)
    assert stuck == []


@given(st.integers(1, 16), st.floats(0.05, 0.35), st.integers(0, 1000))
def test_times_that_scatter_do_not_starve_it(slots: int, sigma: float, seed: int) -> None:
    chance = random.Random(seed)
    loop = Loop(slots, lambda: chance.lognormvariate(0.0, sigma))
    loop.run(600.0)
    assert loop.rate(100.0) >= 0.8 * slots / math.exp(sigma * sigma / 2)
    assert fmean(loop.seen[100:]) <= 2 * slots + 1


def test_a_server_that_takes_longer_for_a_fuller_batch_and_answers_more_is_not_left_idle() -> None:
    """At 64 it takes twice as long as alone, and answers 32 times as much."""
    loop = Loop(1000)
    loop.service = lambda: 1.0 + loop.tested.limit / MOST
    loop.run(600.0)
    assert min(loop.seen[60:]) >= MOST // 2
    assert loop.rate(60.0) >= 0.9 * MOST / 2.0


def test_a_model_that_becomes_slower_for_another_reason_is_not_left_idle() -> None:
    seconds = 1.0
    loop = Loop(16, lambda: seconds)
    loop.run(200.0)
    seconds = 3.0
    loop.run(400.0)
    loop.run(1000.0)
    assert loop.rate(400.0) >= 0.9 * 16 / 3.0


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    tested = Concurrency()
    for number in range(1000):
        tested.answered(tested.sent(1), "model", 1.0, 1.0, float(number))
    assert tested.limit == 2


def test_a_busy_server_halves_it_once_for_all_that_were_refused_together() -> None:
    loop = Loop(16)
    loop.run(100.0)
    before = loop.tested.limit
    tickets = [loop.tested.sent(before) for _ in range(before)]
    for ticket in tickets:
        loop.tested.refused(ticket)
    assert loop.tested.limit == before // 2
    for _ in range(10):
        loop.tested.refused(loop.tested.sent(1))
    assert loop.tested.limit == 1


def test_each_model_is_compared_with_itself() -> None:
    """A slow one that is asked in turn with a fast one is no queue."""
    tested = Concurrency()
    for number in range(2000):
        model, seconds = ("slow", 30.0) if number % 7 == 0 else ("fast", 1.0)
        tested.answered(tested.sent(tested.limit), model, seconds, 1.0, float(number))
    assert tested.limit >= MOST // 2


@given(
    st.lists(st.tuples(st.sampled_from("abr"), st.floats(0.0, 1e6), st.floats(0.0, 1e6)), max_size=300),
    st.integers(1, MOST),
)
def test_whatever_happens_it_stays_within_its_bounds(events: list[tuple[str, float, float]], most: int) -> None:
    tested, now = Concurrency(most), 0.0
    for what, seconds, units in events:
        now += seconds
        ticket = tested.sent(tested.limit)
        if what == "r":
            tested.refused(ticket)
        else:
            tested.answered(ticket, what, seconds, units, now)
        assert 1 <= tested.limit <= most
