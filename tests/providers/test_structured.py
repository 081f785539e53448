"""Answers with a schema: how they are asked for, and how they are read."""

from typing import Any

import msgspec
import pytest

from llmring.chat import (
    ChatRequest,
    Completion,
    JSONMode,
    JSONObject,
    JSONSchema,
    Message,
    NamedTool,
    ResponseFormat,
    Tool,
    ToolCall,
)
from llmring.codecs.capabilities import Capabilities, SchemaSupport
from llmring.errors import InvalidRequest
from llmring.prompts import to_messages
from llmring.providers.structured import (
    ANSWER_TOOL,
    ask,
    asked_again,
    check_schema,
    is_invalid,
    problems,
    read,
    support,
)

SCHEMA: JSONObject = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
WANTED = JSONSchema(schema=SCHEMA, name="person")
TAKES = frozenset({"response_format"})
TOOL = Tool(name="look_up")


def request(wanted: ResponseFormat | None = WANTED, prompt: str = "who?", **fields: Any) -> ChatRequest:
    messages = (Message(role="system", content="Be brief."), *to_messages(prompt))
    return ChatRequest(model="a", messages=messages, response_format=wanted, **fields)


def completion(content: str = "", **fields: Any) -> Completion:
    return Completion(content=content, finish_reason=fields.pop("finish_reason", "stop"), **fields)


@pytest.mark.parametrize(
    ("wanted", "tools", "capabilities", "parameters", "way"),
    [
        (WANTED, (), Capabilities(), TAKES, "native"),
        (WANTED, (), Capabilities(schema="tool"), TAKES, "tool"),
        (WANTED, (), Capabilities(schema="json"), TAKES, "json"),
        (WANTED, (), Capabilities(), frozenset(), "prompt"),
        (WANTED, (), Capabilities(schema="tool"), frozenset(), "tool"),
        (WANTED, (), Capabilities(refused=TAKES), TAKES, "prompt"),
        (WANTED, (TOOL,), Capabilities(schema_with_tools=False), TAKES, "tool"),
        (WANTED, (), Capabilities(schema_with_tools=False), TAKES, "native"),
        (JSONMode(), (), Capabilities(), TAKES, "native"),
        (JSONMode(), (), Capabilities(schema="json"), TAKES, "native"),
        (JSONMode(), (), Capabilities(schema="tool"), TAKES, "prompt"),
        (JSONMode(), (), Capabilities(json_mode=False), TAKES, "prompt"),
        (JSONMode(), (), Capabilities(), frozenset(), "prompt"),
    ],
)
def test_the_best_way_that_the_model_has(
    wanted: ResponseFormat,
    tools: tuple[Tool, ...],
    capabilities: Capabilities,
    parameters: frozenset[str],
    way: SchemaSupport,
) -> None:
    assert support(request(wanted, tools=tools), capabilities, parameters) == way


def test_without_a_format_nothing_changes() -> None:
    plain = request(None)
    assert ask(plain, "tool") is plain
    answer = completion("{}")
    assert read(answer, plain) is answer


def test_a_native_schema_is_left_to_the_codec() -> None:
    assert ask(request(), "native") is not None
    assert ask(request(), "native").response_format is WANTED


def test_a_tool_that_must_be_called() -> None:
    asked = ask(request(), "tool")
    assert asked.response_format is None
    assert [(tool.name, tool.parameters) for tool in asked.tools] == [(ANSWER_TOOL, SCHEMA)]
    assert asked.tool_choice == NamedTool(name=ANSWER_TOOL)
    assert ask(request(tools=(TOOL,)), "tool").tool_choice == "required"


@pytest.mark.parametrize(("way", "mode"), [("json", JSONMode()), ("prompt", None)])
def test_the_schema_in_the_prompt_stands_behind_the_system_messages(way: SchemaSupport, mode: JSONMode | None) -> None:
    asked = ask(request(), way)
    assert asked.response_format == mode
    assert [message.role for message in asked.messages] == ["system", "system", "user"]
    assert msgspec.json.decode(asked.messages[1].text.split("\n", 1)[1]) == SCHEMA


def test_json_mode_names_json_where_the_prompt_does_not() -> None:
    assert len(ask(request(JSONMode()), "native").messages) == 3
    assert len(ask(request(JSONMode(), "in JSON, please"), "native").messages) == 2


@pytest.mark.parametrize(
    "text", ['{"name":"Ada"}', ' {"name":"Ada"}\n', '```json\n{"name":"Ada"}\n```', '```\n{"name":"Ada"}\n```']
)
def test_an_answer_is_parsed(text: str) -> None:
    got = read(completion(text), request())
    assert got.parsed == {"name": "Ada"}
    assert got.content == text
    assert got.notes == ()


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("Ada", "stop", "the answer is not JSON"),
        ('{"name":"A', "length", "the answer is not JSON, for it was cut short"),
        ("", "stop", "the answer is not JSON"),
        ("[" * 5000, "stop", "the answer is not JSON"),
        ('{"name":5}', "stop", 'the answer does not fit the schema: $.name: type "string"'),
        ('{"name":"A","age":-1}', "stop", "the answer does not fit the schema: $.age: minimum 0"),
        ("{}", "stop", 'the answer does not fit the schema: $: required ["name"]'),
    ],
)
def test_an_answer_that_does_not_fit_is_kept_and_noted(text: str, finish: Any, why: str) -> None:
    got = read(completion(text, finish_reason=finish), request())
    assert (got.parsed, got.content) == (None, text)
    assert [note.why for note in got.notes] == [why]
    assert is_invalid(got)


