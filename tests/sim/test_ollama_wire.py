"""Ollama's wire format, the provider's side, without a server."""

from pathlib import Path

import msgspec
import pytest

from llmring.sim import ollama_dialect as dialect
from llmring.sim import ollama_wire as wire
from llmring.sim.reply import answer
from llmring.sim.wire import Problem, Rejected

_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"properties": {}, "required": []}}}


def _body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "llama-sim", "messages": [{"role": "user", "content": "hello"}], **fields})


def _lines(**fields: object) -> list[dict[str, object]]:
    ask = wire.read({}, _body(**fields))
    script = wire.script(ask, answer(ask, 3, 2))
    stream = b"".join((script.opening, *script.chunks, script.ending, script.terminator))
    return [msgspec.json.decode(line) for line in stream.splitlines()]


def test_a_request_streams_unless_it_says_no() -> None:
    assert wire.read({}, _body()).stream
    assert not wire.read({}, _body(stream=False)).stream


def test_a_stream_is_lines_of_thinking_then_text_then_why_it_finished() -> None:
    lines = _lines(think=True)
    messages = [line["message"] for line in lines]
    assert [message.get("thinking") for message in messages] == ["thin", "king", None, None, None, None]  # type: ignore[attr-defined]
    assert [message["content"] for message in messages] == ["", "", "echo", ": he", "llo ", ""]  # type: ignore[index]
    assert [line["done"] for line in lines] == [False] * 5 + [True]
    assert (lines[-1]["done_reason"], lines[-1]["eval_count"]) == ("stop", 5)


def test_a_call_is_whole_in_one_line_and_finishes_with_stop() -> None:
    call, last = _lines(tools=[_TOOL])
    function = call["message"]["tool_calls"][0]["function"]  # type: ignore[index]
    assert function == {"index": 0, "name": "weather", "arguments": {}}
    assert last["done_reason"] == "stop"


@pytest.mark.parametrize("form", ["json", {"type": "object", "properties": {"a": {}}, "required": ["a"]}])
def test_a_format_is_answered_in_json(form: object) -> None:
    ask = wire.read({}, _body(format=form, stream=False))
    content = msgspec.json.decode(wire.whole(ask, answer(ask, 8)))["message"]["content"]
    assert len(msgspec.json.decode(content)) == 1


def test_num_predict_ends_a_reply_unless_it_is_negative() -> None:
    assert wire.read({}, _body(options={"num_predict": 3})).max_tokens == 3
    assert wire.read({}, _body(options={"num_predict": -1})).max_tokens is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": ""}, "model is required"),
        ({"format": "yaml"}, "invalid format"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "Expected `str`"),
        ({"messages": [{"role": "user", "content": "", "images": ["data:image/png;base64,AA"]}]}, "illegal base64"),
    ],
)
def test_a_wrong_request_is_a_400_whose_error_is_text(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Rejected) as raised:
        wire.read({}, _body(**fields))
    failure = dialect.failure(raised.value.problem)
    assert failure.status == 400 and said in msgspec.json.decode(failure.body)["error"]


def test_a_parameter_is_refused_as_what_a_model_does_not_support() -> None:
    failure = dialect.failure(Problem(kind="unsupported_parameter", model="m", parameter="think"))
    assert msgspec.json.decode(failure.body) == {"error": '"m" does not support thinking'}


def test_a_key_is_optional() -> None:
    assert dialect.key({}) == dialect.LOCAL_KEY
    assert dialect.key({b"authorization": b"Bearer k"}) == "k"


def _recorded(folder: Path, name: str) -> dict[str, dict[str, object]]:
    value = msgspec.json.decode((folder / "ollama" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ["chat", "chat_thinking"])
def test_a_reply_has_the_shape_of_a_recorded_one(recorded: Path, name: str) -> None:
    exchange = _recorded(recorded, name)
    request = exchange["request"]["body"]
    assert isinstance(request, dict)
    ask = wire.read({}, msgspec.json.encode({**request, "think": name == "chat_thinking"}))
    ours = msgspec.json.decode(wire.whole(ask, answer(ask, 8, 4)))
    assert _shape(ours) == _shape(exchange["response"]["body"])


def test_lines_have_the_shape_of_recorded_ones(recorded: Path) -> None:
    exchange = _recorded(recorded, "chat_stream")
    theirs = [msgspec.json.decode(line) for line in str(exchange["response"]["text"]).splitlines() if line]
    ask = wire.read({}, msgspec.json.encode(exchange["request"]["body"]))
    script = wire.script(ask, answer(ask, 3))
    assert _shape(msgspec.json.decode(script.chunks[0])) == _shape(theirs[0])
    assert _shape(msgspec.json.decode(script.ending)) == _shape(theirs[-1])


def test_an_unknown_model_is_the_recorded_error(recorded: Path) -> None:
    theirs = _recorded(recorded, "error_404_model")["response"]
    failure = dialect.failure(Problem(kind="unknown_model", model="nonexistent-model:latest"))
    assert (failure.status, msgspec.json.decode(failure.body)) == (theirs["status"], theirs["body"])
