"""Requests in OpenAI's chat completions format: settings, tools, response formats, what is kept at the provider."""

from typing import Any

import pytest

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NamedTool, Note, Tool, ToolCall
from llmring.codecs.capabilities import Model
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.errors import InvalidRequest
from llmring.prompts import to_messages
from tests.codecs.chat_calls import added, call, encode, notes

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]}
STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string", "description": "minLength: 1"}},
    "required": ["a"],
    "additionalProperties": False,
}


def test_nothing_is_sent_that_was_not_set() -> None:
    assert encode() == {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}


def test_the_call_goes_below_the_base_url_without_the_key() -> None:
    codec = OpenAICodec()
    call = codec.encode(ChatRequest(model="a", messages=to_messages("hi")), Model(name="m-1"), stream=False)
    assert call.path == "/chat/completions"
    assert call.headers == (("content-type", "application/json"),)
    assert codec.auth("k") == (("authorization", "Bearer k"),)


def test_every_setting_goes_by_its_name() -> None:
    assert added(
        temperature=0.5,
        top_p=0.9,
        max_tokens=9,
        stop=("a", "b"),
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        logprobs=True,
        top_logprobs=2,
        n=2,
        reasoning_effort="low",
        service_tier="flex",
        user="u",
        cache=Cache(key="k"),
    ) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 9,
        "stop": ["a", "b"],
        "seed": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 2,
        "reasoning_effort": "low",
        "service_tier": "flex",
        "safety_identifier": "u",
        "prompt_cache_key": "k",
    }


@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "top_logprobs"]
)
def test_zero_is_not_absent(name: str) -> None:
    fields: Any = {name: 0}
    assert added(**fields) == fields


@pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens"])
def test_the_bound_goes_by_the_name_the_server_knows(field: Any) -> None:
    assert added(Dialect(max_tokens_field=field), max_tokens=7) == {field: 7}


def test_the_bound_goes_by_its_other_name_to_a_model_that_refuses_the_first() -> None:
    assert added(refused=frozenset({"max_completion_tokens"}), max_tokens=7) == {"max_tokens": 7}
    assert added(Dialect(), refused=frozenset({"max_tokens"}), max_tokens=7) == {"max_completion_tokens": 7}
    assert added(refused=frozenset({"max_tokens", "max_completion_tokens"}), max_tokens=7) == {}


def test_streams_ask_for_usage_where_it_may_be_asked_for() -> None:
    assert added(stream=True) == {"stream": True, "stream_options": {"include_usage": True}}
    assert added(stream=True, refused=frozenset({"stream_options"})) == {"stream": True}
    assert added(Dialect(stream_options=False), stream=True) == {"stream": True}


def test_extra_params_are_merged_last() -> None:
    body = added(temperature=1.0, extra_params={"temperature": None, "seed": 3})
    assert body == {"temperature": None, "seed": 3}


def test_objects_in_extra_params_are_merged_field_by_field() -> None:
    body = added(stream=True, extra_params={"stream_options": {"include_obfuscation": False}, "audio": {"voice": "x"}})
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert body["audio"] == {"voice": "x"}


@pytest.mark.parametrize("fields", [{"messages": to_messages("secret \ud83d")}, {"extra_params": {"x": object()}}])
def test_what_json_cannot_hold_is_an_invalid_request_that_does_not_quote_it(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(**fields)
    assert "secret" not in str(caught.value)


def test_a_conversation_with_tools() -> None:
    messages = (
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="f", arguments=""),)),
        Message(role="tool", content="r", tool_call_id="c1", is_error=True),
    )
    tool = Tool(name="f", parameters={"type": "object"}, strict=False)
    body = encode(messages=messages, tools=(tool,), tool_choice=NamedTool(name="f"))
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "r", "tool_call_id": "c1"},
    ]
    function = {"name": "f", "parameters": {"type": "object"}, "strict": False}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert encode(tool_choice="required")["tool_choice"] == "required"


def test_strictness_is_stated_to_openai_and_to_nobody_else_unasked() -> None:
    tools = (Tool(name="f", description="d"),)
    assert added(tools=tools)["tools"][0]["function"] == {"name": "f", "description": "d", "strict": False}
    assert added(Dialect(), tools=tools)["tools"][0]["function"] == {"name": "f", "description": "d"}


