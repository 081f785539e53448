"""Panic: most breakers of an alias are open, and a model is tried all the same. On virtual time, with exact counts."""

import math

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import AllModelsFailed, ProviderError
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.router.failover import Decision, Go, Wait
from llmring.router.replay import difference
from llmring.router.router import Router
from llmring.testing import answer, hang, status
from llmring.trace import Trace
from tests.router.test_failover import FAULT, FAULTS, FINAL, GONE, SLOW, fail, plan
from tests.router.world import world

Clock = trio.testing.MockClock
BUSY = Busy(wait_seconds=4.0, why="requests limit")
PROBED = Busy(wait_seconds=0.0, why="waiting for the probe", failing=True)
MONEY = Shut(wait_seconds=None, why="quota exhausted: no")


def shut(wait: float, trial: float = 0.0) -> Shut:
    return Shut(wait_seconds=wait, why="breaker open", trial_seconds=trial)


# The rule.


@pytest.mark.parametrize(
    ("readiness", "decision"),
    [
        # Fewer than half in use: the first to recover is tried.
        ([shut(9.0), shut(3.0), shut(5.0)], Go(1, trial=True)),
        ([shut(9.0)], Go(0, trial=True)),
        # What is ready goes first, and what is in use if it can be had sooner.
        ([shut(9.0), shut(3.0), READY], Go(2)),
        ([shut(9.0), shut(5.0), BUSY], Wait(indexes=(0, 1, 2), until=1.0)),
        ([shut(9.0), shut(3.0), BUSY], Go(1, trial=True)),
        # Half in use.
        ([shut(3.0), BUSY], Wait(indexes=(0, 1), until=600.0)),
        # Who cannot help does not count: no money, no model, no room in time.
        ([shut(3.0), MONEY, GONE], Go(0, trial=True)),
        ([shut(3.0), Busy(wait_seconds=700.0, why="day limit")], Go(0, trial=True)),
        ([shut(3.0), BUSY, GONE], Wait(indexes=(0, 1), until=600.0)),
        # A model that is being probed is not in use, and not tried either.
        ([shut(3.0), PROBED], Go(0, trial=True)),
        ([PROBED, PROBED], Wait(indexes=(0, 1), until=600.0)),
        # Another trial is under way, or was a moment ago.
        ([shut(3.0, 0.25), shut(5.0, 2.0)], Wait(indexes=(0, 1), until=1.0)),
        ([shut(3.0, 2.0), shut(5.0)], Go(1, trial=True)),
        # Nothing can be waited for, but a trial can.
        ([shut(700.0, 2.5)], Wait(indexes=(), until=2.5)),
    ],
)
def test_with_fewer_than_half_in_use_the_first_to_recover_is_tried(
    readiness: list[Readiness], decision: Decision
) -> None:
    assert plan(len(readiness)).next(readiness, 0.0) == decision


def test_a_failed_trial_costs_no_try_and_is_made_once_a_model() -> None:
    tested = plan(2)
    both: list[Readiness] = [shut(3.0), shut(5.0)]
    assert tested.next(both, 0.0) == Go(0, trial=True)
    fail(tested, 0)
    assert tested.next(both, 0.5) == Go(1, trial=True)
    fail(tested, 1, now=0.5)
    assert tested.next(both, 1.0) == Wait(indexes=(0, 1), until=600.0)
    for _ in range(2):
        assert tested.next([READY, GONE], 9.0) == Go(0)
        fail(tested, 0)
    assert not isinstance(tested.next([READY, READY], 9.0), Wait)
    assert [attempt.sent for attempt in tested.attempts] == [True] * 4


def test_who_waits_looks_again_after_doubling_seconds() -> None:
    tested, now, looks = plan(1, deadline=60.0), 0.0, []
    while now < 60.0:
        match tested.next([shut(40.0, 0.5)], now):
            case Wait(until=until):
                looks.append(until)
                now = until
            case _:
                break
    assert looks[:5] == [1.0, 3.0, 7.0, 15.0, 31.0]


def test_patient_work_is_not_in_panic() -> None:
    tested = plan(2, deadline=math.inf, patient=True)
    assert tested.next([shut(3.0), shut(5.0)], 0.0) == Wait(indexes=(0, 1), until=600.0)


def test_on_failure_the_first_in_use_is_waited_for_and_those_before_it_are_tried() -> None:
    readiness: list[Readiness] = [shut(9.0), shut(3.0), BUSY]
    assert plan(spill="on_failure").next(readiness, 0.0) == Go(1, trial=True)
    assert plan(spill="on_failure").next([BUSY, shut(3.0), shut(3.0)], 0.0) == Wait(indexes=(0,), until=600.0)


some_errors = st.lists(st.sampled_from([SLOW, *(kind("no") for kind in FAULTS + FINAL)]), min_size=40, max_size=40)
some_answers: st.SearchStrategy[Readiness] = st.sampled_from(
    [READY, BUSY, PROBED, GONE, shut(3.0), shut(3.0, 0.5), shut(700.0)]
)


@given(st.data(), some_errors, st.integers(1, 3), st.booleans())
def test_no_request_makes_more_than_one_trial_a_route_beside_its_tries(
    data: st.DataObject, errors: list[ProviderError], routes: int, refused: bool
) -> None:
    if not refused:
        errors = [error if error is not SLOW else FAULT for error in errors]
    tested, now, sent, trials = plan(routes), 0.0, [0] * routes, [0] * routes
    for _ in range(200):
        readiness: list[Readiness] = [data.draw(some_answers) for _ in range(routes)]
        match tested.next(readiness, now, used_up=data.draw(st.booleans())):
            case Go(index, trial=trial):
                fail(tested, index, errors.pop(), now)
                sent[index] += not trial
                trials[index] += trial
            case Wait(until=until):
                assert until > now
                now = until if until < tested.deadline else now + 1.0
            case _:
                break
    assert max(trials) <= 1
    # A trial that ends in something else than a fault is a try.
    assert max(map(sum, zip(sent, trials, strict=True))) <= (5 if refused else 3)


