"""What an answer and a failure tell of their way: every decision, what it was made of, and what came of it."""

import gc
from decimal import Decimal
from pathlib import Path
from types import FunctionType, ModuleType

import msgspec
import pytest
import trio
import trio.testing

import llmring
from llmring.chat import JSONSchema
from llmring.errors import AllModelsFailed, BadRequest
from llmring.router.failover import MOST_STEPS, Plan, Wait
from llmring.router.map.journal import open_journal
from llmring.testing import Step, answer, cut, status
from llmring.trace import Trace
from tests.router.test_failover import MODELS, NEXT
from tests.router.world import world

Clock = trio.testing.MockClock


VECTORS = Step(body=b'{"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 3}}')


def told(trace: Trace | None) -> list[str]:
    assert trace is not None
    return trace.explain().splitlines()


async def test_an_answer_of_the_first_model_has_one_decision(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=2)]}) as (router, _):
        trace = (await router.chat("chain", "hello", max_tokens=40)).trace
    assert trace is not None
    assert (trace.alias, trace.profile, trace.order, trace.seconds) == ("chain", "default", "ordered", 600.0)
    assert [(str(route.model), route.input_tokens, route.output_tokens) for route in trace.routes] == [
        ("openai:first", 2, 40),
        ("anthropic:second", 6, 40),
    ]
    assert trace.routes[1].charge == {"requests": 1.0, "day": 1.0, "tokens": 46.0, "input": 6.0, "output": 40.0}
    [decision] = trace.decisions
    assert (decision.at, decision.action, decision.routes, decision.taken) == (0.0, "go", (0,), 0)
    assert [one.readiness for one in decision.considered] == ["ready", "ready"]
    assert decision.verdict is not None
    assert (decision.verdict.outcome, decision.verdict.took_seconds) == ("answered", 2.0)
    assert (trace.outcome, str(trace.model)) == ("answered", "openai:first")


async def test_a_failover_tells_what_was_met_and_a_skip_what_it_was_for(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=20)], "second": [answer("next", after=1)]}
    async with world(script) as (router, _):
        first, second = await router.chat("chain", "hello"), await router.chat("chain", "hello")
    assert told(first.trace)[3:] == [
        "at 0.000 s openai:first is ready; anthropic:second is ready",
        "  -> openai:first is asked",
        "  openai:first failed in 0 s with RateLimited (HTTP 429)",
        "at 0.000 s openai:first is busy for 20 s, requests limit; anthropic:second is ready",
        "  -> anthropic:second is asked",
        "  anthropic:second answered in 1 s",
    ]
    assert told(second.trace)[3:] == [
        "at 0.000 s openai:first is busy for 19 s, requests limit; anthropic:second is ready",
        "  -> anthropic:second is asked",
        "  anthropic:second answered in 1 s",
    ]


async def test_a_wait_tells_where_and_who_ended_it(autojump_clock: Clock) -> None:
    async with world({"first": [status(429, retry_after=7.5), answer("later")]}) as (router, _):
        await trio.sleep(3)
        trace = (await router.chat("alone", "hello")).trace
    assert told(trace)[2:] == [
        "at 0.000 s openai:first is ready",
        "  -> openai:first is asked",
        "  openai:first failed in 0 s with RateLimited (HTTP 429)",
        "at 0.000 s openai:first is busy for 7.5 s, requests limit",
        "  -> waits for a pause to end, until 0.050 s at the latest",
        "at 0.050 s openai:first is busy for 7.45 s, requests limit",
        "  -> waits in line at openai:first, until 600.000 s at the latest; openai:first lets it go",
        "  openai:first answered in 0 s, after 7.5 s of waiting",
    ]


async def test_the_error_of_all_models_has_the_trace(autojump_clock: Clock) -> None:
    async with world({"first": [status(429, retry_after=1000)]}) as (router, _):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello")
    trace = caught.value.trace
    assert told(trace)[-2:] == [
        "at 0.000 s openai:first is busy for 1e+03 s, requests limit",
        "  -> it ends here: AllModelsFailed",
    ]
    assert trace is not None
    assert (trace.outcome, trace.model) == ("AllModelsFailed", None)


async def test_a_stream_that_begins_again_tells_both_ways(autojump_clock: Clock) -> None:
    script = {"first": [cut("some", each=1)], "second": [answer("whole")]}
    async with world(script) as (router, _):
        async with router.stream("chain", "hello", on_break="restart") as stream:
            async for _ in stream:
                pass
        assert stream.response is not None
        trace = stream.response.trace
    assert trace is not None
    assert [one.verdict.outcome for one in trace.decisions if one.verdict is not None] == [
        "TransportBroken",
        "answered",
    ]


