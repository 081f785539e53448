"""Whose turn it is, seen by callers: calls beside a map, tenants beside one another, deadlines that cannot be kept."""

from typing import Any

import pytest
import trio
import trio.testing

from llmring.errors import AllModelsFailed, InvalidRequest
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
            nursery.start_soon(router.chat, "alone", "hi")
        await trio.sleep(30.0)
        sent, asked_at = len(provider.calls), trio.current_time()
        with pytest.raises(AllModelsFailed, match=r"not waited for: requests limit, \d+ in line for 7\d") as raised:
            await router.chat("alone", "hi", timeout=20.0)
        assert trio.current_time() == asked_at
        assert raised.value.retry_after == pytest.approx(71.0, abs=2.0)
        assert len(provider.calls) == sent
        # There is time enough for one that waits longer.
        assert (await router.chat("alone", "hi", timeout=200.0)).content == "ok"
        nursery.cancel_scope.cancel()


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
