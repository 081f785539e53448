"""Several keys of one provider: who is asked, what is apart and what is shared, on virtual time."""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from llmring.errors import AllModelsFailed, AuthFailed, MissingKey, ServerFault
from llmring.router.opening import open_router
from llmring.router.replay import difference, replay, waited_seconds
from llmring.router.router import Router
from llmring.telemetry.spans import Call
from llmring.testing import ScriptedProvider, Step, answer, no_connection, status
from llmring.trace import Trace
from tests.router.world import lockfile, standing

Clock = trio.testing.MockClock
KEYS = {"KEY_A": "key-a", "KEY_B": "key-b", "KEY_C": "key-c"}
OUT = status(402, error={"message": "no money", "code": "insufficient_quota"})
REFUSED = status(401, error={"message": "Incorrect API key provided: key-a"})
VECTORS = Step(body=b'{"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 3}}')


def text(*lines: str, keys: str = '["KEY_A", "KEY_B"]') -> str:
    given = "\n".join(lines)
    return f"""
[[profiles.default.bindings]]
alias = "alone"
models = ["openai:first"]
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:first", "anthropic:second"]
[[profiles.default.bindings]]
alias = "kin"
models = ["openai:kin-1"]
[providers.anthropic]
api_key_env = "KEY_C"
[providers.openai]
api_key_env = {keys}
{given}
"""


def alone(name: str) -> str:
    return f'"{name}"'


@asynccontextmanager
async def world(
    by_key: Mapping[str, Mapping[str, Sequence[Step]]] | None = None,
    *lines: str,
    keys: str = '["KEY_A", "KEY_B"]',
    script: Mapping[str, Sequence[Step]] | None = None,
    held: Mapping[str, str] = KEYS,
) -> AsyncGenerator[tuple[Router, ScriptedProvider]]:
    """A router without jitter whose keys are A and B; every model answers at once where no script says otherwise."""
    usual = {"first": [answer()], "second": [answer("second")], "kin-1": [answer()], "kin-2": [answer()]}
    provider = ScriptedProvider({**usual, **(script or {})}, by_key)
    async with open_router(
        lockfile(text(*lines, keys=keys)), connect=provider, jitter=lambda: 0.0, keys=held
    ) as router:
        yield router, provider


def asked(provider: ScriptedProvider) -> str:
    """With which keys the calls came, in order: "ab"."""
    sent = [{value.removeprefix("Bearer ") for value in call.headers.values()} for call in provider.calls]
    return "".join(key[-1] for values in sent for key in KEYS.values() if key in values)


async def all_together(router: Router, count: int, alias: str = "alone") -> float:
    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(router.chat, alias, "hello")
    return trio.current_time() - began_at


def retraced(trace: Trace | None) -> Trace:
    """The trace as a record has it, after its decisions came out as they were."""
    assert trace is not None
    kept = msgspec.json.decode(msgspec.json.encode(trace), type=Trace)
    assert difference(kept) is None
    return kept


# Room.


async def test_two_keys_give_twice_the_throughput(autojump_clock: Clock) -> None:
    # 60 a minute, a quarter second of it kept off: 59.75 at once, then one a second.
    async with world(None, "requests_per_minute = 60", keys=alone("KEY_A")) as (router, _):
        assert await all_together(router, 180) == pytest.approx(120.25)
    async with world(None, "requests_per_minute = 60") as (router, provider):
        assert await all_together(router, 180) == pytest.approx(30.25)
        assert (asked(provider).count("a"), asked(provider).count("b")) == (90, 90)


async def test_a_map_uses_all_keys_also_when_it_may_not_spill(autojump_clock: Clock) -> None:
    async with world(None, "requests_per_minute = 60") as (router, _):
        began_at = trio.current_time()
        async with router.map("chain", ["hello"] * 180, spill="never") as run:
            rows = [row async for row in run]
        assert all(row.ok for row in rows)
        assert trio.current_time() - began_at == pytest.approx(30.25)
        assert run.report.bound_share == pytest.approx(1.0, abs=0.02)