def test_a_strict_tool_is_fitted_and_what_is_lost_is_noted() -> None:
    tools = (Tool(name="f", parameters=SCHEMA, strict=True),)
    function = added(tools=tools)["tools"][0]["function"]
    assert function["strict"] is True
    assert function["parameters"].keys() == STRICT.keys()
    assert function["parameters"]["additionalProperties"] is False
    (note,) = notes(tools=tools)
    assert (note.parameter, note.action) == ("tools", "changed")
    assert note.why.startswith("f: minLength")


def test_a_strict_tool_without_parameters_has_a_closed_schema() -> None:
    function = added(tools=(Tool(name="f", strict=True),))["tools"][0]["function"]
    assert function["parameters"] == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_a_tool_that_cannot_be_strict_is_not() -> None:
    open_map = {"type": "object", "additionalProperties": {"type": "string"}}
    tools = (Tool(name="f", parameters=open_map, strict=True),)
    function = added(tools=tools)["tools"][0]["function"]
    assert (function["strict"], function["parameters"]) == (False, open_map)
    assert notes(tools=tools)


def test_one_call_at_most() -> None:
    assert added(parallel_tool_calls=False) == {"parallel_tool_calls": False}


def test_response_formats() -> None:
    assert added(response_format=JSONMode()) == {"response_format": {"type": "json_object"}}
    wanted = JSONSchema(schema=SCHEMA, name="n", description="d")
    spelled = added(response_format=wanted)["response_format"]
    assert spelled["type"] == "json_schema"
    assert {name: value for name, value in spelled["json_schema"].items() if name != "schema"} == {
        "name": "n",
        "description": "d",
        "strict": True,
    }
    assert spelled["json_schema"]["schema"]["additionalProperties"] is False
    (note,) = notes(response_format=wanted)
    assert (note.parameter, note.action) == ("response_format", "changed")


def test_a_schema_that_is_only_a_hint_is_sent_as_it_is() -> None:
    wanted = JSONSchema(schema=SCHEMA, strict=False)
    assert added(response_format=wanted)["response_format"]["json_schema"] == {
        "name": "response",
        "schema": SCHEMA,
        "strict": False,
    }
    assert notes(response_format=wanted) == ()


def test_a_schema_that_openai_cannot_enforce_is_sent_as_a_hint() -> None:
    wanted = JSONSchema(schema={"type": "array", "items": {"type": "string"}})
    spelled = added(response_format=wanted)["response_format"]["json_schema"]
    assert (spelled["strict"], spelled["schema"]) == (False, wanted.schema)
    assert [note.parameter for note in notes(response_format=wanted)] == ["response_format"]


def test_a_server_that_enforces_any_schema_gets_it_as_it_is() -> None:
    spelled = added(Dialect(strict_schemas=False), response_format=JSONSchema(schema=SCHEMA))["response_format"]
    assert spelled["json_schema"] == {"name": "response", "schema": SCHEMA, "strict": True}


def test_a_server_without_schemas_is_asked_for_an_object() -> None:
    wanted = JSONSchema(schema=SCHEMA)
    assert added(Dialect(schemas=False), response_format=wanted) == {"response_format": {"type": "json_object"}}
    assert [str(note) for note in notes(Dialect(schemas=False), response_format=wanted)] == [
        "response_format changed: the server knows no schemas: it is asked for some JSON object"
    ]


def test_a_server_without_json_mode_is_asked_for_an_object_by_a_schema() -> None:
    assert added(Dialect(json_mode=False), response_format=JSONMode())["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}},
    }


def test_metadata_is_sent_only_with_answers_that_are_stored() -> None:
    metadata = {"a": "b"}
    assert added(metadata=metadata) == {}
    assert notes(metadata=metadata) == (
        Note(
            parameter="metadata",
            action="dropped",
            why="metadata belongs to stored answers: store=true in extra_params keeps the answer at the provider",
        ),
    )
    stored: Any = {"metadata": metadata, "extra_params": {"store": True}}
    assert added(**stored) == {"metadata": metadata, "store": True}
    assert notes(**stored) == ()
    assert added(Dialect(), metadata=metadata) == {"metadata": metadata}


def test_every_parameter_of_openai_has_a_spelling() -> None:
    values: dict[str, Any] = {
        "tool_choice": "auto",
        "response_format": JSONMode(),
        "stop": ("a",),
        "cache": Cache(key="k"),
        "service_tier": "flex",
        "metadata": {"a": "b"},
        "user": "u",
        "reasoning_effort": "low",
    }
    for name in OPENAI.parameters:
        assert added(**{name: values.get(name, 1), "extra_params": {"store": True}}).keys() - {"store"}, name
    assert call().notes == ()
