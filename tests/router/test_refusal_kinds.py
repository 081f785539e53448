"""The six kinds of refusal, as each provider says them: what we make of each, and who is asked when, on virtual time.

    kind         is                                   and then
    rate         RateLimited, "rate"                  the limit that refused is held for the delay
    ramp         RateLimited, "ramp"                  the same, and requests go on as they were accepted, growing slowly
    daily        RateLimited, "daily"                 the day's limit is held until it begins anew, else looked at after
                                                      5 minutes
    billing      QuotaExhausted                       the key is out for 5 minutes; nobody waits for it
    impossible   ImpossibleRequest                    nothing is held and nothing waited for
    overloaded   Overloaded                           counts for the breaker; held if told for how long

In every case the next model is asked at once. Bodies are written by hand after the providers' documentation and public
reports of them.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from llmring.errors import (
    AllModelsFailed,
    Dimension,
    ImpossibleRequest,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from llmring.testing import Step, answer, status
from tests.router.world import standing, world

Clock = trio.testing.MockClock


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`delay` is what the provider names; `waits`, after how long a call without another model asks it again, None
    where it fails at once; `back`, after how long the next call is sent."""

    name: str
    provider: str
    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = {}
    error: type[ProviderError] = RateLimited
    kind: str | None = "rate"
    dimension: Dimension | None = None
    delay: float | None = None
    waits: float | None
    back: float

    def step(self) -> Step:
        return Step(status=self.status, headers=dict(self.headers), body=json.dumps(self.body).encode())


