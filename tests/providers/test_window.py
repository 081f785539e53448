"""A limit that is counted by the window: never more than the limit in any period, and what was taken comes back."""

from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.codec import LimitUpdate
from llmring.providers.bucket import MARGIN_SECONDS, Limit, Window
from llmring.providers.budget import Budget, Reservation

TEN = Limit(dimension="requests", amount=10.0, counted="by window")
BACK = 60.0 + MARGIN_SECONDS


def budget() -> Budget:
    return Budget([TEN], 0.0)


def take(tested: Budget, now: float, amount: float = 1.0) -> Reservation:
    return tested.reserve({"requests": amount}, now)


def left(tested: Budget, now: float) -> float:
    bucket = tested.buckets["requests"]
    bucket.advance(now)
    return bucket.level


def test_all_of_it_may_go_at_once_and_comes_back_a_period_later() -> None:
    tested = budget()
    take(tested, 0.0, 6.0)
    take(tested, 5.0, 4.0)
    assert tested.wait({"requests": 1.0}, 10.0) == (BACK - 10.0, "requests")
    assert tested.wait({"requests": 7.0}, 10.0) == (BACK - 5.0, "requests")
    assert left(tested, BACK - 0.01) == 0.0
    assert left(tested, BACK) == 6.0
    assert left(tested, BACK + 5.0) == 10.0


def test_what_was_not_used_is_there_at_once_and_does_not_come_back_twice() -> None:
    tested = budget()
    reservation = take(tested, 0.0, 8.0)
    tested.settle(reservation, {"requests": 3.0}, 1.0)
    assert left(tested, 1.0) == 7.0
    assert left(tested, BACK) == 10.0
    late = take(tested, BACK, 8.0)
    assert left(tested, 3 * BACK) == 10.0
    tested.settle(late, {"requests": 1.0}, 3 * BACK)
    assert left(tested, 3 * BACK) == 10.0


def test_what_another_program_took_comes_back_too() -> None:
    tested = budget()
    reservation = take(tested, 0.0)
    tested.observe(LimitUpdate(dimension="requests", limit=10.0, remaining=4.0), reservation, 1.0)
    assert left(tested, 1.0) == 4.0
    assert left(tested, BACK) == 5.0
    assert left(tested, BACK + 1.0) == 10.0


def test_a_window_that_began_anew_there_is_not_counted_again_here() -> None:
    tested = budget()
    take(tested, 0.0, 9.0)
    reservation = take(tested, 50.0)
    tested.settle(reservation, {"requests": 1.0}, 51.0)
    tested.buckets["requests"].correct(5.0)
    assert left(tested, 52.0) == 5.0
    assert left(tested, BACK) == 9.0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("advance"), st.floats(min_value=0.0, max_value=90.0)),
            st.tuples(st.just("wait"), st.floats(min_value=0.1, max_value=10.0)),
            st.tuples(st.just("settle"), st.sampled_from([0.0, 0.3, 1.0])),
        ),
        max_size=60,
    )
)
def test_no_period_ever_holds_more_than_the_limit(script: list[tuple[str, float]]) -> None:
    tested, now = budget(), 0.0
    open_ones: list[tuple[Reservation, int]] = []
    taken: list[tuple[float, float]] = []
    for kind, value in script:
        if kind == "advance":
            now += value
        elif kind == "settle" and open_ones:
            reservation, index = open_ones.pop()
            tested.settle(reservation, {"requests": value * reservation.charge["requests"]}, now)
            taken[index] = (taken[index][0], value * reservation.charge["requests"])
        elif kind == "wait":
            now += tested.wait({"requests": value}, now)[0]
            assert tested.wait({"requests": value}, now) == (0.0, None)
            open_ones.append((take(tested, now, value), len(taken)))
            taken.append((now, value))
            # What is known now of what went before.
            assert sum(amount for at, amount in taken if at > now - 60.0) <= 10.0 + 1e-6
    assert isinstance(tested.buckets["requests"], Window)


def test_a_lower_reading_is_no_news_where_requests_sent_just_after_explain_it() -> None:
    budget = Budget([TEN], 0.0)
    sent = [budget.reserve({"requests": 1.0}, at) for at in (0.0, 0.0, 0.0, 0.1, 0.3)]
    # The first one was overtaken by three others; the one that left 0.3 s later cannot have been before it.
    budget.observe(LimitUpdate(dimension="requests", remaining=6.0), sent[0], 1.0)
    assert budget.buckets["requests"].level == 5.0
    # By one too many: another program.
    budget.observe(LimitUpdate(dimension="requests", remaining=5.0), sent[1], 1.0)
    assert budget.buckets["requests"].level == 4.0
    # And that is known when the others are read.
    for reservation, remaining in ((sent[2], 5.0), (sent[3], 5.0), (sent[4], 4.0)):
        budget.observe(LimitUpdate(dimension="requests", remaining=remaining), reservation, 1.0)
    assert budget.buckets["requests"].level == 4.0
