"""The official Anthropic client against the simulator.

The clients are Any here, because they are optional and take plain tables.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from llmring.sim.process import Simulator

anthropic = pytest.importorskip("anthropic")
pydantic = pytest.importorskip("pydantic")

_TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_HELLO = {"role": "user", "content": "hello there"}
_THINKING = {"type": "enabled", "budget_tokens": 1024}


_City = pydantic.create_model("City", name=(str, ...), people=(int, ...))


@pytest.fixture
def client(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    key = f"key-of-{request.node.nodeid}"
    with anthropic.Anthropic(base_url=simulator.anthropic_url(), api_key=key, max_retries=0, timeout=20) as one:
        yield one


def test_a_message_is_whole_and_streamed_alike(client: Any) -> None:
    whole = client.messages.create(model="claude-sim", max_tokens=100, messages=[_HELLO])
    with client.messages.stream(model="claude-sim", max_tokens=100, messages=[_HELLO]) as stream:
        streamed = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].text == streamed == final.content[0].text
    assert final.stop_reason == whole.stop_reason == "end_turn"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (3, 16)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_round_trip_with_thinking_replays_its_signature(client: Any, stream: bool) -> None:
    wanted = {"model": "claude-sim", "max_tokens": 2000, "tools": [_TOOL], "thinking": _THINKING}
    if stream:
        with client.messages.stream(messages=[_HELLO], **wanted) as one:
            called = one.get_final_message()
    else:
        called = client.messages.create(messages=[_HELLO], **wanted)
    thought, use = called.content
    assert thought.thinking.startswith("thinking about") and thought.signature
    assert (called.stop_reason, use.name, use.input) == ("tool_use", "weather", {"city": "text"})
    assert called.usage.output_tokens_details.thinking_tokens == 12
    blocks = [block.model_dump(exclude_none=True) for block in called.content]
    turn = {"role": "assistant", "content": blocks}
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    told = [_HELLO, turn, {"role": "user", "content": [result]}]
    final = client.messages.create(messages=told, **wanted)
    assert (final.stop_reason, final.content[-1].type) == ("end_turn", "text")
    blocks[0]["signature"] = "forged"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        client.messages.create(messages=told, **wanted)
    del blocks[0]
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`"):
        client.messages.create(messages=told, **wanted)


def test_structured_output_is_parsed(client: Any) -> None:
    parsed = client.messages.parse(model="claude-sim", max_tokens=100, messages=[_HELLO], output_format=_City)
    assert parsed.parsed_output == _City(name="text", people=1)


def test_cached_prompts_are_told_by_lifetime(client: Any) -> None:
    system = [{"type": "text", "text": "sdk" * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    first, second = (
        client.messages.create(model="claude-sim", max_tokens=10, messages=[_HELLO], system=system).usage
        for _ in range(2)
    )
    assert first.cache_creation.ephemeral_1h_input_tokens == second.cache_read_input_tokens == 3000


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="m+status_429", max_tokens=10, messages=[_HELLO])
    with pytest.raises(anthropic.NotFoundError, match="missing"):
        client.messages.create(model="missing", max_tokens=10, messages=[_HELLO])
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        client.messages.stream(model="m+error_in_stream", max_tokens=10, messages=[_HELLO]) as stream,
    ):
        stream.get_final_message()


def test_models_files_and_counts(client: Any) -> None:
    assert [model.id for model in client.models.list(limit=1)] == ["claude-sim", "claude-sim-mini"]
    assert client.messages.count_tokens(model="claude-sim", messages=[_HELLO]).input_tokens == 3
    file = client.beta.files.upload(file=("a.txt", b"abc", "text/plain"))
    assert client.beta.files.retrieve_metadata(file.id).size_bytes == 3
    assert client.beta.files.delete(file.id).type == "file_deleted"


def test_a_batch_is_made_polled_listed_read_and_deleted(client: Any) -> None:
    params = {"model": "claude-sim", "max_tokens": 100, "messages": [_HELLO]}
    wrong = {**params, "messages": []}
    rows = [{"custom_id": f"row-{at}", "params": params} for at in range(3)]
    made = client.messages.batches.create(requests=[*rows, {"custom_id": "wrong", "params": wrong}])
    assert (made.processing_status, made.request_counts.processing, made.results_url) == ("in_progress", 4, None)
    ended = client.messages.batches.retrieve(made.id)
    assert ended.processing_status == "ended" and ended.ended_at is not None
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (3, 1)
    results = {one.custom_id: one.result for one in client.messages.batches.results(made.id)}
    online = client.messages.create(**params)
    message = results["row-2"].message
    assert message.content == online.content and message.usage.output_tokens == online.usage.output_tokens
    assert message.usage.service_tier == "batch"
    assert results["wrong"].error.error.type == "invalid_request_error"
    assert [one.id for one in client.messages.batches.list(limit=1)] == [made.id]
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def test_a_batch_is_cancelled(simulator: Simulator, client: Any) -> None:
    slow = client.with_options(base_url=simulator.anthropic_url("cancelling"))
    params = {"model": "claude-sim", "max_tokens": 100, "messages": [_HELLO]}
    made = slow.messages.batches.create(requests=[{"custom_id": "row", "params": params}])
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        slow.messages.batches.results(made.id)
    cancelled = slow.messages.batches.cancel(made.id)
    assert cancelled.processing_status == "canceling" and cancelled.cancel_initiated_at is not None
    while slow.messages.batches.retrieve(made.id).processing_status != "ended":
        pass
    assert [one.result.type for one in slow.messages.batches.results(made.id)] == ["canceled"]
    assert slow.messages.batches.retrieve(made.id).request_counts.canceled == 1


def test_a_wrong_list_of_requests_is_refused_at_once(client: Any) -> None:
    params = {"model": "claude-sim", "max_tokens": 100, "messages": [_HELLO]}
    for names in (["a b"], ["same", "same"], []):
        with pytest.raises(anthropic.BadRequestError, match="requests"):
            client.messages.batches.create(requests=[{"custom_id": name, "params": params} for name in names])
