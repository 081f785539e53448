"""chat.py and prompts.py: prompts and tools as callers write them, the refusals, and the sums of the counters."""

import contextlib
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Message, NamedTool, Tool, ToolCall
from llmring.errors import InvalidRequest
from llmring.parts import ImagePart, Link, TextPart
from llmring.prompt_tools import to_tool_choice, to_tools
from llmring.prompts import check_request, to_messages
from llmring.usage import CostBreakdown, Usage

USER = Message(role="user", content="hi")
CALL = ToolCall(id="c1", name="add", arguments='{"a":1}')


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ("hi", (USER,)),
        (USER, (USER,)),
        ([USER], (USER,)),
        ((USER, {"role": "assistant", "content": "yes"}), (USER, Message(role="assistant", content="yes"))),
        ([{"role": "user", "content": "hi"}], (USER,)),
        ([{"role": "developer", "content": "be brief"}], (Message(role="system", content="be brief"),)),
        (
            [{"role": "user", "content": [{"type": "text", "text": "h"}, "i"]}],
            (Message(role="user", content=(TextPart(text="h"), TextPart(text="i"))),),
        ),
        (
            [{"role": "tool", "content": "no", "tool_call_id": "c1", "is_error": True}],
            (Message(role="tool", content="no", tool_call_id="c1", is_error=True),),
        ),
    ],
)
def test_a_prompt_is_text_a_message_or_a_list_of_messages(prompt: Any, messages: tuple[Message, ...]) -> None:
    assert to_messages(prompt) == messages


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
    ],
)
def test_a_tool_call_is_read_flat_and_nested(call: dict[str, Any]) -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert to_messages([turn]) == (Message(role="assistant", content=None, tool_calls=(CALL,)),)


