"""OpenAI's wire format, the provider's side, without a server."""

import re
from pathlib import Path

import msgspec
import pytest

from llmring.sim import openai_dialect as dialect
from llmring.sim import openai_wire as wire
from llmring.sim.limits import Dimension, Level
from llmring.sim.reply import answer
from llmring.sim.wire import Problem, Rejected

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def _body(**fields: object) -> bytes:
    basic = {"model": "gpt-sim", "messages": [{"role": "user", "content": "hello"}]}
    return msgspec.json.encode({**basic, **fields})


def _events(stream: bytes) -> list[object]:
    events = stream.split(b"\n\n")
    assert events.pop() == b""
    datas = [event.removeprefix(b"data: ") for event in events]
    return [data if data == b"[DONE]" else msgspec.json.decode(data) for data in datas]


def _stream(**fields: object) -> list[object]:
    ask = wire.read({}, _body(stream=True, **fields))
    script = wire.script(ask, answer(ask, 3))
    return _events(b"".join((script.opening, *script.chunks, script.ending, script.terminator)))


def _rejection(body: bytes) -> tuple[int, dict[str, object]]:
    with pytest.raises(Rejected) as raised:
        wire.read({}, body)
    failure = dialect.failure(raised.value.problem)
    return failure.status, msgspec.json.decode(failure.body)["error"]


def test_the_estimate_is_a_quarter_of_the_characters_of_all_messages() -> None:
    messages = [
        {"role": "system", "content": "12345"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "1234"}, {"type": "image_url", "image_url": {}}]},
    ]
    ask = wire.read({}, _body(messages=messages))
    assert (ask.input_tokens, ask.prompt) == (3, "1234")


def test_max_completion_tokens_comes_before_max_tokens() -> None:
    assert wire.read({}, _body(max_tokens=5, max_completion_tokens=7)).max_tokens == 7
    assert wire.read({}, _body(max_tokens=5)).max_tokens == 5


def test_a_stop_is_a_text_or_a_list() -> None:
    assert wire.read({}, _body(stop="x")).stops == ("x",)
    assert wire.read({}, _body(stop=["x", "y"])).stops == ("x", "y")


def test_a_named_tool_choice_is_read() -> None:
    ask = wire.read({}, _body(tools=[_TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}))
    assert (ask.tool_choice, ask.named_tool) == ("named", "weather")


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"{", "We could not parse the JSON body"),
        (b'{"messages":[{"role":"user","content":"x"}]}', "Missing required parameter: 'model'."),
        (b'{"model":"m"}', "Missing required parameter: 'messages'."),
        (b'{"model":"m","messages":[]}', "Missing required parameter: 'messages'."),
        (b'{"model":"m","messages":"hello"}', "Invalid type: "),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}', "at least 1"),
    ],
)
def test_a_wrong_request_is_a_400_of_the_real_shape(body: bytes, part: str) -> None:
    status, error = _rejection(body)
    assert status == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and part in str(error["message"])


def test_a_stream_says_its_role_then_content_then_why_it_finished() -> None:
    *chunks, done = _stream()
    choices = [chunk["choices"][0] for chunk in chunks if isinstance(chunk, dict)]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [choice["delta"].get("content") for choice in choices[1:-1]] == ["echo", ": he", "llo "]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, None, "stop"]
    assert done == b"[DONE]"


def test_usage_comes_last_in_a_stream_and_only_when_asked_for() -> None:
    assert all("usage" not in event for event in _stream() if isinstance(event, dict))
    *chunks, last, _ = _stream(stream_options={"include_usage": True})
    assert isinstance(last, dict)
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 5
    assert all(isinstance(chunk, dict) and chunk["usage"] is None for chunk in chunks)


def test_a_streamed_call_names_itself_once_and_its_fragments_join_to_json() -> None:
    *chunks, _ = _stream(tools=[_TOOL, {**_TOOL, "function": {"name": "clock"}}], tool_choice="required")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if isinstance(chunk, dict)]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "weather", "arguments": ""} and calls[0]["type"] == "function"
    assert all(set(call) == {"index", "function"} for call in calls[1:])
    assert msgspec.json.decode("".join(call["function"]["arguments"] for call in calls)) == {"city": "text"}


