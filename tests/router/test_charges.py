"""Limits of the lockfile, and those that replies tell, are kept to in every dimension, whatever the provider's own."""

import json

import pytest
import trio
import trio.testing

from llmring.errors import Dimension
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, Step, answer
from tests.router.world import lockfile

Clock = trio.testing.MockClock
CALLS = 20

LOCKFILE = """
[providers.acme]
kind = "{kind}"
base_url = "http://acme.example"
api_key_env = "KEY"
{lines}
"""


async def seconds(kind: str, lines: str, *steps: Step, max_tokens: int | None = None) -> float:
    """How long twenty calls take, one after another, whose limits are the only reason to wait."""
    provider = ScriptedProvider({"first": steps})
    text = LOCKFILE.format(kind=kind, lines=lines)
    async with open_router(lockfile(text), connect=provider, jitter=lambda: 0.0, keys={"KEY": "key"}) as router:
        begun = trio.current_time()
        for _ in range(CALLS):
            await router.chat("acme:first", "word " * 70, max_tokens=max_tokens, timeout=3600.0)
        return trio.current_time() - begun


@pytest.mark.parametrize("kind", ["openai", "openai-compatible", "anthropic", "azure", "mistral", "groq"])
@pytest.mark.parametrize("dimension", ["input", "output"])
async def test_a_limit_of_the_lockfile_is_kept_to_by_every_kind(
    kind: str, dimension: Dimension, autojump_clock: Clock
) -> None:
    # Twenty calls of 90 tokens or so, a hundred at once and a hundred a minute: 1,700 of them are waited for.
    took = await seconds(kind, f"{dimension}_tokens_per_minute = 100", answer(input_tokens=90, output_tokens=90))
    assert 900.0 <= took <= 1200.0


async def test_a_bound_that_is_charged_at_admission_is_paced_by_the_bound(autojump_clock: Clock) -> None:
    async def took(charges: str) -> float:
        lines = f'tokens_per_minute = 1000\ncharges = "{charges}"'
        return await seconds("openai-compatible", lines, answer(input_tokens=90, output_tokens=10), max_tokens=410)

    # Twenty calls of 100 tokens, of which the last must find 500 there; and twenty of 500.
    assert await took("input+max_tokens") == pytest.approx(84.0, abs=15.0)
    assert await took("input+max_tokens at admission") == pytest.approx(540.0, abs=30.0)


async def test_cached_input_may_be_free(autojump_clock: Clock) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 80}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    step = Step(body=json.dumps({"choices": [choice], "usage": usage}).encode())
    counted = await seconds("openai-compatible", "input_tokens_per_minute = 300", step)
    free = await seconds("openai-compatible", "input_tokens_per_minute = 300\ncached_tokens_count = false", step)
    assert free < 0.1 * counted


async def test_a_key_whose_project_is_out_of_tokens_is_paced_by_the_project(autojump_clock: Clock) -> None:
    """The organization has plenty."""
    told = {
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149000",
        "x-ratelimit-limit-project-tokens": "1000",
        "x-ratelimit-remaining-project-tokens": "0",
    }
    # Nineteen calls of 88 tokens after the first, a thousand a minute.
    took = await seconds("openai", "", answer(headers=told), answer())
    assert took == pytest.approx(19 * 88 * 0.06, rel=0.1)
