"""What the simulated model says."""

import msgspec

from llmring.sim.reply import answer
from llmring.sim.wire import Ask, Tool

_WEATHER = Tool(
    name="weather",
    schema={
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
)
_CLOCK = Tool(name="clock", schema={"type": "object", "properties": {}})
_ASK = Ask(
    model="m",
    input_tokens=3,
    prompt="one two three four five six seven eight nine ten",
    after_tool_result=False,
    tools=(),
    tool_choice="auto",
    named_tool="",
    parallel_tools=True,
    max_tokens=None,
    stops=(),
    reply_schema=None,
    stream=False,
    stream_usage=False,
)


def _with(**fields: object) -> Ask:
    return msgspec.structs.replace(_ASK, **fields)


def _called(ask: Ask) -> list[str]:
    return [call.name for call in answer(ask, 8).calls]


def test_a_text_echoes_the_first_words_and_is_exactly_as_long_as_configured() -> None:
    for reply_tokens in (1, 2, 10, 11, 50):
        said = answer(_ASK, reply_tokens)
        assert (len(said.text), said.output_tokens, said.finish) == (reply_tokens * 4, reply_tokens, "stop")
    assert answer(_ASK, 50).text.startswith("echo: one two three four five six seven eight and so on")


def test_max_tokens_ends_a_longer_text() -> None:
    said = answer(_with(max_tokens=3), 10)
    assert (said.text, said.finish, said.output_tokens) == ("echo: one tw", "length", 3)


def test_max_tokens_as_long_as_the_text_ends_nothing() -> None:
    assert answer(_with(max_tokens=10), 10).finish == "stop"


def test_the_first_stop_sequence_in_the_text_ends_it() -> None:
    said = answer(_with(stops=("four", "two", "absent")), 20)
    assert (said.text, said.finish, said.stop_sequence) == ("echo: one ", "stop_sequence", "two")


def test_a_stop_sequence_behind_max_tokens_is_never_reached() -> None:
    assert answer(_with(stops=("three",), max_tokens=3), 20).finish == "length"


def test_a_request_with_tools_calls_the_one_the_prompt_names_or_the_first() -> None:
    assert _called(_with(tools=(_WEATHER, _CLOCK), prompt="please use clock now")) == ["clock"]
    assert _called(_with(tools=(_WEATHER, _CLOCK), prompt="what time is it")) == ["weather"]


def test_the_prompt_can_ask_for_no_tool_or_for_all_of_them() -> None:
    assert _called(_with(tools=(_WEATHER, _CLOCK), prompt="use no tools, please")) == []
    assert _called(_with(tools=(_WEATHER, _CLOCK), prompt="use all tools, please")) == ["weather", "clock"]
    assert _called(_with(tools=(_WEATHER,), prompt="use no tools", tool_choice="required")) == ["weather"]


def test_a_thought_comes_first_and_counts_toward_max_tokens() -> None:
    said = answer(_with(thinking="shown", max_tokens=10), 8, 4)
    assert (said.thinking, said.thinking_tokens) == ("thinking about: ", 4)
    assert (said.text, said.output_tokens, said.finish) == ("echo: one two three four", 10, "length")


def test_a_thought_as_long_as_the_budget_leaves_no_text() -> None:
    said = answer(_with(thinking="hidden", max_tokens=4), 8, 4)
    assert (said.text, said.output_tokens, said.finish) == ("", 4, "length")


def test_several_tools_are_called_at_once_unless_the_request_forbids_it() -> None:
    both = _with(tools=(_WEATHER, _CLOCK), prompt="use clock and use weather")
    assert _called(both) == ["weather", "clock"]
    assert _called(msgspec.structs.replace(both, parallel_tools=False)) == ["weather"]


def test_a_tool_choice_forces_or_forbids() -> None:
    tools = (_WEATHER, _CLOCK)
    assert _called(_with(tools=tools, tool_choice="required")) == ["weather"]
    assert _called(_with(tools=tools, tool_choice="named", named_tool="clock")) == ["clock"]
    assert _called(_with(tools=tools, tool_choice="none", prompt="use clock")) == []


def test_after_the_result_of_a_tool_comes_text() -> None:
    said = answer(_with(tools=(_WEATHER,), tool_choice="required", after_tool_result=True), 8)
    assert said.calls == () and said.text


def test_arguments_are_the_least_the_schema_requires() -> None:
    call = answer(_with(tools=(_WEATHER,), tool_choice="required"), 8).calls[0]
    assert msgspec.json.decode(call.arguments) == {"city": "text", "unit": "C"}


def test_a_reply_schema_is_answered_in_json() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert msgspec.json.decode(answer(_with(reply_schema=schema), 8).text) == {"ok": True}
