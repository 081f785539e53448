"""Whose turn it is, seen by callers: calls beside a map, tenants beside one another, deadlines that cannot be kept."""

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from llmring.errors import AllModelsFailed, InvalidRequest
from llmring.router.router import Router
from llmring.testing import answer
from tests.router.world import world

ONE_A_SECOND = """
[[profiles.default.bindings]]
alias = "alone"
models = ["openai:first"]

[providers.openai]
api_key_env = "TEST_KEY_A"
requests_per_minute = 60
"""

ONE_CONNECTION = """
[[profiles.default.bindings]]
alias = "alone"
models = ["openai:first"]

[providers.openai]
api_key_env = "TEST_KEY_A"
max_in_flight = 1
"""


async def test_a_call_does_not_wait_behind_a_map(autojump_clock: trio.testing.MockClock) -> None:
    async with world({"first": [answer("ok", after=0.5)]}, ONE_A_SECOND) as (router, _):
        waits: list[float] = []
        async with trio.open_nursery() as nursery, router.map("alone", (str(n) for n in range(10**6))) as run:

            async def read() -> None:
                async for row in run:
                    assert row.ok

            nursery.start_soon(read)
            for _ in range(20):
                await trio.sleep(10.0)
                response = await router.chat("alone", "hi")
                waits.append(sum(attempt.waited_seconds for attempt in response.attempts))
            # What the limit gave, but for the calls and their tenth.
            assert run.progress().rows >= 60 + 200 - 20 - 6 - 2
            nursery.cancel_scope.cancel()
    # The first one finds a bucket that the map has emptied; from then on a tenth is kept.
    assert waits[0] <= 1.0
    assert waits[1:] == [0.0] * 19


async def test_tenants_get_equal_parts_however_much_they_ask_for(autojump_clock: trio.testing.MockClock) -> None:
    got = {"small": 0, "large": 0, "double": 0}

    async def ask(router: Any, tenant: str, weight: float) -> None:
        while True:
            await router.chat("alone", "hi", tenant=tenant, weight=weight)
            got[tenant] += 1

    offered = world({"first": [answer("ok", after=0.5)]}, ONE_A_SECOND, grace=0.0)
    async with offered as (router, _), trio.open_nursery() as nursery:
        for tenant, tasks, weight in (("small", 5, 1.0), ("large", 50, 1.0), ("double", 20, 2.0)):
            for _ in range(tasks):
                nursery.start_soon(ask, router, tenant, weight)
        # What a tenant had in service when the first one had to wait counts: that is made up for at first.
        await trio.sleep(300.0)
        before = dict(got)
        await trio.sleep(400.0)
        nursery.cancel_scope.cancel()
    assert {tenant: got[tenant] - before[tenant] for tenant in got} == {
        "small": pytest.approx(100, abs=2),
        "large": pytest.approx(100, abs=2),
        "double": pytest.approx(200, abs=2),
    }


async def test_a_call_that_would_miss_its_deadline_is_refused_at_once_with_the_prediction(
    autojump_clock: trio.testing.MockClock,
) -> None:
    offered = world({"first": [answer("ok", after=0.5)]}, ONE_A_SECOND, grace=0.0)
    async with offered as (router, provider), trio.open_nursery() as nursery:
        for _ in range(160):
            nursery.start_soon(partial(router.chat, "alone", "hi", timeout=101.0))
        await trio.sleep(0.5)
        sent, asked_at = len(provider.calls), trio.current_time()
        # It is due after all of them.
        with pytest.raises(AllModelsFailed, match="not waited for: requests limit, 100 in line for 101 s") as raised:
            await router.chat("alone", "hi", timeout=100.6)
        assert trio.current_time() == asked_at
        assert raised.value.retry_after == pytest.approx(100.75)
        assert len(provider.calls) == sent
        # There is time enough for one that waits longer.
        assert (await router.chat("alone", "hi", timeout=200.0)).content == "ok"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("tenant", "seconds"), [("", 1.0), ("another", 1.5)])
async def test_a_call_whose_turn_comes_before_the_line_is_not_refused_for_its_length(
    autojump_clock: trio.testing.MockClock, tenant: str, seconds: float
) -> None:
    """One that is due before the others, or is of another tenant: the prediction keeps to the order of the line."""
    offered = world({"first": [answer("ok", after=0.5)]}, ONE_A_SECOND, grace=0.0)
    async with offered as (router, _), trio.open_nursery() as nursery:
        for _ in range(60 + 700):
            nursery.start_soon(partial(router.chat, "alone", "hi", timeout=3600.0))
        await trio.sleep(1.0)
        asked_at = trio.current_time()
        deadline = 20.0 if not tenant else 3600.0
        assert (await router.chat("alone", "hi", tenant=tenant, timeout=deadline)).content == "ok"
        assert trio.current_time() - asked_at <= seconds + 0.5
        nursery.cancel_scope.cancel()


async def test_where_connections_bind_the_prediction_knows_it(autojump_clock: trio.testing.MockClock) -> None:
    offered = world({"first": [answer("ok", after=10.0)]}, ONE_CONNECTION, grace=0.0)
    failed: list[tuple[float, str]] = []

    async def ask(router: Router) -> None:
        try:
            await router.chat("alone", "hi", timeout=100.0)
        except AllModelsFailed as error:
            failed.append((trio.current_time(), str(error)))

    async with offered as (router, _):
        for _ in range(20):
            await router.chat("alone", "hi")
        began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, router)
        # For how long the one under way is there already is not known: two are answered too late.
        at_once = [why for at, why in failed if at == began_at]
        assert (len(at_once), len(failed)) == (9, 11)
        assert all("not waited for: all 1 connections in use, 10 in line for 100 s" in why for why in at_once)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"priority": "urgent"}, "priority must be one of 'interactive', 'batch', not 'urgent'"),
        ({"weight": 0.0}, "weight must be a number above 0, not 0.0"),
        ({"weight": float("nan")}, "weight must be a number above 0, not nan"),
        ({"weight": float("inf")}, "weight must be a number above 0, not inf"),
    ],
)
async def test_a_wrong_place_is_told(wrong: dict[str, Any], told: str) -> None:
    async with world({"first": [answer("ok")]}) as (router, provider):
        with pytest.raises(InvalidRequest, match=told):
            await router.chat("alone", "hi", **wrong)
        with pytest.raises(InvalidRequest, match=told):
            router.map("alone", ["hi"], **wrong)
        with pytest.raises(InvalidRequest, match=told):
            router.stream("alone", "hi", **wrong)
        assert provider.calls == []
