"""A ramp: what was accepted goes on, and grows slowly. Exact times, and invariants for any history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers.ramp import GROWTH_LEAST, Ramp


def steady(tested: Ramp, per_second: int, since: int, until: int) -> None:
    for second in range(since, until):
        for _ in range(per_second):
            tested.took(float(second))


def sent(tested: Ramp, since: float, until: float) -> list[float]:
    """When requests go of which there are always more."""
    now, times = since, []
    while now < until:
        wait = tested.wait(now)
        if wait > 0.0:
            now += wait
            continue
        tested.took(now)
        times.append(now)
        if tested.rate(now) is None:
            break
    return times


def test_nothing_is_held_up_where_nobody_complained() -> None:
    tested = Ramp()
    steady(tested, 1000, 0, 10)
    assert (tested.rate(10.0), tested.wait(10.0)) == (None, 0.0)


def test_it_goes_on_as_fast_as_was_accepted_and_grows_by_half_a_minute() -> None:
    tested = Ramp()
    steady(tested, 10, 0, 60)
    tested.refused(59.0, 65.0, 60.0)
    assert tested.rate(65.0) == pytest.approx(10.0, rel=0.01)
    assert tested.wait(60.0) == 5.0
    assert tested.rate(125.0) == pytest.approx(15.0, rel=0.01)
    times = sent(tested, 60.0, 70.0)
    assert times[0] == 65.0
    assert len(times) == pytest.approx(50, abs=2)


def test_each_further_refusal_halves_the_growth_and_a_quiet_quarter_of_an_hour_restores_it() -> None:
    tested, now, growths = Ramp(), 0.0, []
    for _ in range(7):
        tested.took(now)
        tested.refused(now, now + 1.0, now)
        growths.append(tested.growth)
        now += 60.0
    assert growths == [0.5, 0.25, 0.125, 0.0625, 0.03125, GROWTH_LEAST, GROWTH_LEAST]
    now += 900.0
    assert (tested.rate(now), tested.wait(now)) == (None, 0.0)
    tested.took(now)
    tested.refused(now, now + 1.0, now)
    assert tested.growth == 0.5


def test_of_a_burst_what_was_accepted_counts_and_it_is_one_refusal() -> None:
    tested = Ramp()
    for _ in range(1000):
        tested.took(0.5)
    for _ in range(700):
        tested.refused(0.5, 3.0, 2.0)
    # The 300 others, over ten seconds.
    assert (tested.rate(3.0), tested.growth) == (30.0, 0.5)


def test_where_nothing_was_accepted_one_a_second_goes() -> None:
    tested = Ramp()
    tested.took(0.0)
    tested.refused(0.0, 4.0, 1.0)
    assert tested.rate(4.0) == 1.0
    assert sent(tested, 1.0, 6.5)[:2] == [4.0, pytest.approx(5.0, abs=0.01)]


histories = st.lists(st.tuples(st.floats(0.0, 120.0), st.integers(0, 30), st.booleans()), min_size=1, max_size=30)


@given(histories)
def test_no_hold_is_passed_and_no_minute_grows_by_more_than_half(steps: list[tuple[float, int, bool]]) -> None:
    tested, now, held = Ramp(), 0.0, 0.0
    for passed, count, refused in steps:
        now += passed
        for _ in range(count):
            tested.took(now)
        if refused:
            held = max(held, now + 2.0)
            tested.refused(now, held, now)
        if refused or now < held:
            assert tested.wait(now) >= held - now - 1e-6
        rate, later = tested.rate(now), tested.rate(now + 60.0)
        if rate is not None and later is not None:
            assert 1.0 <= rate <= later <= rate * 1.5 + 1e-9