def test_a_system_text_goes_in_front() -> None:
    assert to_messages("hi", system="be brief") == (Message(role="system", content="be brief"), USER)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([], "the prompt holds no messages"),
        (5, "not int"),
        (None, "not NoneType"),
        ({"role": "user", "content": "hi"}, "not dict"),
        (["hi"], "message 1: Expected `object`"),
        ([USER, {"role": "robot", "content": "x"}], "message 2: Invalid enum value 'robot'"),
        ([{"content": "x"}], "message 1: Object missing required field `role`"),
        ([{"role": "user", "content": 5}], "message 1: Expected"),
        ([{"role": "user", "content": "x", "contnet": "y"}], "unknown field `contnet`"),
        (
            [{"role": "user", "content": [{"type": "image_url", "text": ""}]}],
            "message 1: part 1: Object missing required field `image_url`",
        ),
        ([{"role": "assistant", "tool_calls": [{"id": "c1"}]}], "message 1: tool call 'c1' has no name"),
    ],
)
def test_a_prompt_that_is_wrong_is_refused_and_the_message_numbered(prompt: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_messages(prompt)
    assert reason in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "id", "name", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_value_is_messages_or_an_invalid_request(value: Any) -> None:
    for parse in (to_messages, lambda items: to_tools(items if isinstance(items, list) else [items])):
        with contextlib.suppress(InvalidRequest):
            parse(value)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "tool",
    [
        Tool(name="add", description="adds", parameters=SCHEMA),
        {"name": "add", "description": "adds", "parameters": SCHEMA},
        {"type": "function", "function": {"name": "add", "description": "adds", "parameters": SCHEMA}},
    ],
)
def test_a_tool_is_read_flat_and_nested(tool: Any) -> None:
    assert to_tools([tool]) == (Tool(name="add", description="adds", parameters=SCHEMA),)


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ({"description": "adds"}, "tool 1 has no name"),
        ({"type": "code_execution"}, "tool 1: Invalid enum value 'code_execution'"),
        ({"function": {}}, "tool 1: Object missing required field `name`"),
        ({"name": "add", "parameters": []}, "tool 1: Expected `object | null`"),
        ("add", "tool 1: Expected `object`"),
    ],
)
def test_a_tool_that_is_wrong_is_refused_and_numbered(tool: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_tools([tool])
    assert reason in str(caught.value)


def request(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(model="fast", messages=messages, **fields)


@pytest.mark.parametrize(
    "good",
    [
        request(USER),
        request(USER, Message(role="assistant", content=None, tool_calls=(CALL,))),
        request(Message(role="tool", content="3", tool_call_id="c1")),
        request(Message(role="user", content="")),
        request(USER, max_tokens=1, timeout=0.001),
        request(USER, tools=(Tool(name="add"),), tool_choice=NamedTool(name="add")),
    ],
)
def test_a_request_that_somebody_could_take_passes(good: ChatRequest) -> None:
    check_request(good)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (request(), "holds no messages"),
        (request(USER, Message(role="user", content=None)), "message 2: a user message needs content"),
        (request(Message(role="assistant", content=None)), "a assistant message needs content"),
        (request(Message(role="tool", content="3")), "message 1: a tool result needs the tool_call_id"),
        (request(USER, max_tokens=0), "max_tokens must be at least 1, not 0"),
        (request(USER, timeout=0), "timeout must be a positive number of seconds, not 0"),
        (request(USER, timeout=float("nan")), "timeout must be a positive number of seconds, not nan"),
        (request(USER, tool_choice=NamedTool(name="add")), "names 'add', which is not among the tools"),
        (request(USER, timeout="30"), "timeout must be a positive number of seconds, not '30'"),
        (request(Message(role="user", content=5)), "message 1: content must be text or parts, not int"),  # type: ignore[arg-type]  # on purpose
        (request(USER, temperature="hot"), "temperature must be a number, not str"),
        (request(USER, temperature=True), "temperature must be a number, not bool"),
        (request(USER, temperature=math.nan), "temperature must be a number, not nan"),
        (request(USER, top_p=math.inf), "top_p must be a number, not inf"),
        (request(USER, extra_params=5), "extra_params must be a dictionary, not int"),
        (request(USER, metadata=["a"]), "metadata must be a dictionary, not list"),
        (request(USER, tools=(Tool(name="t"), Tool(name="t"))), "two tools are called 't'"),
        (request(USER, max_tokens=1.5), "max_tokens must be a whole number, not float"),
        (request(USER, logprobs=1), "logprobs must be True or False, not int"),
        (request(USER, user=5), "user must be text, not int"),
        (request(USER, n=0), "n must be at least 1, not 0"),
        (request(USER, reasoning_effort="hard"), "reasoning_effort is one of none, minimal, low"),
        (request(USER, files=("a.pdf",)), "files are ids of register_file"),
        (
            request(Message(role="system", content=(ImagePart(source=Link(url="https://x/a.png")),))),
            "message 1: a system message holds text only",
        ),
    ],
)
def test_a_request_that_nobody_would_take_is_refused(bad: ChatRequest, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request(bad)
    assert reason in str(caught.value)


COUNTS = st.integers(0, 10**9)


@given(st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, COUNTS)))
def test_every_counter_is_in_exactly_one_total(usage: Usage) -> None:
    assert usage.total_tokens == sum(getattr(usage, name) for name in Usage.__struct_fields__)
    assert usage.total_tokens == usage.total_input_tokens + usage.total_output_tokens


def test_the_long_context_part_is_inside_the_input_and_not_added() -> None:
    cost = CostBreakdown(input=Decimal(3), output=Decimal(2), long_context_input=Decimal(3))
    assert cost.total == 5


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        (NamedTool(name="add"), NamedTool(name="add")),
        ({"function": {"name": "add"}}, NamedTool(name="add")),
        ({"type": "function", "function": {"name": "add"}}, NamedTool(name="add")),
        ({"name": "add"}, NamedTool(name="add")),
        ({"function": "add"}, NamedTool(name="add")),
    ],
)
def test_a_tool_choice_is_a_word_or_a_name(choice: Any, meant: Any) -> None:
    assert to_tool_choice(choice) == meant


@pytest.mark.parametrize("choice", ["always", {}, {"function": {}}, {"function": 7}, 7])
def test_any_other_tool_choice_is_refused(choice: Any) -> None:
    with pytest.raises(InvalidRequest, match="tool_choice"):
        to_tool_choice(choice)
