"""Failover of one call, on virtual time: who is asked, when, and what the caller sees."""

import pytest
import trio
import trio.testing

from llmring.chat import ChatRequest, Message
from llmring.errors import (
    AllModelsFailed,
    AttemptTimeout,
    AuthFailed,
    BadRequest,
    DeadlineReached,
    InvalidRequest,
    MissingKey,
    ModelGone,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    UnknownAlias,
)
from llmring.providers.exchange import time_limit
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer, cut, hang, no_connection, status
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock


def outcomes(error: AllModelsFailed) -> list[str]:
    return [str(attempt) for attempt in error.attempts]


async def test_a_refused_primary_hands_over_at_once_and_is_not_asked_before_its_time(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=20), answer("again")], "second": [answer("next", after=1)]}
    async with world(script) as (router, provider):
        start = trio.current_time()
        response = await router.chat("chain", "hello")
        assert (response.content, str(response.model), trio.current_time() - start) == ("next", "anthropic:second", 1.0)
        while trio.current_time() < start + 19.5:
            await router.chat("chain", "hello")
        assert provider.times("first") == [start]
        await trio.sleep(0.5)
        assert (await router.chat("chain", "hello")).content == "again"
        assert provider.times("first") == [start, start + 20.5]


async def test_waiting_for_a_refused_route_ends_at_the_exact_moment(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=7.5), answer("later")]}
    async with world(script) as (router, provider):
        start = trio.current_time()
        response = await router.chat("alone", "hello")
        assert response.content == "later"
        assert provider.times("first") == [start, start + 7.5]
        assert [str(attempt) for attempt in response.attempts] == [
            "openai:first: RateLimited: scripted 429 (HTTP 429)",
            "openai:first: answered",
        ]
        assert response.attempts[1].waited_seconds == 7.5


async def test_five_faults_open_the_breaker_and_the_chain_carries_on(autojump_clock: Clock) -> None:
    script = {"first": [status(500)], "second": [answer("served", after=0.1)]}
    async with world(script) as (router, provider):
        start = trio.current_time()
        for _ in range(20):
            assert (await router.chat("chain", "hello")).content == "served"
        assert len(provider.times("first")) == 5
        assert router.dispatcher.routes("chain", None)[0].breaker.state(trio.current_time()) == "open"
        # Open for 2.5 s (no jitter), counted from the fifth fault; the next call after that is the probe.
        await trio.sleep_until(start + 0.4 + 2.5)
        await router.chat("chain", "hello")
        assert provider.times("first")[5:] == [start + 2.9]


async def test_an_open_breaker_alone_is_tried_after_a_second(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 5 + [answer("back")]}
    async with world(script) as (router, provider):
        start = trio.current_time()
        for _ in range(2):
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello")
        response = await router.chat("alone", "hello")
        assert response.content == "back"
        # A pause of 50 ms, then a second; the probe's time would come 2.5 s after the fifth fault.
        assert provider.times("first")[5] == pytest.approx(provider.times("first")[4] + 1.05)
        assert provider.times("first")[1] == start + 0.05


async def test_while_the_probe_is_out_everybody_else_goes_elsewhere(autojump_clock: Clock) -> None:
    script = {"first": [status(500)] * 5 + [answer("back", after=3)], "second": [answer("served")]}
    async with world(script) as (router, provider):
        for _ in range(5):
            await router.chat("chain", "hello")
        await trio.sleep(2.5)
        served: list[str] = []

        async def one() -> None:
            served.append((await router.chat("chain", "hello")).content)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert sorted(served) == ["back", "served", "served", "served"]
        assert len(provider.times("first")) == 6


async def test_when_all_are_busy_the_shortest_wait_is_taken(autojump_clock: Clock) -> None:
    script = {
        "first": [status(429, retry_after=30), answer("slow")],
        "second": [status(429, retry_after=8), answer("quick")],
    }
    async with world(script) as (router, provider):
        start = trio.current_time()
        response = await router.chat("chain", "hello")
        assert (response.content, trio.current_time() - start) == ("quick", 8.0)
        assert provider.times("first") == [start]


