"""Every wire format, from `router.chat` to the simulator and back, over real sockets: one spelling for all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from llmring.chat import ChatResponse, Message, Tool
from llmring.errors import ContextTooLong, Unsupported
from llmring.lockfile import parse_lockfile
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.faults import Fault
from llmring.sim.process import Simulator, open_simulator

PROVIDERS = ("chat", "responses", "anthropic", "google", "ollama", "local")

MODELS = {
    "chat": "chat:gpt-4.1",
    "responses": "responses:gpt-5.1",
    "anthropic": "anthropic:claude-sonnet-4-6",
    "google": "google:gemini-3-flash",
    "ollama": "ollama:llama3.3",
    "compatible": "local:qwen3",
}
FORMATS = tuple(MODELS)
REASONING = tuple(name for name in FORMATS if name not in ("chat", "compatible"))

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}, "people": {"type": "integer"}},
    "required": ["city"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
WEATHER = Tool(name="weather", description="The weather of a city", parameters={**SCHEMA, "required": ["city"]})
CLOCK = Tool(name="clock")
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def lockfile(simulator: Simulator) -> str:
    return f"""
        [providers.chat]
        kind = "openai"
        base_url = "{simulator.openai_url("chat")}"
        api_key_env = "SIM_KEY"

        [providers.responses]
        kind = "openai"
        base_url = "{simulator.openai_url("responses")}"
        api_key_env = "SIM_KEY"

        [providers.anthropic]
        base_url = "{simulator.anthropic_url("anthropic")}"
        api_key_env = "SIM_KEY"

        [providers.google]
        base_url = "{simulator.google_url("google")}"
        api_key_env = "SIM_KEY"

        [providers.ollama]
        base_url = "{simulator.ollama_url("ollama")}"
        api_key_env = "SIM_KEY"

        [providers.local]
        kind = "openai-compatible"
        base_url = "{simulator.openai_url("local")}"
        api_key_env = "SIM_KEY"

        [[profiles.default.bindings]]
        alias = "all"
        models = {list(MODELS.values())}

        [[profiles.default.bindings]]
        alias = "back"
        models = {list(reversed(MODELS.values()))}
    """


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "sim-key")
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)


@asynccontextmanager
async def simulated() -> AsyncGenerator[tuple[Router, Simulator]]:
    config = SimConfig(providers={name: ProviderConfig() for name in PROVIDERS})
    async with (
        open_simulator(config) as simulator,
        open_router(parse_lockfile(lockfile(simulator), Path("sim.lock"))) as router,
    ):
        yield router, simulator


async def add_fault(simulator: Simulator, provider: str, fault: Fault) -> None:
    async with httpx2.AsyncClient() as client:
        body = {"provider": provider, "fault": {"kind": fault.kind, "count": fault.count or 1}}
        if fault.parameters:
            body["fault"]["parameters"] = list(fault.parameters)  # type: ignore[index]
        (await client.post(f"{simulator.url}/__control", json=body)).raise_for_status()


async def test_an_answer_whole_and_streamed() -> None:
    async with simulated() as (router, _):
        for name, model in MODELS.items():
            whole = await router.chat(model, "hello there", system="Be brief.", max_tokens=100, timeout=20)
            assert whole.content.startswith("echo: hello there"), name
            assert whole.finish_reason == "stop", name
            assert whole.usage is not None and whole.usage.total_output_tokens > 0, name
            async with router.stream(model, "hello there", system="Be brief.", max_tokens=100, timeout=20) as stream:
                text = "".join([chunk.content async for chunk in stream])
            assert stream.response is not None
            assert (text, stream.response.content) == (whole.content, whole.content), name
            assert stream.response.finish_reason == "stop", name
            assert stream.response.usage == whole.usage, name


async def conversation(router: Router, model: str, *, streamed: bool, **options: Any) -> list[ChatResponse]:
    """A call of a tool, its result, and the answer to that."""
    messages: list[Message] = [Message(role="user", content="the weather?")]
    responses = [await once(router, model, messages, streamed=streamed, **options)]
    first = responses[0]
    assert [call.name for call in first.tool_calls] == ["weather"], model
    assert first.finish_reason == "tool_calls", model
    results = [Message(role="tool", tool_call_id=call.id, content="sunny") for call in first.tool_calls]
    responses.append(await once(router, model, [*messages, first.message, *results], streamed=streamed, **options))
    assert responses[1].content, model
    assert responses[1].finish_reason == "stop", model
    return responses


async def once(router: Router, model: str, messages: list[Message], *, streamed: bool, **options: Any) -> ChatResponse:
    if not streamed:
        return await router.chat(model, messages, tools=[WEATHER, CLOCK], timeout=20, **options)
    async with router.stream(model, messages, tools=[WEATHER, CLOCK], timeout=20, **options) as stream:
        async for _ in stream:
            pass
    assert stream.response is not None
    return stream.response


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_answered(streamed: bool) -> None:
    async with simulated() as (router, _):
        for model in MODELS.values():
            await conversation(router, model, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_is_shown_and_replayed_with_the_results_of_tools(streamed: bool) -> None:
    """The simulator refuses, as the providers do, a turn whose signatures it did not issue."""
    async with simulated() as (router, _):
        for name in REASONING:
            first, _ = await conversation(
                router, MODELS[name], streamed=streamed, reasoning_effort="low", show_reasoning=True
            )
            assert first.reasoning, name
            assert first.usage is not None, name
            # Ollama counts its thoughts among the output.
            assert name == "ollama" or first.usage.reasoning_tokens > 0, name


async def test_a_conversation_with_signatures_moves_to_another_provider() -> None:
    async with simulated() as (router, _):
        for name in REASONING:
            for other in FORMATS:
                messages = [Message(role="user", content="the weather?")]
                options: dict[str, Any] = {"reasoning_effort": "low"}
                first = await once(router, MODELS[name], messages, streamed=False, **options)
                result = Message(role="tool", tool_call_id=first.tool_calls[0].id, content="sunny")
                told = [*messages, first.message, result]
                final = await once(router, MODELS[other], told, streamed=False)
                assert final.content, (name, other)


async def test_a_choice_of_tools() -> None:
    async with simulated() as (router, _):
        for name, model in MODELS.items():
            if name == "ollama":
                continue  # its format has no choice
            named = await router.chat(model, "hm", tools=[WEATHER, CLOCK], tool_choice={"name": "clock"}, timeout=20)
            assert [call.name for call in named.tool_calls] == ["clock"], name
            none = await router.chat(model, "hm", tools=[WEATHER, CLOCK], tool_choice="none", timeout=20)
            assert none.tool_calls == (), name
            both = await router.chat(model, "use all tools", tools=[WEATHER, CLOCK], tool_choice="required", timeout=20)
            assert [call.name for call in both.tool_calls] == ["weather", "clock"], name


async def test_an_answer_that_fits_a_schema() -> None:
    async with simulated() as (router, _):
        for name, model in MODELS.items():
            response = await router.chat(model, "a city", response_format=FORMAT, timeout=20)
            assert response.parsed is not None, (name, response.content, response.notes)
            assert response.parsed.keys() <= {"city", "people"}, name
            async with router.stream(model, "a city", response_format=FORMAT, timeout=20) as stream:
                text = "".join([chunk.content async for chunk in stream])
            assert stream.response is not None
            assert stream.response.parsed == response.parsed, name
            assert text == stream.response.content, name


async def test_json_without_a_schema() -> None:
    async with simulated() as (router, _):
        for name, model in MODELS.items():
            response = await router.chat(model, "anything, in JSON", response_format="json", timeout=20)
            if name != "anthropic":  # asked for in the prompt alone, which the simulator does not obey
                assert isinstance(response.parsed, dict), (name, response.content)


async def test_an_image_and_a_document() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}
    async with simulated() as (router, _):
        for name, model in MODELS.items():
            seen = await router.chat(
                model, [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}], timeout=20
            )
            assert seen.content, name
            if name != "ollama":  # its format has no documents
                read = await router.chat(model, [{"role": "user", "content": ["what?", pdf]}], timeout=20)
                assert read.content, name


async def test_a_registered_file_is_uploaded_once_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.4\nfirst")
    async with simulated() as (router, _):
        file_id = router.register_file(path)
        for name, model in MODELS.items():
            if name == "ollama":
                continue
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(_ask_about, router, model, file_id)
        info = router.registered_files()[0]
        assert info.providers == ("anthropic", "chat", "google", "responses")
        path.write_bytes(b"%PDF-1.4\nanother, longer one")
        await _ask_about(router, MODELS["anthropic"], file_id)
        assert await router.deregister_file(file_id)
        assert router.registered_files() == ()
        assert not await router.deregister_file(file_id)


async def _ask_about(router: Router, model: str, file_id: str) -> None:
    response = await router.chat(model, "what is in it?", files=[file_id], timeout=20)
    assert response.content


@pytest.mark.parametrize("model", ["chat:text-embedding-sim", "google:embedding-sim", "ollama:embedding-sim"])
async def test_vectors_come_in_the_order_of_their_texts(model: str) -> None:
    texts = [f"text number {number}" for number in range(250)]
    async with simulated() as (router, _):
        many = await router.embed(model, texts, timeout=20)
        alone = await router.embed(model, [texts[137]], timeout=20)
    assert len(many.vectors) == 250
    assert many.vectors[137] == pytest.approx(alone.vectors[0], abs=1e-6)
    assert len({vector[:4] for vector in many.vectors}) == 250
    assert str(many.model) == model


async def test_a_provider_without_embeddings_says_so() -> None:
    async with simulated() as (router, _):
        with pytest.raises(Exception, match="anthropic has no embeddings"):
            await router.embed("anthropic:claude", ["x"], timeout=20)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_lists_its_models(provider: str) -> None:
    async with simulated() as (router, _):
        models = await router.live_models(provider)
    assert models
    assert all(model.id and not model.id.startswith("models/") for model in models)


async def test_a_parameter_that_is_refused_is_left_out() -> None:
    async with simulated() as (router, simulator):
        for name, model in MODELS.items():
            provider = model.partition(":")[0]
            wire = "topP" if name == "google" else "top_p"
            await add_fault(simulator, provider, Fault(kind="unsupported_parameter", parameters=(wire,), count=1))
            response = await router.chat(model, "hi", top_p=0.97, timeout=20)
            assert [note.parameter for note in response.notes] == ["top_p"], (name, response.notes)
            assert len([attempt for attempt in response.attempts if attempt.sent]) == 2, name


@pytest.mark.parametrize(
    "kind", ["cut", "error_in_stream", "status_503", "status_529", "malformed", "no_finish", "empty"]
)
async def test_every_fault_of_every_format_moves_on_to_the_next(kind: Any) -> None:
    async with simulated() as (router, simulator):
        for name, model in MODELS.items():
            provider = model.partition(":")[0]
            for other in PROVIDERS:
                if other != provider:
                    await add_fault(simulator, other, Fault(kind="status_500", count=20))
            await add_fault(simulator, provider, Fault(kind=kind, count=1))
            last = "back" if name == "chat" else "all"
            async with router.stream(last, "hello", on_break="restart", timeout=60) as stream:
                async for _ in stream:
                    pass
            assert stream.response is not None
            assert stream.response.content, (name, kind)
            break  # one provider is enough to see each kind; the formats' own tests see all


@pytest.mark.parametrize("name", FORMATS)
async def test_a_prompt_that_is_too_long_is_told(name: str) -> None:
    async with simulated() as (router, simulator):
        provider = MODELS[name].partition(":")[0]
        await add_fault(simulator, provider, Fault(kind="context", count=1))
        with pytest.raises(ContextTooLong):
            await router.chat(MODELS[name], "hello", timeout=20)


async def test_what_a_format_cannot_carry_is_named() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}
    async with simulated() as (router, _):
        for name in ("anthropic", "ollama"):
            with pytest.raises(Exception, match=r"audio|sound") as caught:
                await router.chat(MODELS[name], [{"role": "user", "content": [sound]}], timeout=20)
            assert isinstance(caught.value.attempts[0].error, Unsupported), name  # type: ignore[attr-defined]
