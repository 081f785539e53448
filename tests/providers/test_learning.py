"""A limit that nobody tells, learned from refusals: never above what the provider took, and daring more in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.learning import LESS, Learned
from llmring.providers.regime import Charge

ONE: Charge = {"requests": 1.0}


def refused_at(*, taken: float, seconds: float, rate: float | None = None) -> Learned:
    """A limit refused at 0, which then took so much in so many seconds, and refuses."""
    tested = Learned(at=0.0, held_until=1.0, taken=taken, rate=rate)
    assert tested.refused(seconds - 0.1, seconds + 1.0, seconds)
    return tested


def test_between_two_refusals_a_provider_takes_what_comes_in() -> None:
    tested = refused_at(taken=300.0, seconds=30.0)
    assert tested.rate == pytest.approx(LESS * 10.0)
    assert tested.sure
    assert (tested.taken, tested.at) == (0.0, 30.0)


def test_a_short_measure_is_a_guess_that_never_raises_the_rate() -> None:
    assert not refused_at(taken=300.0, seconds=5.0).sure
    assert refused_at(taken=300.0, seconds=5.0, rate=20.0).rate == pytest.approx(LESS * 20.0)
    assert refused_at(taken=300.0, seconds=30.0, rate=5.0).rate == pytest.approx(LESS * 10.0)


@pytest.mark.parametrize(("rate", "seconds", "sure"), [(11.0, 6.0, True), (12.0, 6.0, False), (11.0, 4.0, False)])
def test_a_short_measure_that_is_nearly_what_was_asked_for_confirms_it(rate: float, seconds: float, sure: bool) -> None:
    assert refused_at(taken=10.0 * seconds, seconds=seconds, rate=rate).sure is sure


def test_those_refused_together_teach_once() -> None:
    tested = Learned(at=0.0, held_until=1.0, taken=64.0)
    assert not tested.refused(0.9, 1.5, 1.2)
    assert tested.rate is None
    assert tested.held_until == 1.5


def test_a_provider_that_takes_nothing_teaches_nothing() -> None:
    tested = Learned(at=0.0, held_until=1.0, rate=7.0)
    for second in range(2, 1000):
        assert not tested.refused(float(second), second + 0.5, float(second))
    assert tested.rate == 7.0


def test_a_guess_grows_by_a_twentieth_every_five_seconds() -> None:
    tested = refused_at(taken=10.0, seconds=2.0)
    before = tested.rate
    assert before is not None
    assert not tested.grow(6.9)
    assert tested.grow(7.0)
    assert tested.rate == pytest.approx(1.05 * before)


@pytest.mark.parametrize(("after", "growth"), [(100.0, 0.0), (125.0, 0.02), (421.0, 0.04), (721.0, 0.08), (9e9, 0.3)])
def test_a_measured_rate_grows_after_two_minutes_and_faster_the_longer_it_goes_well(
    after: float, growth: float
) -> None:
    tested = refused_at(taken=300.0, seconds=30.0)
    before = tested.rate
    assert before is not None
    # Ten seconds' worth at most, however long the pause was.
    tested.grow(30.0 + after)
    assert tested.rate == pytest.approx(before * (1.0 + growth * 10.0 / 60.0))


@given(st.lists(st.floats(min_value=0.01, max_value=30.0), min_size=1, max_size=40), st.floats(0.5, 50.0))
def test_no_rate_is_above_what_an_honest_provider_lets_in(pauses: list[float], honest: float) -> None:
    """Between refusals it takes no more than comes in, so no measure is above that."""
    tested, now = Learned(at=0.0, held_until=0.0), 0.0
    for pause in pauses:
        now += pause
        tested.taken = honest * pause
        tested.refused(now, now, now)
        assert tested.rate is None or tested.rate <= honest * LESS + 1e-9


def taught() -> Budget:
    """Refused at 0 and at 30 s, 300 taken in between."""
    tested = Budget((), 0.0)
    tested.refused("requests", 0.5, 0.0)
    assert tested.learn("requests", 0.0, 0.5, 0.0) is None
    for _ in range(300):
        tested.settle(tested.reserve(ONE, 1.0), ONE, 2.0)
    refused = tested.reserve(ONE, 29.0)
    tested.settle(refused, ONE, 30.0, taken=False)
    tested.refused("requests", 30.5, 30.0)
    limit = tested.learn("requests", 29.0, 30.5, 30.0)
    assert limit == Limit(dimension="requests", amount=60.0 * (LESS * 10.0))
    return tested


def test_the_learned_limit_is_a_bucket_that_begins_empty() -> None:
    tested = taught()
    assert tested.wait(ONE, 30.0) == (0.5, "requests")
    bucket = tested.buckets["requests"]
    bucket.advance(30.0)
    assert bucket.level == 0.0
    assert bucket.rate == pytest.approx(9.7)


def test_a_limit_that_is_told_at_last_takes_the_place_of_the_learned_one() -> None:
    tested = taught()
    reservation = tested.reserve(ONE, 40.0)
    told = tested.observe(LimitUpdate(dimension="requests", limit=50.0, remaining=9.0), reservation, 41.0)
    assert told == Limit(dimension="requests", amount=50.0)
    assert tested.learned == {}
    assert tested.learn("requests", 40.0, 41.5, 41.0) is None