async def test_the_emptiest_key_is_asked_last(autojump_clock: Clock) -> None:
    async with world(None, "requests_per_minute = 60", keys='["KEY_A", "KEY_B", "KEY_C"]') as (router, provider):
        for _ in range(6):
            await router.chat("alone", "hello")
        assert asked(provider) == "abcabc"
        [first, *_] = router.dispatcher.routes("alone", None)
        first.credential.budget.buckets["requests"].correct(-10.0)
        for _ in range(4):
            await router.chat("alone", "hello")
        assert asked(provider)[6:] == "bcbc"


async def test_of_keys_with_equal_room_the_one_with_fewer_calls_under_way_goes_first(autojump_clock: Clock) -> None:
    async with world(script={"first": [answer(after=5.0)]}) as (router, provider):
        await all_together(router, 5)
        assert asked(provider) == "ababa"


async def test_what_headers_say_of_one_key_is_its_own(autojump_clock: Clock) -> None:
    told = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "30"}
    async with world({"key-a": {"first": [answer(headers=told)]}}) as (router, provider):
        for _ in range(3):
            await router.chat("alone", "hello")
        assert asked(provider) == "abb"
        a, b = standing(router)
        assert (a.key, [limit.amount for limit in a.limits]) == ("KEY_A", [600.0])
        assert (b.key, b.limits) == ("KEY_B", ())


# One key out.


async def test_a_refusal_at_one_key_goes_to_the_next_before_other_models(autojump_clock: Clock) -> None:
    async with world({"key-a": {"first": [status(429, retry_after=20), answer()]}}) as (router, provider):
        first = await router.chat("chain", "hello")
        assert [str(attempt) for attempt in first.attempts] == [
            "openai:first (KEY_A): RateLimited: scripted 429 (HTTP 429)",
            "openai:first (KEY_B): answered",
        ]
        await router.chat("chain", "hello")
        assert asked(provider) == "abb"
        await trio.sleep(20)
        await router.chat("chain", "hello")
        assert asked(provider) == "abba"


async def test_when_both_keys_are_held_the_first_to_be_free_is_waited_for(autojump_clock: Clock) -> None:
    scripts = {
        "key-a": {"first": [status(429, retry_after=20), answer("a")]},
        "key-b": {"first": [status(429, retry_after=7.5), answer("b")]},
    }
    async with world(scripts) as (router, _):
        came = await router.chat("alone", "hello")
        assert (came.content, trio.current_time()) == ("b", 7.5)
        kept = retraced(came.trace)
    assert (
        kept.explain().splitlines()[0]
        == "'alone' of profile 'default': 1 model with 2 keys, as they are written; 600 s at most"
    )
    assert "  -> waits in line at openai:first (KEY_A) and openai:first (KEY_B)" in kept.explain()
    again = replay(kept, lockfile(text()), None, lambda *_: None)
    assert (again.model, again.assumed) == (kept.model, False)
    assert again.waited_seconds == pytest.approx(waited_seconds(kept))


async def test_a_key_without_quota_leaves_the_other_in_use(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "llmring")
    async with world({"key-a": {"first": [OUT, OUT, answer()]}}) as (router, provider):
        for _ in range(3):
            assert (await router.chat("chain", "hello")).model.provider == "openai"
        assert asked(provider) == "abbb"
        await trio.sleep(300)
        await router.chat("chain", "hello")
        assert asked(provider) == "abbbab"
    assert caplog.messages == ["openai: the key in KEY_A is without quota: left out for 300 s at a time"]


async def test_a_refused_key_leaves_the_other_in_use_and_is_told_once(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "llmring")
    async with world({"key-a": {"first": [REFUSED]}}) as (router, provider):
        first = await router.chat("chain", "hello")
        assert [(one.key, type(one.error)) for one in first.attempts] == [("KEY_A", AuthFailed), ("KEY_B", type(None))]
        retraced(first.trace)
        second = await router.chat("chain", "hello")
        assert [one.key for one in second.attempts] == ["KEY_B"]
        for _ in range(3):
            await trio.sleep(61)
            await router.chat("chain", "hello")
        assert asked(provider) == "abb" + "ab" * 3
    assert caplog.messages == ["openai: the key in KEY_A is refused: left out for 60 s at a time"]


async def test_calls_end_with_the_error_when_the_last_key_is_refused(autojump_clock: Clock) -> None:
    async with world(script={"first": [REFUSED]}) as (router, provider):
        for _ in range(2):
            with pytest.raises(AuthFailed):
                await router.chat("chain", "hello")
        assert asked(provider) == "ab"