async def test_when_no_wait_fits_the_deadline_the_call_fails_at_once_with_every_reason(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=30)], "second": [status(429, retry_after=20)]}
    async with world(script) as (router, _provider):
        start = trio.current_time()
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("chain", "hello", timeout=15)
        assert trio.current_time() == start
        assert caught.value.retry_at == start + 20
        assert caught.value.retry_after == 20.0
        assert outcomes(caught.value) == [
            "openai:first: RateLimited: scripted 429 (HTTP 429)",
            "anthropic:second: RateLimited: scripted 429 (HTTP 429)",
            "openai:first: not waited for: requests limit for 30 s",
            "anthropic:second: not waited for: requests limit for 20 s",
        ]


async def test_the_callers_own_cancel_scope_is_a_deadline_too(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=30)]}
    async with world(script) as (router, _provider):
        start = trio.current_time()
        with trio.fail_after(10), pytest.raises(AllModelsFailed):
            await router.chat("alone", "hello")
        assert trio.current_time() == start


async def test_waiters_who_can_no_longer_be_served_in_time_are_told_at_once(autojump_clock: Clock) -> None:
    """A refusal of one call tells all others in line that their wait has become too long."""
    script = {"first": [status(429, after=1, retry_after=60)]}
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world(script, text) as (router, provider):
        failed_at: list[float] = []

        async def one() -> None:
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello", timeout=30)
            failed_at.append(trio.current_time())

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert failed_at == [start + 1] * 10
        assert len(provider.calls) == 1


