"""The retry budget: a fifth of the calls of 30 seconds and one a second, whatever is asked of it; and what draws."""

from collections import Counter

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import AllModelsFailed, Overloaded, RateLimited
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.router.failover import Fail, Go, Wait
from llmring.router.replay import difference
from llmring.router.retry_budget import RetryBudget
from llmring.router.router import Router
from llmring.testing import Step, answer, no_connection, status
from llmring.trace import Trace
from tests.router.test_failover import FAULT, MODELS, SLOW, fail, failure, plan
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock
BUSY = Busy(wait_seconds=4.0, why="requests limit")
OPEN = Shut(wait_seconds=3.0, why="breaker open", trial_seconds=2.0)
PROBED = Busy(wait_seconds=0.0, why="waiting for the probe", failing=True)
WIDE = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1000').replace(
    '"TEST_KEY_B"', '"TEST_KEY_B"\nmax_in_flight = 1000'
)


def drawn(tested: RetryBudget, now: float, asked: int) -> int:
    """How many of so many retries are allowed."""
    count = 0
    for _ in range(asked):
        if tested.allows(now):
            tested.draw(now)
            count += 1
    return count


def test_without_calls_there_is_one_a_second() -> None:
    tested = RetryBudget()
    assert drawn(tested, 100.0, 99) == 30
    assert drawn(tested, 129.9, 99) == 0
    assert drawn(tested, 131.0, 99) == 30
    steady = RetryBudget()
    assert sum(drawn(steady, float(now), 1) for now in range(300)) == 291


def test_a_fifth_of_the_calls_come_beside_them() -> None:
    tested = RetryBudget()
    for _ in range(100):
        tested.called(5.0)
    assert drawn(tested, 5.0, 99) == 50
    assert drawn(tested, 34.0, 99) == 0
    # The calls are forgotten with the retries that they had allowed.
    assert drawn(tested, 36.5, 99) == 30


events = st.lists(
    st.tuples(st.floats(0.0, 12.0) | st.sampled_from([0.0, 1.0, 30.0]), st.integers(0, 60), st.integers(0, 60)),
    max_size=60,
)


@given(events, st.floats(-1e3, 1e6))
def test_no_30_seconds_hold_more(steps: list[tuple[float, int, int]], began_at: float) -> None:
    tested, now = RetryBudget(), began_at
    calls: list[float] = []
    retries: list[float] = []
    for passed, came, asked in steps:
        now += passed
        for _ in range(came):
            tested.called(now)
            calls.append(now)
        retries += [now] * drawn(tested, now, asked)
        if retries and retries[-1] == now:
            within = [sum(1 for at in times if now - 30.0 < at <= now) for times in (calls, retries)]
            assert within[1] <= 0.2 * within[0] + 30


@given(events)
def test_one_a_second_is_always_allowed(steps: list[tuple[float, int, int]]) -> None:
    tested, now = RetryBudget(), 0.0
    for passed, came, asked in steps:
        now += passed
        for _ in range(came):
            tested.called(now)
        drawn(tested, now, asked)
    assert tested.allows(now + 31.0)


# What draws from it.


@pytest.mark.parametrize(
    ("error", "after", "draws"),
    [
        # A first attempt at a model in use is free, as soon as it is ready or after a wait.
        (FAULT, [READY, READY], False),
        (FAULT, [OPEN, READY], False),
        (SLOW, [BUSY, BUSY], False),
        # A second one at the same model is not, nor one at a model that is left out.
        (FAULT, [READY, BUSY], True),
        (FAULT, [READY], True),
        (SLOW, [BUSY, OPEN], True),
        (FAULT, [READY, PROBED], True),
        # A refused call goes when the limit lets it.
        (SLOW, [BUSY], False),
        (Overloaded("full"), [READY], True),
    ],
)
def test_a_second_attempt_at_a_model_and_one_at_a_model_left_out_draw(
    error: RateLimited, after: list[Readiness], draws: bool
) -> None:
    tested = plan(len(after))
    assert tested.next([READY] * len(after), 0.0) == Go(0)
    fail(tested, 0, error)
    tested.next(after, 0.0)
    assert tested.steps[-1].draws is draws
    # What was drawn is for one attempt, however often the request has to look.
    tested.next(after, 0.0)
    assert not tested.steps[-1].draws


def test_each_retry_draws_once() -> None:
    tested = plan(1)
    tested.next([READY], 0.0)
    fail(tested, 0, SLOW)
    assert tested.next([READY], 1.0) == Go(0)
    fail(tested, 0, FAULT, now=1.0)
    tested.next([READY], 1.0)
    assert [step.draws for step in tested.steps] == [False, False, False]
    other = plan(2)
    for now, (index, error) in enumerate([(0, FAULT), (1, FAULT), (0, SLOW), (0, SLOW), (1, SLOW)]):
        answers: list[Readiness] = [BUSY, BUSY]
        answers[index] = READY
        assert other.next(answers, float(now)) == Go(index)
        fail(other, index, error, now=float(now))
    assert [step.draws for step in other.steps] == [False, False, True, True, True]


