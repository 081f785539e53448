"""Turns: shares by weight whatever the size of the requests, calls before batches 9 to 1, and nobody starves."""

import itertools
import math
from collections import Counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.credential import Credential
from llmring.providers.fairness import BATCH, INTERACTIVE, RESERVE_SECONDS, Fairness, Flow
from llmring.providers.line import Line, Waiter
from llmring.providers.readiness import READY, Busy
from llmring.providers.regime import Charge
from llmring.providers.route import Permit, Route
from llmring.refs import ModelRef

TEN_A_SECOND = Limit(dimension="requests", amount=600.0)


def _nobody() -> None:
    """No worker: the test serves the line itself."""


def size(amount: float) -> Charge:
    return {"requests": amount}


class Queue:
    """A line whose requests cost what they charge; serves one after the other."""

    def __init__(self) -> None:
        self.line: Line[Permit] = Line(_nobody, Fairness(), lambda charge: charge["requests"])
        self.numbers = itertools.count()
        self.served: list[tuple[Flow, float]] = []

    def wait(self, flow: Flow, amount: float = 1.0, deadline: float = math.inf) -> Waiter[Permit]:
        waiter: Waiter[Permit] = Waiter(next(self.numbers), deadline, flow)
        self.line.enter(waiter, size(amount))
        return waiter

    def serve(self) -> Waiter[Permit]:
        head = self.line.heads()[0]
        cost = head.charge["requests"]
        self.line.fairness.served(head.waiter.flow, head.start, cost)
        self.line.leave(head.waiter)
        self.served.append((head.waiter.flow, cost))
        return head.waiter

    def shares(self) -> dict[str, float]:
        got: dict[str, float] = {}
        for flow, cost in self.served:
            got[flow.tenant] = got.get(flow.tenant, 0.0) + cost
        return got


@given(
    st.lists(st.floats(min_value=0.5, max_value=4.0), min_size=2, max_size=6),
    st.lists(st.floats(min_value=0.1, max_value=10.0), min_size=60, max_size=60),
)
def test_whoever_waits_all_the_time_is_never_two_requests_from_its_share(
    weights: list[float], sizes: list[float]
) -> None:
    """The bound of start-time fair queueing: one largest request of each of the two compared."""
    queue = Queue()
    flows = [Flow("batch", f"tenant {number}", weight) for number, weight in enumerate(weights)]
    for flow in flows:
        for amount in sizes:
            queue.wait(flow, amount)
    for _ in range(60):
        queue.serve()
        shares = queue.shares()
        for one, other in itertools.combinations(flows, 2):
            apart = shares.get(one.tenant, 0.0) / one.weight - shares.get(other.tenant, 0.0) / other.weight
            assert abs(apart) <= 10.0 / one.weight + 10.0 / other.weight + 1e-6


def test_a_tenant_that_comes_later_gets_its_share_from_then_on_and_nothing_for_the_past() -> None:
    queue = Queue()
    for _ in range(100):
        queue.wait(Flow("batch", "old"))
    for _ in range(50):
        queue.serve()
    for _ in range(100):
        queue.wait(Flow("batch", "new"))
    queue.served.clear()
    for _ in range(40):
        queue.serve()
    assert abs(queue.shares()["old"] - queue.shares()["new"]) <= 2.0


def test_what_is_in_service_when_the_line_begins_counts_and_what_ended_before_does_not() -> None:
    queue = Queue()
    many, few = Flow("batch", "many"), Flow("batch", "few")
    fairness = queue.line.fairness
    for flow in (many, many, many, few, few):
        fairness.served(flow, 0.0, 1.0)
    fairness.ended(few, 1.0, 1.0)
    fairness.ended(few, 1.0, 1.0)
    for flow in (many, few) * 6:
        queue.wait(flow)
    assert [queue.serve().flow.tenant for _ in range(4)].count("few") >= 3


def test_whoever_used_less_than_was_thought_gets_more_requests() -> None:
    """Shares are of what was used, and that is known only when the next one of the same tenant waits already."""
    queue = Queue()
    thrifty, plain = Flow("batch", "thrifty"), Flow("batch", "plain")
    for flow in (thrifty, plain) * 100:
        queue.wait(flow)
    in_flight: list[Flow] = []
    used = {"thrifty": 0.0, "plain": 0.0}
    for _ in range(90):
        in_flight.append(queue.serve().flow)
        queue.line.heads()
        if len(in_flight) == 4:
            flow = in_flight.pop(0)
            actual = 0.5 if flow is thrifty else 1.0
            used[flow.tenant] += actual
            queue.line.fairness.ended(flow, 1.0, actual)
    assert abs(used["thrifty"] - used["plain"]) <= 4.0


def test_what_hardly_counts_ends_like_everything_else() -> None:
    fairness = Fairness()
    light = Flow("batch", "light", 1e9)
    for _ in range(2):
        fairness.served(light, 0.0, 0.001)
    for _ in range(2):
        fairness.ended(light, 0.001, 0.0005)
    fairness.came("batch")
    assert fairness.start(light) == 0.0


