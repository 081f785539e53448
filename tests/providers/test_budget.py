"""Budgets: never more than the limit and its refill, waits exact, debts paid, the provider's word taken with care."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension
from llmring.providers.bucket import MARGIN_SECONDS, Limit
from llmring.providers.budget import UPWARD_STEP, Budget, Reservation

Levels = dict[Dimension, float]

REQUESTS = Limit(dimension="requests", amount=600.0)
"""Ten a second; the margin is 2.5, the capacity 597.5."""


def budget(*limits: Limit, now: float = 0.0) -> Budget:
    return Budget(limits, now)


def level(given: Budget, now: float, dimension: Dimension = "requests") -> float:
    given.buckets[dimension].advance(now)
    return given.buckets[dimension].level


def reading(remaining: float | None = None, limit: float | None = None, rounding: float = 1.0) -> LimitUpdate:
    return LimitUpdate(dimension="requests", limit=limit, remaining=remaining, rounding=rounding)


def one(given: Budget, now: float = 0.0, amount: float = 1.0) -> Reservation:
    return given.reserve({"requests": amount}, now)


def told(given: Budget, charge: Levels, now: float) -> tuple[float, Dimension | None]:
    """The wait, to the microsecond."""
    wait, binding = given.wait(charge, now)
    return round(wait, 6), binding


# What is admitted.

amounts = st.floats(min_value=0.01, max_value=1.0)
"""As a part of the limit."""

steps = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.floats(min_value=0.0, max_value=90.0)),
        st.tuples(st.just("advance"), st.sampled_from([0.0, 0.001, 0.25, 1.0])),
        st.tuples(st.just("wait"), amounts),
        st.tuples(st.just("reserve"), amounts),
        st.tuples(st.just("settle"), st.sampled_from([0.0, 0.3, 1.0, 1.5, 4.0])),
    ),
    max_size=50,
)
limits = st.sampled_from([(1.0, 60.0), (60.0, 60.0), (600.0, 60.0), (10.0, 1.0), (2e6, 60.0), (100.0, 86_400.0)])


@given(limits, steps, st.floats(min_value=0.0, max_value=1e6))
def test_net_of_settlements_no_window_ending_with_an_admission_holds_more_than_limit_and_refill(
    given_limit: tuple[float, float], script: list[tuple[str, float]], now: float
) -> None:
    # Net: what is reserved counts when it is reserved, what settles above or below that counts when it settles.
    limit = Limit(dimension="requests", amount=given_limit[0], period=given_limit[1])
    bucket = (tested := budget(limit, now=now)).buckets["requests"]
    open_reservations: list[Reservation] = []
    taken: list[tuple[float, float, bool]] = []
    for kind, value in script:
        if kind == "advance":
            now += value
        elif kind == "settle":
            if open_reservations:
                reservation = open_reservations.pop()
                reserved = reservation.charge["requests"]
                tested.settle(reservation, {"requests": reserved * value}, now)
                taken.append((now, reserved * value - reserved, False))
        else:
            charge: Levels = {"requests": value * limit.amount}
            if kind == "wait":
                now += tested.wait(charge, now)[0]
            if tested.wait(charge, now) == (0.0, None):
                open_reservations.append(tested.reserve(charge, now))
                taken.append((now, charge["requests"], True))
        assert bucket.level <= bucket.capacity
    for end, (ends_at, _, is_admission) in enumerate(taken):
        if not is_admission:
            continue
        total = 0.0
        for starts_at, amount, _ in reversed(taken[: end + 1]):
            total += amount
            # The clock may be rounded by 1e-6 s, and a refund into a full bucket is lost: both to the safe side.
            assert total <= limit.amount + bucket.rate * (ends_at - starts_at + 1e-5) + 1e-6 * limit.amount


@given(limits, st.lists(amounts, max_size=12), amounts, st.floats(min_value=0.0, max_value=1e6))
def test_waiting_exactly_as_long_as_told_is_enough_and_any_less_is_not(
    given_limit: tuple[float, float], before: list[float], wanted: float, now: float
) -> None:
    limit = Limit(dimension="requests", amount=given_limit[0], period=given_limit[1])
    tested = budget(limit, now=now)
    for part in before:
        tested.reserve({"requests": part * limit.amount}, now)
    charge: Levels = {"requests": wanted * limit.amount}
    wait, binding = tested.wait(charge, now)
    assert (wait > 0.0) == (binding == "requests")
    if wait > 1e-4:
        early, _ = tested.wait(charge, now + wait - 1e-5)
        assert early == pytest.approx(1e-5, rel=0.2)
    assert tested.wait(charge, now + wait) == (0.0, None)


@given(limits, amounts, st.floats(min_value=1e3, max_value=1e9))
def test_a_wait_always_moves_the_clock(given_limit: tuple[float, float], part: float, now: float) -> None:
    # Otherwise a virtual clock, which moves only when all tasks sleep, stands still for ever.
    limit = Limit(dimension="requests", amount=given_limit[0], period=given_limit[1])
    tested = budget(limit, now=now)
    tested.reserve({"requests": limit.amount}, now)
    charge: Levels = {"requests": part * limit.amount}
    for _ in range(5):
        wait, _ = tested.wait(charge, now)
        assert wait == 0.0 or now + wait > now
        now += wait
    assert tested.wait(charge, now) == (0.0, None)


@given(limits, amounts, st.floats(min_value=0.0, max_value=1e4))
def test_whatever_is_within_the_limit_is_admitted_in_time(
    given_limit: tuple[float, float], part: float, debt: float
) -> None:
    limit = Limit(dimension="requests", amount=given_limit[0], period=given_limit[1])
    tested = budget(limit)
    tested.reserve({"requests": debt * limit.amount}, 0.0)
    charge: Levels = {"requests": part * limit.amount}
    assert tested.impossible(charge) is None
    wait, _ = tested.wait(charge, 0.0)
    assert wait <= (debt + part) * limit.period + 1e-6
    assert tested.wait(charge, wait) == (0.0, None)


def test_a_request_larger_than_the_capacity_waits_for_a_full_bucket_and_goes_into_debt() -> None:
    tested = budget(REQUESTS)
    one(tested)
    assert told(tested, {"requests": 599.0}, 0.0) == (0.1, "requests")
    tested.reserve({"requests": 599.0}, 0.1)
    assert level(tested, 0.1) == pytest.approx(-1.5)
    assert told(tested, {"requests": 1.0}, 0.1) == (0.25, "requests")


def test_a_request_is_impossible_exactly_when_it_is_larger_than_a_limit() -> None:
    tested = budget(REQUESTS, Limit(dimension="tokens", amount=1000.0))
    assert tested.impossible({"requests": 600.0, "tokens": 1000.0, "input": 1e9}) is None
    assert tested.impossible({"requests": 600.5}) == "requests"
    assert tested.impossible({"requests": 1.0, "tokens": 1000.5}) == "tokens"


def test_only_the_guessed_part_of_a_charge_is_cut_down_to_a_limit() -> None:
    tested = budget(Limit(dimension="tokens", amount=1000.0), Limit(dimension="output", amount=500.0))
    expected: Levels = {"requests": 1.0, "tokens": 1800.0, "output": 800.0, "input": 9000.0}
    certain: Levels = {"requests": 1.0, "tokens": 1200.0, "output": 0.0, "input": 9000.0}
    assert tested.fit(expected, certain) == {"requests": 1.0, "tokens": 1200.0, "output": 500.0, "input": 9000.0}


def test_a_request_reserves_in_all_dimensions_and_waits_for_the_slowest() -> None:
    tested = budget(REQUESTS, Limit(dimension="tokens", amount=6000.0))
    charge: Levels = {"requests": 1.0, "tokens": 5000.0, "input": 5000.0}
    tested.reserve(charge, 0.0)
    assert (level(tested, 0.0), level(tested, 0.0, "tokens")) == (596.5, 975.0)
    assert told(tested, charge, 0.0) == (40.25, "tokens")
    assert tested.wait({"requests": 1.0}, 0.0) == (0.0, None)


@pytest.mark.parametrize(
    ("amount", "period", "capacity"),
    [(600.0, 60.0, 597.5), (60.0, 60.0, 59.75), (1.0, 60.0, 1.0), (0.5, 60.0, 0.5), (10.0, 1.0, 7.5), (4.0, 0.1, 1.0)],
)
def test_the_margin_is_a_quarter_second_of_refill_but_leaves_room_for_one_request(
    amount: float, period: float, capacity: float
) -> None:
    tested = budget(Limit(dimension="requests", amount=amount, period=period))
    assert tested.buckets["requests"].capacity == pytest.approx(capacity)
    assert MARGIN_SECONDS == 0.25


# Settlement.


@pytest.mark.parametrize(
    ("actual", "left"), [(100.0, 497.5), (0.0, 597.5), (40.0, 557.5), (250.0, 347.5), (700.0, -102.5)]
)
def test_settling_leaves_what_was_really_used(actual: float, left: float) -> None:
    tested = budget(REQUESTS)
    tested.settle(one(tested, amount=100.0), {"requests": actual}, 0.0)
    assert level(tested, 0.0) == left


def test_a_refund_never_fills_a_bucket_above_its_capacity() -> None:
    tested = budget(REQUESTS)
    reservation = one(tested, amount=100.0)
    tested.settle(reservation, {"requests": 0.0}, 8.0)
    assert level(tested, 8.0) == 597.5


def test_a_debt_is_paid_by_waiting() -> None:
    tested = budget(REQUESTS)
    tested.settle(one(tested, amount=597.5), {"requests": 697.5}, 0.0)
    assert told(tested, {"requests": 1.0}, 0.0) == (10.1, "requests")


# Holds.


def test_a_hold_is_never_shortened() -> None:
    tested = budget()
    tested.refused("requests", 20.0, 0.0)
    tested.refused("requests", 5.0, 1.0)
    assert tested.wait({"requests": 1.0}, 1.0) == (19.0, "requests")
    tested.refused("requests", 30.0, 1.0)
    assert tested.wait({"requests": 1.0}, 30.0) == (0.0, None)
    assert tested.wait({"requests": 1.0}, 29.5) == (0.5, "requests")


def test_a_hold_blocks_only_what_is_charged_in_its_dimension() -> None:
    tested = budget()
    tested.refused("input", 20.0, 0.0)
    assert tested.wait({"requests": 1.0, "output": 5.0, "input": 0.0}, 0.0) == (0.0, None)
    assert tested.wait({"requests": 1.0, "input": 5.0}, 0.0) == (20.0, "input")


def test_a_refusal_empties_the_bucket_and_leaves_a_debt_as_it_is() -> None:
    tested = budget(REQUESTS)
    tested.refused("requests", 1.0, 0.0)
    assert level(tested, 0.0) == 0.0
    tested.reserve({"requests": 7.0}, 0.0)
    tested.refused("requests", 1.0, 0.0)
    assert level(tested, 0.0) == -7.0


# What replies say.


def test_a_lower_reading_is_taken_at_once() -> None:
    tested = budget(REQUESTS)
    tested.observe(reading(300.0, 600.0), one(tested), 1.0)
    # 300 less the margin of 2.5. Ours was 596.5 then and is full again, which 299 less also means.
    assert level(tested, 1.0) == pytest.approx(597.5 - 299.0)


def test_a_higher_reading_is_followed_for_a_fifth_of_the_way() -> None:
    tested = budget(REQUESTS)
    tested.settle(one(tested, amount=597.5), {"requests": 597.5}, 0.0)
    reservation = one(tested)
    tested.observe(reading(101.5, 600.0), reservation, 0.0)
    assert UPWARD_STEP == 0.2
    assert level(tested, 0.0) == pytest.approx(-1.0 + 0.2 * (99.0 + 1.0))


def test_what_was_in_flight_explains_a_higher_reading() -> None:
    tested = budget(REQUESTS)
    tested.reserve({"requests": 50.0}, 0.0)
    tested.observe(reading(599.0, 600.0), one(tested), 0.0)
    assert level(tested, 0.0) == 546.5
    # Two more than could have been on their way are news.
    tested.observe(reading(600.0, 600.0), one(tested), 0.0)
    assert level(tested, 0.0) == pytest.approx(545.5 + 0.2 * (600.0 - 2.5 - 545.5 - 51.0))


@pytest.mark.parametrize(("rounding", "left"), [(1.0, 591.5), (5.0, 591.5), (6.0, 596.5), (1000.0, 596.5)])
def test_drift_inside_the_rounding_is_no_news(rounding: float, left: float) -> None:
    tested = budget(REQUESTS)
    tested.observe(reading(594.0, 600.0, rounding), one(tested), 0.0)
    assert level(tested, 0.0) == left


def test_a_reply_older_than_the_newest_one_is_ignored() -> None:
    tested = budget(REQUESTS)
    older, newer = one(tested), one(tested)
    tested.observe(reading(598.0, 600.0), newer, 0.0)
    assert tested.observe(reading(5.0, 50.0), older, 0.0) is None
    assert (level(tested, 0.0), tested.buckets["requests"].limit) == (595.5, REQUESTS)


def test_one_cause_is_corrected_once_however_many_replies_tell_of_it() -> None:
    tested = budget(REQUESTS)
    reservations = [one(tested) for _ in range(10)]
    for number, reservation in enumerate(reservations, 1):
        tested.observe(reading(400.0 - number, 600.0), reservation, 0.0)
    assert level(tested, 0.0) == 400.0 - 10.0 - 2.5


def test_a_refusal_counts_as_a_correction_for_the_replies_under_way() -> None:
    tested = budget(REQUESTS)
    first, second = one(tested), one(tested)
    tested.refused("requests", 1.0, 0.0)
    tested.observe(reading(5.0, 600.0), second, 0.0)
    assert level(tested, 0.0) == pytest.approx(0.2 * (5.0 - 2.5 - 1.0))
    tested.settle(first, first.charge, 0.0)


@pytest.mark.parametrize(("limit", "remaining"), [(None, None), (None, 10.0), (0.0, 10.0), (-1.0, 10.0)])
def test_without_a_limit_nothing_is_learned(limit: float | None, remaining: float | None) -> None:
    tested = budget()
    assert tested.observe(reading(remaining, limit), one(tested), 0.0) is None
    assert tested.buckets == {}


@pytest.mark.parametrize("limit", [None, 0.0, -1.0, 600.0])
def test_a_reply_that_says_nothing_new_changes_nothing(limit: float | None) -> None:
    tested = budget(REQUESTS)
    assert tested.observe(reading(None, limit), one(tested), 0.0) is None
    assert (level(tested, 0.0), tested.buckets["requests"].limit) == (596.5, REQUESTS)


def test_a_new_limit_is_taken_at_once_and_told() -> None:
    tested = budget(REQUESTS)
    lower = Limit(dimension="requests", amount=60.0)
    assert tested.observe(reading(None, 60.0), one(tested), 0.0) == lower
    assert (level(tested, 0.0), tested.buckets["requests"].rate) == (59.75, 1.0)
    higher = Limit(dimension="requests", amount=6000.0)
    assert tested.observe(reading(None, 6000.0), one(tested), 0.0) == higher
    assert (level(tested, 0.0), tested.buckets["requests"].rate) == (58.75, 100.0)
    assert level(tested, 3600.0) == 5975.0


def test_a_halved_limit_and_a_halved_level_are_one_cause_and_not_two() -> None:
    tested = budget(REQUESTS)
    reservations = [one(tested) for _ in range(3)]
    for number, reservation in enumerate(reservations, 1):
        tested.observe(reading(300.0 - number, 300.0), reservation, 0.0)
        # The newest of three requests left 297 there, of which the new margin is 1.25.
        assert level(tested, 0.0) == pytest.approx(297.0 - 1.25)


def test_a_learned_bucket_counts_what_is_in_flight_but_the_answered_request_once() -> None:
    tested = budget()
    answered, unseen = one(tested, amount=50.0), one(tested, amount=30.0)
    learned = tested.observe(reading(550.0, 600.0), answered, 0.0)
    assert learned == REQUESTS
    assert level(tested, 0.0) == 550.0 - 2.5 - 30.0
    tested.settle(answered, {"requests": 50.0}, 0.0)
    tested.settle(unseen, {"requests": 10.0}, 0.0)
    assert level(tested, 0.0) == 550.0 - 2.5 - 10.0


def test_a_learned_bucket_is_never_fuller_than_full() -> None:
    tested = budget()
    tested.observe(reading(10_000.0, 600.0), one(tested), 0.0)
    assert level(tested, 0.0) == 597.5


# Room, and limits that come to be shared otherwise.

TOKENS = Limit(dimension="tokens", amount=6000.0)


def test_room_is_the_part_left_of_the_scarcest_limit() -> None:
    given = budget()
    assert given.room(0.0) == 1.0
    given = budget(REQUESTS, TOKENS)
    assert given.room(0.0) == 1.0
    given.reserve({"requests": 1.0, "tokens": given.buckets["tokens"].capacity / 4}, 0.0)
    assert given.room(0.0) == pytest.approx(0.75)
    given.reserve({"tokens": given.buckets["tokens"].capacity}, 0.0)
    assert given.room(0.0) == pytest.approx(-0.25)
    assert given.room(90.0) == 1.0


def test_under_a_hold_there_is_no_room_until_it_ends() -> None:
    given = budget()
    given.refused("requests", 20.0, 0.0)
    assert (given.room(19.0), given.room(20.0)) == (0.0, 1.0)


def test_what_is_adopted_is_never_fuller_than_either_and_apart_from_where_it_came_from() -> None:
    first, second, tested = budget(REQUESTS), budget(REQUESTS, TOKENS), budget()
    one(first, amount=100.0)
    one(second, amount=300.0)
    second.refused("input", 9.0, 0.0)
    for previous in (first, second, first):
        tested.adopt(previous, 1.0)
    assert level(tested, 1.0) == pytest.approx(level(second, 1.0))
    assert (list(tested.buckets), tested.holds) == (["requests", "tokens"], {"input": 9.0})
    one(tested, 1.0, 200.0)
    assert level(tested, 1.0) == pytest.approx(level(second, 1.0) - 200.0)


def test_numbers_go_on_so_that_replies_are_read_in_order() -> None:
    previous, tested = budget(REQUESTS), budget()
    previous.observe(reading(remaining=500.0, limit=600.0), one(previous), 0.0)
    tested.adopt(previous, 0.0)
    tested.observe(reading(remaining=90.0, limit=600.0), one(tested), 0.0)
    assert level(tested, 0.0) < 100.0