def test_a_call_that_would_draw_where_nothing_is_left_fails_at_once() -> None:
    tested = plan(2)
    fail(tested, 0)
    fail(tested, 1, SLOW)
    error = failure(tested.next([READY, Busy(wait_seconds=700.0, why="day limit")], 0.0, used_up=True))
    assert [str(attempt) for attempt in error.attempts] == [
        f"{MODELS[0]}: ServerFault: broken (HTTP 500)",
        f"{MODELS[1]}: RateLimited: slow (HTTP 429)",
        f"{MODELS[0]}: not asked again: retry budget used up",
        f"{MODELS[1]}: not waited for: day limit for 700 s",
    ]
    assert error.retry_after == 0.5


def test_where_nothing_is_left_a_model_in_use_is_waited_for_alone() -> None:
    tested = plan(3)
    fail(tested, 0)
    assert tested.next([READY, BUSY, OPEN], 0.0, used_up=True) == Wait(indexes=(1,), until=600.0)
    assert tested.next([READY, BUSY, READY], 0.0, used_up=True) == Go(2)


def test_the_first_attempt_and_patient_work_draw_nothing() -> None:
    assert plan(2).next([OPEN, OPEN], 0.0, used_up=True) == Wait(indexes=(0, 1), until=2.0)
    tested = plan(1, patient=True)
    fail(tested, 0)
    assert tested.next([READY], 1.0, used_up=True) == Go(0)


def test_what_was_granted_is_kept_until_it_is_used() -> None:
    tested = plan(1)
    fail(tested, 0)
    assert not isinstance(tested.next([READY], 0.0), Fail)
    assert tested.next([OPEN], 1.0, used_up=True) == Wait(indexes=(0,), until=3.0)
    assert tested.next([READY], 2.0, used_up=True) == Go(0)


# On the wire.


async def burst(router: Router, alias: str, calls: int) -> Counter[str]:
    """How so many calls at once end; when is in the counts too, for those that fail."""
    ended: Counter[str] = Counter()
    start = trio.current_time()

    async def one() -> None:
        try:
            response = await router.chat(alias, "hello")
            trace = response.trace
            ended[response.content] += 1
        except AllModelsFailed as error:
            trace = error.trace
            why = error.attempts[-1].outcome
            ended[f"{why}, after {trio.current_time() - start:g} s"] += 1
        assert trace is not None
        assert difference(msgspec.json.decode(msgspec.json.encode(trace), type=Trace)) is None

    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(one)
    return ended


@pytest.mark.parametrize("step", [status(500, after=0.2), status(529, after=0.2), no_connection(after=0.2)])
async def test_a_burst_at_a_dead_primary_loses_nothing(step: Step, autojump_clock: Clock) -> None:
    async with world({"first": [step], "second": [answer("served", after=1)]}, WIDE) as (router, provider):
        assert await burst(router, "chain", 500) == {"served": 500}
        assert (len(provider.times("first")), len(provider.times("second"))) == (500, 500)


async def test_a_burst_at_the_only_model_is_retried_within_the_budget(autojump_clock: Clock) -> None:
    script = {"first": [*[status(500, after=0.2)] * 500, answer("served")]}
    async with world(script, WIDE) as (router, provider):
        # 500 / 5 + 30 are sent once more, when the model is found to be well.
        assert await burst(router, "alone", 500) == {
            "served": 130,
            "not asked again: retry budget used up, after 0.2 s": 370,
        }
        assert len(provider.calls) == 630


async def test_a_burst_that_is_refused_waits_out_the_limit(autojump_clock: Clock) -> None:
    script = {"first": [*[status(429, retry_after=20)] * 500, answer("served")]}
    async with world(script, WIDE) as (router, provider):
        assert await burst(router, "alone", 500) == {"served": 500}
        assert len(provider.calls) == 1000


async def test_a_model_that_fails_now_and_then_is_sent_a_fifth_more(autojump_clock: Clock) -> None:
    """4 of 10 fail, at 10 a second: the breaker stays closed, and every failed call would have been sent twice."""
    script = [answer(), status(500), answer(), status(500), answer(), status(500), answer(), status(500), answer()]
    async with world({"first": [*[*script, answer()] * 400]}, WIDE) as (router, provider):
        failed: list[float] = []
        start = trio.current_time()

        async def one() -> None:
            try:
                await router.chat("alone", "hello")
            except AllModelsFailed:
                failed.append(trio.current_time() - start)

        async with trio.open_nursery() as nursery:
            for _ in range(1200):
                nursery.start_soon(one)
                await trio.sleep(0.1)
        for end in range(30, 121, 5):
            sent = [time for time in provider.times("first") if start + end - 30 <= time < start + end]
            assert len(sent) <= 300 + 0.2 * 300 + 30
        # The first thirty seconds have the floor's thirty at once.
        assert len(provider.calls) > 1200 * 1.2
        assert failed


async def test_the_rows_of_a_map_are_sent_again_whatever_the_budget(autojump_clock: Clock) -> None:
    script = {"first": [*[status(500, after=0.2)] * 60, answer("served")]}
    async with world(script, WIDE) as (router, provider):
        results = await router.map("alone", [f"row {number}" for number in range(60)], window=120).to_list()
        assert [one.response.content for one in results if one.response is not None] == ["served"] * 60
        # All of them failed together.
        assert provider.times("first")[59] == provider.times("first")[0]
        assert len(provider.calls) == 120
