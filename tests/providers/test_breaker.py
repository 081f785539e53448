"""Breakers: the table in breaker.py, line by line, with exact times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.providers.breaker import Breaker
from llmring.status import BreakerState

LOW, HIGH = 0.0, 0.999


def breaker(jitter: float = LOW) -> Breaker:
    return Breaker(lambda: jitter)


def record(tested: Breaker, now: float, results: str, took: float = 0.0) -> None:
    """Requests that begin and end at `now`: "." went well, "x" failed."""
    for result in results:
        tested.record(ok=result == ".", generation=tested.generation, now=now, took=took)


def probe(tested: Breaker, now: float, *, ok: bool, took: float = 0.0) -> None:
    assert tested.state(now) == "probation"
    assert tested.begin(now)
    tested.record(ok=ok, generation=tested.generation, now=now, took=took)


def tripped(jitter: float = LOW) -> Breaker:
    tested = breaker(jitter)
    record(tested, 0.0, "xxxxx")
    assert tested.state(0.0) == "open"
    return tested


# Closed.


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ("", "closed"),
        ("xxxx", "closed"),
        ("xxxxx", "open"),
        ("xxxx.xxxx", "closed"),
        (".xxxxx", "open"),
        # Half of ten; not half of ten; half of nine.
        (".x.x.x.x.x", "open"),
        ("..x.x.x.x.", "closed"),
        (".x.x.x.xx", "closed"),
        ("x.x.x.x.x.", "closed"),
        ("x.x.x.x.x.x", "open"),
        ("." * 16 + "xxxx.xxxx.xxxx.xxxx.xxxx", "open"),
        ("." * 16 + "xxxx.xxxx.xxxx.xxxx.xxx", "closed"),
    ],
)
def test_five_failures_in_a_row_or_half_of_ten_calls_open_it(results: str, state: BreakerState) -> None:
    tested = breaker()
    record(tested, 0.0, results)
    assert tested.state(0.0) is state


@pytest.mark.parametrize(("later", "state"), [(29.0, "open"), (30.0, "open"), (31.0, "closed")])
def test_the_half_is_counted_over_30_seconds(later: float, state: BreakerState) -> None:
    tested = breaker()
    record(tested, 0.0, "xxxx.xxxx")
    record(tested, later, ".x")
    assert tested.state(later) is state


def test_successes_are_forgotten_as_well() -> None:
    tested = breaker()
    record(tested, 0.0, "." * 1000)
    record(tested, 31.0, "xxx.xxx.x.x")
    assert tested.state(31.0) == "open"


def test_failures_in_a_row_count_however_far_apart() -> None:
    tested = breaker()
    for now in range(0, 500, 100):
        record(tested, float(now), "x")
    assert tested.state(400.0) == "open"


# Open.


@pytest.mark.parametrize(
    ("jitter", "took", "seconds"),
    [
        (LOW, 0.0, [2.5, 5.0, 10.0, 10.0, 10.0]),
        (LOW, 2.0, [2.5, 5.0, 10.0, 10.0, 10.0]),
        (LOW, 6.0, [2.5, 5.0, 10.0, 20.0, 30.0, 30.0]),
        (LOW, 60.0, [2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 150.0, 150.0]),
        (HIGH, 60.0, [4.9975, 9.995, 19.99, 39.98, 79.96, 159.92, 299.85, 299.85]),
    ],
)
def test_it_is_open_for_a_doubling_time_of_which_the_second_half_is_random(
    jitter: float, took: float, seconds: list[float]
) -> None:
    tested, now = tripped(jitter), 0.0
    for expected in seconds:
        assert tested.until - now == pytest.approx(expected)
        assert tested.state(tested.until - 1e-6) == "open"
        now = tested.until
        probe(tested, now, ok=False, took=took)


def test_a_provider_that_is_down_for_a_month_is_still_probed() -> None:
    tested = tripped(HIGH)
    for _ in range(10_000):
        probe(tested, tested.until, ok=False, took=60.0)
    assert tested.until == pytest.approx(299.85 * 10_000, rel=0.01)


def test_results_of_requests_sent_before_it_opened_change_nothing() -> None:
    tested = breaker()
    old = tested.generation
    record(tested, 0.0, "xxxxx")
    until = tested.until
    for now in (1.0, 2.5):
        for ok in (True, False):
            tested.record(ok=ok, generation=old, now=now, took=0.0)
    assert tested.until == until
    assert tested.state(2.5) == "probation"
    probe(tested, 2.5, ok=True)
    for _ in range(10):
        tested.record(ok=False, generation=old, now=2.5, took=0.0)
        tested.record(ok=False, generation=old + 1, now=2.5, took=0.0)
    assert tested.state(2.5) == "recovering"


# Probation.


def test_one_request_is_the_probe_and_all_others_wait_for_it() -> None:
    tested = tripped()
    assert not tested.probing
    assert tested.state(2.5) == "probation"
    assert not tested.probing
    assert tested.begin(2.5)
    assert tested.probing


def test_an_abandoned_probe_lets_the_next_request_be_the_probe() -> None:
    tested = tripped()
    tested.begin(2.5)
    tested.abandon_probe()
    assert not tested.probing
    assert tested.state(3.0) == "probation"
    probe(tested, 3.0, ok=True)
    assert tested.state(3.0) == "recovering"


def test_outside_of_probation_no_request_is_a_probe() -> None:
    tested = breaker()
    assert not tested.begin(0.0)
    record(tested, 0.0, "xxxxx")
    probe(tested, 2.5, ok=True)
    assert not tested.begin(3.0)
    assert not tested.probing


# Recovering.


def recovering(jitter: float = LOW) -> Breaker:
    """Since 10.0."""
    tested = tripped(jitter)
    probe(tested, 10.0, ok=True)
    return tested


@pytest.mark.parametrize(
    ("now", "share"), [(10.0, 0.1), (15.0, 0.55), (19.0, 0.91), (20.0 - 1e-9, 1.0), (20.0, 1.0), (99.0, 1.0)]
)
def test_its_share_grows_from_a_tenth_to_all_in_ten_seconds(now: float, share: float) -> None:
    tested = recovering()
    assert tested.share(now) == pytest.approx(share)
    assert tested.state(now) is ("recovering" if now < 20.0 else "closed")


@given(st.floats(min_value=0.1, max_value=1.0))
def test_it_knows_when_a_share_is_reached(share: float) -> None:
    tested = recovering()
    at = tested.share_at(share)
    assert 10.0 <= at <= 20.0
    assert tested.share(at) == pytest.approx(share)


@pytest.mark.parametrize(("share", "at"), [(0.0, 10.0), (0.1, 10.0), (0.55, 15.0), (1.0, 20.0), (2.0, 20.0)])
def test_a_share_is_reached_between_the_probe_and_ten_seconds_later(share: float, at: float) -> None:
    assert recovering().share_at(share) == pytest.approx(at)


@pytest.mark.parametrize(("jitter", "seconds"), [(LOW, 5.0), (HIGH, 9.995)])
def test_a_failure_while_recovering_opens_it_for_twice_as_long(jitter: float, seconds: float) -> None:
    tested = recovering(jitter)
    record(tested, 11.0, "...x")
    assert tested.state(11.0) == "open"
    assert tested.until - 11.0 == pytest.approx(seconds)


def test_after_its_recovery_all_is_forgotten() -> None:
    tested = recovering()
    record(tested, 20.0, "xxxx")
    assert tested.state(20.0) == "closed"
    record(tested, 20.0, "x")
    assert tested.state(20.0) == "open"
    assert tested.until == 22.5


# Any story.

events = st.lists(
    st.tuples(
        st.sampled_from(["begin", "ok", "failed", "cancelled"]),
        st.floats(min_value=0.0, max_value=40.0).map(lambda seconds: round(seconds, 1)),
    ),
    max_size=80,
)


@given(events, st.sampled_from([LOW, HIGH]))
def test_in_any_story_there_is_one_probe_and_no_dead_end(story: list[tuple[str, float]], jitter: float) -> None:
    tested, now = breaker(jitter), 0.0
    requests: list[tuple[int, bool]] = []
    for event, seconds in story:
        now += seconds if event == "begin" else 0.0
        before = tested.state(now)
        if event == "begin":
            if before != "open" and not tested.probing:
                is_probe = tested.begin(now)
                assert is_probe == (before == "probation")
                requests.append((tested.generation, is_probe))
        elif requests:
            generation, is_probe = requests.pop(0)
            is_late = generation != tested.generation
            if event == "cancelled":
                if is_probe and not is_late and tested.probing:
                    tested.abandon_probe()
            else:
                tested.record(ok=event == "ok", generation=generation, now=now, took=0.0)
            if is_late:
                assert tested.state(now) is before
        open_probes = sum(is_probe and generation == tested.generation for generation, is_probe in requests)
        assert open_probes == tested.probing
        assert 0.1 <= tested.share(now) <= 1.0
        if tested.state(now) == "open":
            assert 0.0 < tested.until - now <= 300.0
    # Whatever happened: all requests end, time passes, and it is closed again.
    while requests:
        generation, is_probe = requests.pop()
        tested.record(ok=True, generation=generation, now=now, took=0.0)
    now += 300.0
    if tested.state(now) == "probation":
        probe(tested, now, ok=True)
    assert tested.state(now + 10.0) == "closed"


# Trials of an open one.


def trial(tested: Breaker, now: float, *, ok: bool, took: float = 0.0) -> None:
    assert tested.state(now) == "open"
    assert tested.trial_seconds(now) == 0.0
    assert tested.begin(now)
    tested.record(ok=ok, generation=tested.generation, now=now + took, took=took)


def test_a_trial_goes_a_second_after_it_opened_and_a_second_after_the_last() -> None:
    tested = tripped()
    assert tested.trial_seconds(0.0) == 1.0
    assert tested.trial_seconds(0.75) == 0.25
    trial(tested, 1.0, ok=False)
    assert tested.trial_seconds(1.0) == 1.0
    trial(tested, 2.0, ok=False)
    # It is not open longer for that.
    assert (tested.until, tested.state(2.5)) == (2.5, "probation")


def test_a_trial_that_succeeds_ends_the_opening() -> None:
    tested = tripped()
    trial(tested, 1.0, ok=True)
    assert tested.state(1.0) == "recovering"


def test_trials_cost_their_callers_a_tenth_of_the_time() -> None:
    tested = tripped(HIGH)
    trial(tested, 1.0, ok=False, took=0.2)
    assert tested.trial_seconds(1.2) == pytest.approx(2.0)


def test_while_a_trial_is_under_way_nobody_else_makes_one_and_in_its_time_it_is_the_probe() -> None:
    tested = tripped()
    assert tested.begin(1.0)
    assert (tested.probing, tested.trial_seconds(2.4)) == (True, 1.0)
    assert tested.state(2.5) == "probation"
    assert tested.probing
    tested.record(ok=False, generation=tested.generation, now=3.0, took=2.0)
    assert (tested.state(3.0), tested.until) == ("open", 8.0)


def test_a_trial_that_is_cancelled_is_made_again_a_second_after_it_began() -> None:
    tested = tripped()
    assert tested.begin(1.0)
    tested.abandon_probe()
    assert (tested.probing, tested.trial_seconds(1.5)) == (False, 0.5)
    trial(tested, 2.0, ok=True)


def test_what_no_trial_has_found_out_does_not_end_an_opening() -> None:
    tested = tripped()
    record(tested, 0.5, ".")
    assert tested.state(0.5) == "open"


# Other keys of the model.


@pytest.mark.parametrize(
    ("story", "state"),
    [
        ("hhhhh", "open"),
        ("xhxhx", "open"),
        ("hhhh.hhhh", "closed"),
        # Half of ten calls, but only its own are counted.
        ("h.h.h.h.h.h.h.h.", "closed"),
    ],
)
def test_failures_with_another_key_count_until_one_with_this_key_goes_well(story: str, state: BreakerState) -> None:
    tested = breaker()
    for letter in story:
        if letter == "h":
            tested.heard(0.0, 0.0)
        else:
            record(tested, 0.0, letter)
    assert tested.state(0.0) is state


def test_an_open_breaker_and_a_probe_are_not_moved_by_other_keys() -> None:
    tested = tripped()
    until = tested.until
    tested.heard(1.0, 0.0)
    assert (tested.state(1.0), tested.until) == ("open", until)
    assert tested.begin(until)
    for _ in range(5):
        tested.heard(until, 0.0)
    assert tested.probing
    tested.record(ok=True, generation=tested.generation, now=until, took=0.0)
    tested.heard(until, 0.0)
    assert tested.state(until) == "recovering"