def test_a_broken_event_is_not_json() -> None:
    ask = wire.read({}, _body(stream=True))
    data = wire.script(ask, answer(ask, 3)).broken.removeprefix(b"data: ")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(data)


def test_limit_headers_keep_the_recorded_arithmetic() -> None:
    levels: dict[Dimension, Level] = {
        "requests": Level(limit=500, remaining=499.0, full_in_seconds=0.12),
        "tokens": Level(limit=200_000, remaining=199_996.3, full_in_seconds=0.00111),
    }
    assert dict(dialect.limit_headers(levels)) == {
        b"x-ratelimit-limit-requests": b"500",
        b"x-ratelimit-remaining-requests": b"499",
        b"x-ratelimit-reset-requests": b"120ms",
        b"x-ratelimit-limit-tokens": b"200000",
        b"x-ratelimit-remaining-tokens": b"199996",
        b"x-ratelimit-reset-tokens": b"2ms",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (66.779, "1m6.779s"),
        (360.0, "6m0s"),
        (3600.0, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert dialect.go_duration(seconds) == text


def _recorded(folder: Path, name: str) -> dict[str, dict[str, object]]:
    value = msgspec.json.decode((folder / "openai" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def _shape(value: object) -> object:
    """Names only: of objects, and of the first element of lists."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ["chat_plain", "chat_tool_call"])
def test_a_reply_has_the_shape_of_a_recorded_one(recorded: Path, name: str) -> None:
    exchange = _recorded(recorded, name)
    request = exchange["request"]["body"]
    assert isinstance(request, dict)
    ask = wire.read({}, msgspec.json.encode({**request, "tool_choice": "required"}))
    ours = msgspec.json.decode(wire.whole(ask, answer(ask, 8)))
    assert _shape(ours) == _shape(exchange["response"]["body"])


def test_a_stream_has_the_shape_of_a_recorded_one(recorded: Path) -> None:
    exchange = _recorded(recorded, "chat_stream_usage_length")
    theirs = _events(str(exchange["response"]["text"]).encode())
    ask = wire.read({}, msgspec.json.encode(exchange["request"]["body"]))
    script = wire.script(ask, answer(ask, 200))
    ours = _events(b"".join((script.opening, script.ending, script.terminator)))
    for event in theirs[:-1]:
        assert isinstance(event, dict)
        # Padding against traffic analysis, sent unless switched off.
        del event["obfuscation"]
    assert [_shape(event) for event in ours] == [_shape(event) for event in theirs]
    assert ours[-1] == theirs[-1]


def test_errors_are_those_recorded(recorded: Path) -> None:
    quota = dialect.failure(Problem(kind="insufficient_quota"))
    model = dialect.failure(Problem(kind="unknown_model", model="this-model-does-not-exist"))
    key = dialect.failure(Problem(kind="bad_key", detail="invalid-key"))
    context = dialect.failure(Problem(kind="context", requested_tokens=9))
    for ours, name in (
        (quota, "responses_error_429_insufficient_quota"),
        (model, "error_404_model"),
        (key, "responses_error_401"),
    ):
        response = _recorded(recorded, name)["response"]
        assert (ours.status, msgspec.json.decode(ours.body)) == (response["status"], response["body"])
    theirs = _recorded(recorded, "responses_error_400_context")["response"]
    assert context.status == theirs["status"]
    assert msgspec.json.decode(context.body)["error"]["code"] == "context_length_exceeded"


def test_recorded_limit_headers_have_the_names_and_forms_of_ours(recorded: Path) -> None:
    headers = _recorded(recorded, "chat_plain")["response"]["headers"]
    assert isinstance(headers, dict)
    level = Level(limit=9, remaining=8.0, full_in_seconds=70.5)
    ours = dict(dialect.limit_headers({"requests": level, "tokens": level}))
    assert {name.decode() for name in ours} == {name for name in headers if name.startswith("x-ratelimit-")}
    for name in ours:
        assert re.fullmatch(r"\d+|([\d.]+(ms|s|m|h))+", headers[name.decode()])
