"""What a bucket learns from corrections that come again and again."""

import pytest

from llmring.codecs.codec import LimitUpdate
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.drift import CUSHION_SHARE, GAIN, MOST_SHARE, PERIOD_SECONDS, Drift

RATE = 10.0


def corrected(each_second: float, seconds: int) -> Drift:
    """Corrected once a second by so much."""
    tested = Drift(0.0)
    for second in range(1, seconds + 1):
        tested.add(each_second, RATE, float(second))
    return tested


def test_half_of_what_was_missing_is_taken_off_the_refill_every_five_seconds() -> None:
    assert (PERIOD_SECONDS, GAIN) == (5.0, 0.5)
    assert corrected(-3.0, 4).shortfall == 0.0
    assert corrected(-3.0, 5).shortfall == 1.5
    assert corrected(-3.0, 10).shortfall == 3.0


def test_corrections_upward_bring_it_back_to_nothing_and_not_below() -> None:
    tested = corrected(-3.0, 10)
    for second in range(11, 31):
        tested.add(3.0, RATE, float(second))
    assert tested.shortfall == 0.0


def test_something_is_always_left_of_the_refill() -> None:
    assert corrected(-1000.0, 100).shortfall == MOST_SHARE * RATE


def test_corrections_that_cancel_out_are_no_shortfall() -> None:
    tested = Drift(0.0)
    for second in range(1, 101):
        tested.add(2.0 if second % 2 else -2.0, RATE, float(second))
    assert tested.shortfall < 0.3


def test_the_cushion_is_six_deviations_of_the_surprises_and_a_tenth_at_most() -> None:
    assert corrected(0.0, 100).cushion(600.0) == 0.0
    assert corrected(5.0, 100).cushion(600.0) == 0.0
    assert corrected(-5.0, 200).cushion(600.0) == pytest.approx(30.0, rel=0.01)
    assert corrected(-50.0, 200).cushion(600.0) == CUSHION_SHARE * 600.0


def test_what_was_missing_at_a_high_limit_leaves_something_of_a_low_one() -> None:
    """Else the bucket would drain by itself, and a negative wait would let everything go."""
    budget = Budget([Limit(dimension="requests", amount=600.0)], 0.0)
    for second in range(40):
        reservation = budget.reserve({"requests": 1.0}, float(second))
        update = LimitUpdate(dimension="requests", limit=600.0, remaining=max(0.0, 300.0 - 9.0 * second))
        budget.observe(update, reservation, float(second))
        budget.settle(reservation, reservation.charge, float(second))
    assert budget.buckets["requests"].drift.shortfall == pytest.approx(MOST_SHARE * RATE)
    reservation = budget.reserve({"requests": 1.0}, 40.0)
    budget.observe(LimitUpdate(dimension="requests", limit=60.0, remaining=0.0), reservation, 40.0)
    assert budget.buckets["requests"].rate == pytest.approx(1.0 - MOST_SHARE)
    assert budget.wait({"requests": 1.0}, 41.0)[0] > 1.0