def test_who_left_a_line_that_emptied_begins_anew_with_all_others() -> None:
    queue = Queue()
    old, new = Flow("batch", "old"), Flow("batch", "new")
    waiting = [queue.wait(old) for _ in range(100)]
    for _ in range(50):
        queue.serve()
        queue.line.fairness.ended(old, 1.0, 1.0)
    queue.line.heads()
    for waiter in waiting:
        queue.line.leave(waiter)
    queue.served.clear()
    for _ in range(20):
        queue.wait(old)
        queue.wait(new)
    for _ in range(20):
        queue.serve()
    assert abs(queue.shares().get("old", 0.0) - queue.shares()["new"]) <= 2.0


def test_calls_and_batches_go_nine_to_one() -> None:
    queue = Queue()
    for _ in range(200):
        queue.wait(INTERACTIVE)
        queue.wait(BATCH)
    got = Counter(queue.serve().flow.priority for _ in range(200))
    assert got == {"interactive": 180, "batch": 20}


def test_calls_go_by_their_deadlines_and_batches_as_they_came() -> None:
    queue = Queue()
    late, soon = queue.wait(INTERACTIVE, deadline=60.0), queue.wait(INTERACTIVE, deadline=5.0)
    assert [queue.serve(), queue.serve()] == [soon, late]
    first, second = queue.wait(BATCH, deadline=60.0), queue.wait(BATCH, deadline=5.0)
    assert [queue.serve(), queue.serve()] == [first, second]


def test_a_large_request_of_a_batch_is_overtaken_by_no_more_than_would_have_gone_anyway() -> None:
    queue = Queue()
    large = queue.wait(BATCH, 10.0)
    overtaken = 0
    for _ in range(1000):
        queue.wait(INTERACTIVE)
        heads = queue.line.heads()
        if heads[0].waiter is large and len(heads) == 1:
            break
        call = heads[-1]
        assert call.waiter.flow is INTERACTIVE
        queue.line.fairness.served(INTERACTIVE, call.start, call.charge["requests"], in_turn=call is heads[0])
        queue.line.leave(call.waiter)
        overtaken += 1
    # Nine to one of its own size.
    assert 89 <= overtaken <= 91


# At a route.


def route(*limits: Limit, connections: int = 100) -> Route:
    return Route(ModelRef("acme", "small"), Credential(Budget(limits, 0.0), connections, lambda: 0.0), {}, _nobody, 0.0)


def test_a_batch_leaves_a_tenth_free_for_ten_minutes_after_a_call() -> None:
    tested = route(TEN_A_SECOND)
    capacity = tested.credential.budget.buckets["requests"].capacity
    assert tested.readiness(size(590.0), 0.0, BATCH) is READY
    tested.admit(size(1.0), 0.0, INTERACTIVE)
    tested.take(size(capacity - 50.0), 0.0, BATCH)
    busy = tested.readiness(size(1.0), 0.0, BATCH)
    assert isinstance(busy, Busy)
    assert busy.wait_seconds == pytest.approx((1.0 + 0.1 * capacity - 49.0) / 10.0)
    assert tested.readiness(size(1.0), 0.0, INTERACTIVE) is READY
    assert tested.keep(BATCH, RESERVE_SECONDS) == 0.0


def test_a_batch_leaves_a_tenth_of_the_connections_free_too() -> None:
    tested = route(connections=10)
    tested.admit(size(1.0), 0.0, INTERACTIVE)
    for _ in range(8):
        assert tested.readiness(size(1.0), 0.0, BATCH) is READY
        tested.admit(size(1.0), 0.0, BATCH)
    assert isinstance(tested.readiness(size(1.0), 0.0, BATCH), Busy)
    assert tested.readiness(size(1.0), 0.0, INTERACTIVE) is READY


async def _fifty() -> list[Waiter[Permit]]:
    await trio.lowlevel.checkpoint()
    return [Waiter(number, math.inf) for number in range(50)]


def test_a_newcomer_is_told_how_long_those_before_it_will_take() -> None:
    tested = route(TEN_A_SECOND)
    tested.take(size(597.5), 0.0)
    waiters = trio.run(_fifty)
    for waiter in waiters:
        tested.line.enter(waiter, size(2.0))
    told = tested.readiness(size(1.0), 0.0)
    assert isinstance(told, Busy)
    assert (round(told.wait_seconds, 6), told.why) == (10.1, "requests limit, 50 in line")
    # Those who stand in two lines are half here.
    for waiter in waiters:
        tested.line.leave(waiter)
        waiter.places = 2
        tested.line.enter(waiter, size(2.0))
    told = tested.readiness(size(1.0), 0.0)
    assert isinstance(told, Busy)
    assert round(told.wait_seconds, 6) == 5.1


def test_those_who_left_are_not_kept() -> None:
    queue = Queue()
    staying = queue.wait(BATCH)
    for _ in range(10_000):
        queue.line.leave(queue.wait(BATCH))
    assert len(queue.line) == 1
    kept = sum(len(tenant.heap) for kind in queue.line._classes.values() for tenant in kind.tenants.values())
    assert kept < 100
    assert queue.serve() is staying
