"""What a call would cost, before it is sent."""

from decimal import Decimal

import trio

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
    assert cold.high_usd == (tokens * Decimal("0.15") + 1000 * Decimal("0.60")) / 10**6
    assert (cold.likely_output_tokens, warm.likely_output_tokens) == (256, 100)
    assert warm.likely_usd == (tokens * Decimal("0.15") + 100 * Decimal("0.60")) / 10**6
    assert (unknown.low_usd, unknown.likely_usd, unknown.high_usd) == (None, None, None)
    assert claude.low_usd is not None
    assert open_ended.most_output_tokens == 16_000


async def test_reasoning_goes_on_top_of_the_bound(autojump_clock: Clock) -> None:
    text = CHAIN.replace('["openai:first"]', '["openai:gpt-5"]')
    async with open_router(lockfile(text), connect=ScriptedProvider({})) as router:
        (plain,) = router.estimate("alone", "hi", max_tokens=100, reasoning_tokens=5000)
    assert plain.most_output_tokens == 5100
