"""Lines: first come first served, one permit a waiter, and none is lost when a waiter is cancelled."""

import math

import pytest
import trio
import trio.testing

from llmring.providers.budget import Budget
from llmring.providers.credential import Credential
from llmring.providers.fairness import Flow
from llmring.providers.line import Line, Waiter
from llmring.providers.regime import Charge
from llmring.providers.route import Permit, Route
from llmring.refs import ModelRef

CHARGE: Charge = {"requests": 1.0}


def waiter(number: int) -> Waiter[Permit]:
    return Waiter(number, math.inf)


def enter(line: Line[Permit], *waiters: Waiter[Permit]) -> None:
    for each in waiters:
        line.enter(each, CHARGE)


def head(line: Line[Permit]) -> tuple[Waiter[Permit], Charge] | None:
    """Who is next."""
    heads = line.heads()
    return (heads[0].waiter, heads[0].charge) if heads else None


def order(line: Line[Permit]) -> list[int]:
    """Serves everybody."""
    numbers = []
    while (first := head(line)) is not None:
        numbers.append(first[0].number)
        first[0].send_away()
        line.leave(first[0])
    return numbers


def route(model: str = "small") -> Route:
    now = trio.current_time()
    return Route(ModelRef("acme", model), Credential(Budget((), now), 10, lambda: 0.0), {}, _nobody, now)


def _nobody() -> None:
    """No worker: the test serves the line itself."""


def serve(*routes: Route) -> Permit:
    """Give a permit to the head of the first of `routes` that has one."""
    for each in routes:
        first = head(each.line)
        if first is not None:
            permit = each.take(first[1], trio.current_time())
            first[0].give(permit)
            return permit
    raise AssertionError("nobody waits")


# The line.


def test_who_comes_first_is_served_first() -> None:
    line: Line[Permit] = Line(_nobody)
    enter(line, *map(waiter, range(5)))
    assert len(line) == 5
    assert order(line) == [0, 1, 2, 3, 4]
    assert len(line) == 0


def test_older_requests_that_come_back_stand_where_they_would_have_stood() -> None:
    line: Line[Permit] = Line(_nobody)
    enter(line, waiter(3), waiter(4), waiter(7), waiter(1), waiter(2), waiter(5), waiter(8))
    assert order(line) == [1, 2, 3, 4, 5, 7, 8]


def test_who_comes_back_to_an_empty_line_is_not_overtaken_by_who_came_later() -> None:
    line: Line[Permit] = Line(_nobody)
    first = waiter(5)
    enter(line, first)
    line.leave(first)
    enter(line, waiter(2), waiter(6), waiter(7))
    assert order(line) == [2, 6, 7]


def test_the_head_stays_the_head_until_it_is_served_or_leaves() -> None:
    line: Line[Permit] = Line(_nobody)
    first, second = waiter(0), waiter(1)
    enter(line, first, second)
    assert head(line) == head(line) == (first, CHARGE)
    line.leave(first)
    assert head(line) == (second, CHARGE)


def test_leaving_twice_or_unknown_is_nothing() -> None:
    line: Line[Permit] = Line(_nobody)
    first = waiter(0)
    line.leave(first)
    enter(line, first)
    line.leave(first)
    line.leave(first)
    assert head(line) is None


def test_who_was_served_elsewhere_is_passed_over() -> None:
    line: Line[Permit] = Line(_nobody)
    first, second = waiter(0), waiter(1)
    enter(line, first, second)
    first.send_away()
    assert head(line) == (second, CHARGE)


def test_a_charge_that_is_named_again_replaces_the_first_and_keeps_the_place() -> None:
    line: Line[Permit] = Line(_nobody)
    first = waiter(0)
    enter(line, first, waiter(1))
    line.enter(first, {"requests": 2.0})
    assert head(line) is not None
    assert len(line) == 2
    assert line.ahead("interactive")["requests"] == 3.0
    line.leave(first)
    assert line.ahead("interactive")["requests"] == 1.0