async def test_a_refused_key_beside_one_without_quota_lets_other_models_answer(autojump_clock: Clock) -> None:
    for scripts in ({"key-a": REFUSED, "key-b": OUT}, {"key-a": OUT, "key-b": REFUSED}):
        async with world({key: {"first": [step]} for key, step in scripts.items()}) as (router, provider):
            for _ in range(2):
                response = await router.chat("chain", "hello")
                assert response.content == "second"
                retraced(response.trace)
            assert asked(provider) == "abcc"
            with pytest.raises(AllModelsFailed, match=r"first \(KEY_A\): .*first \(KEY_B\): "):
                await router.chat("alone", "hello")


# Faults of the server.


@pytest.mark.parametrize("fault", [status(500), status(503), no_connection()])
async def test_a_provider_that_is_down_is_asked_once_not_with_every_key(fault: Step, autojump_clock: Clock) -> None:
    keys = '["KEY_A", "KEY_B", "KEY_C"]'
    async with world(script={"first": [fault]}, keys=keys) as (router, provider):
        response = await router.chat("chain", "hello")
        assert response.content == "second"
        assert len(provider.times("first")) == 1
        retraced(response.trace)


async def test_the_second_try_goes_to_another_key_and_there_is_no_third(autojump_clock: Clock) -> None:
    async with world({"key-a": {"first": [status(500)]}}) as (router, provider):
        response = await router.chat("alone", "hello")
        assert asked(provider) == "ab"
        assert provider.times("first")[1] == pytest.approx(0.05)
        retraced(response.trace)
    async with world(script={"first": [status(500)]}) as (router, provider):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello")
        assert asked(provider) == "ab"
        assert [type(one.error) for one in caught.value.attempts] == [ServerFault, ServerFault]


async def test_the_breakers_of_all_keys_open_after_as_many_faults_as_with_one(autojump_clock: Clock) -> None:
    async with world(script={"first": [status(500)]}) as (router, provider):
        for _ in range(8):
            await router.chat("chain", "hello")
        assert len(provider.times("first")) == 5
        assert [route.breaker for route in standing(router) if route.key is not None] == ["open", "open"]


async def test_a_key_whose_calls_alone_fail_is_left_out_alone(autojump_clock: Clock) -> None:
    async with world({"key-a": {"first": [status(500)]}}) as (router, provider):
        for _ in range(30):
            await router.chat("alone", "hello")
        a, b = standing(router)
        assert (a.breaker, b.breaker) == ("open", "closed")
        assert asked(provider).count("a") == 5


async def test_tries_of_one_model_leave_time_for_others_not_for_its_keys(autojump_clock: Clock) -> None:
    async with world(keys='["KEY_A", "KEY_B", "KEY_C"]') as (router, _):
        call = Call(router._telemetry, "chat", "chain")
        journey = router.dispatcher.journey(router._request("chain", "hello", {}), None, 100.0, call)
        assert journey.plan.attempt_seconds(0, 0.0) == pytest.approx(90.0)


# Keys of one account.


async def test_keys_of_one_account_share_their_limits(autojump_clock: Clock) -> None:
    async with world(None, "requests_per_minute = 60", "limits_shared = true") as (router, provider):
        assert await all_together(router, 180) == pytest.approx(120.25)
        a, b = standing(router)
        assert [limit.level for limit in a.limits] == [limit.level for limit in b.limits]
        assert "b" in asked(provider)


async def test_a_call_that_would_miss_its_deadline_in_the_line_of_an_account_fails_at_once(
    autojump_clock: Clock,
) -> None:
    async with (
        world(None, "requests_per_minute = 60", "limits_shared = true") as (router, _),
        trio.open_nursery() as nursery,
    ):
        for _ in range(160):
            nursery.start_soon(partial(router.chat, "alone", "hello", timeout=101.05))
        await trio.sleep(0.1)
        # It is due after all of them.
        with pytest.raises(AllModelsFailed, match="requests limit, 101 in line for 101 s"):
            await router.chat("alone", "hello", timeout=101.0)
        assert trio.current_time() == pytest.approx(0.1)


async def test_a_hold_of_one_account_is_that_of_all_its_keys(autojump_clock: Clock) -> None:
    held = {"key-a": {"first": [status(429, retry_after=20), answer()]}}
    async with world(held, "limits_shared = true") as (router, provider):
        assert (await router.chat("chain", "hello")).content == "second"
        await router.chat("alone", "hello")
        assert provider.times("first") == [0.0, 20.0]


