"""What a process takes over from an earlier one, at ages that are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.estimate import OutputEstimate
from llmring.providers.learning import GUESS_GROWS, LESS
from llmring.providers.memory import KeptLimit, KeptSpeed, share, weight
from llmring.providers.regime import Charge
from llmring.providers.speed import Speed

ONE: Charge = {"requests": 1.0}
HOUR, DAY = 3600.0, 86_400.0
LEARNED = KeptLimit(dimension="requests", amount=600.0, level=0.0, learned=True, sure=True)
TOLD = KeptLimit(dimension="requests", amount=600.0, level=0.0)


def recalled(kept: KeptLimit, age_seconds: float, now: float = 1000.0) -> Budget:
    tested = Budget((), now)
    tested.recall([kept], age_seconds, now)
    return tested


@pytest.mark.parametrize(
    ("age", "counts"),
    [(0.0, 1.0), (HOUR, 1.0), (HOUR + DAY, 0.5), (HOUR + 2 * DAY, 0.25), (HOUR + 10 * DAY, 2.0**-10)],
)
def test_a_value_is_whole_for_an_hour_and_half_after_a_day_more(age: float, counts: float) -> None:
    assert weight(age) == pytest.approx(counts)
    assert share(age) == pytest.approx(max(0.25, counts))


@pytest.mark.parametrize(("age", "rate"), [(0.0, 10.0), (HOUR, 10.0), (HOUR + DAY, 5.0), (29 * DAY, 2.5)])
def test_a_learned_rate_begins_at_its_share(age: float, rate: float) -> None:
    tested = recalled(LEARNED, age)
    assert tested.buckets["requests"].rate == pytest.approx(rate)
    # What fits into the whole limit fits still: nothing becomes impossible by growing old.
    assert tested.buckets["requests"].limit.amount == 600.0
    assert tested.impossible({"requests": 600.0}) is None


def test_a_learned_rate_that_was_old_when_it_was_kept_is_older_now() -> None:
    kept = KeptLimit(dimension="requests", amount=600.0, level=0.0, learned=True, sure=True, age_seconds=HOUR)
    assert recalled(kept, DAY).buckets["requests"].rate == pytest.approx(5.0)


def test_what_is_older_than_thirty_days_is_forgotten() -> None:
    assert recalled(LEARNED, 30 * DAY).buckets == {}
    assert recalled(TOLD, 30 * DAY).buckets == {}


@pytest.mark.parametrize("age", [0.0, DAY, 29 * DAY])
def test_a_limit_that_was_told_is_taken_as_it_is(age: float) -> None:
    tested = recalled(TOLD, age)
    assert tested.buckets["requests"].limit == Limit(dimension="requests", amount=600.0)
    assert tested.learned == {}


def test_and_only_until_a_reply_says_otherwise() -> None:
    tested = recalled(TOLD, DAY)
    told = tested.observe(
        LimitUpdate(dimension="requests", limit=60.0, remaining=9.0), tested.reserve(ONE, 1000.0), 1001.0
    )
    assert told == Limit(dimension="requests", amount=60.0)


@pytest.mark.parametrize(("age", "level"), [(0.0, 100.0), (10.0, 200.0), (1e5, 597.5)])
def test_a_level_is_what_it_was_and_what_has_come_in_since(age: float, level: float) -> None:
    tested = recalled(KeptLimit(dimension="requests", amount=600.0, level=100.0), age)
    assert tested.buckets["requests"].level == pytest.approx(level)


@pytest.mark.parametrize(("age", "level"), [(0.0, 100.0), (60.0, 100.0), (60.25, 600.0)])
def test_of_a_window_nobody_knows_what_comes_back_before_all_of_it(age: float, level: float) -> None:
    tested = Budget((), 1000.0, "by window")
    tested.recall([KeptLimit(dimension="requests", amount=600.0, level=100.0)], age, 1000.0)
    assert tested.buckets["requests"].level == level
    tested.buckets["requests"].advance(1060.25)
    assert tested.buckets["requests"].level == 600.0


@given(
    st.floats(1.0, 1e6),
    st.floats(-1.0, 1.0),
    st.floats(0.0, 29 * DAY),
    st.booleans(),
    st.sampled_from(("continuously", "by window")),
)
def test_no_level_is_fuller_than_it_was_and_what_has_come_in(
    amount: float, part: float, age: float, learned: bool, counted: str
) -> None:
    level = part * amount
    kept = KeptLimit(dimension="requests", amount=amount, level=level, learned=learned)
    tested = Budget((), 0.0, "by window" if counted == "by window" else "continuously")
    tested.recall([kept], age, 0.0)
    bucket = tested.buckets["requests"]
    assert bucket.level <= bucket.capacity
    if counted == "continuously":
        assert bucket.level <= level + amount / 60.0 * age + 1e-6 * amount
    elif age < 60.0:
        assert bucket.level <= level + 1e-9 * amount


def test_a_smaller_share_grows_back_as_a_guess_and_stops_at_what_was_sure() -> None:
    tested = recalled(LEARNED, HOUR + DAY, now=0.0)
    rates = []
    for step in range(1, 21):
        tested.settle(tested.reserve(ONE, 5.0 * step), ONE, 5.0 * step)
        rates.append(tested.buckets["requests"].rate)
    assert rates[0] == pytest.approx(5.0 * GUESS_GROWS)
    assert rates[13] == pytest.approx(5.0 * GUESS_GROWS**14)
    assert rates[14:] == pytest.approx([10.0] * 6)
    assert tested.buckets["requests"].limit.period == 60.0


def test_a_share_that_was_not_grown_back_is_kept_whole_and_as_old_as_it_is() -> None:
    """Else a program that asks once a day would have its rate halved every day."""
    tested = recalled(LEARNED, HOUR + DAY, now=0.0)
    tested.settle(tested.reserve(ONE, 10.0), ONE, 11.0)
    (kept,) = tested.memory(20.0)
    assert (kept.amount, kept.period, kept.sure) == (600.0, 60.0, True)
    assert kept.age_seconds == pytest.approx(HOUR + DAY + 20.0)


def test_a_rate_that_is_in_use_whole_is_fresh_again() -> None:
    tested = recalled(LEARNED, HOUR, now=0.0)
    tested.settle(tested.reserve(ONE, 10.0), ONE, 11.0)
    (kept,) = tested.memory(20.0)
    assert (kept.amount, kept.age_seconds) == (600.0, 0.0)


def test_the_first_refusal_does_not_take_what_had_been_there_for_what_came_in() -> None:
    tested = recalled(LEARNED, 60.0, now=0.0)
    for _ in range(500):
        tested.settle(tested.reserve(ONE, 1.0), ONE, 2.0)
    refused = tested.reserve(ONE, 24.0)
    tested.settle(refused, ONE, 25.0, taken=False)
    tested.refused("requests", 26.0, 25.0)
    limit = tested.learn("requests", 24.0, 26.0, 25.0)
    assert limit is not None
    # 500 in 25 s were 20 a second, but 600 may have been there.
    assert limit.amount == pytest.approx(60.0 * LESS * 10.0)
    (kept,) = tested.memory(25.0)
    assert kept.age_seconds == 0.0


def test_the_mean_of_the_output_is_taken_over_and_counts_for_less_the_older_it_is() -> None:
    before = OutputEstimate()
    for tokens in [100.0, 300.0] * 40:
        before.add(tokens)
    kept = before.memory()
    assert kept is not None
    assert kept.count == 40
    fresh, old, ancient = OutputEstimate(), OutputEstimate(), OutputEstimate()
    fresh.recall(kept, 0.0)
    old.recall(kept, HOUR + DAY)
    ancient.recall(kept, 20 * DAY)
    assert fresh.tokens == before.tokens
    assert old.tokens == before.tokens
    for tested in (fresh, old, ancient):
        tested.add(1000.0)
    means = [memory.mean for tested in (fresh, old, ancient) if (memory := tested.memory()) is not None]
    assert means == pytest.approx([kept.mean + (1000.0 - kept.mean) * part for part in (1 / 20, 1 / 20, 1.0)])
    assert OutputEstimate().memory() is None


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 1.1), (HOUR + DAY, 1.5), (29 * DAY, 2.0)])
def test_the_speed_is_taken_over_and_the_next_answer_counts_for_more_the_older_it_is(
    age: float, seconds: float
) -> None:
    tested = Speed()
    tested.recall(KeptSpeed(first=1.0, per_token=0.01), age)
    assert tested.predict(100.0) == 2.0
    tested.add(3.0, 100.0, 2.0)
    assert tested.predict(0.0) == pytest.approx(seconds)
    before = tested.predict(0.0)
    assert before is not None
    # From then on it is one like every other.
    tested.add(before + 2.0, 100.0, before + 1.0)
    assert tested.predict(0.0) == pytest.approx(before + 0.1)
    assert Speed().memory() is None


def test_what_models_of_a_group_share_is_recalled_once() -> None:
    tested = Budget((), 0.0)
    tested.recall([KeptLimit(dimension="requests", amount=600.0, level=600.0)], 0.0, 0.0)
    tested.reserve({"requests": 500.0}, 0.0)
    before = tested.buckets["requests"].level
    # The next model is asked for the first time, and has kept the same limit: what was taken since stays taken.
    tested.recall([KeptLimit(dimension="requests", amount=600.0, level=600.0)], 0.0, 0.0)
    assert tested.buckets["requests"].level == before
