"""The official OpenAI client against the simulator: chat completions, Responses, embeddings, models, files.

The clients are Any here, because they are optional and take plain tables.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from llmring.sim.process import Simulator

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")

_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _PARAMETERS, "strict": True}}
_TOOL = {"type": "function", "name": "weather", "parameters": _PARAMETERS, "strict": True}


_City = pydantic.create_model("City", name=(str, ...), people=(int, ...))


@pytest.fixture
def client(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    key = f"key-of-{request.node.nodeid}"
    with openai.OpenAI(base_url=simulator.openai_url(), api_key=key, max_retries=0, timeout=20) as one:
        yield one


def test_chat_answers_whole_and_streamed_alike(client: Any) -> None:
    messages = [{"role": "user", "content": "hello there"}]
    whole = client.chat.completions.create(model="gpt-sim", messages=messages)
    chunks = list(
        client.chat.completions.create(
            model="gpt-sim", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert whole.choices[0].message.content == streamed
    assert whole.choices[0].message.content.startswith("echo: hello there")
    assert chunks[-1].usage == whole.usage and whole.usage.total_tokens == 19


def test_chat_makes_a_tool_round_trip(client: Any) -> None:
    messages = [{"role": "user", "content": "the weather?"}]
    called = client.chat.completions.create(model="gpt-sim", messages=messages, tools=[_CHAT_TOOL])
    turn = called.choices[0].message
    call = turn.tool_calls[0]
    assert called.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, msgspec.json.decode(call.function.arguments)) == ("weather", {"city": "text"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    told = [*messages, turn.model_dump(exclude_none=True), result]
    final = client.chat.completions.create(model="gpt-sim", messages=told, tools=[_CHAT_TOOL])
    assert final.choices[0].finish_reason == "stop" and final.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="must be followed by tool messages"):
        client.chat.completions.create(model="gpt-sim", messages=told[:-1])


def test_chat_streams_a_call(client: Any) -> None:
    messages = [{"role": "user", "content": "the weather?"}]
    with client.chat.completions.stream(model="gpt-sim", messages=messages, tools=[_CHAT_TOOL]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments == {"city": "text"}


def test_chat_parses_structured_output(client: Any) -> None:
    messages = [{"role": "user", "content": "a city"}]
    parsed = client.chat.completions.parse(model="gpt-sim", messages=messages, response_format=_City)
    assert parsed.choices[0].message.parsed == _City(name="text", people=1)


def test_chat_counts_reasoning_it_does_not_show(client: Any) -> None:
    messages = [{"role": "user", "content": "hm"}]
    usage = client.chat.completions.create(model="gpt-sim", messages=messages, reasoning_effort="low").usage
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (28, 12)


def test_a_response_is_whole_and_streamed_alike(client: Any) -> None:
    whole = client.responses.create(model="gpt-sim", input="hello there")
    with client.responses.stream(model="gpt-sim", input="hello there") as stream:
        streamed = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert whole.output_text == streamed == final.output_text
    assert whole.usage == final.usage and whole.usage.total_tokens == 19
    with client.responses.create(model="gpt-sim", input="hello there", stream=True) as events:
        assert [event.type for event in events][-1] == "response.completed"


def test_a_response_makes_a_tool_round_trip_with_its_encrypted_reasoning(client: Any) -> None:
    asked = {"role": "user", "content": "the weather?"}
    wanted = {
        "model": "gpt-sim",
        "tools": [_TOOL],
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    called = client.responses.create(input=[asked], **wanted)
    thought, call = called.output
    assert thought.summary[0].text.startswith("thinking about") and thought.encrypted_content
    assert (call.name, msgspec.json.decode(call.arguments)) == ("weather", {"city": "text"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    told = [asked, *[item.model_dump(exclude_none=True) for item in called.output], result]
    final = client.responses.create(input=told, **wanted)
    assert final.output_text.startswith("echo") and final.usage.output_tokens_details.reasoning_tokens == 12
    told[1]["encrypted_content"] = "gAAAAABforged"
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(input=told, **wanted)
    assert raised.value.code == "invalid_encrypted_content"


def test_a_response_is_continued_by_its_id(client: Any) -> None:
    first = client.responses.create(model="gpt-sim", input="the weather?", tools=[_TOOL])
    result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "sunny"}
    final = client.responses.create(model="gpt-sim", input=[result], previous_response_id=first.id)
    assert final.output_text and client.responses.retrieve(final.id).output_text == final.output_text


def test_a_response_parses_structured_output(client: Any) -> None:
    parsed = client.responses.parse(model="gpt-sim", input="a city", text_format=_City)
    assert parsed.output_parsed == _City(name="text", people=1)


def test_a_response_that_is_cut_says_so(client: Any) -> None:
    cut = client.responses.create(model="gpt-sim", input="x", max_output_tokens=16, reasoning={"effort": "low"})
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_rate_limit_is_the_clients_own_error(client: Any) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        client.responses.create(model="m+status_429", input="x")
    assert raised.value.response.headers["retry-after"] == "1"


def test_an_error_inside_a_stream_is_raised(client: Any) -> None:
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="m+error_in_stream", messages=messages, stream=True))


def test_embeddings_models_and_files(client: Any) -> None:
    embedded = client.embeddings.create(model="e", input=["a", "b"], dimensions=8)
    assert [len(one.embedding) for one in embedded.data] == [8, 8]
    assert "gpt-sim" in [model.id for model in client.models.list()]
    file = client.files.create(file=("a.txt", b"abc"), purpose="user_data")
    assert client.files.content(file.id).content == b"abc" and client.files.delete(file.id).deleted


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
def test_a_batch_is_made_polled_listed_and_read(client: Any, endpoint: str) -> None:
    asked: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello there"}]},
        "/v1/responses": {"input": "hello there"},
        "/v1/embeddings": {"input": "hello there", "dimensions": 4},
    }
    body = {"model": "gpt-sim", **asked[endpoint]}
    rows = [{"custom_id": f"row-{at}", "method": "POST", "url": endpoint, "body": body} for at in range(3)]
    file = client.files.create(file=("rows.jsonl", b"\n".join(map(msgspec.json.encode, rows))), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"run": "one"}
    )
    assert (made.status, made.request_counts.total, made.output_file_id) == ("validating", 0, None)
    ended = client.batches.retrieve(made.id)
    assert (ended.status, ended.model, ended.metadata) == ("completed", "gpt-sim", {"run": "one"})
    assert (ended.request_counts.total, ended.request_counts.completed, ended.error_file_id) == (3, 3, None)
    lines = [msgspec.json.decode(line) for line in client.files.content(ended.output_file_id).text.splitlines()]
    assert sorted(line["custom_id"] for line in lines) == ["row-0", "row-1", "row-2"]
    assert ended.usage.input_tokens == 9
    if endpoint == "/v1/chat/completions":
        online = client.chat.completions.create(**body).choices[0].message.content
        assert lines[0]["response"]["body"]["choices"][0]["message"]["content"] == online
    assert [one.id for one in client.batches.list(limit=1)] == [made.id]
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a batch with status 'completed'"):
        client.batches.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_a_batch_is_cancelled(simulator: Simulator, client: Any) -> None:
    slow = client.with_options(base_url=simulator.openai_url("cancelling"))
    body = {"model": "gpt-sim", "input": "hello there"}
    row = {"custom_id": "row", "method": "POST", "url": "/v1/responses", "body": body}
    file = slow.files.create(file=("rows.jsonl", msgspec.json.encode(row)), purpose="batch")
    made = slow.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    assert slow.batches.cancel(made.id).status == "cancelling"
    while slow.batches.retrieve(made.id).status == "cancelling":
        pass
    ended = slow.batches.retrieve(made.id)
    assert ended.status == "cancelled" and ended.cancelled_at is not None
    assert "batch_cancelled" in slow.files.content(ended.error_file_id).text