async def test_an_answer_that_was_asked_for_twice_has_both_ways(autojump_clock: Clock) -> None:
    form = JSONSchema(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    async with world({"first": [answer("no"), answer('{"n": 1}', after=2)]}) as (router, _):
        trace = (await router.chat("alone", "hello", response_format=form)).trace
    assert trace is not None
    assert trace.again is not None
    assert (trace.outcome, trace.again.outcome, trace.again.alias) == ("answered", "answered", "openai:first")
    assert "the answer did not fit its schema, so the model was asked once more:" in trace.explain()


async def test_vectors_have_the_trace_of_their_first_request(autojump_clock: Clock) -> None:
    async with world({"first": [VECTORS]}) as (router, _):
        trace = (await router.embed("alone", ["hello"])).trace
    assert trace is not None
    assert (trace.outcome, trace.routes[0].output_tokens) == ("answered", 0)


async def test_costs_and_weights_are_those_of_the_moment(autojump_clock: Clock) -> None:
    text = """
[[profiles.default.bindings]]
alias = "x"
models = ["openai:gpt-4o", "openai:gpt-4o-mini"]
order = "cheapest"
weights = { "openai:gpt-4o" = 3 }
[providers.openai]
api_key_env = "TEST_KEY_A"
"""
    async with world({"gpt-4o-mini": [answer("ok")]}, text) as (router, _):
        expected = router.estimate("x", "hello")[1].likely_usd
        trace = (await router.chat("x", "hello")).trace
    assert trace is not None
    assert [(route.model.model, route.weight) for route in trace.routes] == [("gpt-4o-mini", 1.0), ("gpt-4o", 3.0)]
    assert trace.written == (1, 0)
    assert expected is not None
    assert trace.routes[0].cost_usd == pytest.approx(
        expected, rel=Decimal("0.05")
    )  # by characters here, by tokens there
    assert trace.decisions[0].considered[0].cost_usd == trace.routes[0].cost_usd


async def test_the_trace_is_no_part_of_the_answers_value(autojump_clock: Clock, tmp_path: Path) -> None:
    async with world({"first": [answer("ok")]}) as (router, _):
        response = await router.chat("alone", "hello")
        journal = tmp_path / "run.jsonl"
        await router.map("alone", ["hello"], checkpoint=journal).to_list()
    assert response.trace is response.trace
    assert msgspec.structs.replace(response).trace is None
    assert b"considered" not in journal.read_bytes() + msgspec.json.encode(response)
    with open_journal(journal) as opened:
        assert opened.answered == 1


async def test_a_trace_does_not_keep_the_prompt_alive(autojump_clock: Clock) -> None:
    async with world({"first": [status(500), answer("ok")]}) as (router, _):
        response = await router.chat("alone", "a long prompt")
    held: list[object] = [response.__dict__]
    known: set[int] = set()
    while held:
        one = held.pop()
        assert one != "a long prompt"
        if id(one) not in known and not isinstance(one, type | FunctionType | ModuleType):
            known.add(id(one))
            held += gc.get_referents(one)
    assert len(known) > 20
    assert response.trace is not None


async def test_neither_key_nor_prompt_nor_a_providers_words_are_in_a_trace(autojump_clock: Clock) -> None:
    words = {"message": "the canary in 'key-a' said hello-canary", "code": "model_not_found"}
    script = {"first": [status(404, error=words)], "second": [status(400, error=words)]}
    async with world(script) as (router, _):
        for _ in range(2):
            with pytest.raises(BadRequest):
                await router.chat("chain", "hello-canary")
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello-canary")
    trace = caught.value.trace
    assert trace is not None
    assert trace.decisions[0].considered[0].why == "model gone"
    spelled = msgspec.json.encode(trace).decode() + str(trace)
    assert "canary" not in spelled and "key-a" not in spelled


def test_of_a_very_long_way_the_beginning_and_the_end_are_kept() -> None:
    plan = Plan("fast", MODELS[:1], deadline=1e6, random=lambda: 0.0)
    for now in range(MOST_STEPS + 50):
        assert isinstance(plan.next([NEXT], float(now)), Wait)
    assert (len(plan.steps), plan.left_out) == (MOST_STEPS, 50)
    assert [plan.steps[0].now, plan.steps[-1].now] == [0.0, MOST_STEPS + 49]


def test_the_public_names_are_there() -> None:
    assert llmring.Trace is Trace
