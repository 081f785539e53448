"""The router against the simulator, over real sockets: two wire formats, every fault, and the limits at full load."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from bench import pool
from llmring.chat import Message, NamedTool, Tool
from llmring.errors import AllModelsFailed, AuthFailed, ContextTooLong, ModelGone, QuotaExhausted
from llmring.lockfile import parse_lockfile
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.faults import Fault
from llmring.sim.latency import Lognormal
from llmring.sim.process import Simulator, open_simulator

WEATHER = Tool(
    name="weather",
    description="The weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "sim-key")
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)


@asynccontextmanager
async def simulated(
    openai: ProviderConfig = ProviderConfig(),  # noqa: B008 - frozen
    anthropic: ProviderConfig = ProviderConfig(),  # noqa: B008 - frozen
    *,
    bindings: str = "",
    settings: str = "",
) -> AsyncGenerator[tuple[Router, Simulator]]:
    async with open_simulator(SimConfig(providers={"openai": openai, "anthropic": anthropic})) as simulator:
        text = f"""
            [providers.openai]
            base_url = "{simulator.openai_url("openai")}"
            api_key_env = "SIM_KEY"
            {settings}

            [providers.anthropic]
            base_url = "{simulator.anthropic_url("anthropic")}"
            api_key_env = "SIM_KEY"
            {bindings}
        """
        async with open_router(parse_lockfile(text, Path("sim.lock"))) as router:
            yield router, simulator


async def stats(simulator: Simulator, provider: str, model: str) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        answer = (await client.get(f"{simulator.url}/__stats")).json()
    (models,) = [key["models"] for key in answer["providers"][provider]["keys"].values()]
    counts: dict[str, Any] = models[model]
    return counts


MODELS = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]


@pytest.mark.parametrize("model", MODELS)
async def test_a_call_and_its_stream_say_the_same_and_cost_what_the_registry_says(model: str) -> None:
    async with simulated() as (router, _simulator):
        response = await router.chat(model, "tell me something", system="be brief", temperature=0.0, max_tokens=200)
        async with router.stream(model, "tell me something", system="be brief", max_tokens=200) as stream:
            text = "".join([chunk.content async for chunk in stream])
        assert text == response.content != ""
        assert stream.response is not None
        for answer in (response, stream.response):
            assert answer.finish_reason == "stop"
            assert str(answer.model) == model
            assert answer.usage == response.usage is not None
            assert answer.cost.status == "priced"
        prices = router.catalog.prices(response.model)
        assert prices is not None and prices.input is not None and prices.output is not None
        assert response.usage is not None and response.cost.usd is not None
        million = Decimal(1_000_000)
        assert response.cost.usd == (
            response.usage.total_input_tokens * prices.input / million
            + response.usage.total_output_tokens * prices.output / million
        )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_tool_is_called_and_its_result_is_answered(model: str, is_streamed: bool) -> None:
    async with simulated() as (router, _simulator):
        prompt = [Message(role="user", content="use weather for Rome")]
        if is_streamed:
            async with router.stream(model, prompt, tools=[WEATHER], tool_choice=NamedTool(name="weather")) as stream:
                chunks = [chunk async for chunk in stream]
            first = stream.response
            assert first is not None
            assert chunks[-1].tool_calls == first.tool_calls
        else:
            first = await router.chat(model, prompt, tools=[WEATHER], tool_choice="required")
        assert first.finish_reason == "tool_calls"
        (call,) = first.tool_calls
        assert call.name == "weather"
        assert "city" in call.arguments
        turn = Message(role="assistant", tool_calls=(call,))
        result = Message(role="tool", content="sunny", tool_call_id=call.id)
        second = await router.chat(model, [*prompt, turn, result], tools=[WEATHER])
        assert (second.finish_reason, second.tool_calls) == ("stop", ())


SEEN_AT_ONCE = [
    "status_500",
    "status_503",
    "status_529",
    "reset",
    "empty",
    "html_502",
    "status_429",
    "hang",
]
SEEN_IN_WHOLE_REPLIES = ["cut", "malformed"]
SEEN_LATER_IN_STREAMS = ["cut", "malformed", "error_in_stream", "no_finish"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", SEEN_AT_ONCE + SEEN_IN_WHOLE_REPLIES)
async def test_whatever_a_provider_does_the_next_one_answers(provider: str, fault: str) -> None:
    backup = MODELS[1] if provider == "openai" else MODELS[0]
    bindings = f'[[profiles.default.bindings]]\nalias = "chain"\nmodels = ["{provider}:fault-{fault}", "{backup}"]'
    async with simulated(bindings=bindings) as (router, simulator):
        response = await router.chat("chain", "hello", timeout=4)
        assert str(response.model) == backup
        assert response.attempts[0].error is not None
        if fault in SEEN_AT_ONCE:
            async with router.stream("chain", "hello", timeout=4) as stream:
                assert "".join([chunk.content async for chunk in stream]) == response.content
        assert (await stats(simulator, provider, f"fault-{fault}"))["in_flight"] == 0


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", SEEN_LATER_IN_STREAMS)
async def test_a_stream_that_breaks_begins_again_on_the_next_model(provider: str, fault: str) -> None:
    backup = MODELS[1] if provider == "openai" else MODELS[0]
    bindings = f'[[profiles.default.bindings]]\nalias = "chain"\nmodels = ["{provider}:fault-{fault}", "{backup}"]'
    async with simulated(bindings=bindings) as (router, _simulator):
        async with router.stream("chain", "hello", on_break="restart", timeout=10) as stream:
            text = ""
            async for chunk in stream:
                text = "" if chunk.restarted else text + chunk.content
        assert stream.response is not None
        assert str(stream.response.model) == backup
        assert stream.response.content == text != ""


async def test_a_slow_drip_is_read_to_its_end() -> None:
    drip = ProviderConfig(faults=(Fault(kind="drip", seconds=0.05),))
    async with simulated(drip) as (router, _simulator), router.stream("openai:gpt-4o-mini", "hello") as stream:
        chunks = [chunk async for chunk in stream]
    assert len(chunks) > 5
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_refusals_are_told_apart(provider: str) -> None:
    async with simulated() as (router, _simulator):
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat(f"{provider}:missing-model", "hello")
        assert isinstance(caught.value.attempts[0].error, ModelGone)
        with pytest.raises(ContextTooLong):
            await router.chat(f"{provider}:fault-context", "hello")
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat(f"{provider}:fault-insufficient_quota", "hello")
        assert isinstance(caught.value.attempts[0].error, QuotaExhausted)


async def test_a_wrong_key_is_told_and_not_shown() -> None:
    async with simulated(ProviderConfig(keys=("another",))) as (router, _simulator):
        with pytest.raises(AuthFailed) as caught:
            await router.chat("openai:gpt-4o-mini", "hello")
        assert "sim-key" not in str(caught.value)


async def test_nobody_listening_is_a_reason_to_move_on() -> None:
    bindings = """
        [providers.gone]
        kind = "openai"
        base_url = "http://127.0.0.1:9/v1"

        [[profiles.default.bindings]]
        alias = "chain"
        models = ["gone:model", "openai:gpt-4o-mini"]
    """
    async with simulated(bindings=bindings) as (router, _simulator):
        assert str((await router.chat("chain", "hello")).model) == "openai:gpt-4o-mini"


async def test_a_cancelled_call_is_closed_at_the_provider() -> None:
    async with simulated() as (router, simulator):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.chat, "openai:fault-hang", "hello")
            await _until_in_flight(simulator, 1)
            nursery.cancel_scope.cancel()
        await _until_in_flight(simulator, 0)
        assert (await stats(simulator, "openai", "fault-hang"))["cancelled"] == 1


async def _until_in_flight(simulator: Simulator, wanted: int) -> None:
    """Ask the other process again and again: it cannot set an event here."""
    in_flight = None
    with trio.fail_after(10):
        while in_flight != wanted:
            await trio.sleep(0.01)
            with suppress(KeyError):  # nothing has come yet
                in_flight = (await stats(simulator, "openai", "fault-hang"))["in_flight"]


LIMIT, ROWS = 500, 2000


async def test_two_thousand_requests_at_four_times_the_limit_are_paced_not_refused() -> None:
    """500 a minute, offered as fast as the window takes them: once known from the lockfile, once learned from headers.

    The bound: 500 at once, the other 1,500 at 500 a minute. Two providers side by side, to take three minutes once.
    """
    provider = ProviderConfig(requests_per_minute=LIMIT, latency=Lognormal(median=0.2, sigma=0.4), seed=7)
    settings = f"requests_per_minute = {LIMIT}"
    async with simulated(provider, provider, settings=settings) as (router, simulator):
        async with trio.open_nursery() as nursery:
            for model in MODELS:
                nursery.start_soon(_all_rows_are_answered, router, model)
        for model in MODELS:
            counts = await stats(simulator, *model.split(":"))
            assert counts["statuses"]["200"] == ROWS
            assert counts["statuses"].get("429", 0) < 0.005 * ROWS
            least_seconds = (ROWS - LIMIT) / (LIMIT / 60)
            assert least_seconds / (counts["last_at"] - counts["first_at"]) >= 0.95


async def _all_rows_are_answered(router: Router, model: str) -> None:
    async with router.map(model, (f"row {number}" for number in range(ROWS))) as run:
        answered = [row.index async for row in run if row.ok]
    assert sorted(answered) == list(range(ROWS))


async def test_three_providers_are_used_together_and_one_that_was_down_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `python -m bench.pool`, in a minute: how the run begins and ends weighs more, so a little less is asked."""
    monkeypatch.setenv(pool.KEY_VARIABLE, "bench")
    outcome = await pool.measure(minutes=1.2)
    assert outcome.lost == 0
    assert outcome.refused < pool.REFUSED
    assert outcome.used >= 0.95


async def test_a_stream_that_thinks_in_silence_is_waited_for() -> None:
    """Longer than a stream is held back for its first text; over a socket, whose reading must not be cancelled."""

    async def think(stream: trio.SocketStream) -> None:
        data = b""
        while b'"stream"' not in data:
            data += await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await stream.send_all(head + b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n')
        await trio.sleep(2.5)
        await stream.send_all(b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n')
        await stream.send_all(b"data: [DONE]\n\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, think, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        text = f'[providers.openai]\nbase_url = "http://127.0.0.1:{port}/v1"\napi_key_env = "SIM_KEY"\n'
        lockfile = parse_lockfile(text, Path("x.lock"))
        async with open_router(lockfile) as router, router.stream("openai:gpt-4o-mini", "hello") as answer:
            chunks = [chunk.content async for chunk in answer]
        nursery.cancel_scope.cancel()
    assert "".join(chunks) == "b"
