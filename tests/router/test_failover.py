"""Plans: one request's way along its routes, decision by decision, and how many requests it may send at the most."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import (
    AllModelsFailed,
    AttemptTimeout,
    AuthFailed,
    BadReply,
    ConnectFailed,
    ContextTooLong,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    TransportBroken,
    Unsupported,
)
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.refs import ModelRef
from llmring.router.failover import Decision, Fail, Go, Plan, Wait
from llmring.trace import Spill

MODELS = [ModelRef("acme", "first"), ModelRef("acme", "second"), ModelRef("zenith", "third")]
HALF = Busy(wait_seconds=0.5, why="requests limit")
LONG = Busy(wait_seconds=700.0, why="day limit")
NEXT = Busy(wait_seconds=0.0, why="1 in line")
OPEN = Shut(wait_seconds=3.0, why="breaker open")
GONE = Shut(wait_seconds=None, why="model gone: bye")
FAULT = ServerFault("broken", status=500)
SLOW = RateLimited("slow", status=429)


def plan(
    routes: int = 3,
    *,
    deadline: float = 600.0,
    jitter: float = 1.0,
    patient: bool = False,
    spill: Spill = "auto",
) -> Plan:
    return Plan("fast", MODELS[:routes], deadline=deadline, random=lambda: jitter, patient=patient, spill=spill)


def fail(tested: Plan, index: int, error: ProviderError = FAULT, now: float = 0.0) -> None:
    tested.failed(index, error, 0.0, 0.0, now)


def failure(decision: Decision) -> AllModelsFailed:
    assert isinstance(decision, Fail)
    assert isinstance(decision.error, AllModelsFailed)
    return decision.error


def outcomes(tested: Plan) -> list[str]:
    return [str(attempt) for attempt in tested.attempts]


# What to do next.


@pytest.mark.parametrize(
    ("readiness", "decision"),
    [
        ([READY, READY, READY], Go(0)),
        ([HALF, READY, READY], Go(1)),
        ([LONG, OPEN, READY], Go(2)),
        ([GONE, GONE, READY], Go(2)),
        # None is ready: in line at all that can be in time, whichever is first.
        ([HALF, NEXT, OPEN], Wait(indexes=(0, 1, 2), until=600.0)),
        ([LONG, HALF, GONE], Wait(indexes=(1,), until=600.0)),
        ([OPEN, GONE, GONE], Wait(indexes=(0,), until=600.0)),
    ],
)
def test_the_first_ready_route_is_taken_else_the_wait_that_fits(
    readiness: Sequence[Readiness], decision: Decision
) -> None:
    assert plan().next(readiness, 0.0) == decision


def test_when_nothing_can_be_waited_for_it_fails_at_once_with_every_reason_and_the_earliest_retry() -> None:
    tested = plan()
    error = failure(tested.next([LONG, GONE, Shut(wait_seconds=650.0, why="breaker open")], 10.0))
    assert [str(attempt) for attempt in error.attempts] == [
        "acme:first: not waited for: day limit for 700 s",
        "acme:second: not waited for: model gone: bye",
        "zenith:third: not waited for: breaker open for 650 s",
    ]
    assert (error.alias, error.retry_at, error.retry_after) == ("fast", 660.0, 650.0)
    assert not any(attempt.sent for attempt in error.attempts)
    assert tested.attempts == []


def test_where_no_time_helps_no_retry_is_promised() -> None:
    error = failure(plan(2).next([GONE, GONE], 0.0))
    assert (error.retry_at, error.retry_after) == (None, None)


@pytest.mark.parametrize(("wait", "fits"), [(599.9, True), (600.0, False), (600.1, False)])
def test_a_wait_has_to_end_before_the_deadline(wait: float, fits: bool) -> None:
    decision = plan(1).next([Busy(wait_seconds=wait, why="requests limit")], 0.0)
    assert isinstance(decision, Wait) is fits


def test_without_a_deadline_any_wait_fits() -> None:
    assert plan(1, deadline=math.inf).next([LONG], 0.0) == Wait(indexes=(0,), until=math.inf)


def test_a_shut_route_that_must_not_hide_ends_the_request_with_its_error() -> None:
    error = AuthFailed("wrong key")
    shut = Shut(wait_seconds=None, why="key refused", error=error)
    decision = plan().next([shut, READY, READY], 0.0)
    assert isinstance(decision, Fail)
    assert isinstance(decision.error, AuthFailed)
    assert str(decision.error) == str(error)
    # Many tasks raise it: each its own, or it would collect all their tracebacks.
    assert decision.error is not error
    assert plan().next([READY, shut, READY], 0.0) == Go(0)


@pytest.mark.parametrize("now", [10.0, 10.5, 1e6])
def test_after_the_deadline_nothing_is_sent(now: float) -> None:
    # The first failed early, the second used up the rest: the first is ready again, but there is no time.
    tested = plan(2, deadline=10.0)
    fail(tested, 0, now=1.0)
    fail(tested, 1, AttemptTimeout("no answer"), now=10.0)
    error = failure(tested.next([READY, READY], now))
    assert error.retry_at is not None
    assert error.retry_at >= now


def test_a_caller_that_is_out_of_time_at_the_start_sends_nothing() -> None:
    error = failure(plan(1, deadline=-math.inf).next([READY], 0.0))
    assert [attempt.outcome for attempt in error.attempts] == ["not waited for: the deadline has passed"]


# After a failure.


def test_the_next_ready_route_is_taken_before_the_failed_one_is_tried_again() -> None:
    tested = plan()
    fail(tested, 0)
    assert tested.next([READY] * 3, 0.0) == Go(1)
    fail(tested, 1)
    assert tested.next([READY] * 3, 0.0) == Go(2)


def test_a_route_in_its_pause_is_waited_for_but_not_in_line() -> None:
    tested = plan(2)
    fail(tested, 0, now=5.0)
    assert tested.next([READY, HALF], 5.0) == Wait(indexes=(1,), until=5.5)
    assert tested.next([NEXT, HALF], 5.0) == Wait(indexes=(1,), until=5.5)
    fail(tested, 1, now=5.0)
    assert tested.next([READY, READY], 5.25) == Wait(indexes=(), until=5.5)
    assert tested.next([READY, READY], 5.5) == Go(0)


def test_a_pause_is_over_at_its_end_however_that_is_rounded() -> None:
    """A replay reckons its times from the beginning of the request."""
    tested = plan(1)
    fail(tested, 0, now=5.0)
    assert tested.next([READY], math.nextafter(5.5, 0.0)) == Go(0)


def test_the_earliest_pause_ends_the_wait() -> None:
    tested = plan()
    fail(tested, 1, now=2.0)
    fail(tested, 0, now=1.0)
    assert tested.next([READY, READY, HALF], 1.25) == Wait(indexes=(2,), until=1.5)
    assert tested.next([HALF, READY, HALF], 2.0) == Wait(indexes=(0, 2), until=2.5)


@pytest.mark.parametrize(
    ("jitter", "pauses"),
    [(1.0, [0.5, 1.0, 2.0]), (0.5, [0.25, 0.5, 1.0]), (0.0, [0.05, 0.05, 0.05])],
)
def test_pauses_are_random_over_a_doubling_span_and_never_nothing(jitter: float, pauses: list[float]) -> None:
    tested = plan(1, jitter=jitter)
    for pause in pauses:
        fail(tested, 0, SLOW, now=7.0)
        assert tested.next([READY], 7.0) == Wait(indexes=(), until=7.0 + pause)


def test_a_pause_that_passes_the_deadline_is_not_begun() -> None:
    tested = plan(1, deadline=10.0)
    fail(tested, 0, now=9.5)
    error = failure(tested.next([READY], 9.5))
    assert [str(attempt) for attempt in error.attempts] == [
        "acme:first: ServerFault: broken (HTTP 500)",
        "acme:first: not waited for: pause after a failure",
    ]
    assert error.retry_at == 10.0


FAULTS: list[type[ProviderError]] = [
    Overloaded, ServerFault, ConnectFailed, TransportBroken, AttemptTimeout, BadReply,
]  # fmt: skip
FINAL: list[type[ProviderError]] = [QuotaExhausted, ModelGone, ContextTooLong, Unsupported]


@pytest.mark.parametrize(
    ("kind", "tries"), [(RateLimited, 4), *((kind, 2) for kind in FAULTS), *((kind, 1) for kind in FINAL)]
)
def test_a_route_is_tried_as_often_as_its_error_says(kind: type[ProviderError], tries: int) -> None:
    assert sends(plan(1), [kind("no")] * 9) == tries


@pytest.mark.parametrize(
    ("errors", "tries"),
    [
        ([SLOW, FAULT], 2),
        ([FAULT, SLOW, SLOW, SLOW, SLOW], 4),
        ([FAULT, SLOW, FAULT], 3),
        ([SLOW, SLOW, SLOW, FAULT, SLOW], 4),
        ([SLOW, QuotaExhausted("no money")], 2),
    ],
)
def test_the_last_error_decides_whether_a_route_is_tried_again(errors: list[ProviderError], tries: int) -> None:
    assert sends(plan(1), [*errors, *[SLOW] * 9][: max(tries, len(errors))]) == tries


def sends(tested: Plan, errors: Sequence[ProviderError], routes: int = 1) -> int:
    """How many attempts end in the first of `errors`, one each, until the plan fails or they are used up."""
    now, sent = 0.0, 0
    for _ in range(100):
        match tested.next([READY] * routes, now):
            case Go(index) if sent < len(errors):
                fail(tested, index, errors[sent], now)
                sent += 1
            case Wait(until=until):
                assert until > now
                now = until
            case _:
                break
    return sent


some_errors = st.lists(st.sampled_from([SLOW, *(kind("no") for kind in FAULTS + FINAL)]), min_size=40, max_size=40)


@given(some_errors, st.integers(min_value=1, max_value=3), st.sampled_from([0.0, 0.3, 1.0]))
def test_no_request_sends_more_than_4_a_route(errors: list[ProviderError], routes: int, jitter: float) -> None:
    assert sends(plan(routes, jitter=jitter), errors, routes) <= 4 * routes


@given(some_errors, st.integers(min_value=1, max_value=3))
def test_where_nobody_refuses_no_request_sends_more_than_2_a_route(errors: list[ProviderError], routes: int) -> None:
    without = [error if error is not SLOW else FAULT for error in errors]
    assert sends(plan(routes), without, routes) <= 2 * routes


@pytest.mark.parametrize("weather", [SLOW, Overloaded("full")])
def test_who_is_patient_never_gives_up_a_route_for_the_weather_but_pauses(weather: ProviderError) -> None:
    tested = plan(1, deadline=math.inf, patient=True)
    now = 0.0
    for _ in range(500):
        assert tested.next([READY], now) == Go(0)
        fail(tested, 0, weather, now)
        assert tested.next([READY], now) == Wait(indexes=(), until=now + 0.5)
        now += 0.5
    assert len(tested.attempts) == 500


def test_who_is_patient_gives_up_a_route_for_its_faults() -> None:
    tested = plan(1, deadline=math.inf, patient=True)
    assert sends(tested, [SLOW, FAULT, SLOW, SLOW, SLOW, SLOW, SLOW, FAULT, SLOW]) == 8


# Whether the next routes are used while the first makes one wait.


@pytest.mark.parametrize(
    ("readiness", "decision"),
    [
        ([READY, READY, READY], Go(0)),
        ([HALF, READY, READY], Wait(indexes=(0,), until=600.0)),
        ([NEXT, READY, READY], Wait(indexes=(0,), until=600.0)),
        # Out of use: as good as failed.
        ([OPEN, READY, READY], Go(1)),
        ([GONE, HALF, READY], Wait(indexes=(1,), until=600.0)),
        ([OPEN, HALF, READY], Wait(indexes=(0, 1), until=600.0)),
        ([GONE, OPEN, READY], Go(2)),
    ],
)
def test_on_failure_a_route_that_makes_one_wait_is_waited_for(
    readiness: Sequence[Readiness], decision: Decision
) -> None:
    assert plan(spill="on_failure").next(readiness, 0.0) == decision


def test_on_failure_a_route_that_failed_hands_on_to_the_next_one_alone() -> None:
    tested = plan(spill="on_failure")
    fail(tested, 0)
    assert tested.next([READY] * 3, 0.0) == Go(1)
    assert tested.next([READY, HALF, READY], 0.0) == Wait(indexes=(1,), until=0.5)
    fail(tested, 1)
    assert tested.next([READY] * 3, 0.0) == Go(2)


@pytest.mark.parametrize("patient", [True, False])
def test_on_failure_a_refusal_is_a_wait_and_an_overload_a_failure(patient: bool) -> None:
    refused, overloaded = plan(2, spill="on_failure", patient=patient), plan(2, spill="on_failure", patient=patient)
    fail(refused, 0, SLOW)
    assert refused.next([HALF, READY], 0.0) == Wait(indexes=(), until=0.5)
    fail(overloaded, 0, Overloaded("full"))
    assert overloaded.next([READY, READY], 0.0) == Go(1)


# What is remembered.


def test_a_route_passed_over_is_noted_once_with_the_first_reason() -> None:
    tested = plan()
    tested.next([HALF, OPEN, READY], 0.0)
    fail(tested, 2)
    tested.next([GONE, OPEN, READY], 1.0)
    fail(tested, 2)
    assert outcomes(tested) == [
        "acme:first: skipped: requests limit for 0.5 s",
        "acme:second: skipped: breaker open for 3 s",
        "zenith:third: ServerFault: broken (HTTP 500)",
        "zenith:third: ServerFault: broken (HTTP 500)",
    ]


def test_a_route_that_was_tried_is_not_noted_as_passed_over() -> None:
    tested = plan(2)
    fail(tested, 0)
    assert tested.next([HALF, READY], 0.0) == Go(1)
    tested.succeeded(1, 0.5, 2.0)
    assert outcomes(tested) == ["acme:first: ServerFault: broken (HTTP 500)", "acme:second: answered"]


def test_an_attempt_says_how_long_it_took_and_whether_it_was_sent() -> None:
    tested = plan(2)
    tested.failed(0, ConnectFailed("nobody listens"), 1.5, 5.0, 6.5)
    tested.succeeded(1, 0.25, 2.0)
    first, second = tested.attempts
    assert (first.waited_seconds, first.took_seconds, first.sent) == (1.5, 5.0, False)
    assert (second.waited_seconds, second.took_seconds, second.sent, second.error) == (0.25, 2.0, True, None)


# How long an attempt may take.


@pytest.mark.parametrize(
    ("routes", "deadline", "seconds"),
    [
        (1, 600.0, 300.0),
        (1, 100.0, 100.0),
        (1, math.inf, 300.0),
        (3, 600.0, 300.0),
        # 10 seconds kept back for each of the two others; or equal parts, where that is more.
        (3, 100.0, 80.0),
        (3, 30.0, 10.0),
        (3, 12.0, 4.0),
        (3, 0.0, 0.0),
        (3, -5.0, 0.0),
        (3, -math.inf, 0.0),
    ],
)
def test_an_attempt_leaves_time_for_the_routes_not_tried_yet(routes: int, deadline: float, seconds: float) -> None:
    assert plan(routes, deadline=deadline).attempt_seconds(0, 0.0) == seconds


def test_tried_routes_get_nothing_kept_back() -> None:
    tested = plan(deadline=100.0)
    fail(tested, 0)
    assert tested.attempt_seconds(1, 20.0) == 70.0
    fail(tested, 1, ModelGone("bye"))
    assert tested.attempt_seconds(2, 20.0) == 80.0