async def test_quota_and_refusal_stay_a_keys_own_in_one_account(autojump_clock: Clock) -> None:
    for step in (OUT, REFUSED):
        async with world({"key-a": {"first": [step]}}, "limits_shared = true") as (router, provider):
            for _ in range(2):
                await router.chat("chain", "hello")
            assert asked(provider) == "abb"


async def test_what_frees_the_limit_of_an_account_wakes_the_lines_of_all_keys(autojump_clock: Clock) -> None:
    # Nothing can go with A any more, and the line of B waits for what A's call gives back.
    scripts = {"key-a": {"first": [answer(after=3.0, output_tokens=1), OUT]}, "key-b": {"first": [answer()]}}
    # What is not used comes back here, where OpenAI itself would keep it.
    lines = (
        "kind = 'openai-compatible'",
        "tokens_per_minute = 1000",
        "limits_shared = true",
        "limits_counted = 'by window'",
    )
    async with world(scripts, *lines) as (router, provider), trio.open_nursery() as nursery:
        nursery.start_soon(router.chat, "alone", "x" * 2400)
        await trio.sleep(1.0)
        router.dispatcher.routes("alone", None)[0].credential.put_out(1000.0, "quota exhausted", None)
        await router.chat("alone", "x" * 2400)
        assert provider.times("first") == [0.0, 3.0]
        assert asked(provider) == "ab"


# Limit groups.

GROUPED = ("[providers.openai.limit_groups.kin]", 'models = ["kin-*", "first"]')


async def test_what_is_learned_of_one_model_of_a_group_holds_for_all(autojump_clock: Clock) -> None:
    told = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "10"}
    script = {"kin-1": [answer(headers=told)], "kin-2": [status(429, retry_after=30)], "other": [answer()]}
    async with world(None, *GROUPED, keys=alone("KEY_A"), script=script) as (router, provider):
        await router.chat("openai:kin-1", "hello")
        await router.chat("openai:first", "hello")
        levels = {str(one.model): one.limits for one in router.status().routes}
        assert levels["openai:first"] == levels["openai:kin-1"]
        assert (levels["openai:first"][0].group, levels["openai:first"][0].amount) == ("kin", 60.0)
        with pytest.raises(AllModelsFailed):
            await router.chat("openai:kin-2", "hello", timeout=20)
        await router.chat("openai:kin-1", "hello")
        assert provider.times("kin-1")[1] == pytest.approx(30.0)
        assert await all_together(router, 1, "openai:other") == 0.0


async def test_the_limits_given_to_a_group_hold_for_its_models_together_at_each_key(autojump_clock: Clock) -> None:
    async def both(router: Router) -> float:
        began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(all_together, router, 90, "alone")
            nursery.start_soon(all_together, router, 90, "kin")
        return trio.current_time() - began_at

    given = (*GROUPED, "requests_per_minute = 60")
    async with world(None, *given, keys=alone("KEY_A")) as (router, _):
        assert await both(router) == pytest.approx(120.25)
    async with world(None, *given) as (router, _):
        assert await both(router) == pytest.approx(30.25)
    async with world(None, "limits_shared = true", *given) as (router, _):
        assert await both(router) == pytest.approx(120.25)


# Which keys there are.


async def test_variables_that_are_not_set_and_a_key_that_is_there_twice_are_passed_over(autojump_clock: Clock) -> None:
    names = '["KEY_NONE", "KEY_A", "KEY_B", "KEY_AGAIN"]'
    async with world(keys=names, held={**KEYS, "KEY_AGAIN": " key-a ", "KEY_NONE": " "}) as (router, _):
        assert [route.credential.key for route in router.dispatcher.routes("alone", None)] == ["KEY_A", "KEY_B"]
    async with world(keys=names, held={"KEY_B": "key-b"}) as (router, _):
        [route] = router.dispatcher.routes("alone", None)
        assert route.credential.key is None
        assert str((await router.chat("alone", "hello")).attempts[0]) == "openai:first: answered"


async def test_when_no_key_is_set_the_error_names_them_all(autojump_clock: Clock) -> None:
    async with world(held={}) as (router, _):
        with pytest.raises(MissingKey, match="environment, has no KEY_A or KEY_B"):
            await router.chat("alone", "hello")