def openai(message: str, kind: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(message: str, kind: str = "rate_limit_error", code: str | None = None) -> dict[str, Any]:
    details = {"details": {"error_code": code}} if code is not None else {}
    return {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_1"}


def google(message: str, *details: Mapping[str, Any], code: int = 429, status: str = "RESOURCE_EXHAUSTED") -> Any:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def violation(quota: str, value: str | None = None, metric: str = "generate_content_requests") -> Mapping[str, Any]:
    found = {"quotaMetric": f"generativelanguage.googleapis.com/{metric}", "quotaId": quota}
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [found if value is None else {**found, "quotaValue": value}],
    }


def retry_info(delay: str) -> Mapping[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


NOON = {"date": "Wed, 01 Jul 2026 12:00:00 GMT"}
NIGHT = {"date": "Wed, 02 Dec 2026 06:30:00 GMT"}
USED_UP = {"x-ratelimit-limit-tokens": "60000", "x-ratelimit-remaining-tokens": "0"}

RATE = [
    Case(
        name="rate, openai: milliseconds go before seconds, and both before the message",
        provider="openai",
        status=429,
        headers={"retry-after-ms": "1234", "retry-after": "2"},
        body=openai(
            "Rate limit reached for m on tokens per min (TPM): Limit 9, Used 9, Requested 1. Please try again in 9s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        dimension="tokens",
        delay=1.234,
        waits=1.234,
        back=1.234,
    ),
    Case(
        name="rate, openai: the delay of the message",
        provider="openai",
        status=429,
        body=openai("Rate limit reached on requests per min (RPM). Please try again in 1m2.5s.", "requests", "x"),
        dimension="requests",
        delay=62.5,
        waits=62.5,
        back=62.5,
    ),
    Case(
        name="rate, azure: no milliseconds are no delay",
        provider="azure",
        status=429,
        headers={"retry-after-ms": "0", "retry-after": "7"},
        body=openai("Requests have exceeded token rate limit of your current pricing tier.", None, "RateLimitReached"),
        dimension="tokens",
        delay=7.0,
        waits=7.0,
        back=7.0,
    ),
    Case(
        name="rate, anthropic: seconds with a fraction, and the limit of which nothing is left",
        provider="anthropic",
        status=429,
        headers={
            "retry-after": "12.5",
            "anthropic-ratelimit-input-tokens-limit": "40000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "8000",
        },
        body=anthropic("This request would exceed your organization's rate limit of 40,000 input tokens per minute."),
        dimension="input",
        delay=12.5,
        waits=12.5,
        back=12.5,
    ),
    Case(
        name="rate, anthropic: an HTTP date, by the reply's own clock",
        provider="anthropic",
        status=429,
        headers={"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 10:00:45 GMT"},
        body=anthropic("Number of requests has exceeded your rate limit."),
        dimension="requests",
        delay=45.0,
        waits=45.0,
        back=45.0,
    ),
    Case(
        name="rate, google: RetryInfo",
        provider="google",
        status=429,
        body=google("Quota exceeded.", violation("GenerateRequestsPerMinutePerProject", "15"), retry_info("34.4s")),
        dimension="requests",
        delay=34.4,
        waits=34.4,
        back=34.4,
    ),
    Case(
        name="rate, google: a limit of output, which its requests are not charged to",
        provider="google",
        status=429,
        body=google("Quota exceeded.", violation("GenerateOutputTokensPerMinute", "10"), retry_info("30s")),
        dimension="output",
        delay=30.0,
        waits=30.0,
        back=30.0,
    ),
    Case(
        name="rate, mistral: nothing is told, so a short pause",
        provider="mistral",
        status=429,
        body={"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
        waits=0.5,
        back=0.5,
    ),
    Case(
        name="rate, openai: no delay, but a bucket that lacks something",
        provider="openai",
        status=429,
        headers=USED_UP,
        body=openai("Too many tokens.", "tokens", "rate_limit_exceeded"),
        dimension="tokens",
        # The 1,000 tokens of the prompt, at 1,000 a second.
        waits=1.0,
        back=1.0,
    ),
    Case(
        name="rate, openrouter: money that is set aside for requests under way",
        provider="openrouter",
        status=402,
        body=openai("Requests in flight already use the budget", "in_flight_budget_exhausted"),
        waits=0.5,
        back=0.5,
    ),
    Case(
        name="rate, ollama: of its cloud",
        provider="ollama",
        status=429,
        body={"error": "too many concurrent requests"},
        waits=0.5,
        back=0.5,
    ),
    Case(
        name="rate, openai: more than a day is a day",
        provider="openai",
        status=429,
        headers={"retry-after": "604800"},
        body=openai("Rate limit reached for m.", "requests", "rate_limit_exceeded"),
        dimension="requests",
        delay=86_400.0,
        waits=86_400.0,
        back=86_400.0,
    ),
]

RAMP = [
    Case(
        name="ramp, openai: a 503 with its code",
        provider="openai",
        status=503,
        headers={"retry-after": "15"},
        body=openai("Slow down.", "server_error", "slow_down"),
        kind="ramp",
        delay=15.0,
        waits=15.0,
        back=15.0,
    ),
    Case(
        name="ramp, azure: by its words",
        provider="azure",
        status=503,
        body=openai("Slow down: there was a sudden increase in your request rate.", "server_error"),
        kind="ramp",
        waits=0.5,
        back=0.5,
    ),
    Case(
        name="ramp, anthropic: by its code",
        provider="anthropic",
        status=429,
        headers={"retry-after": "5"},
        body=anthropic("Your traffic has grown too fast.", code="ramp_limit_exceeded"),
        kind="ramp",
        delay=5.0,
        waits=5.0,
        back=5.0,
    ),
    Case(
        name="ramp, anthropic: the acceleration limit",
        provider="anthropic",
        status=429,
        body=anthropic("This request would exceed your organization's maximum usage increase rate for input tokens."),
        kind="ramp",
        dimension="input",
        waits=0.5,
        back=0.5,
    ),
]

DAILY = [
    Case(
        name="daily, openai: the delay is that of the next request",
        provider="openai",
        status=429,
        body=openai("Rate limit reached on requests per day (RPD). Please try again in 7m12s.", "requests"),
        kind="daily",
        dimension="day",
        delay=432.0,
        waits=432.0,
        back=432.0,
    ),
    Case(
        name="daily, groq: tokens by the day",
        provider="groq",
        status=429,
        headers={"retry-after": "1200"},
        body=openai("Rate limit reached on tokens per day (TPD): Limit 500000, Used 499999, Requested 9.", "tokens"),
        kind="daily",
        dimension="tokens",
        delay=1200.0,
        waits=1200.0,
        back=1200.0,
    ),
    Case(
        name="daily, openrouter: until the reset, which is a moment",
        provider="openrouter",
        status=429,
        headers=NOON
        | {
            "x-ratelimit-limit": "50",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": "1782950400000",
        },
        body={"error": {"message": "Rate limit exceeded: free-models-per-day-high-balance.", "code": 429}},
        kind="daily",
        dimension="day",
        delay=12 * 3600.0,
        waits=12 * 3600.0,
        back=12 * 3600.0,
    ),
    Case(
        name="daily, google: until midnight in California, whatever RetryInfo says",
        provider="google",
        status=429,
        headers=NOON,
        body=google("Quota exceeded.", violation("GenerateRequestsPerDayPerProject", "250"), retry_info("22s")),
        kind="daily",
        dimension="day",
        # 12:00 to 31:00 UTC, which is midnight in summer.
        delay=19 * 3600.0,
        waits=19 * 3600.0,
        back=19 * 3600.0,
    ),
    Case(
        name="daily, google: in winter an hour early",
        provider="google",
        status=429,
        headers=NIGHT,
        body=google("Quota exceeded.", violation("GenerateRequestsPerDayPerProject", "250")),
        kind="daily",
        dimension="day",
        delay=1800.0,
        waits=1800.0,
        back=1800.0,
    ),
    Case(
        name="daily, google: no date, so it is looked at again",
        provider="google",
        status=429,
        body=google("Quota exceeded.", violation("GenerateRequestsPerDayPerProject", "250"), retry_info("22s")),
        kind="daily",
        dimension="day",
        waits=300.0,
        back=300.0,
    ),
]


def billing(name: str, provider: str, status: int, body: Mapping[str, Any]) -> Case:
    return Case(
        name=f"billing, {provider}: {name}",
        provider=provider,
        status=status,
        body=body,
        error=QuotaExhausted,
        kind=None,
        waits=None,
        back=300.0,
    )


BILLING = [
    billing("no quota", "openai", 429, openai("You exceeded your current quota.", *["insufficient_quota"] * 2)),
    billing("no credit", "openai", 429, openai("No credit is left.", "billing", "credit_balance_exhausted")),
    billing("an organization's spend limit", "openai", 429, openai("No.", "x", "organization_spend_limit_exceeded")),
    billing("a project's spend limit", "openai", 429, openai("No.", "x", "project_spend_limit_exceeded")),
    billing("anybody's spend limit", "azure", 403, openai("No.", "x", "team_spend_limit_exceeded")),
    billing("an enforced spend limit", "anthropic", 429, anthropic("No.", code="enforced_spend_limit_reached")),
    billing("a contract's spend limit", "anthropic", 429, anthropic("No.", code="contract_spend_limit_reached")),
    billing("a bill", "anthropic", 402, anthropic("Pay.", "billing_error")),
    billing(
        "too low a balance", "anthropic", 400, anthropic("Your credit balance is too low.", "invalid_request_error")
    ),
    billing("nothing but a 402", "deepseek", 402, openai("Insufficient Balance", "unknown_error")),
    billing("prepaid credits", "google", 429, google("Your prepayment credits are depleted.")),
    billing("a usage limit", "ollama", 429, {"error": "you (x) have reached your weekly usage limit"}),
]


def impossible(name: str, provider: str, status: int, body: Mapping[str, Any]) -> Case:
    return Case(
        name=f"impossible, {provider}: {name}",
        provider=provider,
        status=status,
        body=body,
        error=ImpossibleRequest,
        kind=None,
        delay=45.0 if provider == "google" else None,
        waits=None,
        back=0.0,
    )


TOO_LARGE = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 45000."
IMPOSSIBLE = [
    impossible("limit and need", "openai", 429, openai(TOO_LARGE, "tokens", "rate_limit_exceeded")),
    impossible("limit and need", "groq", 413, openai(TOO_LARGE, "tokens", "rate_limit_exceeded")),
    impossible(
        "a limit of nothing in the message",
        "google",
        429,
        google("Quota exceeded for metric: free_tier_requests, limit: 0, model: m\nPlease retry in 45s."),
    ),
    impossible(
        "a limit of nothing in the details",
        "google",
        429,
        google("Quota exceeded.", violation("GenerateRequestsPerMinutePerProject", "0"), retry_info("45s")),
    ),
]


def overloaded(name: str, provider: str, status: int, body: Mapping[str, Any], delay: float | None = None) -> Case:
    return Case(
        name=f"overloaded, {provider}: {name}",
        provider=provider,
        status=status,
        headers={} if delay is None else {"retry-after": f"{delay:g}"},
        body=body,
        error=Overloaded,
        kind=None,
        delay=delay,
        # A pause; no jitter here.
        waits=delay or 0.05,
        back=delay or 0.0,
    )


OVERLOADED = [
    overloaded("503", "openai", 503, openai("The engine is overloaded.", "server_error", "server_is_overloaded")),
    overloaded("529", "anthropic", 529, anthropic("Overloaded", "overloaded_error")),
    overloaded("503 and when", "azure", 503, openai("Unavailable.", "server_error"), 30.0),
    overloaded("503", "google", 503, google("The model is overloaded.", code=503, status="UNAVAILABLE")),
    overloaded("its queue is full", "ollama", 503, {"error": "server busy, please try again."}),
]

CASES = [*RATE, *RAMP, *DAILY, *BILLING, *IMPOSSIBLE, *OVERLOADED]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def chain(case: Case) -> str:
    """The refusing model, alone and with another behind it."""
    needs = 'api_key_env = "TEST_KEY_A"\n' if case.provider != "ollama" else ""
    address = 'base_url = "https://acme.openai.azure.com/openai/v1"\n' if case.provider == "azure" else ""
    return f"""
[[profiles.default.bindings]]
alias = "alone"
models = ["{case.provider}:first"]
[[profiles.default.bindings]]
alias = "chain"
models = ["{case.provider}:first", "xai:second"]
[providers.{case.provider}]
{needs}{address}
[providers.xai]
api_key_env = "TEST_KEY_B"
"""


PROMPT = "x" * 4000


@each
async def test_the_next_model_is_asked_at_once(case: Case, autojump_clock: Clock) -> None:
    async with world({"first": [case.step()], "second": [answer("next")]}, chain(case)) as (router, provider):
        start = trio.current_time()
        response = await router.chat("chain", PROMPT, max_tokens=2)
        assert (response.content, trio.current_time() - start) == ("next", 0.0)
        error = response.attempts[0].error
        assert error is not None and type(error) is case.error
        assert (error.retry_after, error.status) == (case.delay, case.status)
        if isinstance(error, RateLimited):
            assert (error.kind, error.dimension) == (case.kind, case.dimension)
        assert provider.times("first") == [start]


@each
async def test_without_another_model_it_is_waited_for_or_fails_at_once(case: Case, autojump_clock: Clock) -> None:
    async with world({"first": [case.step(), answer("late")]}, chain(case)) as (router, provider):
        start = trio.current_time()
        if case.waits is not None:
            response = await router.chat("alone", PROMPT, max_tokens=2, timeout=90_000)
            assert response.content == "late"
            assert provider.times("first") == [start, pytest.approx(start + case.waits, abs=0.01)]
            return
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", PROMPT, max_tokens=2, timeout=90_000)
        assert (trio.current_time(), provider.times("first")) == (start, [start])
        assert type(caught.value.attempts[0].error) is case.error
        assert caught.value.retry_after is None


@each
async def test_the_next_call_is_sent_when_its_time_has_come(case: Case, autojump_clock: Clock) -> None:
    """Until then other calls go past it, or are told at once."""
    script = {"first": [case.step(), answer("again")], "second": [answer("next")]}
    async with world(script, chain(case)) as (router, provider):
        start = trio.current_time()
        await router.chat("chain", PROMPT, max_tokens=2)
        if case.back > 0.0:
            await trio.sleep(case.back - 0.02)
            assert (await router.chat("chain", PROMPT, max_tokens=2)).content == "next"
            await trio.sleep(0.03)
        assert (await router.chat("chain", PROMPT, max_tokens=2)).content == "again"
        assert provider.times("first") == [start, pytest.approx(start + case.back, abs=0.011)]


@pytest.mark.parametrize("case", [case for case in CASES if (case.waits or 0.0) > 1.0], ids=lambda case: case.name)
async def test_what_ends_past_the_deadline_is_not_waited_for(case: Case, autojump_clock: Clock) -> None:
    async with world({"first": [case.step()]}, chain(case)) as (router, provider):
        start = trio.current_time()
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", PROMPT, max_tokens=2, timeout=1.0)
        assert caught.value.retry_after == pytest.approx(case.waits)
        assert (trio.current_time(), provider.times("first")) == (start, [start])


async def test_a_hold_is_of_the_limit_that_refused_and_is_not_shortened(autojump_clock: Clock) -> None:
    long, short = RATE[3], msgspec.structs.replace(RATE[3], headers={"retry-after": "1"})
    script = {"first": [long.step(), short.step(), answer("late")]}
    async with world(script, chain(long)) as (router, provider):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(router.chat, "alone", PROMPT)
            await trio.sleep(6.0)
            [route] = standing(router)
            assert {one.dimension: one.held_seconds for one in route.limits if one.held_seconds} == {"input": 6.5}
        assert provider.times("first")[2:] == [start + 12.5] * 2


async def test_what_is_larger_than_a_known_limit_is_not_sent_and_says_limit_and_need(autojump_clock: Clock) -> None:
    text = chain(RATE[0]).replace('"TEST_KEY_A"', '"TEST_KEY_A"\ntokens_per_minute = 500')
    async with world({"first": [answer()], "second": [answer("next")]}, text) as (router, provider):
        assert (await router.chat("chain", PROMPT, max_tokens=2)).content == "next"
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", PROMPT, max_tokens=2)
        assert "1,000 needed of the tokens limit, which is 500 in all" in str(caught.value)
        assert (trio.current_time(), provider.times("first")) == (0.0, [])


async def test_after_a_ramp_requests_go_on_as_they_were_accepted(autojump_clock: Clock) -> None:
    """60 a second are accepted for ten seconds; then a hundred at once are too much."""
    script = {"first": [*[answer()] * 600, *[RAMP[0].step()] * 40, answer()]}
    text = chain(RAMP[0]).replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1000')
    async with world(script, text) as (router, provider):
        for _ in range(60):
            for _ in range(10):
                await router.chat("alone", "hello")
            await trio.sleep(1.0)
        refused_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(router.chat, "alone", "hello")
        times = [time - refused_at for time in provider.times("first")[800:]]
        assert times[0] == 15.0
        gaps = [later - time for time, later in itertools.pairwise(times)]
        assert all(0.05 < gap < 0.11 for gap in gaps)
        assert len(times) == 40


async def test_what_a_server_does_not_have_says_nothing_of_its_health(autojump_clock: Clock) -> None:
    missing = status(501, error={"message": "This server has no such thing", "type": "not_supported_error"})
    async with world({"first": [missing], "second": [answer("next")]}) as (router, provider):
        for _ in range(20):
            assert (await router.chat("chain", PROMPT)).content == "next"
        assert len(provider.times("first")) == 20
        assert router.dispatcher.routes("chain", None)[0].breaker.state(trio.current_time()) == "closed"
        with pytest.raises(AllModelsFailed, match="Unsupported"):
            await router.chat("alone", PROMPT)


async def test_overloads_open_the_breaker(autojump_clock: Clock) -> None:
    script = {"first": [OVERLOADED[1].step()], "second": [answer("next")]}
    async with world(script, chain(OVERLOADED[1])) as (router, provider):
        for _ in range(20):
            assert (await router.chat("chain", "hello")).content == "next"
        assert len(provider.times("first")) == 5
