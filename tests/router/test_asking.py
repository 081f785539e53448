"""Answers that do not fit what was asked: schemas, parameters that a model does not take, prompts that are too long."""

import re
from typing import Any

import msgspec
import pytest

from llmring.chat import JSONObject, Message, NativeTurn
from llmring.errors import AllModelsFailed, ContextTooLong, InvalidRequest, Unsupported
from llmring.refs import ModelRef
from llmring.testing import Step, answer, status
from tests.router.world import world

FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
GOOD, BAD = '{"name":"Ada"}', '{"nome":"Ada"}'


def refused(parameter: str) -> Step:
    error = {"message": "not taken", "type": "invalid_request_error", "code": "unsupported_parameter"}
    return status(400, error={**error, "param": parameter})


# Schemas.


async def test_an_answer_that_fits_is_parsed_and_asked_for_once() -> None:
    async with world({"first": [answer(GOOD)]}) as (router, provider):
        response = await router.chat("alone", "who?", response_format=FORMAT)
    assert response.parsed == {"name": "Ada"}
    assert response.notes == ()
    assert len(provider.calls) == 1


async def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    script = {"first": [answer(BAD, input_tokens=10, output_tokens=5), answer(GOOD, input_tokens=30, output_tokens=4)]}
    async with world(script) as (router, provider):
        response = await router.chat("alone", "who?", response_format=FORMAT)
    assert response.parsed == {"name": "Ada"}
    assert response.content == GOOD
    assert response.alias == "alone"
    assert [str(note) for note in response.notes] == [
        'response_format changed: asked twice, for at first the answer does not fit the schema: $: required ["name"]'
    ]
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (40, 9)
    assert [attempt.outcome for attempt in response.attempts] == ["answered", "answered"]
    second = provider.calls[1].body["messages"]
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[1]["content"] == BAD


@pytest.mark.parametrize("second", [answer(BAD), status(400), status(500)])
async def test_what_was_paid_for_is_given_when_asking_again_does_not_help(second: Step) -> None:
    async with world({"first": [answer(BAD), second]}) as (router, _):
        response = await router.chat("alone", "who?", response_format=FORMAT)
    assert response.parsed is None
    assert response.content == BAD
    assert "does not fit" in str(response.notes)


async def test_a_row_of_a_map_is_asked_for_once_more_too() -> None:
    async with world({"first": [answer(BAD), answer(GOOD)]}) as (router, _):
        rows = await router.map("alone", ["who?"], response_format=FORMAT).to_list()
    assert rows[0].response is not None
    assert rows[0].response.parsed == {"name": "Ada"}


async def test_a_stream_is_read_but_not_asked_for_again() -> None:
    async with (
        world({"first": [answer(BAD[:5], BAD[5:])]}) as (router, provider),
        router.stream("alone", "who?", response_format=FORMAT) as stream,
    ):
        text = "".join([chunk.content async for chunk in stream])
    assert text == BAD
    assert stream.response is not None
    assert "does not fit" in str(stream.response.notes)
    assert len(provider.calls) == 1


async def test_the_last_chunk_holds_the_value() -> None:
    async with (
        world({"first": [answer(GOOD)]}) as (router, _),
        router.stream("alone", "who?", response_format=FORMAT) as stream,
    ):
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].parsed == {"name": "Ada"}


async def test_what_is_no_schema_is_refused_before_anything_is_sent() -> None:
    wrong: JSONObject = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "robot"}}}
    async with world({"first": [answer(GOOD)]}) as (router, provider):
        with pytest.raises(InvalidRequest, match="not valid JSON schema"):
            await router.chat("alone", "who?", response_format=wrong)
    assert provider.calls == []


# Parameters.


async def test_a_parameter_that_a_model_refuses_is_left_out_and_remembered() -> None:
    async with world({"first": [refused("temperature"), answer("hi")]}) as (router, provider):
        first = await router.chat("alone", "hello", temperature=0.5, seed=7)
        second = await router.chat("alone", "hello", temperature=0.5)
    assert [("temperature" in call.body, "seed" in call.body) for call in provider.calls] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert [str(note) for note in first.notes] == ["temperature dropped: the model does not take it"]
    assert first.notes == second.notes
    assert [attempt.sent for attempt in first.attempts] == [True, True]
    assert len(second.attempts) == 1


async def test_what_is_refused_is_left_out_of_streams_too() -> None:
    async with (
        world({"first": [refused("stream_options"), answer("hi")]}) as (router, provider),
        router.stream("alone", "hello") as stream,
    ):
        assert [chunk.content async for chunk in stream] == ["hi", ""]
    assert ["stream_options" in call.body for call in provider.calls] == [True, False]


async def test_with_strict_params_the_next_model_is_asked_instead() -> None:
    async with world({"first": [refused("temperature")], "second": [answer("hi")]}) as (router, provider):
        response = await router.chat("chain", "hello", temperature=0.5, strict_params=True)
    assert str(response.model) == "anthropic:second"
    assert [call.model for call in provider.calls] == ["first", "second"]


async def test_with_strict_params_nothing_is_sent_that_the_format_cannot_say() -> None:
    async with world({"second": [answer("hi")]}) as (router, provider):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("anthropic:second", "hello", seed=7, strict_params=True)
    assert isinstance(caught.value.attempts[0].error, Unsupported)
    assert "seed dropped" in str(caught.value)
    assert provider.calls == []


