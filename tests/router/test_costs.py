"""What all costs that a provider did: answers, streams that broke off or were left, attempts that failed late."""

import json
from decimal import Decimal as D

import pytest
import trio

from llmring.chat import ChatResponse, JSONSchema
from llmring.errors import AllModelsFailed, BadReply, InvalidRequest, ProviderError, StreamBroken
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source
from llmring.registry.store import read_bundled
from llmring.router.answer import calculated, embedding_cost, least_cost
from llmring.testing import Step, answer, cut, hang
from llmring.usage import Cost, CostBreakdown, Usage
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock

# $0.15 and $0.60 a million; $1 and $5; and one that nobody knows.
MINI, HAIKU = "gpt-4o-mini", "claude-haiku-4-5"
TEXT = CHAIN.replace(
    '["openai:first", "anthropic:second"]', f'["openai:{MINI}", "anthropic:{HAIKU}", "openai:unknown"]'
).replace('["openai:first"]', f'["openai:{MINI}"]')
LONG = "word" * 100
"""A hundred tokens, as what is seen of a text is counted."""


def reply(**rest: object) -> Step:
    """A whole reply of 1,000 tokens in and 100 out."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    body = {"object": "chat.completion", "model": MINI, "choices": [choice], "usage": usage}
    return Step(body=json.dumps(body | rest).encode())


NO_ANSWER = reply(choices=[])


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        # OpenAI tells the input at the end: 100 * 0.6. Anthropic at the beginning: 10 * 1 + 100 * 5.
        (f"openai:{MINI}", "0.00006"),
        (f"anthropic:{HAIKU}", "0.00051"),
    ],
)
async def test_a_stream_that_breaks_costs_at_least_what_was_seen_of_it(
    autojump_clock: Clock, model: str, usd: str
) -> None:
    script = {name: [cut(LONG)] for name in (MINI, HAIKU)}
    async with world(script, TEXT) as (router, _), router.stream(model, "hi") as stream:
        with pytest.raises(StreamBroken) as caught:
            [chunk async for chunk in stream]
    cost, usage = caught.value.cost, caught.value.usage
    assert cost is not None
    assert usage is not None
    assert (cost.status, cost.usd, cost.is_lower_bound) == ("priced", D(usd), True)
    assert usage.output_tokens == 100
    assert stream.cost == cost


async def test_a_stream_that_is_left_or_cancelled_costs_at_least_what_was_seen_of_it(autojump_clock: Clock) -> None:
    script = {HAIKU: [answer(LONG, LONG, LONG, each=1.0)]}
    async with world(script, TEXT) as (router, _):
        async with router.stream(f"anthropic:{HAIKU}", "hi") as left:
            await anext(left)
        cancelled = router.stream(f"anthropic:{HAIKU}", "hi")
        # The first text comes after 3 seconds.
        with trio.move_on_after(4.5) as scope:
            async with cancelled:
                [chunk async for chunk in cancelled]
    assert scope.cancelled_caught
    assert (left.cost.usd, left.cost.is_lower_bound) == (D("0.00051"), True)
    assert (cancelled.cost.usd, cancelled.cost.is_lower_bound) == (D("0.00101"), True)


async def test_a_whole_stream_costs_what_its_provider_told(autojump_clock: Clock) -> None:
    script = {MINI: [answer(LONG, input_tokens=1000, output_tokens=100)]}
    async with world(script, TEXT) as (router, _), router.stream("alone", "hi") as stream:
        chunks = [chunk async for chunk in stream]
    # 1,000 * 0.15 + 100 * 0.6
    assert (stream.cost.usd, stream.cost.is_lower_bound) == (D("0.00021"), False)
    assert stream.cost == chunks[-1].cost
    assert stream.usage == chunks[-1].usage


async def test_a_stream_that_began_again_has_the_cost_of_both_attempts(autojump_clock: Clock) -> None:
    script = {MINI: [cut(LONG)], HAIKU: [answer("whole", input_tokens=1000, output_tokens=100)]}
    async with world(script, TEXT) as (router, _), router.stream("chain", "hi", on_break="restart") as stream:
        [chunk async for chunk in stream]
    assert stream.response is not None
    broken, whole = stream.response.attempts
    assert broken.cost is not None
    assert (broken.cost.usd, broken.cost.is_lower_bound) == (D("0.00006"), True)
    assert whole.cost == stream.response.cost == stream.cost
    assert stream.cost.usd == D("0.0015")


async def test_a_stream_that_breaks_before_its_first_text_has_used_its_input(autojump_clock: Clock) -> None:
    events = (
        ("message_start", {"message": {"usage": {"input_tokens": 1000, "output_tokens": 1}}}),
        ("error", {"error": {"type": "overloaded_error", "message": "no"}}),
    )
    lines = (f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n" for kind, data in events)
    begun = Step(body="".join(lines).encode(), headers={"content-type": "text/event-stream"})
    script = {HAIKU: [begun], MINI: [answer("saved")]}
    text = TEXT.replace(f'["openai:{MINI}", "anthropic:{HAIKU}"', f'["anthropic:{HAIKU}", "openai:{MINI}"')
    async with world(script, text) as (router, _), router.stream("chain", "hi") as stream:
        [chunk async for chunk in stream]
    assert stream.response is not None
    first = stream.response.attempts[0]
    assert first.cost is not None
    assert (first.cost.usd, first.cost.is_lower_bound) == (D("0.001005"), True)


async def test_an_attempt_that_was_billed_and_gave_no_answer_has_its_cost(autojump_clock: Clock) -> None:
    script = {MINI: [NO_ANSWER], HAIKU: [answer("saved", input_tokens=1000, output_tokens=100)]}
    async with world(script, TEXT) as (router, _):
        response = await router.chat("chain", "hi")
    first, second = response.attempts
    assert isinstance(first.error, BadReply)
    assert first.cost is not None
    assert (first.cost.usd, first.cost.is_lower_bound) == (D("0.00021"), True)
    assert second.cost == response.cost
    assert response.cost.usd == D("0.0015")


async def test_what_failed_in_the_end_says_what_it_has_cost(autojump_clock: Clock) -> None:
    async with world({MINI: [NO_ANSWER]}, TEXT) as (router, _):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hi")
        costs = [attempt.cost for attempt in caught.value.attempts if attempt.sent]
        async with router.map("alone", ["hi"]) as run:
            [row async for row in run]
    assert [cost and cost.usd for cost in costs] == [D("0.00021"), D("0.00021")]
    # Two attempts again.
    part = run.report.by_model[f"openai:{MINI}"]
    assert (part.usd, part.lower_bounds, part.unpriced, part.served) == (D("0.00042"), 2, 0, 0)


async def test_what_a_provider_refused_or_never_answered_has_no_cost(autojump_clock: Clock) -> None:
    script = {MINI: [Step(status=500, body=b"{}")], HAIKU: [hang()], "unknown": [Step(status=429, body=b"{}")]}
    async with world(script, TEXT) as (router, _):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("chain", "hi", timeout=60)
    assert {attempt.cost for attempt in caught.value.attempts} == {None}


async def test_both_answers_of_a_repair_are_paid_for(autojump_clock: Clock) -> None:
    bad, good = (
        answer(text, input_tokens=tokens, output_tokens=10) for text, tokens in (("no", 1000), ('{"a": 1}', 2000))
    )
    wanted = JSONSchema(schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    async with world({MINI: [bad, good]}, TEXT) as (router, _):
        response = await router.chat("alone", "hi", response_format=wanted)
    # 1,000 * 0.15 + 10 * 0.6, and 2,000 * 0.15 + 10 * 0.6
    costs = [attempt.cost.usd for attempt in response.attempts if attempt.cost is not None]
    assert costs == [D("0.000156"), D("0.000306")]
    assert response.cost.usd == sum(filter(None, costs))


async def test_a_service_tier_has_its_share_or_no_price(autojump_clock: Clock) -> None:
    script = {MINI: [reply(service_tier="flex"), reply(service_tier="priority"), reply(service_tier="default")]}
    async with world(script, TEXT) as (router, _):
        flex, priority, usual = [await router.chat("alone", "hi") for _ in range(3)]
    assert (flex.cost.usd, usual.cost.usd) == (D("0.000105"), D("0.00021"))
    assert (priority.cost.status, priority.cost.usd) == ("no_pricing_of_service_tier", None)
    assert priority.cost.why_unknown == "the registry has no price of the service tier that answered"


@pytest.mark.parametrize(
    ("tier", "usd"),
    # What a dearer tier costs is not known, but that it is more than the list says.
    [("flex", "0.00003"), ("default", "0.00006"), ("priority", "0.00006"), (None, "0.00006")],
)
@pytest.mark.parametrize("ending", ["broken", "left"])
async def test_a_stream_of_a_service_tier_that_was_cut_costs_at_least_its_share(
    autojump_clock: Clock, tier: str | None, usd: str, ending: str
) -> None:
    async with (
        world({MINI: [cut(LONG)]}, TEXT) as (router, _),
        router.stream(f"openai:{MINI}", "hi", service_tier=tier) as stream,
    ):
        await anext(stream)
        if ending == "broken":
            with pytest.raises(StreamBroken) as caught:
                [chunk async for chunk in stream]
            assert caught.value.cost == stream.cost
            assert isinstance(caught.value.__cause__, ProviderError)
            assert caught.value.__cause__.service_tier == tier
    assert (stream.cost.status, stream.cost.usd, stream.cost.is_lower_bound) == ("priced", D(usd), True)


async def test_an_attempt_of_the_flex_tier_that_came_to_nothing_costs_half(autojump_clock: Clock) -> None:
    script = {MINI: [reply(choices=[], service_tier="flex"), NO_ANSWER], HAIKU: [answer("ok")]}
    async with world(script, TEXT) as (router, _):
        told = await router.chat("chain", "hi")
    async with world(script | {MINI: [NO_ANSWER, NO_ANSWER]}, TEXT) as (router, _):
        asked = await router.chat("chain", "hi", service_tier="flex")
    # As the reply says, and where it says nothing, as was asked for.
    assert [one.cost and one.cost.usd for one in (told.attempts[0], asked.attempts[0])] == [D("0.000105")] * 2


async def test_a_budget_takes_no_tier_of_unknown_price(autojump_clock: Clock) -> None:
    async with world({MINI: [answer("ok")]}, TEXT) as (router, provider):
        async with router.map("alone", ["hi"], budget=1, service_tier="priority", max_tokens=10) as run:
            rows = [row async for row in run]
        assert provider.calls == []
    assert isinstance(rows[0].error, InvalidRequest)
    assert "budget: nothing bounds what openai:gpt-4o-mini costs: service tier 'priority' has no price" in str(
        rows[0].error
    )


async def test_calculate_cost_gives_costs_and_the_prices_they_are_of(autojump_clock: Clock) -> None:
    script = {MINI: [answer("ok", input_tokens=1000, output_tokens=100)], "unknown": [answer("ok")]}
    async with world(script, TEXT) as (router, _):
        costs = await router.calculate_cost(await router.chat("alone", "hi"))
        unknown = await router.calculate_cost(await router.chat("openai:unknown", "hi"))
    assert unknown is None
    assert costs == {
        "input_cost": D("0.00015"),
        "output_cost": D("0.00006"),
        "cache_read_cost": D(0),
        "cache_write_cost_5m": D(0),
        "cache_write_cost_1h": D(0),
        "cache_write_cost_other": D(0),
        "long_context_input_cost": D(0),
        "reasoning_cost": D(0),
        "total_cost": D("0.00021"),
        "cost_per_million_input": D("0.15"),
        "cost_per_million_output": D("0.6"),
        "cost_per_million_cached_input": D("0.075"),
        "cost_per_million_cache_read": None,
        "cost_per_million_cache_write_5m": None,
        "cost_per_million_cache_write_1h": None,
        "cost_per_million_output_thinking": None,
    }


def responded(tokens: int, cached: int = 0, reasoning: int = 0, text: str = "ok", **rest: object) -> Step:
    """A reply of the Responses API, with 3,000 tokens of output."""
    usage = {
        "input_tokens": tokens,
        "output_tokens": 3000,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }
    content = [{"type": "output_text", "text": text}]
    output = [{"type": "message", "role": "assistant", "status": "completed", "content": content}]
    body = {"object": "response", "status": "completed", "model": "gpt-5.4", "output": output, "usage": usage}
    return Step(body=json.dumps(body | rest).encode())


@pytest.mark.parametrize(
    ("step", "prices"),
    # GPT-5.4, above 272,000 tokens: twice the input, cached too, and half as much again for the output.
    [
        (responded(300_000), ("5", "22.5", "0.25", None)),
        (responded(300_000, 100_000, 1000), ("5", "22.5", "0.5", "22.5")),
        (responded(300_000, 100_000, 1000, service_tier="flex"), ("2.5", "11.25", "0.25", "11.25")),
        (responded(1000), ("2.5", "15", "0.25", None)),
        (responded(1000, service_tier="flex"), ("1.25", "7.5", "0.25", None)),
    ],
)
async def test_calculate_cost_gives_the_prices_that_were_applied(
    autojump_clock: Clock, step: Step, prices: tuple[str | None, ...]
) -> None:
    async with world({"gpt-5.4": [step]}, TEXT) as (router, _):
        response = await router.chat("openai:gpt-5.4", "hi")
        costs = await router.calculate_cost(response)
    assert costs is not None
    names = ("input", "output", "cached_input", "output_thinking")
    found = [costs[f"cost_per_million_{name}"] for name in names]
    assert found == [None if price is None else D(price) for price in prices]
    used = response.usage
    assert used is not None
    for tokens, price, cost in (
        (used.input_tokens, "input", "input_cost"),
        (used.cache_read_tokens, "cache_read", "cache_read_cost"),
        (used.output_tokens, "output", "output_cost"),
        (used.reasoning_tokens, "output_thinking", "reasoning_cost"),
    ):
        assert tokens * (costs[f"cost_per_million_{price}"] or 0) == (costs[cost] or 0) * 1_000_000
    kinds = ("input", "output", "cache_read", "reasoning")
    assert sum(costs[f"{kind}_cost"] or 0 for kind in kinds) == costs["total_cost"] == response.cost.usd


async def test_calculate_cost_of_two_answers_gives_what_they_cost_together(autojump_clock: Clock) -> None:
    """One of them long: 1,000 * 2.50 and 300,000 * 5 of input."""
    wanted = JSONSchema(schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    script = {"gpt-5.4": [responded(1000), responded(300_000, text='{"a": 1}')]}
    async with world(script, TEXT) as (router, _):
        costs = await router.calculate_cost(await router.chat("openai:gpt-5.4", "hi", response_format=wanted))
    assert costs is not None
    assert costs["input_cost"] == D("1.5025")
    price = costs["cost_per_million_input"]
    assert price is not None
    assert abs(price - D("1502500") / 301_000) < D("1e-20")
    assert abs(price * 301_000 / 1_000_000 - D("1.5025")) < D("1e-20")


def test_the_documented_cost_breakdown_adds_up_by_its_prices() -> None:
    """As it was documented: long_context_input is part of input, and each price is its cost by its tokens."""
    parts = CostBreakdown(
        input=D("0.00033"),
        cache_read=D("0.00006"),
        cache_write_5m=D("0.00018"),
        output=D("0.00026"),
        reasoning=D("0.00400"),
        long_context_input=D("0.00026"),
    )
    used = Usage(
        input_tokens=1000, cache_read_tokens=3000, cache_write_5m_tokens=1200, output_tokens=800, reasoning_tokens=4000
    )
    response = ChatResponse(
        content="",
        model=ModelRef("openai", "gpt-5.4"),
        alias="a",
        finish_reason="stop",
        usage=used,
        cost=Cost(status="priced", usd=D("0.00483"), breakdown=parts),
    )
    costs = calculated(read_bundled(), response)
    assert costs is not None
    names = ("input_cost", "cache_read_cost", "cache_write_cost_5m", "output_cost", "reasoning_cost")
    assert sum(costs[name] or 0 for name in names) == costs["total_cost"] == D("0.00483")
    assert (costs["cost_per_million_input"], costs["cost_per_million_output_thinking"]) == (D("0.33"), D(1))
    assert costs["cost_per_million_cached_input"] == costs["cost_per_million_cache_read"] == D("0.02")


@pytest.mark.parametrize(
    ("told", "asked", "usd"),
    [
        ("flex", None, "0.00125"),
        (None, "flex", "0.00125"),
        ("default", "flex", "0.0025"),
        ("priority", "priority", "0.0025"),
        (None, None, "0.0025"),
    ],
)
def test_what_broke_off_is_of_the_tier_that_was_told_or_else_asked_for(
    told: str | None, asked: str | None, usd: str
) -> None:
    ref = ModelRef("openai", "gpt-4o")
    cost = least_cost(read_bundled(), ref, Usage(input_tokens=1000), told, asked)
    assert (cost.usd, cost.is_lower_bound) == (D(usd), True)


def test_vectors_need_no_price_of_output() -> None:
    ref = ModelRef("acme", "vectors")
    source = Source(provider="acme", version=1, published=None)
    facts = ModelFacts(ref=ref, display_name="v", prices=Prices(input=D("0.1")), source=source)
    cost = embedding_cost(Catalog([facts]), ref, [Usage(input_tokens=1_000_000)])
    assert (cost.status, cost.usd) == ("priced", D("0.1"))
    assert embedding_cost(Catalog([]), ref, [Usage(input_tokens=1)]).status == "model_not_in_registry"
