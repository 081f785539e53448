"""The router's life: opening, reloading its lockfile, draining at the end."""

from pathlib import Path

import pytest
import trio
import trio.testing

from llmring.errors import ConfigError, LockfileMissing, MissingKey, RouterClosed, UnknownAlias, UnknownProfile
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer, hang, status
from tests.router.world import CHAIN, lockfile, world

Clock = trio.testing.MockClock


async def test_leaving_waits_for_the_calls_under_way(autojump_clock: Clock) -> None:
    results: list[str] = []
    start = trio.current_time()

    async def one(router: Router) -> None:
        results.append((await router.chat("alone", "hello")).content)

    async with trio.open_nursery() as nursery:
        async with world({"first": [answer("done", after=5)]}) as (router, _provider):
            nursery.start_soon(one, router)
            await trio.sleep(1)
        assert (results, trio.current_time() - start) == (["done"], 5.0)


async def test_leaving_cuts_off_what_outlasts_the_grace(autojump_clock: Clock) -> None:
    start = trio.current_time()

    async def one(router: Router) -> None:
        with pytest.raises(RouterClosed, match="during this call"):
            await router.chat("alone", "hello")

    async with trio.open_nursery() as nursery:
        async with world({"first": [hang()]}, grace=3) as (router, provider):
            nursery.start_soon(one, router)
            await trio.sleep(1)
        assert trio.current_time() - start == 4.0
        await trio.testing.wait_all_tasks_blocked()
        assert provider.in_flight == 0


async def test_a_stream_in_the_callers_hands_is_cut_off_too(autojump_clock: Clock) -> None:
    async def read_slowly(router: Router) -> None:
        async with router.stream("alone", "hello") as stream:
            async for _ in stream:
                await trio.sleep(2)

    async def one(router: Router) -> None:
        with pytest.raises(RouterClosed):
            await read_slowly(router)

    script = {"first": [answer(*["x"] * 100, each=0.1)]}
    async with trio.open_nursery() as nursery, world(script, grace=3) as (router, provider):
        nursery.start_soon(one, router)
        await trio.sleep(1)
    assert provider.in_flight == 0


async def test_a_closed_router_takes_no_more_calls(autojump_clock: Clock) -> None:
    async with world({"first": [answer()]}) as (router, _provider):
        pass
    with pytest.raises(RouterClosed):
        await router.chat("alone", "hello")


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world({}):
            raise ZeroDivisionError


async def test_a_cancelled_block_does_not_wait_for_the_grace(autojump_clock: Clock) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with world({"first": [hang()]}) as (router, _provider):
                nursery.start_soon(_expect_closed, router)
                await trio.sleep_forever()
        assert trio.current_time() - start == 1.0


async def _expect_closed(router: Router) -> None:
    with pytest.raises(RouterClosed):
        await router.chat("alone", "hello")


async def test_a_bug_in_a_background_task_stops_the_router_loudly(autojump_clock: Clock) -> None:
    async def bug() -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError("a bug")

    async def work() -> None:
        async with world({}) as (router, _provider):
            router._nursery.start_soon(bug)
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="a bug"):
        await work()


async def test_opening_reads_a_file_and_names_the_one_that_is_missing(tmp_path: Path, autojump_clock: Clock) -> None:
    with pytest.raises(LockfileMissing, match=r"absent\.lock"):
        async with open_router(tmp_path / "absent.lock"):
            pass


async def test_a_profile_that_does_not_exist_is_found_at_opening(autojump_clock: Clock) -> None:
    with pytest.raises(UnknownProfile, match="prod"):
        async with open_router(lockfile(), profile="prod", connect=ScriptedProvider({})):
            pass


async def test_a_profile_is_chosen_by_call_then_router_then_environment(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    text = "".join(
        f'[[profiles.{name}.bindings]]\nalias = "a"\nmodels = "openai:{name}"\n' for name in ("default", "dev", "prod")
    )
    text += '[providers.openai]\napi_key_env = "TEST_KEY_A"\n'
    provider = ScriptedProvider({name: [answer(name)] for name in ("default", "dev", "prod")})
    monkeypatch.setenv("LLMRING_PROFILE", "dev")
    async with open_router(lockfile(text), connect=provider) as router:
        assert (await router.chat("a", "x")).content == "dev"
        assert (await router.chat("a", "x", profile="prod")).content == "prod"
    async with open_router(lockfile(text), profile="default", connect=provider) as router:
        assert (await router.chat("a", "x")).content == "default"


async def test_an_edited_lockfile_is_used_within_a_second(tmp_path: Path, autojump_clock: Clock) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [answer("old")], "second": [answer("new")]})
    async with open_router(path, connect=provider) as router:
        assert (await router.chat("alone", "x")).content == "old"
        path.write_text(
            CHAIN.replace('alias = "alone"\nmodels = ["openai:first"]', 'alias = "alone"\nmodels = "anthropic:second"')
        )
        await trio.sleep(1.01)
        assert (await router.chat("alone", "x")).content == "new"


def refusal(router: Router) -> ConfigError | None:
    return router.dispatcher.lockfile_error