# On the wire.


async def down(router: Router, alias: str) -> None:
    """Open the breakers of an alias all of whose models fail."""
    for _ in range(5):
        with pytest.raises(AllModelsFailed):
            await router.chat(alias, "hello", timeout=0.5)
    now = trio.current_time()
    assert {route.breaker.state(now) for route in router.dispatcher.routes(alias, None)} == {"open"}


def same(trace: Trace | None) -> Trace:
    """The trace, whose decisions come out of their record as they were."""
    assert trace is not None
    assert difference(msgspec.json.decode(msgspec.json.encode(trace), type=Trace)) is None
    return trace


async def test_a_provider_that_is_back_is_found_within_a_second(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 16 + [answer("back")]}
    async with world(script) as (router, provider):
        await down(router, "alone")
        while len(provider.calls) < 16:
            await trio.sleep(1.0)
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello", timeout=0.5)
        route, start = router.dispatcher.routes("alone", None)[0], trio.current_time()
        response = await router.chat("alone", "hello", timeout=2)
        assert response.content == "back"
        assert trio.current_time() - start == 1.0
        assert route.breaker.state(trio.current_time()) == "recovering"
        trace = same(response.trace)
        assert trace.decisions[-1].trial
        assert "  -> openai:first is tried all the same" in str(trace).splitlines()


async def test_a_provider_that_is_down_is_asked_once_a_second(autojump_clock: Clock) -> None:
    script = {"first": [status(500)], "second": [status(529)], "third": [status(500)]}
    async with world(script) as (router, provider):
        await down(router, "three")
        opened, before = trio.current_time(), len(provider.calls)

        async def one() -> None:
            with pytest.raises(AllModelsFailed) as caught:
                await router.chat("three", "hello", timeout=5)
            same(caught.value.trace)

        async with trio.open_nursery() as nursery:
            for _ in range(600):
                nursery.start_soon(one)
                await trio.sleep(0.1)
        seconds = trio.current_time() - opened
        for model in ("first", "second", "third"):
            times = [time for time in provider.times(model) if time > opened]
            # Trials a second apart, and the breaker's own probes.
            assert len(times) <= seconds + 8
            assert len(times) >= seconds / 2
        assert len(provider.calls) - before <= 3 * (seconds + 8)


async def test_after_a_failure_that_took_long_no_trial_is_made_soon(autojump_clock: Clock) -> None:
    async with world({"first": [status(500, after=0.3)]}) as (router, provider):

        async def one() -> None:
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello", timeout=0.8)

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
            await trio.sleep(0.4)
            for _ in range(15):
                nursery.start_soon(one)
                await trio.sleep(0.1)
        # A trial is due 3 s after the fault, past the probe, which none of them can wait for.
        assert provider.times("first") == [start] * 5


async def test_a_trial_that_is_cancelled_leaves_its_place(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 5 + [hang(), answer("back")]}
    async with world(script) as (router, provider):
        await down(router, "alone")
        await trio.sleep(1.0)
        with trio.move_on_after(0.2):
            await router.chat("alone", "hello")
        await trio.sleep(0.9)
        assert (await router.chat("alone", "hello", timeout=0.5)).content == "back"
        assert len(provider.calls) == 7


async def test_while_a_trial_hangs_the_others_wait_for_it(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 5 + [answer("back", after=30)]}
    async with world(script) as (router, provider):
        await down(router, "alone")
        await trio.sleep(1.0)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(router.chat, "alone", "hello")
        # When its time had come it was the probe; then nine by the slow start.
        assert len(provider.calls) == 15
        assert provider.times("first")[5:7] == [start, start + 30.0]


async def test_a_model_in_use_is_preferred_and_a_chain_with_half_in_use_is_not_in_panic(autojump_clock: Clock) -> None:
    script = {"first": [status(500)], "second": [answer("fine")], "third": [status(500)]}
    async with world(script) as (router, provider):
        for model in ("openai:first", "openai:third"):
            await down(router, model)
        await trio.sleep(1.5)
        for alias in ("chain", "three"):
            assert (await router.chat(alias, "hello")).content == "fine"
        assert len(provider.times("first")) == 5


async def test_the_rows_of_a_map_wait_for_the_probe(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 5 + [answer("back")]}
    async with world(script) as (router, provider):
        await down(router, "alone")
        opened = trio.current_time()
        until = router.dispatcher.routes("alone", None)[0].breaker.until
        await trio.sleep(1.5)
        results = await router.map("alone", ["a", "b", "c"]).to_list()
        assert [result.response.content for result in results if result.response is not None] == ["back"] * 3
        assert opened + 1.5 < until == provider.times("first")[5]


async def test_a_probe_that_its_caller_has_no_time_for_finds_nothing_out(autojump_clock: Clock) -> None:
    async with world({"first": [*[status(500)] * 5, hang(), status(500)]}) as (router, provider):
        await down(router, "alone")
        route = router.dispatcher.routes("alone", None)[0]
        until = route.breaker.until
        await trio.sleep_until(until)
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "hello", timeout=3)
        assert route.breaker.state(trio.current_time()) == "probation"
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "hello", timeout=0.5)
        assert (route.breaker.state(trio.current_time()), len(provider.calls)) == ("open", 7)