async def test_with_strict_params_what_a_codec_would_drop_is_refused_too() -> None:
    async with world({"second": [answer("hi")]}) as (router, provider):
        loose = await router.chat("anthropic:second", "hello", stop=["x", " "])
        with pytest.raises(AllModelsFailed, match="strict_params is set: stop dropped"):
            await router.chat("anthropic:second", "hello", stop=["x", " "], strict_params=True)
    assert loose.content == "hi"
    assert len(provider.calls) == 1


@pytest.mark.parametrize("parameter", ["messages", "model", "top_p", "no_such_thing"])
async def test_what_cannot_be_left_out_moves_on_to_the_next_model(parameter: str) -> None:
    async with world({"first": [refused(parameter)], "second": [answer("hi")]}) as (router, provider):
        response = await router.chat("chain", "hello", temperature=0.5)
    assert str(response.model) == "anthropic:second"
    assert [call.model for call in provider.calls] == ["first", "second"]


async def test_a_value_that_is_refused_is_left_out_this_once() -> None:
    wrong = status(400, error={"message": "no", "code": "unsupported_value", "param": "service_tier"})
    async with world({"first": [wrong, answer("hi")]}) as (router, provider):
        first = await router.chat("alone", "hello", service_tier="warp")
        await router.chat("alone", "hello", service_tier="flex")
    assert [call.body.get("service_tier") for call in provider.calls] == ["warp", None, "flex"]
    assert [str(note) for note in first.notes] == ["service_tier dropped: the model does not take this value"]


async def test_all_who_are_refused_together_are_asked_again(autojump_clock: object) -> None:
    slow = msgspec.structs.replace(refused("temperature"), after=1.0)
    async with world({"first": [slow, slow, answer("hi")]}) as (router, provider):
        rows = await router.map("alone", ["a", "b"], temperature=0.5).to_list()
    assert [row.response.content for row in rows if row.response] == ["hi", "hi"]
    assert len(provider.calls) == 4


async def test_a_wrong_option_of_a_map_is_told_at_once() -> None:
    async with world({"first": [answer("hi")]}) as (router, _):
        with pytest.raises(TypeError, match="no option 'temprature'"):
            router.map("alone", ["a"], temprature=0.5)  # type: ignore[call-arg]
        assert (await router.chat("alone", "still here")).content == "hi"


async def test_a_model_that_refuses_the_same_again_is_left() -> None:
    async with world({"first": [refused("temperature")], "second": [answer("hi")]}) as (router, provider):
        response = await router.chat("chain", "hello", temperature=0.5)
    assert str(response.model) == "anthropic:second"
    assert [call.model for call in provider.calls] == ["first", "first", "second"]


async def test_a_turn_that_is_not_taken_back_is_sent_in_our_spelling_this_once() -> None:
    first = ModelRef("openai", "first")
    native = NativeTurn(origin=first, format="openai-chat", items=({"role": "assistant", "content": "hm", "x": 1},))
    turns = [Message(role="user", content="a"), Message(role="assistant", content="hm", native=native)]
    prompt = [*turns, Message(role="user", content="b")]
    wrong = status(400, error={"message": "Corrupted thought signature.", "code": "invalid_value"})
    async with world({"first": [wrong, answer("hi")]}) as (router, provider):
        await router.chat("alone", prompt)
        await router.chat("alone", prompt)
    assert ["x" in call.body["messages"][1] for call in provider.calls] == [True, False, True]


# Context windows.

WINDOWS = """
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:gpt-4o", "openai:gpt-4o-mini", "openai:gpt-4.1"]

[providers.openai]
api_key_env = "TEST_KEY_A"
"""
TOO_LONG = status(400, error={"message": "too long", "code": "context_length_exceeded"})


async def test_a_prompt_that_is_too_long_moves_to_a_larger_model() -> None:
    script: dict[str, list[Step]] = {"gpt-4o": [TOO_LONG], "gpt-4o-mini": [], "gpt-4.1": [answer("hi")]}
    async with world(script, WINDOWS) as (router, provider):
        response = await router.chat("chain", "hello")
    assert str(response.model) == "openai:gpt-4.1"
    assert [call.model for call in provider.calls] == ["gpt-4o", "gpt-4.1"]
    assert "skipped: its context window is no larger" in str([a.outcome for a in response.attempts])


async def test_a_prompt_that_is_too_long_for_all_says_so() -> None:
    script = {"gpt-4o": [TOO_LONG], "gpt-4o-mini": [TOO_LONG], "gpt-4.1": [TOO_LONG]}
    async with world(script, WINDOWS) as (router, _):
        with pytest.raises(ContextTooLong):
            await router.chat("chain", "hello")


@pytest.mark.parametrize(
    ("words", "options", "problem"),
    [
        (10, {}, "None"),
        (300_000, {}, r"Estimated input tokens \(\d{6}\) exceeds model input limit \(128000\)"),
        (10, {"max_tokens": 20_000}, r"Requested max tokens \(20000\) exceeds model output limit \(16000\)"),
    ],
)
async def test_limits_are_checked_with_numbers(words: int, options: Any, problem: str) -> None:
    prompt = [Message(role="user", content="word " * words)]
    async with world({}, WINDOWS) as (router, _):
        found = router.validate_context_limit("chain", prompt, **options)
    assert re.fullmatch(problem, str(found))