def test_nulls_that_stand_for_what_was_left_out_are_taken_away() -> None:
    got = read(completion('{"name":"Ada","age":null}'), request())
    assert got.parsed == {"name": "Ada"}
    assert got.notes == ()


LIST = JSONSchema(schema={"type": "array", "items": {"$ref": "#/$defs/word"}, "$defs": {"word": {"type": "string"}}})


def test_what_is_no_object_is_asked_for_in_one_and_taken_out_again() -> None:
    asked = ask(request(LIST), "native", object_roots=True)
    assert isinstance(asked.response_format, JSONSchema)
    assert asked.response_format.schema == {
        "type": "object",
        "properties": {"answer": {"type": "array", "items": {"$ref": "#/$defs/word"}}},
        "required": ["answer"],
        "additionalProperties": False,
        "$defs": {"word": {"type": "string"}},
    }
    got = read(completion('{"answer": ["a", "b"]}'), request(LIST))
    assert (got.parsed, got.content, got.notes) == (["a", "b"], '["a","b"]', ())
    assert ask(request(LIST), "tool").tools[0].parameters == asked.response_format.schema
    assert ask(request(LIST), "native").response_format is LIST
    assert ask(request(), "native", object_roots=True).response_format == WANTED


def test_a_list_that_came_without_its_object_is_taken_as_it_is() -> None:
    assert read(completion('["a"]'), request(LIST)).parsed == ["a"]


def test_an_object_with_that_very_name_is_no_wrapper() -> None:
    own = JSONSchema(schema={"type": "object", "properties": {"answer": {"type": "string"}}})
    assert read(completion('{"answer": "a"}'), request(own)).parsed == {"answer": "a"}


def test_a_note_never_quotes_the_answer() -> None:
    got = read(completion('{"name":"Ada","secret":"hunter2"}'), request())
    assert is_invalid(got)
    assert "hunter2" not in str(got.notes)


def test_the_tools_arguments_are_the_answer() -> None:
    call = ToolCall(id="c1", name=ANSWER_TOOL, arguments='{"name":"Ada"}')
    got = read(completion(tool_calls=(call,), finish_reason="tool_calls"), request())
    assert (got.content, got.parsed, got.tool_calls, got.finish_reason) == (
        '{"name":"Ada"}',
        {"name": "Ada"},
        (),
        "stop",
    )


def test_a_call_of_the_callers_own_tools_comes_first() -> None:
    mine, answer = (
        ToolCall(id="c1", name="look_up", arguments="{}"),
        ToolCall(id="c2", name=ANSWER_TOOL, arguments="{}"),
    )
    got = read(completion(tool_calls=(mine, answer), finish_reason="tool_calls"), request(tools=(TOOL,)))
    assert (got.tool_calls, got.parsed, got.notes) == ((mine,), None, ())


def test_a_refusal_is_no_answer() -> None:
    got = read(completion(refusal="no"), request())
    assert (got.parsed, got.notes) == (None, ())


def test_json_mode_takes_any_json() -> None:
    assert read(completion("[1]"), request(JSONMode())).parsed == [1]


@pytest.mark.parametrize("schema", [{"type": "nope"}, {"properties": 5}, {"required": "name"}])
def test_what_is_no_schema_is_refused_before_it_is_sent(schema: JSONObject) -> None:
    with pytest.raises(InvalidRequest, match="response_format: the schema is not valid JSON schema"):
        check_schema(JSONSchema(schema=schema))
    check_schema(WANTED)


def test_a_reference_to_elsewhere_is_never_fetched() -> None:
    remote = JSONSchema(schema={"$ref": "https://schemas.invalid/person.json"})
    assert list(problems({}, remote)) == ["the schema cannot be followed: _WrappedReferencingError"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"type": "string"}]},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
    ],
)
def test_a_schema_that_stands_for_itself_is_no_crash(schema: JSONObject) -> None:
    found = list(problems({"a": 1}, JSONSchema(schema=schema)))
    assert [problem.startswith("the schema cannot be followed") for problem in found] == [True]


def test_an_answer_that_is_nested_without_end_is_no_crash() -> None:
    tree = JSONSchema(schema={"type": "array", "items": {"$ref": "#"}})
    assert list(problems([[[]]], tree)) == []
    assert read(completion("[" * 500 + "]" * 500), request(tree)).parsed is None


def test_asking_again_gives_the_answer_back_with_what_is_wrong() -> None:
    got = read(completion("Ada"), request())
    again = asked_again(request(), got)
    assert [message.role for message in again.messages] == ["system", "user", "assistant", "user"]
    assert again.messages[2].content == "Ada"
    assert "the answer is not JSON" in again.messages[3].text
