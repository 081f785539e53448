"""Work that waits out the weather is given up when waiting cannot help it, and not before."""

import math

import pytest

from llmring.errors import Overloaded, ProviderError, RateLimited, RowStalled
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.refs import ModelRef
from llmring.router.failover import Fail, Go, Plan, Wait
from llmring.router.stall import Stall

MODELS = [ModelRef("acme", "first"), ModelRef("zenith", "second")]
SLOW = RateLimited("slow", status=429)
FULL = Overloaded("full", status=529)
OPEN = Shut(wait_seconds=5.0, why="breaker open")


def begun(routes: int = 1) -> Stall:
    stall = Stall(routes)
    stall.look([READY] * routes, -math.inf, 0.0)
    return stall


@pytest.mark.parametrize(
    ("errors", "answers", "given_up"),
    [
        ([FULL] * 4, [0, 1, 2, 3], True),
        ([FULL] * 3, [0, 1, 2], False),
        # Nobody else was answered in between: it is not this request.
        ([FULL] * 9, [5] * 9, False),
        ([FULL] * 5, [0, 1, 1, 2, 3], True),
        # Not the same way each time.
        ([FULL, SLOW, FULL, SLOW, FULL], [0, 1, 2, 3, 4], False),
        ([FULL, FULL, FULL, SLOW, FULL, FULL, FULL, FULL], list(range(8)), True),
    ],
)
def test_the_same_failure_while_others_are_answered_is_of_the_request(
    errors: list[ProviderError], answers: list[int], given_up: bool
) -> None:
    stall = begun()
    counts = enumerate(zip(errors, answers, strict=True), 1)
    verdicts = [stall.failed(0, error, count, number, 1.0) for number, (error, count) in counts]
    assert verdicts == [False] * (len(errors) - 1) + [given_up]
    assert (stall.repeated is not None) is given_up


@pytest.mark.parametrize(("error", "others"), [(FULL, 2), (SLOW, 0)])
def test_where_others_are_failed_too_or_a_limit_refuses_it_has_to_last(error: ProviderError, others: int) -> None:
    stall = begun()
    every = 1 + others
    assert not any(stall.failed(0, error, count, every * count, 5.0 * count) for count in range(12))
    assert stall.failed(0, error, 12, every * 12, 60.0)
    assert stall.repeated == f"{type(error).__name__} 13 times, while others were answered"


def test_each_route_counts_for_itself() -> None:
    stall = begun(2)
    assert not any(stall.failed(index, FULL, count, count, 1.0) for count in range(3) for index in (0, 1))
    assert stall.failed(1, FULL, 3, 3, 1.0)


def test_silence_counts_from_the_beginning_or_the_last_answer() -> None:
    stall = begun()
    assert stall.ends(-math.inf) == 600.0
    assert stall.ends(50.0) == 650.0
    assert stall.silent(50.0, 649.9) is None
    assert stall.silent(50.0, 650.0) == "its models have answered nobody for 600 s"


def test_a_wait_that_a_limit_sets_is_no_silence() -> None:
    stall = begun()
    stall.look([Busy(wait_seconds=3000.0, why="day limit"), OPEN], -math.inf, 10.0)
    assert stall.ends(-math.inf) == 3610.0


def test_an_open_breaker_is_silence() -> None:
    stall = begun()
    stall.look([OPEN, OPEN], -math.inf, 10.0)
    assert stall.ends(-math.inf) == 600.0


def test_what_was_refused_is_excused_once() -> None:
    stall = begun()
    hold = RateLimited("slow", status=429, retry_after=60.0)
    for at in (0.0, 60.0, 120.0):
        stall.failed(0, hold, 0, 1, at)
        stall.look([Busy(wait_seconds=60.0, why="requests limit")], -math.inf, at)
    assert stall.ends(-math.inf) == 660.0
    # Somebody was answered: it may be told to wait again.
    stall.look([Busy(wait_seconds=60.0, why="requests limit")], 130.0, 140.0)
    assert stall.ends(130.0) == 800.0


# In a plan.


def plan(routes: int = 1, *, patient: bool = True) -> Plan:
    return Plan("fast", MODELS[:routes], deadline=math.inf, random=lambda: 0.0, patient=patient)


def test_a_plan_gives_a_route_up_and_goes_on_with_the_next() -> None:
    tested = plan(2)
    for count in range(4):
        assert tested.next([READY, READY], 10.0 * count) == Go(0)
        tested.failed(0, FULL, 0.0, 0.0, 10.0 * count, count, count)
    assert tested.next([READY, READY], 40.0) == Go(1)
    assert not tested.is_over


def test_a_plan_without_another_route_fails_with_the_reason_and_every_attempt() -> None:
    tested = plan()
    for count in range(4):
        tested.failed(0, FULL, 0.0, 0.0, 10.0 * count, count, count)
    decision = tested.next([READY], 40.0)
    assert isinstance(decision, Fail)
    assert isinstance(decision.error, RowStalled)
    assert decision.error.why == "Overloaded 4 times, while others were answered"
    assert len(decision.error.attempts) == 4
    assert tested.is_over


@pytest.mark.parametrize("answer", [OPEN, Shut(wait_seconds=100.0, why="breaker open")])
def test_a_plan_wakes_to_be_given_up(answer: Readiness) -> None:
    tested = plan()
    assert tested.next([answer], 0.0, 5.0) == Wait(indexes=(0,), until=605.0)
    decision = tested.next([answer], 605.0, 5.0)
    assert isinstance(decision, Fail)
    assert isinstance(decision.error, RowStalled)


def test_who_is_not_patient_is_not_watched() -> None:
    assert plan(patient=False).next([OPEN], 0.0) == Wait(indexes=(0,), until=math.inf)
