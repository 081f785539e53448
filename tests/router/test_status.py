"""A router at one moment."""

import msgspec
import pytest
import trio

from llmring.errors import AllModelsFailed
from llmring.status import RouteStatus
from llmring.testing import answer, status
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock

GONE = status(404, error={"type": "not_found_error", "message": "model: second"})

LIMITED = CHAIN.replace("[providers.openai]", "[providers.openai]\nrequests_per_minute = 60\nmax_in_flight = 2")


def by_model(routes: tuple[RouteStatus, ...]) -> dict[str, RouteStatus]:
    return {str(route.model): route for route in routes}


async def test_a_router_that_was_not_asked_has_no_routes(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}) as (router, _):
        now = router.status()
        assert (now.routes, now.lockfile_error) == ((), None)
        assert now.registry["openai"] > 0


async def test_levels_connections_and_times_are_those_of_the_moment(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=2.0, output_tokens=10)]}, LIMITED) as (router, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.chat, "alone", "hi")
            await trio.sleep(1.0)
            route = router.status().routes[0]
            assert (route.readiness, route.in_flight, route.connections, route.most_connections) == ("ready", 1, 1, 2)
            (limit,) = [limit for limit in route.limits if limit.dimension == "requests"]
            assert (limit.amount, limit.period_seconds, limit.shared, limit.held_seconds) == (60.0, 60.0, True, 0.0)
            assert limit.level == pytest.approx(59.75)
            assert route.seconds is None
        route = router.status().routes[0]
        assert (route.in_flight, route.breaker) == (0, "closed")
        assert route.expected_output_tokens == 10.0
        assert route.seconds == pytest.approx(2.0)


async def test_a_refusal_is_a_hold_with_its_time(autojump_clock: Clock) -> None:
    async with world({"first": [status(429, retry_after=20)], "second": [answer("ok")]}) as (router, _):
        await router.chat("chain", "hi")
        routes = by_model(router.status().routes)
    held = routes["openai:first"]
    assert (held.readiness, held.why, held.wait_seconds) == ("busy", "requests limit", 20.0)
    assert [limit.held_seconds for limit in held.limits if limit.dimension == "requests"] == [20.0]
    assert routes["anthropic:second"].readiness == "ready"


async def test_an_open_breaker_and_a_missing_model_are_shut(autojump_clock: Clock) -> None:
    async with world({"first": [status(500)], "second": [GONE]}) as (router, _):
        for _ in range(3):
            with pytest.raises(AllModelsFailed):
                await router.chat("chain", "hi")
        routes = by_model(router.status().routes)
    assert (routes["openai:first"].readiness, routes["openai:first"].breaker) == ("shut", "open")
    gone = routes["anthropic:second"]
    assert (gone.readiness, gone.wait_seconds) == ("shut", None)
    assert "model gone" in gone.why


async def test_those_in_line_are_counted_and_a_status_is_data(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=5.0)]}, LIMITED) as (router, _), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(router.chat, "alone", "hi")
        await trio.sleep(1.0)
        now = router.status()
        route = now.routes[0]
        assert (route.readiness, route.why, route.in_line) == ("busy", "all 2 connections in use", 3)
        assert msgspec.json.decode(msgspec.json.encode(now), type=type(now)) == now
