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
