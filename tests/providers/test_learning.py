"""A limit that nobody tells, learned from refusals: never above what the provider took, and daring more in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.learning import KNOWN_SECONDS, LESS, RESERVE, Learned
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


def measured_twice(second: float) -> Learned:
    """Takes 10 a second for 30 s, and `second` a second for the 30 s after that."""
    tested = refused_at(taken=300.0, seconds=30.0)
    tested.taken = 30.0 * second
    assert tested.refused(59.9, 60.5, 60.0)
    return tested


def test_measures_of_one_limit_are_taken_together_and_a_changed_one_is_taken_at_once() -> None:
    assert measured_twice(9.0).measured == pytest.approx(LESS * 9.5)
    assert measured_twice(11.0).measured == pytest.approx(LESS * 10.5)
    assert measured_twice(5.0).measured == pytest.approx(LESS * 5.0)
    assert measured_twice(20.0).measured == pytest.approx(LESS * 20.0)


def test_after_a_second_measure_less_is_asked_for_until_something_is_in_reserve() -> None:
    tested = measured_twice(9.0)
    assert tested.rate == pytest.approx(RESERVE * tested.measured)
    seconds = [second for second in range(60, 180) if tested.grow(float(second))]
    assert (seconds[0], seconds[-1]) == (65, 100)
    assert tested.rate == tested.measured


def test_one_request_that_is_refused_by_chance_says_little_against_a_measured_rate() -> None:
    tested = refused_at(taken=300.0, seconds=30.0)
    tested.taken = 1.0
    assert tested.refused(31.4, 32.0, 31.5)
    assert tested.rate == pytest.approx(LESS * (LESS * 10.0 * KNOWN_SECONDS + 1.0) / (KNOWN_SECONDS + 1.5))
    assert tested.sure
    # It goes on with the measure that it had begun.
    assert (tested.at, tested.taken) == (30.0, 1.0)
    while tested.grow(tested.grown_at + 5.0) and tested.grown_at < 130.0:
        pass
    assert tested.rate == pytest.approx(LESS * 10.0)


def test_what_the_lockfile_says_counts_in_the_first_guess() -> None:
    tested = Learned(at=0.0, held_until=0.2, taken=1.0, told=5.0)
    assert tested.refused(0.4, 0.9, 0.5)
    assert tested.rate == pytest.approx(LESS * RESERVE * (5.0 * KNOWN_SECONDS + 1.0) / (KNOWN_SECONDS + 0.5))


def test_a_guess_that_was_confirmed_is_raised_again_soon() -> None:
    tested = refused_at(taken=60.0, seconds=6.0, rate=11.0)
    before = tested.rate
    assert tested.sure
    assert before is not None
    assert not tested.grow(21.0)
    assert tested.grow(26.0)
    assert tested.rate == pytest.approx(1.05 * before)


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
