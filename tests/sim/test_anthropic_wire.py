"""Anthropic's wire format, the provider's side, without a server."""

import re
from pathlib import Path

import msgspec
import pytest

from llmring.sim import anthropic_dialect as dialect
from llmring.sim import anthropic_wire as wire
from llmring.sim.limits import Dimension, Level
from llmring.sim.reply import answer
from llmring.sim.wire import Failure, Problem, Rejected

_VERSION = {b"anthropic-version": b"2023-06-01"}
_TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def _body(**fields: object) -> bytes:
    basic = {"model": "claude-sim", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    return msgspec.json.encode({**basic, **fields})


def _events(stream: bytes) -> list[tuple[str, dict[str, object]]]:
    """Name and data of each event; the name must be the type the data says."""
    events = []
    for event in stream.strip().split(b"\n\n"):
        name, data = event.split(b"\n", 1)
        value = msgspec.json.decode(data.removeprefix(b"data: "), type=dict[str, object])
        assert name == b"event: " + str(value["type"]).encode()
        events.append((str(value["type"]), value))
    return events


def _stream(**fields: object) -> list[tuple[str, dict[str, object]]]:
    ask = wire.read(_VERSION, _body(stream=True, **fields))
    script = wire.script(ask, answer(ask, 3))
    return _events(b"".join((script.opening, *script.chunks, script.ending, script.terminator)))


def _rejected(headers: dict[bytes, bytes], body: bytes) -> Failure:
    with pytest.raises(Rejected) as raised:
        wire.read(headers, body)
    return dialect.failure(raised.value.problem)


def test_the_estimate_counts_system_messages_and_tool_results() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1234"}]}
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": {}}
    messages = [
        {"role": "user", "content": "1234"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    ask = wire.read(_VERSION, _body(system=[{"type": "text", "text": "12345"}], messages=messages))
    assert (ask.input_tokens, ask.after_tool_result) == (4, True)


def test_an_api_key_comes_before_a_bearer_token() -> None:
    assert dialect.key({b"x-api-key": b"a", b"authorization": b"Bearer b"}) == "a"
    assert dialect.key({b"authorization": b"Bearer b"}) == "b"
    assert dialect.key({}) == ""


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        ({"type": "auto"}, ("auto", "", True)),
        ({"type": "any", "disable_parallel_tool_use": True}, ("required", "", False)),
        ({"type": "tool", "name": "weather"}, ("named", "weather", True)),
        ({"type": "none"}, ("none", "", True)),
    ],
)
def test_a_tool_choice_is_read(choice: dict[str, object], read: tuple[str, str, bool]) -> None:
    ask = wire.read(_VERSION, _body(tools=[_TOOL], tool_choice=choice))
    assert (ask.tool_choice, ask.named_tool, ask.parallel_tools) == read


@pytest.mark.parametrize(
    ("headers", "body", "part"),
    [
        ({}, _body(), "anthropic-version: header is required"),
        (_VERSION, b"{", "not valid JSON"),
        (_VERSION, _body(max_tokens=None), "max_tokens: Field required"),
        (_VERSION, _body(messages=None), "messages: Field required"),
        (_VERSION, _body(model=None), "model: Field required"),
        (_VERSION, _body(messages=[]), "at least one message"),
        (_VERSION, _body(max_tokens=0), "greater than or equal to 1"),
        (_VERSION, _body(messages=[{"role": "user"}]), "content"),
    ],
)
def test_a_wrong_request_is_a_400_of_the_real_shape(headers: dict[bytes, bytes], body: bytes, part: str) -> None:
    failure = _rejected(headers, body)
    value = msgspec.json.decode(failure.body)
    assert failure.status == 400
    assert set(value) == {"type", "error", "request_id"} and value["type"] == "error"
    assert value["error"]["type"] == "invalid_request_error" and part in value["error"]["message"]


def test_a_stream_goes_through_its_events_in_order() -> None:
    names = [name for name, _ in _stream()]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_stream_says_why_it_finished_and_what_it_cost_at_its_end() -> None:
    events = dict(_stream(max_tokens=2))
    delta = {"stop_reason": "max_tokens", "stop_sequence": None, "stop_details": None}
    assert events["message_delta"]["delta"] == delta
    usage = {"input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2}
    assert events["message_delta"]["usage"] == usage


def test_each_streamed_call_is_a_block_whose_fragments_join_to_json() -> None:
    clock = {"name": "clock", "input_schema": {"type": "object"}}
    messages = [{"role": "user", "content": "use weather, use clock"}]
    inputs: dict[object, str] = {}
    for name, event in _stream(tools=[_TOOL, clock], messages=messages):
        if name == "content_block_start":
            inputs[event["index"]] = ""
        if name == "content_block_delta":
            delta = event["delta"]
            assert isinstance(delta, dict)
            inputs[event["index"]] += delta["partial_json"]
    assert {index: msgspec.json.decode(text) for index, text in inputs.items()} == {0: {"city": "text"}, 1: {}}


def test_a_stop_sequence_is_told() -> None:
    ask = wire.read(_VERSION, _body(stop_sequences=["ell"]))
    value = msgspec.json.decode(wire.whole(ask, answer(ask, 8)))
    assert (value["stop_reason"], value["stop_sequence"]) == ("stop_sequence", "ell")
    assert value["content"] == [{"type": "text", "text": "echo: h"}]


def test_token_headers_are_rounded_to_thousands_and_tokens_is_the_sum() -> None:
    levels: dict[Dimension, Level] = {
        "requests": Level(limit=50, remaining=49.4, full_in_seconds=1.0),
        "input_tokens": Level(limit=50_000, remaining=48_600.0, full_in_seconds=2.0),
        "output_tokens": Level(limit=8_000, remaining=-20.0, full_in_seconds=61.0),
    }
    headers = {name.decode(): value.decode() for name, value in dialect.limit_headers(levels)}
    prefix = "anthropic-ratelimit"
    shown = {name: (headers[f"{prefix}-{name}-limit"], headers[f"{prefix}-{name}-remaining"]) for name in (
        "requests", "input-tokens", "output-tokens", "tokens"
    )}  # fmt: skip
    assert shown == {
        "requests": ("50", "49"),
        "input-tokens": ("50000", "49000"),
        "output-tokens": ("8000", "0"),
        "tokens": ("58000", "49000"),
    }
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
        for name, value in headers.items()
        if name.endswith("-reset")
    )


def _recorded(folder: Path, name: str) -> dict[str, dict[str, object]]:
    value = msgspec.json.decode((folder / "anthropic" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def _shape(value: object) -> object:
    """Names only: of objects, and of the first element of lists."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else None


def test_a_reply_has_the_shape_of_a_recorded_one(recorded: Path) -> None:
    exchange = _recorded(recorded, "plain")
    ask = wire.read(_VERSION, msgspec.json.encode(exchange["request"]["body"]))
    ours = msgspec.json.decode(wire.whole(ask, answer(ask, 8)))
    assert _shape(ours) == _shape(exchange["response"]["body"])


@pytest.mark.parametrize("name", ["stream", "stream_tool_use"])
def test_each_event_has_the_shape_of_a_recorded_one(recorded: Path, name: str) -> None:
    exchange = _recorded(recorded, name)
    request = exchange["request"]["body"]
    assert isinstance(request, dict)
    ask = wire.read(_VERSION, msgspec.json.encode({**request, "tool_choice": {"type": "any"}}))
    script = wire.script(ask, answer(ask, 3))
    ours = _events(b"".join((script.opening, *script.chunks, script.ending)))
    theirs = _events(str(exchange["response"]["text"]).encode())
    assert [name for name, _ in ours[:3]] == [name for name, _ in theirs[:3]]
    assert {name: _shape(event) for name, event in ours} == {name: _shape(event) for name, event in theirs}


def test_errors_are_those_recorded(recorded: Path) -> None:
    for ours, name in (
        (Problem(kind="bad_key"), "error_401"),
        (Problem(kind="unknown_model", model="claude-sonet-4-5"), "error_404_model"),
    ):
        response = _recorded(recorded, name)["response"]
        body, failure = response["body"], dialect.failure(ours)
        said = msgspec.json.decode(failure.body)
        assert isinstance(body, dict)
        assert (failure.status, said["error"], set(said)) == (response["status"], body["error"], set(body))
    context = msgspec.json.decode(dialect.failure(Problem(kind="context", requested_tokens=3333404)).body)
    assert re.fullmatch(r"prompt is too long: 3333404 tokens > \d+ maximum", context["error"]["message"])


def test_recorded_limit_headers_have_the_names_of_ours(recorded: Path) -> None:
    headers = _recorded(recorded, "plain")["response"]["headers"]
    assert isinstance(headers, dict)
    level = Level(limit=9000, remaining=8000.0, full_in_seconds=1.0)
    ours = dialect.limit_headers({"requests": level, "input_tokens": level, "output_tokens": level})
    assert {name.decode() for name, _ in ours} == {name for name in headers if "ratelimit" in name}