async def test_a_key_that_is_added_to_the_lockfile_is_used_and_the_others_go_on(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(text("requests_per_minute = 60", *GROUPED, keys=alone("KEY_A")))
    told = {"x-ratelimit-limit-tokens": "60000", "x-ratelimit-remaining-tokens": "59000"}
    provider = ScriptedProvider({"first": [answer(headers=told)]}, {"key-b": {"first": [answer()]}})
    async with open_router(path, connect=provider, jitter=lambda: 0.0, keys=KEYS) as router:
        await all_together(router, 70)
        assert trio.current_time() == pytest.approx(10.25)
        path.write_text(text("requests_per_minute = 60", *GROUPED))
        await trio.sleep(1.5)
        assert await all_together(router, 60) < 1.0
        assert asked(provider)[70:].count("b") >= 58
        a, b = standing(router)
        assert {limit.dimension for limit in a.limits} == {"requests", "tokens"}
        assert {limit.dimension for limit in b.limits} == {"requests"}


async def test_what_is_learned_is_kept_when_keys_come_to_be_of_one_account(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    path = tmp_path / "llmring.lock"
    path.write_text(text())
    told = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "7"}
    provider = ScriptedProvider({"first": [answer(headers=told)]})
    async with open_router(path, connect=provider, jitter=lambda: 0.0, keys=KEYS) as router:
        await router.chat("alone", "hello")
        for more in (("limits_shared = true",), GROUPED, ()):
            path.write_text(text(*more))
            await trio.sleep(1.5)
            router.dispatcher.routes("alone", None)
            limit = standing(router)[0].limits[0]
            assert limit.amount == 60.0
            assert limit.level is not None
            assert limit.level < 12.0
        path.write_text(text("limits_shared = true"))
        await trio.sleep(1.5)
        first, second = router.dispatcher.routes("alone", None)
        assert first.budget is second.budget
        assert first.credential.fairness is second.credential.fairness


# What else goes by model.


async def test_an_estimate_and_a_journal_know_models_not_keys(tmp_path: Path, autojump_clock: Clock) -> None:
    journal = tmp_path / "run.jsonl"
    async with (
        world(keys=alone("KEY_A")) as (router, _),
        router.map("chain", ["hello"], checkpoint=journal) as run,
    ):
        [row async for row in run]
    async with world() as (router, provider):
        assert [str(one.model) for one in router.estimate("chain", "hello")] == ["openai:first", "anthropic:second"]
        async with router.map("chain", ["hello"], checkpoint=journal) as run:
            [row async for row in run]
        assert (run.report.resumed, provider.calls) == (1, [])


async def test_vectors_are_asked_for_with_all_keys(autojump_clock: Clock) -> None:
    async with world(None, "requests_per_minute = 60", script={"first": [VECTORS]}) as (router, provider):
        for _ in range(4):
            await router.embed("alone", ["hello"])
        assert asked(provider) == "abab"


async def test_a_spread_draws_among_models_not_keys(autojump_clock: Clock) -> None:
    drawn = iter([0.9, 0.1, 0.5, 0.5] * 20)
    spread = text().replace(
        'models = ["openai:first", "anthropic:second"]',
        '''models = ["openai:first", "anthropic:second"]
order = "spread"''',
    )
    provider = ScriptedProvider({"first": [answer()], "second": [answer()]})
    async with open_router(lockfile(spread), connect=provider, jitter=lambda: next(drawn), keys=KEYS) as router:
        traces = [retraced((await router.chat("chain", "hello")).trace) for _ in range(4)]
    assert [len(trace.draws) for trace in traces] == [2, 2, 2, 2]
    assert [str(trace.routes[0].model) for trace in traces] == ["anthropic:second", "openai:first"] * 2
    assert traces[0].written == (2, 0, 1)


async def test_no_key_shows_in_status_traces_and_errors(autojump_clock: Clock) -> None:
    async with world({"key-a": {"first": [REFUSED]}, "key-b": {"first": [OUT]}}) as (router, _):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello")
        shown = [str(caught.value), str(caught.value.trace), str(router.status())]
    for one in shown:
        assert "KEY_A" in one and "KEY_B" in one
        assert "key-a" not in one and "key-b" not in one