async def test_a_deadline_ends_a_wait_in_line(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world({"first": [answer(after=100)]}, text) as (router, provider), trio.open_nursery() as nursery:
        nursery.start_soon(router.chat, "alone", "long")
        await trio.sleep(1)
        with pytest.raises(AllModelsFailed, match="all 1 connections in use"):
            await router.chat("alone", "short", timeout=10)
        assert trio.current_time() == 11.0
        assert len(provider.calls) == 1


async def test_a_bad_request_is_the_callers_and_trips_nothing(autojump_clock: Clock) -> None:
    error = {"type": "invalid_request_error", "message": "messages: wrong"}
    async with world({"first": [status(400, error=error)], "second": [answer()]}) as (router, provider):
        for _ in range(10):
            with pytest.raises(BadRequest, match="messages: wrong"):
                await router.chat("chain", "hello")
        assert len(provider.times("first")) == 10
        assert provider.times("second") == []
        assert router.dispatcher.routes("chain", None)[0].breaker.state(trio.current_time()) == "closed"


async def test_a_refused_key_does_not_fail_over_and_is_not_sent_again_for_a_minute(autojump_clock: Clock) -> None:
    async with world({"first": [status(401), answer("mended")], "second": [answer()]}) as (router, provider):
        start = trio.current_time()
        for _ in range(3):
            with pytest.raises(AuthFailed):
                await router.chat("chain", "hello")
        assert provider.times("first") == [start]
        assert provider.times("second") == []
        await trio.sleep(60)
        assert (await router.chat("chain", "hello")).content == "mended"


async def test_those_in_line_behind_a_refused_key_fail_with_it(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world({"first": [status(401, after=2)]}, text) as (router, provider):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(_fails_with, router, "alone", AuthFailed)
        assert (trio.current_time() - start, len(provider.calls)) == (2.0, 1)


async def _fails_with(router: Router, alias: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await router.chat(alias, "hello")


async def test_used_up_money_takes_the_credential_out_for_all_its_models(autojump_clock: Clock) -> None:
    error = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "You exceeded your quota"}
    script = {"first": [status(429, error=error)], "second": [status(500)], "third": [answer()]}
    async with world(script) as (router, provider):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("three", "hello")
        assert isinstance(caught.value.attempts[0].error, QuotaExhausted)
        assert provider.times("third") == []
        assert "openai:third: not waited for: quota exhausted: You exceeded your quota" in outcomes(caught.value)


async def test_a_missing_model_is_left_out_from_then_on(autojump_clock: Clock) -> None:
    error = {"type": "invalid_request_error", "code": "model_not_found", "message": "no such model"}
    async with world({"first": [status(404, error=error)], "second": [answer()]}) as (router, provider):
        response = await router.chat("chain", "hello")
        assert isinstance(response.attempts[0].error, ModelGone)
        await router.chat("chain", "hello")
        assert len(provider.times("first")) == 1


async def test_a_hanging_primary_leaves_time_for_the_untried(autojump_clock: Clock) -> None:
    async with world({"first": [hang()], "second": [answer("saved")]}) as (router, _provider):
        start = trio.current_time()
        response = await router.chat("chain", "hello", timeout=60)
        assert (response.content, trio.current_time() - start) == ("saved", 50.0)
        assert isinstance(response.attempts[0].error, AttemptTimeout)


async def test_a_short_timeout_is_shared_among_the_routes_and_never_passed(autojump_clock: Clock) -> None:
    async with world({"first": [hang()], "second": [hang()]}) as (router, provider):
        start = trio.current_time()
        with pytest.raises(AllModelsFailed):
            await router.chat("chain", "hello", timeout=8)
        assert trio.current_time() == start + 8
        assert provider.times("second") == [start + 4]


async def test_a_broken_connection_and_an_unreadable_reply_fail_over(autojump_clock: Clock) -> None:
    for step in (no_connection(), cut("half"), status(502)):
        async with world({"first": [step], "second": [answer("saved")]}) as (router, _provider):
            assert (await router.chat("chain", "hello")).content == "saved"


async def test_a_route_alone_is_tried_once_more_after_a_pause(autojump_clock: Clock) -> None:
    async with world({"first": [status(500), answer("second try")]}) as (router, provider):
        start = trio.current_time()
        assert (await router.chat("alone", "hello")).content == "second try"
        assert provider.times("first") == [start, start + 0.05]


@pytest.mark.parametrize(
    ("step", "requests"), [(status(500), 4), (status(429, retry_after=1), 8), (status(529), 4), (cut(), 4)]
)
async def test_one_call_sends_no_more_than_its_number_of_requests(
    autojump_clock: Clock, step: object, requests: int
) -> None:
    """Two a route; four where the provider says 429."""
    script = {"first": [step], "second": [step]}
    async with world(script) as (router, provider):  # type: ignore[arg-type]
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("chain", "hello")
        assert len(provider.calls) == requests
        assert sum(attempt.sent for attempt in caught.value.attempts) == requests


async def test_a_request_larger_than_a_limit_goes_to_the_next_route_at_once(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\ntokens_per_minute = 100')
    async with world({"first": [answer("small")], "second": [answer("large")]}, text) as (router, _provider):
        start = trio.current_time()
        response = await router.chat("chain", "x" * 4000)
        assert (response.content, trio.current_time()) == ("large", start)
        assert "needed of the tokens limit, which is " in response.attempts[0].outcome


async def test_configured_limits_are_spread_over_time(autojump_clock: Clock) -> None:
    """60 a minute: the bucket's 59.75 at once, then one a second."""
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')
    async with world({"first": [answer()]}, text) as (router, provider):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(router.chat, "alone", "hello")
        times = [round(at - start, 6) for at in provider.times("first")]
        assert times == [0.0] * 59 + [0.25, 1.25, 2.25, 3.25, 4.25]


async def test_limits_are_learned_from_headers(autojump_clock: Clock) -> None:
    """After the first reply says 2 of 60 are left, the next two may go (less the margin), the rest wait."""
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "2"}
    async with world({"first": [answer(headers=headers), answer()]}) as (router, provider):
        start = trio.current_time()
        for _ in range(4):
            await router.chat("alone", "hello")
        assert [round(at - start, 6) for at in provider.times("first")] == [0.0, 0.0, 0.25, 1.25]


async def test_connections_are_bounded_and_used_again(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 3')
    async with world({"first": [answer(after=1)]}, text) as (router, provider):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(router.chat, "alone", "hello")
        assert [at - start for at in provider.times("first")] == [0.0] * 3 + [1.0] * 3 + [2.0] * 3
        assert provider.connections == 3
    assert provider.connections == 0


async def test_those_who_came_first_go_first(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world({"first": [answer(after=1)]}, text) as (router, provider):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(router.chat, "alone", f"number {number}")
                await trio.sleep(0.1)
        sent = [call.body["messages"][0]["content"] for call in provider.calls]
        assert sent == [f"number {number}" for number in range(5)]


async def test_a_provider_without_a_key_is_skipped_and_named(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY_A")
    async with world({"second": [answer()]}) as (router, _provider):
        response = await router.chat("chain", "hello")
        assert str(response.attempts[0]) == "openai:first: skipped: no key for openai: set TEST_KEY_A"
        with pytest.raises(MissingKey, match="no key for openai: set TEST_KEY_A"):
            await router.chat("alone", "hello")


async def test_the_key_goes_in_a_header_and_nowhere_else(autojump_clock: Clock) -> None:
    async with world({"first": [answer()], "second": [answer()]}) as (router, provider):
        await router.chat("openai:first", "hello")
        await router.chat("anthropic:second", "hello")
        openai, anthropic = provider.calls
        assert openai.headers["authorization"] == "Bearer key-a"
        assert anthropic.headers["x-api-key"] == "key-b"
        for call in provider.calls:
            assert "key-" not in call.base_url
            assert "key-" not in str(call.body)


async def test_an_unknown_alias_names_the_nearest(autojump_clock: Clock) -> None:
    async with world({}) as (router, _provider):
        with pytest.raises(UnknownAlias, match="did you mean 'chain'"):
            await router.chat("chian", "hello")


async def test_a_whole_request_may_stand_for_the_call(autojump_clock: Clock) -> None:
    async with world({"first": [answer("yes")]}) as (router, _provider):
        request = ChatRequest(model="alone", messages=(Message(role="user", content="hello"),))
        assert (await router.chat(request)).content == "yes"
        with pytest.raises(TypeError):
            await router.chat(request, "and more")


async def test_a_request_that_nobody_would_take_is_refused_before_it_is_sent(autojump_clock: Clock) -> None:
    async with world({"first": [answer()]}) as (router, provider):
        with pytest.raises(InvalidRequest, match="max_tokens"):
            await router.chat("alone", "hello", max_tokens=0)
        assert provider.calls == []


async def test_what_the_caller_did_not_set_is_not_sent(autojump_clock: Clock) -> None:
    async with world({"first": [answer()]}) as (router, provider):
        await router.chat("alone", "hello")
        assert sorted(provider.calls[0].body) == ["messages", "model"]
        await router.chat("alone", "hello", temperature=0.0)
        assert provider.calls[1].body["temperature"] == 0.0


async def test_errors_carry_the_model_and_can_be_told_apart(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=1)], "second": [status(500)]}
    async with world(script) as (router, _provider):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("chain", "hello")
        errors = [attempt.error for attempt in caught.value.attempts if attempt.error is not None]
        assert {type(error) for error in errors} == {RateLimited, ServerFault}
        assert {str(error.model) for error in errors} == {"openai:first", "anthropic:second"}


def test_a_scripted_model_without_a_script_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        ScriptedProvider({}).take("unknown")


async def test_what_outlives_a_call_keeps_no_frames_alive(autojump_clock: Clock) -> None:
    """Frames hold prompts."""
    async with world({"first": [status(500)], "second": [answer()]}) as (router, _provider):
        response = await router.chat("chain", "hello")
        errors = [attempt.error for attempt in response.attempts if attempt.error is not None]
        assert errors
        assert all(error.__traceback__ is None for error in errors)


async def test_an_error_told_to_many_is_an_object_of_each(autojump_clock: Clock) -> None:
    async with world({"first": [status(401)]}) as (router, _provider):
        told: list[AuthFailed] = []
        for _ in range(3):
            with pytest.raises(AuthFailed) as caught:
                await router.chat("alone", "hello")
            told.append(caught.value)
        assert len({id(error) for error in told}) == 3
        assert len({str(error) for error in told}) == 1


async def test_a_deadline_that_left_only_seconds_says_nothing_of_the_provider(autojump_clock: Clock) -> None:
    async with world({"first": [hang()]}) as (router, _provider):
        for _ in range(10):
            with pytest.raises(AllModelsFailed) as caught:
                await router.chat("alone", "hello", timeout=5)
            assert isinstance(caught.value.attempts[0].error, DeadlineReached)
        assert router.dispatcher.routes("alone", None)[0].breaker.state(trio.current_time()) == "closed"


async def test_what_has_no_time_left_is_not_sent() -> None:
    """On the clock of this machine, by which the time is over while the call is on its way."""
    async with world({"first": [answer()]}) as (router, provider):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello", timeout=1e-7)
        assert "within 0 s" not in str(caught.value)
        assert not any(attempt.sent for attempt in caught.value.attempts)
        assert provider.calls == []


def test_a_block_without_any_time_is_not_begun() -> None:
    with pytest.raises(DeadlineReached, match="the call's time was over before this was sent"), time_limit(0.0, "it"):
        raise AssertionError("it was")


async def test_a_cancelled_scope_is_cancelled_not_failed(autojump_clock: Clock) -> None:
    async with world({"first": [answer()]}) as (router, provider):
        with trio.CancelScope() as scope:
            scope.cancel()
            await router.chat("alone", "hello")
        assert scope.cancelled_caught
        assert provider.calls == []


async def test_a_refused_request_gives_its_tokens_back(autojump_clock: Clock) -> None:
    """Refused for its number, not its size: the tokens are there for the next one."""
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\ntokens_per_minute = 60')
    error = {"type": "requests", "code": "rate_limit_exceeded", "message": "slow down"}
    async with world({"first": [status(429, retry_after=1, error=error), answer("ok")]}, text) as (router, provider):
        start = trio.current_time()
        assert (await router.chat("alone", "x" * 200)).content == "ok"
        assert provider.times("first") == [start, start + 1]


async def test_what_cannot_be_spelled_is_not_sent_and_not_held_against_the_model(autojump_clock: Clock) -> None:
    """Anthropic has no way to say a conversation of system messages alone."""
    async with world({"second": [answer()], "first": [answer("said")]}) as (router, provider):
        system = [Message(role="system", content="be brief")]
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("anthropic:second", system)
        assert [attempt.sent for attempt in caught.value.attempts if attempt.error is not None] == [False]
        assert provider.calls == []


async def test_a_call_served_from_the_line_says_whom_it_passed_over(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=30)], "second": [status(429, retry_after=8), answer("quick")]}
    async with world(script) as (router, _provider):
        await router.chat("chain", "a")
        with pytest.raises(AllModelsFailed):
            await router.chat("alone", "b", timeout=1)
        response = await router.chat("chain", "c")
        assert str(response.model) == "anthropic:second"
        assert response.attempts[0].model == router.dispatcher.routes("chain", None)[0].ref


async def test_limits_and_breakers_are_logged_without_prompts(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="llmring")
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "50"}
    script = {"first": [answer(headers=headers), *[status(500)] * 5, answer()], "second": [answer()]}
    async with world(script) as (router, _provider):
        for _ in range(6):
            await router.chat("chain", "a secret prompt")
        await trio.sleep(60)
        await router.chat("chain", "a secret prompt")
    assert [record.getMessage() for record in caplog.records] == [
        "openai:first: requests limit is 60 per 60 s",
        "openai:first keeps failing: left out for 2.5 s",
        "openai:first answers again",
    ]
