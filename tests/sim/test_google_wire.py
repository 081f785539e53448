"""Gemini's wire format, the provider's side, without a server."""

from pathlib import Path

import msgspec
import pytest

from llmring.sim import google_dialect as dialect
from llmring.sim import google_wire as wire
from llmring.sim.limits import Refused
from llmring.sim.reply import answer
from llmring.sim.wire import Ask, Problem, Rejected

_TOOL = {
    "functionDeclarations": [
        {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}},
        {"name": "clock", "parametersJsonSchema": {"type": "object", "properties": {}, "additionalProperties": False}},
    ]
}
_HELLO = {"role": "user", "parts": [{"text": "hello"}]}


_ENDPOINT = "models/gemini-2.5-sim:generateContent"


def _read(_target: str = _ENDPOINT, /, **fields: object) -> Ask:
    return wire.read({}, msgspec.json.encode({"contents": [_HELLO], **fields}), _target)


def _whole(_target: str = _ENDPOINT, /, **fields: object) -> dict[str, object]:
    ask = _read(_target, **fields)
    return msgspec.json.decode(wire.whole(ask, answer(ask, 8, 4)), type=dict[str, object])


def _parts(reply: dict[str, object]) -> list[dict[str, object]]:
    parts = reply["candidates"][0]["content"]["parts"]  # type: ignore[index]
    assert isinstance(parts, list)
    return parts


def _events(stream: bytes) -> list[dict[str, object]]:
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in stream.strip().split(b"\r\n\r\n")]


def _error(problem: Problem) -> dict[str, object]:
    error = msgspec.json.decode(dialect.failure(problem).body)["error"]
    assert isinstance(error, dict)
    return error


def test_fields_are_read_in_camel_case_and_in_snake_case() -> None:
    camel = _read(systemInstruction={"parts": [{"text": "1234"}]}, generationConfig={"maxOutputTokens": 3})
    snake = _read(system_instruction={"parts": [{"text": "1234"}]}, generation_config={"max_output_tokens": 3})
    assert (camel.max_tokens, camel.input_tokens) == (snake.max_tokens, snake.input_tokens) == (3, 3)


def test_a_calls_arguments_keep_their_names() -> None:
    tool = {"functionDeclarations": [{"name": "f", "parameters": {"properties": {"a_b": {"type": "STRING"}},
                                                                  "required": ["a_b"]}}]}  # fmt: skip
    part = _parts(_whole(tools=[tool]))[0]
    assert part["functionCall"] == {"name": "f", "args": {"a_b": "text"}}


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ({"mode": "AUTO"}, ("auto", "", 2)),
        ({"mode": "NONE"}, ("none", "", 2)),
        ({"mode": "ANY"}, ("required", "", 2)),
        ({"mode": "ANY", "allowedFunctionNames": ["clock"]}, ("named", "clock", 2)),
        ({"mode": "ANY", "allowedFunctionNames": ["clock", "other"]}, ("required", "", 1)),
        ({"mode": "VALIDATED"}, ("auto", "", 2)),
    ],
)
def test_a_tool_choice_is_read(config: dict[str, object], read: tuple[str, str, int]) -> None:
    ask = _read(tools=[_TOOL], toolConfig={"functionCallingConfig": config})
    assert (ask.tool_choice, ask.named_tool, len(ask.tools)) == read


