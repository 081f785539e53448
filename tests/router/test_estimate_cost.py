"""What a call would cost, before it is sent."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from llmring.chat import Cache, ChatRequest, JSONSchema, Message, Tool
from llmring.errors import BudgetExceeded, ConfigError
from llmring.lockfile import Budget
from llmring.money.amounts import to_nanos
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, answer
from tests.router.world import CHAIN, lockfile

Clock = trio.testing.MockClock

# $0.15 and $0.60 a million, at most 16,000 tokens by the registry; $1 and $5; and one that nobody knows.
TEXT = CHAIN.replace(
    '["openai:first", "anthropic:second"]', '["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "openai:x"]'
)


async def test_an_estimate_is_low_likely_and_high_for_each_model(autojump_clock: Clock) -> None:
    provider = ScriptedProvider({"gpt-4o-mini": [answer("ok", output_tokens=100)]})
    async with open_router(lockfile(TEXT), connect=provider) as router:
        cold, claude, unknown = router.estimate("chain", "x" * 400, max_tokens=1000)
        assert provider.calls == []
        await router.chat("chain", "hi")
        warm = router.estimate("chain", "x" * 400, max_tokens=1000)[0]
        open_ended = router.estimate("chain", "hi")[0]
    assert [str(one.model) for one in (cold, claude, unknown)] == [
        "openai:gpt-4o-mini",
        "anthropic:claude-haiku-4-5",
        "openai:x",
    ]
    tokens = Decimal(cold.input_tokens)
    assert cold.low_usd == tokens * Decimal("0.15") / 10**6
    # Every byte may be a token, with what stands around the text.
    assert cold.high_usd == (424 * Decimal("0.15") + 1000 * Decimal("0.60")) / 10**6
    assert (cold.likely_output_tokens, warm.likely_output_tokens) == (256, 100)
    assert warm.likely_usd == (tokens * Decimal("0.15") + 100 * Decimal("0.60")) / 10**6
    assert (unknown.low_usd, unknown.likely_usd, unknown.high_usd) == (None, None, None)
    assert claude.low_usd is not None
    # The registry's 16,000 may stand for 16,384.
    assert open_ended.most_output_tokens == 16_400


async def test_reasoning_goes_on_top_of_the_bound(autojump_clock: Clock) -> None:
    text = CHAIN.replace('["openai:first"]', '["openai:gpt-5"]')
    async with open_router(lockfile(text), connect=ScriptedProvider({})) as router:
        (plain,) = router.estimate("alone", "hi", max_tokens=100, reasoning_tokens=5000)
    assert plain.most_output_tokens == 5100


async def test_all_answers_and_the_tier_count(autojump_clock: Clock) -> None:
    async with open_router(lockfile(TEXT), connect=ScriptedProvider({})) as router:
        given: list[dict[str, Any]] = [{}, {"n": 3}, {"service_tier": "flex"}, {"service_tier": "priority"}]
        one, three, flex, dearer = [router.estimate("chain", "hi", max_tokens=100, **options)[0] for options in given]
        turn = Message(role="user", content="hi")
        marked = msgspec.structs.replace(turn, cache="1h")
        plain, cached = (router.estimate("chain", [one], max_tokens=100)[1] for one in (turn, marked))
    assert (three.likely_output_tokens, three.most_output_tokens) == (3 * one.likely_output_tokens, 300)
    assert one.likely_usd is not None
    assert flex.likely_usd == one.likely_usd / 2
    assert flex.high_usd == one.high_usd
    assert (dearer.low_usd, dearer.likely_usd, dearer.high_usd) == (None, None, None)
    assert plain.high_usd is not None
    assert cached.high_usd is not None
    assert cached.high_usd > plain.high_usd


parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, text=st.text(max_size=50)),
    st.builds(
        DocumentPart,
        source=st.one_of(
            st.builds(Inline, media_type=st.sampled_from(["text/plain", "application/pdf"]), data=st.just("eHh4" * 9)),
            st.builds(ProviderFile, id=st.just("file-1")),
        ),
    ),
    st.builds(ImagePart, source=st.builds(Link, url=st.just("https://example.org/a.png"))),
    st.builds(AudioPart, source=st.builds(Inline, media_type=st.just("audio/wav"), data=st.just("AAAA"))),
)
requests = st.builds(
    ChatRequest,
    model=st.just("chain"),
    messages=st.lists(
        st.builds(
            Message,
            role=st.just("user"),
            content=st.one_of(st.text(min_size=1, max_size=200), st.lists(parts, min_size=1, max_size=3).map(tuple)),
            cache=st.sampled_from([None, None, "5m", "1h"]),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    max_tokens=st.one_of(st.none(), st.integers(1, 200_000)),
    n=st.sampled_from([None, None, 1, 4]),
    service_tier=st.sampled_from([None, None, "flex", "auto", "priority"]),
    reasoning_effort=st.sampled_from([None, "none", "high"]),
    cache=st.sampled_from([None, None, Cache(ttl="1h"), Cache(content="cachedContents/1")]),
    tools=st.sampled_from([(), (Tool(name="find", parameters={}),)]),
    response_format=st.sampled_from([None, JSONSchema(schema={"type": "object"})]),
    extra_params=st.sampled_from([{}, {}, {"top_k": 1}, {"tools": []}]),
)
MODELS = ["openai:gpt-4o-mini", "openai:gpt-5", "anthropic:claude-sonnet-4-5-20250929", "google:gemini-2.5-pro"]


@given(requests, st.sampled_from(MODELS))
@settings(max_examples=150, deadline=None)
def test_high_is_what_a_budget_reserves_and_nothing_is_above_it(asked: ChatRequest, model: str) -> None:
    request = msgspec.structs.replace(asked, model=model)

    async def run() -> None:
        budget = Budget(limit=Decimal(0), per="run")
        keys = {"TEST_KEY_A": "a", "TEST_KEY_B": "b", "GEMINI_API_KEY": "c"}
        async with open_router(lockfile(), connect=ScriptedProvider({}), budgets=[budget], keys=keys) as router:
            (found,) = router.estimate(request)
            with pytest.raises((BudgetExceeded, ConfigError)) as caught:
                await router.chat(request)
        if isinstance(caught.value, BudgetExceeded):
            assert found.high_usd is not None
            assert to_nanos(found.high_usd) == to_nanos(caught.value.needed)
        else:
            assert found.high_usd is None
        told: list[Any] = [usd for usd in (found.low_usd, found.likely_usd, found.high_usd) if usd is not None]
        assert told == sorted(told)

    trio.run(run)
