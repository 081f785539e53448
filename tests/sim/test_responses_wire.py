"""OpenAI's Responses format, the provider's side, without a server."""

from pathlib import Path

import msgspec
import pytest

from llmring.sim import responses_dialect as dialect
from llmring.sim import responses_wire as wire
from llmring.sim.reply import answer
from llmring.sim.wire import Problem, Rejected

_TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
_CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
_RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


def _body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "gpt-sim", "input": "hello", **fields})


def _whole(**fields: object) -> dict[str, object]:
    ask = wire.read({}, _body(**fields))
    return msgspec.json.decode(wire.whole(ask, answer(ask, 8, 4)), type=dict[str, object])


def _events(stream: bytes) -> list[dict[str, object]]:
    """The data of each event; the name must be the type the data says."""
    events = []
    for event in stream.strip().split(b"\n\n"):
        name, data = event.split(b"\n", 1)
        value = msgspec.json.decode(data.removeprefix(b"data: "), type=dict[str, object])
        assert name == b"event: " + str(value["type"]).encode()
        events.append(value)
    return events


def _stream(**fields: object) -> list[dict[str, object]]:
    ask = wire.read({}, _body(stream=True, **fields))
    script = wire.script(ask, answer(ask, 2, 1))
    return _events(b"".join((script.opening, *script.chunks, script.ending, script.terminator)))


def _error(**fields: object) -> dict[str, object]:
    with pytest.raises(Rejected) as raised:
        wire.read({}, _body(**fields))
    failure = dialect.failure(raised.value.problem)
    assert failure.status == 400
    error = msgspec.json.decode(failure.body)["error"]
    assert isinstance(error, dict)
    return error


def test_a_text_streams_through_its_events_in_order() -> None:
    events = _stream(reasoning={"effort": "low", "summary": "auto"})
    assert [str(event["type"]).removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_streamed_call_is_an_item_whose_fragments_join_to_its_arguments() -> None:
    events = _stream(tools=[_TOOL])
    fragments = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    done = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    assert isinstance(done, dict)
    assert "".join(str(one) for one in fragments) == done["arguments"]
    assert events[-1]["response"]["output"] == [done]  # type: ignore[index]


def test_a_tool_is_strict_unless_it_says_no() -> None:
    strict, loose = _whole(tools=[_TOOL]), _whole(tools=[{**_TOOL, "strict": False}])
    assert [tool["strict"] for reply in (strict, loose) for tool in reply["tools"]] == [True, False]  # type: ignore[attr-defined]
    given = [reply["output"][0]["arguments"] for reply in (strict, loose)]  # type: ignore[index]
    assert given == ['{"city":"text","days":1}', '{"city":"text"}']


def test_reasoning_is_in_the_usage_of_the_output() -> None:
    usage = _whole(reasoning={"effort": "low"})["usage"]
    assert isinstance(usage, dict)
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (12, {"reasoning_tokens": 4})


def test_a_reply_that_is_cut_is_incomplete() -> None:
    ask = wire.read({}, _body(max_output_tokens=16))
    value = msgspec.json.decode(wire.whole(ask, answer(ask, 20)))
    assert (value["status"], value["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert wire.script(ask, answer(ask, 20)).ending.count(b"event: response.incomplete") == 1


def test_a_reply_schema_is_answered_in_json() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "name": "answer", "schema": {**schema, "additionalProperties": False}}
    output = _whole(text={"format": form})["output"]
    assert output[0]["content"][0]["text"] == '{"ok":true}'  # type: ignore[index]


def test_encrypted_reasoning_comes_when_asked_for_and_is_verified_when_it_comes_back() -> None:
    output = _whole(reasoning={"effort": "low"}, include=["reasoning.encrypted_content"])["output"]
    assert isinstance(output, list)
    thought, message = output
    history = [{"role": "user", "content": "hello"}, thought, message]
    wire.read({}, _body(input=history))
    forged = {**thought, "encrypted_content": "gAAAAABforged"}
    assert _error(input=[forged, message])["code"] == "invalid_encrypted_content"
    assert "without its required following item" in str(_error(input=[thought])["message"])
    bare = {name: value for name, value in thought.items() if name != "encrypted_content"}
    assert wire.read({}, _body(input=[bare, message])).needed_replies


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"stop": ["x"]}, "stop", "unknown_parameter"),
        ({"max_tokens": 50}, "max_tokens", "unsupported_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
        ({"tools": [{**_TOOL, "strict": True}]}, "tools[0].parameters", "invalid_function_parameters"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}},
         "text.format.schema", "invalid_json_schema"),
        ({"text": {"format": {"type": "json_object"}}}, "input", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0]",
         "invalid_value"),
        ({"input": [_CALL]}, "input", "invalid_value"),
        ({"input": [_RESULT]}, "input", "invalid_value"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_a_400_that_names_its_field(fields: dict[str, object], param: str, code: str) -> None:
    error = _error(**fields)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


def test_a_result_may_answer_a_call_of_a_stored_reply() -> None:
    ask = wire.read({}, _body(input=[_RESULT], previous_response_id="resp_1"))
    assert (ask.previous, ask.after_tool_result) == ("resp_1", True)


def test_an_unknown_model_is_a_400() -> None:
    failure = dialect.failure(Problem(kind="unknown_model", model="x"))
    assert (failure.status, msgspec.json.decode(failure.body)["error"]["code"]) == (400, "model_not_found")


def _recorded(folder: Path, name: str) -> dict[str, dict[str, object]]:
    value = msgspec.json.decode((folder / "openai" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def _shape(value: object) -> object:
    """Names only: of objects, and of the first element of lists."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items() if name not in ("billing", "moderation")}
    return [_shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ["responses_plain", "responses_reasoning_tokens"])
def test_a_reply_has_the_shape_of_a_recorded_one(recorded: Path, name: str) -> None:
    exchange = _recorded(recorded, name)
    ask = wire.read({}, msgspec.json.encode(exchange["request"]["body"]))
    ours = msgspec.json.decode(wire.whole(ask, answer(ask, 8)))
    assert _shape(ours) == _shape(exchange["response"]["body"])


def test_events_have_the_order_and_the_shape_of_recorded_ones(recorded: Path) -> None:
    exchange = _recorded(recorded, "responses_stream")
    theirs = _events(str(exchange["response"]["text"]).encode())
    ask = wire.read({}, msgspec.json.encode(exchange["request"]["body"]))
    script = wire.script(ask, answer(ask, 5))
    ours = _events(b"".join((script.opening, *script.chunks, script.ending)))
    for event in theirs:
        # Padding against traffic analysis, sent unless switched off.
        event.pop("obfuscation", None)
    assert [event["type"] for event in ours] == [event["type"] for event in theirs]
    assert [_shape(event) for event in ours] == [_shape(event) for event in theirs]


def test_the_error_of_a_long_input_is_the_recorded_one(recorded: Path) -> None:
    response = _recorded(recorded, "responses_error_400_context")["response"]
    failure = dialect.failure(Problem(kind="context", requested_tokens=9))
    assert (failure.status, msgspec.json.decode(failure.body)) == (response["status"], response["body"])
