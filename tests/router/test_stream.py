"""Streams on virtual time: failover before the first text, and what happens after it."""

import pytest
import trio
import trio.testing

from llmring.errors import AllModelsFailed, AttemptTimeout, StreamBroken, TransportBroken
from llmring.router.streaming import ChatStream
from llmring.testing import Step, answer, cut, hang, status
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock


async def read_all(stream: ChatStream, read: list[str]) -> None:
    async with stream:
        async for chunk in stream:
            read.append(chunk.content)  # noqa: PERF401 - a comprehension would lose what came before an error


@pytest.mark.parametrize("model", ["openai:first", "anthropic:second"])
async def test_text_comes_as_it_is_sent_and_the_last_chunk_has_usage_and_cost(
    autojump_clock: Clock, model: str
) -> None:
    step = answer("Hel", "lo", each=0.5, input_tokens=7, output_tokens=3)
    async with world({"first": [step], "second": [step]}) as (router, _provider), router.stream(model, "hi") as stream:
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.content for chunk in chunks) == "Hello"
        assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]
        assert chunks[-1].usage is not None
        assert (chunks[-1].usage.total_input_tokens, chunks[-1].usage.total_output_tokens) == (7, 3)
        assert chunks[-1].cost is not None
        assert stream.response is not None
        assert (stream.response.content, str(stream.response.model)) == ("Hello", model)


@pytest.mark.parametrize(
    "step",
    [status(500), status(429, retry_after=9), cut(), cut(ending="unfinished"), status(200, error={"message": "x"})],
)
async def test_a_failure_before_the_first_text_is_not_seen(autojump_clock: Clock, step: Step) -> None:
    async with world({"first": [step], "second": [answer("saved")]}) as (router, _provider):
        async with router.stream("chain", "hi") as stream:
            chunks = [chunk async for chunk in stream]
        assert chunks[0].content == "saved"
        assert str(chunks[0].model) == "anthropic:second"


@pytest.mark.parametrize("ending", ["broken", "unfinished"])
async def test_a_stream_cut_after_its_first_text_is_an_error_with_the_text_so_far(
    autojump_clock: Clock, ending: str
) -> None:
    step = cut("par", "tial", ending=ending)  # type: ignore[arg-type]
    async with world({"first": [step], "second": [answer("never")]}) as (router, provider):
        read: list[str] = []
        with pytest.raises(StreamBroken) as caught:
            await read_all(router.stream("chain", "hi"), read)
        assert "".join(read) == caught.value.partial == "partial"
        assert isinstance(caught.value.cause, TransportBroken)
        assert provider.times("second") == []


async def test_a_cut_stream_begins_again_elsewhere_when_asked_to(autojump_clock: Clock) -> None:
    async with world({"first": [cut("par")], "second": [answer("whole")]}) as (router, _provider):
        async with router.stream("chain", "hi", on_break="restart") as stream:
            chunks = [chunk async for chunk in stream]
        assert [(chunk.content, chunk.restarted) for chunk in chunks] == [
            ("par", False),
            ("", True),
            ("whole", False),
            ("", False),
        ]
        assert stream.response is not None
        assert stream.response.content == "whole"
        assert [attempt.outcome.split(":")[0] for attempt in stream.response.attempts] == [
            "TransportBroken",
            "answered",
        ]


async def test_silence_inside_a_stream_ends_it_after_two_minutes(autojump_clock: Clock) -> None:
    async with world({"first": [cut("par", ending="silent")]}) as (router, _provider):
        start = trio.current_time()
        with pytest.raises(StreamBroken) as caught:
            await read_all(router.stream("alone", "hi"), [])
        assert isinstance(caught.value.cause, AttemptTimeout)
        assert trio.current_time() - start == 120.0


async def test_no_first_text_in_time_moves_on(autojump_clock: Clock) -> None:
    async with world({"first": [hang()], "second": [answer("saved")]}) as (router, _provider):
        start = trio.current_time()
        async with router.stream("chain", "hi") as stream:
            assert (await anext(stream)).content == "saved"
        assert trio.current_time() - start == 300.0


async def test_a_timeout_bounds_the_whole_stream(autojump_clock: Clock) -> None:
    slow = answer(*["word "] * 100, each=1)
    async with world({"first": [slow]}) as (router, _provider):
        start = trio.current_time()
        with pytest.raises(StreamBroken):
            await read_all(router.stream("alone", "hi", timeout=10), [])
        assert trio.current_time() - start == 10.0


async def test_leaving_a_stream_closes_its_connection_and_frees_its_place(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world({"first": [answer("a", "b", "c", each=1)]}, text) as (router, provider):
        for _ in range(3):
            async with router.stream("alone", "hi") as stream:
                await anext(stream)
            assert (provider.in_flight, provider.connections) == (0, 0)
        assert router.dispatcher.routes("alone", None)[0].credential.in_flight == 0


async def test_streams_fail_as_calls_do(autojump_clock: Clock) -> None:
    async with world({"first": [status(500)], "second": [status(500)]}) as (router, _provider):
        with pytest.raises(AllModelsFailed):
            await read_all(router.stream("chain", "hi"), [])


async def test_a_stream_that_breaks_before_anything_was_handed_out_moves_on(autojump_clock: Clock) -> None:
    """Longer ago than a stream is held back for its first text."""
    script = {"first": [cut("", "", "", each=1.5)], "second": [answer("ok")]}
    async with world(script) as (router, _), router.stream("chain", "hi") as stream:
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.content for chunk in chunks) == "ok"
    assert not any(chunk.restarted for chunk in chunks)


@pytest.mark.parametrize(
    ("model", "first", "between"),
    [("openai:gpt-4o", 60.0, 30.0), ("openai:gpt-5", 300.0, 120.0), ("anthropic:claude-opus-4-5", 60.0, 30.0)],
)
async def test_a_model_that_does_not_reason_is_waited_for_less(
    autojump_clock: Clock, model: str, first: float, between: float
) -> None:
    text = CHAIN.replace('models = ["openai:first"]', f'models = ["{model}"]')
    script = {model.partition(":")[2]: [cut("a", ending="silent"), hang()]}
    async with world(script, text) as (router, _):
        start = trio.current_time()
        with pytest.raises(StreamBroken):
            await read_all(router.stream("alone", "hi"), [])
        assert trio.current_time() - start == between
        with pytest.raises(AllModelsFailed) as caught:
            await read_all(router.stream("alone", "hi"), [])
    assert caught.value.attempts[0].took_seconds == first
