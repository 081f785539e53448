"""How many HTTP requests one call sends at the most, as docs/routing.md says: counted on the wire, for the worst."""

from collections import Counter
from contextlib import suppress

import pytest
import trio
import trio.testing

from llmring.chat import JSONSchema
from llmring.errors import AllModelsFailed, LLMRingError
from llmring.prompts import ChatOptions
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, Step, answer, cut, no_connection, status
from tests.router.world import world

Clock = trio.testing.MockClock
FAULTS = [status(500), status(503), status(529), no_connection(), cut(), status(200, error={"message": "what?"})]
REFUSED = status(429, retry_after=0.2)
BILL = status(402)
GONE = status(404, error={"message": "model: not found"})
SCHEMA = JSONSchema(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def refusing(parameter: str, code: str = "unsupported_parameter") -> Step:
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    return status(400, error={"message": message, "code": code, "param": parameter})


async def sent(router: Router, provider: ScriptedProvider, alias: str, options: ChatOptions) -> Counter[str]:
    """Requests of one call, by model."""
    before = Counter(one.model for one in provider.calls)
    with suppress(LLMRingError):
        await router.chat(alias, "hello", **options)
    return Counter(one.model for one in provider.calls) - before


@pytest.mark.parametrize(
    ("step", "requests"),
    [*((fault, 2) for fault in FAULTS), (REFUSED, 4), (BILL, 1), (GONE, 1)],
)
async def test_of_each_model(step: Step, requests: int, autojump_clock: Clock) -> None:
    script = {"first": [step], "second": [step], "third": [step]}
    async with world(script) as (router, provider):
        found = await sent(router, provider, "three", {})
    # The first and the third share a key, and so its bill.
    models = ["first", "second"] if step is BILL else ["first", "second", "third"]
    assert found == dict.fromkeys(models, requests)


@pytest.mark.parametrize(("step", "requests"), [(status(500), 3), (status(529), 3), (no_connection(), 3)])
async def test_with_its_trial_one_more(step: Step, requests: int, autojump_clock: Clock) -> None:
    async with world({"first": [step]}) as (router, provider):
        for _ in range(5):
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello", timeout=0.5)
        await trio.sleep(1.0)
        assert await sent(router, provider, "alone", {}) == {"first": requests}


async def test_refusals_behind_a_trial_are_four(autojump_clock: Clock) -> None:
    script = {"first": [*[status(500)] * 6, REFUSED]}
    async with world(script) as (router, provider):
        for _ in range(5):
            with pytest.raises(AllModelsFailed):
                await router.chat("alone", "hello", timeout=0.5)
        await trio.sleep(1.0)
        assert await sent(router, provider, "alone", {}) == {"first": 5}


OPTIONS: ChatOptions = {
    "temperature": 0.5,
    "top_p": 0.5,
    "seed": 7,
    "max_tokens": 9,
    "stop": ["x"],
    "reasoning_effort": "high",
    "user": "u",
}
NAMES = ["temperature", "top_p", "seed", "stop", "reasoning_effort", "user", "max_completion_tokens"]


async def test_of_each_parameter_that_a_model_does_not_take_one_more_once_in_the_process(autojump_clock: Clock) -> None:
    async with world({"first": [*map(refusing, NAMES), answer("ok")]}) as (router, provider):
        first = await sent(router, provider, "alone", OPTIONS)
        assert first.total() <= 1 + len(NAMES)
        assert await sent(router, provider, "alone", OPTIONS) == {"first": 1}


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value"])
@pytest.mark.parametrize(
    "name", [*NAMES, "thinking.budget_tokens", "thinkingConfig", "response_format", "odd", "messages"]
)
async def test_a_model_that_never_stops_refusing_a_parameter_is_asked_twice(
    name: str, code: str, autojump_clock: Clock
) -> None:
    async with world({"first": [refusing(name, code)], "second": [refusing(name, code)]}) as (router, provider):
        with trio.fail_after(60):
            found = await sent(router, provider, "chain", {**OPTIONS, "response_format": SCHEMA})
    assert max(found.values()) <= 2


async def test_an_answer_that_does_not_fit_its_schema_is_asked_for_once_more(autojump_clock: Clock) -> None:
    async with world({"first": [answer("no")]}) as (router, provider):
        assert await sent(router, provider, "alone", {"response_format": SCHEMA}) == {"first": 2}
    async with world({"first": [REFUSED, status(500), answer("no"), REFUSED, status(500)]}) as (router, provider):
        found = await sent(router, provider, "alone", {"response_format": SCHEMA})
        assert found.total() <= 2 * 4
