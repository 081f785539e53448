"""The official Gemini client against the simulator.

The clients are Any here, because they are optional and take plain tables.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmring.sim.process import Simulator

genai = pytest.importorskip("google.genai")
pydantic = pytest.importorskip("pydantic")
types = pytest.importorskip("google.genai.types")
errors = pytest.importorskip("google.genai.errors")

_WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)


_City = pydantic.create_model("City", name=(str, ...), people=(int, ...))


@pytest.fixture(params=["v1", "v1beta"])
def client(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    options = types.HttpOptions(base_url=simulator.google_url(), api_version=request.param, timeout=20_000)
    with genai.Client(api_key=f"key-of-{request.node.nodeid}", http_options=options) as one:
        yield one


def test_content_is_whole_and_streamed_alike(client: Any) -> None:
    whole = client.models.generate_content(model="gemini-3-sim", contents="hello there")
    chunks = list(client.models.generate_content_stream(model="gemini-3-sim", contents="hello there"))
    assert whole.text == "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason == "STOP"
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert whole.usage_metadata.total_token_count == 19


@pytest.mark.parametrize("model", ["gemini-2.5-sim", "gemini-3-sim"])
def test_a_tool_round_trip_replays_its_signature(client: Any, model: str) -> None:
    config = types.GenerateContentConfig(tools=[_WEATHER], thinking_config=types.ThinkingConfig(include_thoughts=True))
    asked = types.Content(role="user", parts=[types.Part(text="the weather?")])
    called = client.models.generate_content(model=model, contents=[asked], config=config)
    turn = called.candidates[0].content
    thought, part = turn.parts
    assert thought.thought and part.thought_signature
    assert (part.function_call.name, part.function_call.args) == ("weather", {"city": "text"})
    answered = types.FunctionResponse(id=part.function_call.id, name="weather", response={"result": "sunny"})
    result = types.Content(role="user", parts=[types.Part(function_response=answered)])
    final = client.models.generate_content(model=model, contents=[asked, turn, result], config=config)
    assert final.text.startswith("echo: the weather?")
    assert final.usage_metadata.thoughts_token_count == 12
    part.thought_signature = b"forged"
    with pytest.raises(errors.ClientError, match="Corrupted thought signature"):
        client.models.generate_content(model=model, contents=[asked, turn, result], config=config)


def test_a_chat_calls_functions_by_itself(client: Any) -> None:
    called: list[str] = []

    def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return "sunny"

    chat = client.chats.create(model="gemini-3-sim", config=types.GenerateContentConfig(tools=[weather]))
    assert chat.send_message("the weather?").text.startswith("echo") and called == ["text"]


def test_structured_output_is_parsed(client: Any) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=_City)
    parsed = client.models.generate_content(model="gemini-3-sim", contents="a city", config=config)
    assert parsed.parsed == _City(name="text", people=1)


def test_errors_are_the_clients_own(client: Any) -> None:
    for model, code in (("missing", 404), ("m+status_429", 429), ("m+context", 400)):
        with pytest.raises(errors.ClientError) as raised:
            client.models.generate_content(model=model, contents="x")
        assert raised.value.code == code
    with pytest.raises(errors.ServerError):
        client.models.generate_content(model="m+status_503", contents="x")


def test_embeddings_models_files_caches_and_counts(client: Any) -> None:
    embedded = client.models.embed_content(
        model="e", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=8)
    )
    assert all(len(one.values) == 8 for one in embedded.embeddings)
    listed = [model.name for model in client.models.list(config={"page_size": 1})]
    assert "models/gemini-3-sim" in listed and len(listed) == 3
    assert client.models.count_tokens(model="gemini-3-sim", contents="12345678").total_tokens == 2
    file = client.files.upload(file=io.BytesIO(b"abc"), config={"mime_type": "text/plain"})
    asked = client.models.generate_content(model="gemini-3-sim", contents=["what is it", file])
    assert asked.text.startswith("echo: what is it")
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError):
        client.files.get(name=file.name)


def test_an_explicit_cache_is_read(client: Any) -> None:
    cache = client.caches.create(model="gemini-3-sim", config={"contents": "x " * 4000, "ttl": "300s"})
    config = types.GenerateContentConfig(cached_content=cache.name)
    usage = client.models.generate_content(model="gemini-3-sim", contents="x", config=config).usage_metadata
    assert usage.cached_content_token_count == cache.usage_metadata.total_token_count == 2000


def _row(key: str) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "hello there"}], "role": "user"}], "metadata": {"my_key": key}}


def test_a_batch_of_requests_is_made_polled_listed_and_read(client: Any) -> None:
    rows = [_row("a"), _row("wrong") | {"config": {"max_output_tokens": -1}}, _row("b")]
    made = client.batches.create(model="gemini-3-sim", src=rows, config={"display_name": "run-1"})
    assert (made.state, made.display_name, made.dest) == ("JOB_STATE_PENDING", "run-1", None)
    ended = client.batches.get(name=made.name)
    assert ended.done and ended.state == "JOB_STATE_SUCCEEDED"
    first, wrong, last = ended.dest.inlined_responses
    online = client.models.generate_content(model="gemini-3-sim", contents="hello there")
    assert first.response.text == last.response.text == online.text
    assert first.response.usage_metadata == online.usage_metadata
    assert [one.metadata for one in (first, wrong, last)] == [{"my_key": key} for key in ("a", "wrong", "b")]
    assert wrong.response is None and wrong.error.code == 3
    assert [one.name for one in client.batches.list(config={"page_size": 1})] == [made.name]
    client.batches.delete(name=made.name)
    with pytest.raises(errors.ClientError):
        client.batches.get(name=made.name)


def test_a_batch_of_a_file_has_its_results_in_a_file(client: Any) -> None:
    row = {"key": "a", "request": {"contents": [{"parts": [{"text": "hello there"}]}]}}
    file = client.files.upload(file=io.BytesIO(json.dumps(row).encode()), config={"mime_type": "application/jsonl"})
    made = client.batches.create(model="gemini-3-sim", src=file.name, config={"display_name": "run-1"})
    ended = client.batches.get(name=made.name)
    line = json.loads(client.files.download(file=ended.dest.file_name))
    assert line["key"] == "a" and line["response"]["usageMetadata"]["totalTokenCount"] == 19
    with pytest.raises(errors.ClientError, match="Only generated files"):
        client.files.download(file=file.name)


def test_a_batch_is_cancelled(simulator: Simulator) -> None:
    options = types.HttpOptions(base_url=simulator.google_url("cancelling"), timeout=20_000)
    with genai.Client(api_key="key-of-cancelling", http_options=options) as slow:
        made = slow.batches.create(model="gemini-3-sim", src=[_row("a")], config={"display_name": "run-1"})
        slow.batches.cancel(name=made.name)
        while not slow.batches.get(name=made.name).done:
            pass
        assert slow.batches.get(name=made.name).state == "JOB_STATE_CANCELLED"