def test_who_was_served_elsewhere_is_not_taken_off_those_who_came_since() -> None:
    """It leaves when it wakes; another of its tenant may stand there by then."""
    for is_looked_at in (False, True):
        line: Line[Permit] = Line(_nobody)
        served, staying = waiter(0), Waiter[Permit](1, math.inf, Flow(tenant="other"))
        enter(line, served, staying)
        served.send_away()
        if is_looked_at:
            assert head(line) == (staying, CHARGE)
        enter(line, waiter(2))
        line.leave(served)
        assert line.ahead("interactive")["requests"] == 2.0
        newcomer = Flow(tenant="new")
        assert line.before(newcomer, math.inf, CHARGE)["requests"] == 2.0


# Waiters.


async def test_a_waiter_gets_the_permit_that_is_given_and_leaves_every_line(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one, other = route("one"), route("other")
    got: list[Permit | None] = []

    async def wait() -> None:
        got.append(await waiter(0).wait([(one.line, CHARGE), (other.line, CHARGE)], math.inf))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(3.0)
        assert (len(one.line), len(other.line)) == (1, 1)
        permit = serve(other)
        assert head(one.line) is None
    assert got == [permit]
    assert (one.in_flight, other.in_flight) == (0, 1)
    assert (len(one.line), len(other.line)) == (0, 0)
    assert trio.current_time() == 3.0


async def test_waiters_are_served_once_each_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    one, other = route("one"), route("other")
    served: list[tuple[int, str, float]] = []

    async def wait(number: int) -> None:
        permit = await waiter(number).wait([(one.line, CHARGE), (other.line, CHARGE)], math.inf)
        assert permit is not None
        served.append((number, permit.route.ref.model, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        for which in (other, one, other, one):
            await trio.sleep(1.0)
            serve(which)
    assert served == [(0, "other", 1.0), (1, "one", 2.0), (2, "other", 3.0), (3, "one", 4.0)]
    assert (one.in_flight, other.in_flight) == (2, 2)


async def test_without_a_permit_a_waiter_gives_up_at_its_time(autojump_clock: trio.testing.MockClock) -> None:
    tested = route()
    assert await waiter(0).wait([(tested.line, CHARGE)], 7.5) is None
    assert trio.current_time() == 7.5
    assert len(tested.line) == 0


async def test_with_no_place_to_wait_at_a_waiter_sleeps_until_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await waiter(0).wait([], 0.05) is None
    assert trio.current_time() == 0.05


async def test_who_is_sent_away_looks_again_without_a_permit(autojump_clock: trio.testing.MockClock) -> None:
    one, other = route("one"), route("other")
    got: list[Permit | None] = []
    sent = waiter(0)

    async def wait() -> None:
        got.append(await sent.wait([(one.line, CHARGE), (other.line, CHARGE)], math.inf))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(2.0)
        sent.send_away()
        assert sent.is_served
    assert (got, trio.current_time()) == ([None], 2.0)
    assert (len(one.line), len(other.line)) == (0, 0)


async def test_a_cancelled_waiter_leaves_every_line(autojump_clock: trio.testing.MockClock) -> None:
    one, other = route("one"), route("other")
    with trio.move_on_after(4.0):
        await waiter(0).wait([(one.line, CHARGE), (other.line, CHARGE)], math.inf)
    assert (len(one.line), len(other.line)) == (0, 0)
    assert trio.current_time() == 4.0


@pytest.mark.parametrize("permit_first", [True, False])
async def test_a_permit_given_in_the_moment_of_a_cancel_goes_back(
    permit_first: bool, autojump_clock: trio.testing.MockClock
) -> None:
    tested = route()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter(0).wait, [(tested.line, CHARGE)], math.inf)
        await trio.testing.wait_all_tasks_blocked()
        if permit_first:
            serve(tested)
            nursery.cancel_scope.cancel()
        else:
            nursery.cancel_scope.cancel()
            serve(tested)
        assert tested.in_flight == 1
    # With the permit first, trio lets the waiter finish: the permit is in nobody's hand but the caller's.
    assert tested.in_flight == (1 if permit_first else 0)


async def test_a_permit_given_in_the_moment_the_time_ends_is_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tested = route()
    got: list[Permit | None] = []

    async def wait() -> None:
        got.append(await waiter(0).wait([(tested.line, CHARGE)], 5.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep_until(5.0)
        if head(tested.line) is not None:
            serve(tested)
    assert [permit is not None for permit in got] == [tested.in_flight == 1]
