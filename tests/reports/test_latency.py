"""Durations in bounded memory: what is read from them is within 1% of one that was there."""

import math

from hypothesis import given
from hypothesis import strategies as st

from llmring.reports.latency import Latency

durations = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)
shares = st.floats(0, 1)


def taken(*milliseconds: int) -> Latency:
    latency = Latency()
    for one in milliseconds:
        latency.add(one)
    return latency


@given(durations, shares)
def test_a_quantile_is_within_one_percent(found: list[int], share: float) -> None:
    exact = sorted(found)[max(1, math.ceil(share * len(found))) - 1]
    told = taken(*found).seconds(share)
    assert told is not None
    assert math.isclose(told * 1000, exact, rel_tol=0.01)


@given(durations, durations, shares)
def test_two_add_up_to_that_of_both(one: list[int], other: list[int], share: float) -> None:
    merged = taken(*one)
    merged.merge(taken(*other))
    assert merged.count == len(one) + len(other)
    assert merged.seconds(share) == taken(*one, *other).seconds(share)


def test_of_none_there_is_no_median() -> None:
    assert Latency().seconds(0.5) is None


def test_memory_is_that_of_a_few_hundred_however_many_there_are() -> None:
    latency = taken(*range(1, 100_000))
    assert len(latency._buckets) < 600
