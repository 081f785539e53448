"""A router at one moment."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec
import pytest
import trio

from llmring.errors import AllModelsFailed
from llmring.router.opening import open_router
from llmring.status import RouteStatus
from llmring.testing import ScriptedProvider, answer, status
from tests.router.world import CHAIN, lockfile, standing, world

Clock = trio.testing.MockClock

GONE = status(404, error={"type": "not_found_error", "message": "model: second"})

LIMITED = CHAIN.replace("[providers.openai]", "[providers.openai]\nrequests_per_minute = 60\nmax_in_flight = 2")


def by_model(routes: tuple[RouteStatus, ...]) -> dict[str, RouteStatus]:
    return {str(route.model): route for route in routes}


def kept(routes: Sequence[RouteStatus]) -> list[tuple[str, bool]]:
    return [(str(route.model), route.asked) for route in routes]


# Before anybody has asked.


async def test_a_router_that_was_not_asked_shows_every_model_of_its_lockfile(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}, LIMITED) as (router, provider):
        tasks = trio.lowlevel.current_statistics().tasks_living
        now = router.status()
        assert kept(now.routes) == [("anthropic:second", False), ("openai:first", False), ("openai:third", False)]
        assert {(route.readiness, route.breaker, route.in_flight) for route in now.routes} == {("ready", "closed", 0)}
        second, first, third = now.routes
        assert (first.aliases, third.aliases) == (("chain", "alone", "three"), ("three",))
        assert (second.limits, second.most_connections) == ((), 64)
        (limit,) = first.limits
        assert (limit.amount, limit.shared, limit.held_seconds, first.most_connections) == (60.0, True, 0.0, 2)
        assert (now.lockfile_error, now.registry["openai"] > 0) == (None, True)
        assert (router.dispatcher.crews, provider.calls) == ({}, [])
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_what_is_shown_before_the_first_call_is_what_that_call_meets(autojump_clock: Clock) -> None:
    text = LIMITED.replace("max_in_flight = 2", 'limit_groups.kin = {models = ["third"], requests_per_minute = 5}')
    async with world({"first": [answer("ok")]}, text) as (router, _):
        before = router.status()
        router.estimate("three", "hi")
        asked = [msgspec.structs.replace(route, asked=True) for route in before.routes]
        assert list(router.status().routes) == asked
        assert [limit.group for limit in asked[2].limits] == ["kin", None]


async def test_the_models_of_a_provider_that_is_asked_share_its_limits_before_they_are_asked(
    autojump_clock: Clock,
) -> None:
    async with world({"first": [answer("ok", after=5.0)]}, LIMITED) as (router, _), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(router.chat, "alone", "hi")
        await trio.sleep(1.0)
        routes = by_model(router.status().routes)
        first, third = routes["openai:first"], routes["openai:third"]
        assert (first.asked, third.asked, routes["anthropic:second"].asked) == (True, False, False)
        assert third.limits == first.limits
        assert (third.readiness, third.why) == ("busy", "all 2 connections in use")


async def test_a_key_that_is_missing_is_shown_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY_B")
    async with world({}) as (router, _):
        shut = by_model(router.status().routes)["anthropic:second"]
        assert (shut.readiness, shut.why, shut.wait_seconds) == (
            "shut",
            "no key for anthropic: set TEST_KEY_B",
            None,
        )


async def test_a_provider_that_nobody_knows_is_shut_and_the_others_are_shown(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"openai:third"', '"elsewhere:third"')
    async with world({}, text) as (router, _):
        routes = by_model(router.status().routes)
        assert (routes["elsewhere:third"].readiness, routes["elsewhere:third"].most_connections) == ("shut", 0)
        assert routes["elsewhere:third"].why.startswith("unknown provider 'elsewhere'")
        assert routes["openai:first"].readiness == "ready"


async def test_every_key_that_is_set_has_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '["TEST_KEY_A", "TEST_KEY_B", "TEST_KEY_C"]')
    monkeypatch.delenv("TEST_KEY_C", raising=False)
    async with world({"first": [answer("ok")]}, text) as (router, _):
        keys = [route.key for route in router.status().routes if route.model.model == "first"]
        assert keys == ["TEST_KEY_A", "TEST_KEY_B"]
        await router.chat("alone", "hi")
        assert keys == [route.key for route in router.status().routes if route.model.model == "first"]


async def test_what_an_earlier_process_has_learned_is_shown_before_the_first_call(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    told = {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "40"}
    provider = ScriptedProvider({"first": [answer("ok", headers=told)]})
    async with open_router(lockfile(), connect=provider, state=tmp_path) as router:
        await router.chat("alone", "hi")
    async with open_router(lockfile(), connect=provider, state=tmp_path) as router:
        route = by_model(router.status().routes)["openai:first"]
        assert (route.asked, [limit.amount for limit in route.limits]) == (False, [100.0])
        assert router.dispatcher.crews == {}


async def test_the_profile_in_use_is_shown_and_what_was_asked_for_beside_it(autojump_clock: Clock) -> None:
    text = (
        CHAIN
        + """