def test_thoughts_are_counted_beside_the_candidates_and_shown_when_asked_for() -> None:
    shown = _whole(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    hidden = _whole(generationConfig={"thinkingConfig": {"thinkingBudget": 100}})
    for reply in (shown, hidden):
        usage = reply["usageMetadata"]
        assert isinstance(usage, dict)
        assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (8, 4)
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + 12
    assert [part.get("thought", False) for part in _parts(shown)] == [True, False]
    assert [part.get("thought", False) for part in _parts(hidden)] == [False]


_THREE = "models/gemini-3-sim:generateContent"


def _turn(target: str) -> list[dict[str, object]]:
    """A conversation up to the results of two calls made at once."""
    asked: dict[str, object] = {"role": "user", "parts": [{"text": "use all tools"}]}
    parts = _parts(_whole(target, contents=[asked], tools=[_TOOL]))
    results = [{"functionResponse": {"name": part["functionCall"]["name"], "response": {"ok": 1}}} for part in parts]  # type: ignore[index]
    return [asked, {"role": "model", "parts": parts}, {"role": "user", "parts": results}]


def test_gemini_3_gives_calls_ids_and_signs_the_first_of_them() -> None:
    three, two = _turn(_THREE)[1]["parts"], _turn(_ENDPOINT)[1]["parts"]
    assert isinstance(three, list) and isinstance(two, list)
    assert ["thoughtSignature" in part for part in three] == [True, False]
    assert all("id" in part["functionCall"] for part in three)
    assert not any("id" in part["functionCall"] or "thoughtSignature" in part for part in two)


def test_gemini_3_wants_its_signature_back() -> None:
    contents = _turn(_THREE)
    assert _read(_THREE, contents=contents, tools=[_TOOL]).after_tool_result
    parts = contents[1]["parts"]
    assert isinstance(parts, list)
    first = parts[0]
    for signature, said in ((None, "missing a thought_signature"), ("AAAA", "Corrupted thought signature")):
        first["thoughtSignature"] = signature
        with pytest.raises(Rejected, match="bad_seal") as raised:
            _read(_THREE, contents=contents, tools=[_TOOL])
        assert said in str(_error(raised.value.problem)["message"])
    first["thoughtSignature"] = "skip_thought_signature_validator"
    _read(_THREE, contents=contents, tools=[_TOOL])


def test_a_stream_is_events_with_alt_sse_and_else_one_array() -> None:
    for target, sse in (("streamGenerateContent?alt=sse", True), ("streamGenerateContent", False)):
        ask = _read(f"models/gemini-2.5-sim:{target}")
        script = wire.script(ask, answer(ask, 3))
        stream = b"".join((script.opening, *script.chunks, script.ending, script.terminator))
        events = _events(stream) if sse else msgspec.json.decode(stream)
        texts = [_parts(event)[0]["text"] for event in events]
        assert texts == ["echo", ": he", "llo ", ""]
        candidates = [event["candidates"] for event in events]
        finishes = [one[0].get("finishReason") for one in candidates if isinstance(one, list)]
        assert finishes == [None, None, None, "STOP"]
        assert script.content_type.startswith(b"text/event-stream" if sse else b"application/json")


def test_a_budget_that_thinking_eats_up_leaves_no_parts() -> None:
    config = {"maxOutputTokens": 4, "thinkingConfig": {"thinkingBudget": 100}}
    candidates = _whole(generationConfig=config)["candidates"]
    assert isinstance(candidates, list)
    candidate = candidates[0]
    assert candidate["finishReason"] == "MAX_TOKENS" and "parts" not in candidate["content"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
         "immediately after a function call turn"),
        ({"contents": [_HELLO, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, _HELLO]},
         "function call turn"),
        ({"generationConfig": {"responseJsonSchema": {"type": "object"}}}, "response_mime_type"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, "not supported for this model"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"additionalProperties": False}}]}]},
         "Unknown name \"additionalProperties\""),
        ({"tools": [{"functionDeclarations": [{"name": "1f"}]}]}, "Invalid function name"),
        ({"tools": [_TOOL], "cachedContent": "cachedContents/x"}, "CachedContent can not be used"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_an_invalid_argument(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Rejected) as raised:
        _read(**fields)
    error = _error(raised.value.problem)
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT") and said in str(error["message"])


def test_a_rate_limit_says_when_to_retry_and_a_daily_quota_does_not() -> None:
    refused = Refused(dimension="requests", limit=5, used=5, requested=1, wait_seconds=3.25)
    minute = str(_error(Problem(kind="rate_limited", model="m", refused=refused, retry_after=3.25))["details"])
    day = str(_error(Problem(kind="insufficient_quota", model="m"))["details"])
    assert "'retryDelay': '3.25s'" in minute and "PerMinute" in minute
    assert "retryDelay" not in day and "PerDay" in day


def _recorded(folder: Path, name: str) -> dict[str, dict[str, object]]:
    value = msgspec.json.decode((folder / "google" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def _shape(value: object) -> object:
    """Names only: of objects, and of the first element of lists."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ["function_call_no_args", "thinking_gemini3", "max_tokens"])
def test_a_reply_has_the_shape_of_a_recorded_one(recorded: Path, name: str) -> None:
    exchange = _recorded(recorded, name)
    request, url = exchange["request"]["body"], str(exchange["request"]["url"])
    assert isinstance(request, dict)
    if name == "function_call_no_args":
        # The recorded model thinks without being asked to.
        request["generationConfig"] = {"thinkingConfig": {"thinkingBudget": -1}}
    ask = wire.read({}, msgspec.json.encode(request), url.partition("/v1beta/")[2])
    ours = msgspec.json.decode(wire.whole(ask, answer(ask, 8, 4)))
    assert _shape(ours) == _shape(exchange["response"]["body"])


def test_errors_have_the_shape_of_recorded_ones(recorded: Path) -> None:
    key, theirs = dialect.failure(Problem(kind="bad_key")), _recorded(recorded, "error_400_api_key")["response"]
    assert (key.status, msgspec.json.decode(key.body)) == (theirs["status"], theirs["body"])
    refused = Refused(dimension="input_tokens", limit=5, used=5, requested=1, wait_seconds=48.0)
    rate = dialect.failure(Problem(kind="rate_limited", model="gemini-2.5-flash", refused=refused, retry_after=48.0))
    theirs = _recorded(recorded, "error_429_retry_info")["response"]
    assert rate.status == theirs["status"] and _shape(msgspec.json.decode(rate.body)) == _shape(theirs["body"])
