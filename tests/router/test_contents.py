"""contents.py: messages as the conventions spell them."""

import json

import pytest

from llmring.chat import ChatRequest, Choice, Completion, Message, NativeTurn, Tool, ToolCall
from llmring.parts import DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, RegisteredFile, TextPart
from llmring.refs import ModelRef
from llmring.telemetry.contents import input_messages, output_messages, tool_definitions


@pytest.mark.parametrize(
    ("part", "spelled"),
    [
        (TextPart(text="hi"), {"type": "text", "content": "hi"}),
        (
            ImagePart(source=Inline(media_type="image/png", data="c2VjcmV0")),
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": ""},
        ),
        (
            ImagePart(source=Link(url="https://example.org/a.png")),
            {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"},
        ),
        (DocumentPart(source=RegisteredFile(id="f1")), {"type": "file", "modality": "document", "file_id": "f1"}),
        (DocumentPart(source=ProviderFile(id="f2")), {"type": "file", "modality": "document", "file_id": "f2"}),
    ],
)
def test_parts_say_what_they_are_and_bytes_stay(part: Part, spelled: dict[str, str]) -> None:
    request = ChatRequest(model="a", messages=(Message(role="user", content=(part,)),))
    assert json.loads(input_messages(request)) == [{"role": "user", "parts": [spelled]}]


def test_the_result_of_a_tool_and_a_native_turn() -> None:
    native = NativeTurn(origin=ModelRef("openai", "o"), format="chat", items=({"signature": "theirs"},))
    messages = (
        Message(role="assistant", content="well", native=native),
        Message(role="tool", tool_call_id="c1", content="7"),
    )
    text = input_messages(ChatRequest(model="a", messages=messages, extra_params={"x": "ours"}))
    assert json.loads(text) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "well"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "7"}]},
    ]


def test_an_answer_has_its_reasoning_its_text_and_its_calls() -> None:
    calls = (ToolCall(id="c1", name="f", arguments='{"a":1}'), ToolCall(id="c2", name="g", arguments='{"a":'))
    completion = Completion(content="so", reasoning="hm", tool_calls=calls, finish_reason="tool_calls")
    (message,) = json.loads(output_messages(completion))
    assert message == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "text", "content": "so"},
            {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
            {"type": "tool_call", "id": "c2", "name": "g", "arguments": '{"a":'},
        ],
        "finish_reason": "tool_calls",
    }


def test_of_several_answers_each_is_a_message_and_a_refusal_is_text() -> None:
    choices = (Choice(content="a", finish_reason="stop"), Choice(content="", refusal="no", finish_reason="stop"))
    spelled = json.loads(output_messages(Completion(content="a", finish_reason="stop", choices=choices)))
    assert [one["parts"][0]["content"] for one in spelled] == ["a", "no"]


def test_half_a_character_is_no_reason_to_fail() -> None:
    request = ChatRequest(model="a", messages=(Message(role="user", content="a\ud800"),))
    assert json.loads(input_messages(request))[0]["parts"][0]["content"] == "a\ud800"


def test_tools_are_functions() -> None:
    (tool,) = json.loads(tool_definitions((Tool(name="f", description="d", parameters={"type": "object"}),)))
    assert tool == {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