async def test_a_bad_edit_keeps_the_old_table_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: Clock
) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    async with open_router(path, connect=ScriptedProvider({"first": [answer("old")]})) as router:
        path.write_text(CHAIN + "\n[[broken\n")
        await trio.sleep(1.01)
        assert (await router.chat("alone", "x")).content == "old"
        assert isinstance(refusal(router), ConfigError)
        assert "line" in caplog.text
        path.unlink()
        await trio.sleep(1.01)
        assert (await router.chat("alone", "x")).content == "old"
        path.write_text(CHAIN.replace('"alone"', '"renamed"'))
        await trio.sleep(1.01)
        assert refusal(router) is None
        with pytest.raises(UnknownAlias):
            await router.chat("alone", "x")


async def test_changed_limits_make_a_new_worker_and_calls_under_way_end_in_peace(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [answer("slow", after=5), answer("next")]})
    async with open_router(path, connect=provider) as router:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.chat, "alone", "x")
            await trio.sleep(0.5)
            before = router.dispatcher.crews["openai"]
            path.write_text(CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 2'))
            await trio.sleep(1)
            assert (await router.chat("alone", "x")).content == "next"
            assert router.dispatcher.crews["openai"] is not before
            assert before.first.credential.in_flight == 1
        await trio.sleep(1)
        assert before.first.credential.in_flight == 0
        assert provider.connections == 1


async def test_an_edit_does_not_refill_the_limits(tmp_path: Path, autojump_clock: Clock) -> None:
    def text(limit: int) -> str:
        return CHAIN.replace('"TEST_KEY_A"', f'"TEST_KEY_A"\nrequests_per_minute = 60\nmax_in_flight = {limit}')

    path = tmp_path / "llmring.lock"
    path.write_text(text(100))
    provider = ScriptedProvider({"first": [answer()]})
    async with open_router(path, connect=provider) as router:
        await router.map("alone", ["x"] * 59).to_list()
        path.write_text(text(50))
        await trio.sleep(1.2)
        start = trio.current_time()
        await router.map("alone", ["x"] * 5).to_list()
        assert trio.current_time() - start == pytest.approx(3.05)


@pytest.mark.parametrize("edited", [61, 120, 30])
async def test_those_in_line_before_an_edit_and_after_it_take_out_of_the_same_limits(
    tmp_path: Path, autojump_clock: Clock, edited: int
) -> None:
    def text(limit: int) -> str:
        return CHAIN.replace('"TEST_KEY_A"', f'"TEST_KEY_A"\nrequests_per_minute = {limit}')

    path = tmp_path / "llmring.lock"
    path.write_text(text(60))
    provider = ScriptedProvider({"first": [answer(after=0.5)]})
    async with open_router(path, connect=provider, grace=0) as router, trio.open_nursery() as nursery:
        runs: list[MapRun] = []
        nursery.start_soon(_keep_asking, router, runs)
        await trio.sleep(120.0)
        path.write_text(text(edited))
        router.dispatcher.reload()
        edited_at = trio.current_time()
        await trio.sleep(180.0)
        nursery.cancel_scope.cancel()
    for minute in range(3):
        began_at = edited_at + 60.0 * minute
        sent = sum(began_at <= at < began_at + 60.0 for at in provider.times("first"))
        assert sent == pytest.approx(edited, abs=1)
    assert [run.report.failed for run in runs] == [0]


async def _keep_asking(router: Router, runs: list[MapRun]) -> None:
    async with router.map("alone", (str(number) for number in range(10**6))) as run:
        runs.append(run)
        async for row in run:
            assert row.ok


async def test_calls_that_began_before_an_edit_are_served_after_it(tmp_path: Path, autojump_clock: Clock) -> None:
    """A call that pauses after a failure while its worker is retired must not be left standing in line."""
    path = tmp_path / "llmring.lock"
    path.write_text(CHAIN)
    provider = ScriptedProvider({"first": [status(429, retry_after=5), answer("served")]})
    async with open_router(path, connect=provider) as router, trio.open_nursery() as nursery:
        results: list[str] = []

        async def one() -> None:
            results.append((await router.chat("alone", "x")).content)

        nursery.start_soon(one)
        await trio.sleep(0.5)
        path.write_text(CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 2'))
        await trio.sleep(2)
        await router.chat("alone", "y")
        await trio.sleep(10)
        assert results == ["served"]


async def test_keys_may_come_from_the_program(autojump_clock: Clock) -> None:
    provider = ScriptedProvider({"first": [answer()], "second": [answer()]})
    async with open_router(lockfile(), connect=provider, keys={"TEST_KEY_A": "given"}) as router:
        await router.chat("alone", "x")
        assert provider.calls[0].headers["authorization"] == "Bearer given"
        with pytest.raises(MissingKey):
            await router.chat("anthropic:second", "x")


async def test_opening_a_router_touches_no_network(autojump_clock: Clock) -> None:
    provider = ScriptedProvider({})
    async with open_router(lockfile(), connect=provider):
        await trio.sleep(100)
    assert (provider.calls, provider.connections) == ([], 0)
