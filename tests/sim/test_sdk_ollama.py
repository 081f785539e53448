"""The official Ollama client against the simulator.

The clients are Any here, because they are optional and take plain tables.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from llmring.sim.process import Simulator

ollama = pytest.importorskip("ollama")
pydantic = pytest.importorskip("pydantic")

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_HELLO = {"role": "user", "content": "hello there"}


_City = pydantic.create_model("City", name=(str, ...), people=(int, ...))


@pytest.fixture
def client(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    headers = {"authorization": f"Bearer key-of-{request.node.nodeid}"}
    with ollama.Client(host=simulator.ollama_url(), headers=headers, timeout=20) as one:
        yield one


def test_a_chat_is_whole_and_streamed_alike(client: Any) -> None:
    whole = client.chat(model="llama-sim", messages=[_HELLO])
    lines = list(client.chat(model="llama-sim", messages=[_HELLO], stream=True))
    assert whole.message.content == "".join(line.message.content for line in lines)
    assert lines[-1].done_reason == whole.done_reason == "stop"
    assert (whole.prompt_eval_count, whole.eval_count) == (3, 16)


def test_thinking_is_apart_from_the_content(client: Any) -> None:
    whole = client.chat(model="llama-sim", messages=[_HELLO], think=True)
    lines = list(client.chat(model="llama-sim", messages=[_HELLO], think=True, stream=True))
    assert whole.message.thinking.startswith("thinking about") and whole.eval_count == 28
    assert whole.message.thinking == "".join(line.message.thinking or "" for line in lines)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_round_trip(client: Any, stream: bool) -> None:
    if stream:
        turn = next(iter(client.chat(model="llama-sim", messages=[_HELLO], tools=[_TOOL], stream=True))).message
    else:
        turn = client.chat(model="llama-sim", messages=[_HELLO], tools=[_TOOL]).message
    call = turn.tool_calls[0].function
    assert (call.name, call.arguments) == ("weather", {"city": "text"})
    result = {"role": "tool", "tool_name": "weather", "content": "sunny"}
    final = client.chat(model="llama-sim", messages=[_HELLO, turn, result], tools=[_TOOL])
    assert final.message.content.startswith("echo: hello there") and not final.message.tool_calls


def test_structured_output_satisfies_its_schema(client: Any) -> None:
    answered = client.chat(model="llama-sim", messages=[_HELLO], format=_City.model_json_schema())
    assert _City.model_validate_json(answered.message.content) == _City(name="text", people=1)


def test_errors_are_the_clients_own(client: Any) -> None:
    for model, status in (("missing", 404), ("m+status_503", 503), ("m+status_429", 429)):
        with pytest.raises(ollama.ResponseError) as raised:
            client.chat(model=model, messages=[_HELLO])
        assert raised.value.status_code == status
    with pytest.raises(ollama.ResponseError, match="terminated"):
        list(client.chat(model="m+error_in_stream", messages=[_HELLO], stream=True))


def test_embeddings_and_models(client: Any) -> None:
    assert [len(one) for one in client.embed(model="e", input=["a", "b"], dimensions=8).embeddings] == [8, 8]
    assert [model.model for model in client.list().models] == ["llama-sim:latest", "embed-sim:latest"]
    assert "tools" in client.show("llama-sim").capabilities