[[profiles.night.bindings]]
alias = "alone"
models = ["openai:night"]
"""
    )
    async with world({"night": [answer("ok")], "bare": [answer("ok")]}, text) as (router, _):
        assert len(router.status().routes) == 3
        await router.chat("alone", "hi", profile="night")
        await router.chat("openai:bare", "hi")
        routes = by_model(router.status().routes)
        assert (routes["openai:night"].asked, routes["openai:night"].aliases) == (True, ())
        assert (routes["openai:bare"].asked, routes["openai:first"].asked, len(routes)) == (True, False, 5)


# After an edit of the lockfile.


async def test_a_model_that_an_edit_takes_away_is_shown_until_its_requests_have_ended(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [answer("ok", after=5.0)]})
    async with open_router(path, connect=provider) as router, trio.open_nursery() as nursery:
        nursery.start_soon(router.chat, "alone", "hi")
        await trio.sleep(1.0)
        path.write_text(CHAIN.replace("openai:first", "openai:new"))
        router.dispatcher.reload()
        routes = by_model(router.status().routes)
        assert sorted(routes) == ["anthropic:second", "openai:first", "openai:new", "openai:third"]
        assert (routes["openai:first"].in_flight, routes["openai:first"].aliases) == (1, ())
        assert (routes["openai:new"].asked, routes["openai:new"].aliases) == (False, ("chain", "alone", "three"))
        await trio.sleep(5.0)
        assert sorted(by_model(router.status().routes)) == ["anthropic:second", "openai:new", "openai:third"]


async def test_a_hold_goes_on_over_an_edit_of_its_provider(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [status(429, retry_after=20)], "second": [answer("ok")]})
    async with open_router(path, connect=provider, jitter=lambda: 0.0) as router:
        await router.chat("chain", "hi")
        path.write_text(LIMITED)
        router.dispatcher.reload()
        held = by_model(router.status().routes)["openai:first"]
        assert (held.readiness, held.wait_seconds, held.most_connections) == ("busy", 20.0, 2)


async def test_many_models_that_nobody_asked_cost_little(autojump_clock: Clock) -> None:
    bindings = "".join(
        f'[[profiles.default.bindings]]\nalias = "a{number}"\nmodels = ["openai:m{number}", "anthropic:m{number}"]\n'
        for number in range(100)
    )
    async with world({}, bindings) as (router, _):
        assert len(router.status().routes) == 200
        began = perf_counter()
        router.status()
        # A few milliseconds; the bound is for a machine that does other things, too.
        assert perf_counter() - began < 0.25


# Afterwards.


async def test_levels_connections_and_times_are_those_of_the_moment(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=2.0, output_tokens=10)]}, LIMITED) as (router, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.chat, "alone", "hi")
            await trio.sleep(1.0)
            (route,) = standing(router)
            assert (route.readiness, route.in_flight, route.connections, route.most_connections) == ("ready", 1, 1, 2)
            (limit,) = [limit for limit in route.limits if limit.dimension == "requests"]
            assert (limit.amount, limit.period_seconds, limit.shared, limit.held_seconds) == (60.0, 60.0, True, 0.0)
            assert limit.level == pytest.approx(59.75)
            assert route.seconds is None
        (route,) = standing(router)
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
        (route,) = standing(router)
        assert (route.readiness, route.why, route.in_line) == ("busy", "all 2 connections in use", 3)
        assert msgspec.json.decode(msgspec.json.encode(now), type=type(now)) == now
