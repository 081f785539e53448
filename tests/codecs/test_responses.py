"""The codec of OpenAI's Responses format: what is sent, and that answers can be given back."""

from typing import Any

import msgspec
import pytest

from llmring.chat import (
    Cache,
    ChatRequest,
    Completion,
    JSONMode,
    JSONSchema,
    Message,
    NamedTool,
    NativeTurn,
    Tool,
    ToolCall,
)
from llmring.codecs.capabilities import Capabilities, Model
from llmring.codecs.codec import HttpCall, HttpReply
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.errors import Unsupported
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, TextPart
from llmring.prompts import to_messages
from llmring.refs import ModelRef
from tests.codecs.payloads import Payload, body_of, load

CODEC = ResponsesCodec()
REF = ModelRef("openai", "m-1")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**SCHEMA, "additionalProperties": False}
ENCRYPTED = ["reasoning.encrypted_content"]


def call(capabilities: Capabilities | None = None, *, stream: bool = False, **fields: Any) -> HttpCall:
    given: dict[str, Any] = {"messages": to_messages("hi"), **fields}
    model = Model(name="m-1", capabilities=capabilities or Capabilities())
    return CODEC.encode(ChatRequest(model="a", **given), model, stream=stream)


def encode(capabilities: Capabilities | None = None, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return body_of(call(capabilities, stream=stream, **fields))


def test_the_least_request_keeps_nothing_at_the_provider() -> None:
    sent = call()
    assert sent.path == "/responses"
    assert body_of(sent) == {
        "model": "m-1",
        "input": [{"role": "user", "content": "hi"}],
        "store": False,
        "include": ENCRYPTED,
    }
    assert sent.notes == ()


@pytest.mark.parametrize(
    ("capabilities", "fields", "include"),
    [
        (Capabilities(reasoning="always"), {}, ENCRYPTED),
        (Capabilities(reasoning="never"), {}, None),
        (Capabilities(refused=frozenset({"include"})), {}, None),
        (Capabilities(reasoning="never"), {"logprobs": True}, ["message.output_text.logprobs"]),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_there_may_be_some(
    capabilities: Capabilities, fields: dict[str, Any], include: list[str] | None
) -> None:
    assert encode(capabilities, **fields).get("include") == include


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ({"max_tokens": 100}, {"max_output_tokens": 100}),
        ({"top_logprobs": 3}, {"top_logprobs": 3}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"show_reasoning": True}, {"reasoning": {"summary": "auto"}}),
        ({"cache": Cache(key="k")}, {"prompt_cache_key": "k"}),
        ({"cache": Cache(ttl="1h")}, {}),
        ({"user": "u-1"}, {"safety_identifier": "u-1"}),
        ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"response_format": JSONMode()}, {"text": {"format": {"type": "json_object"}}}),
        ({"stream": True}, {"stream": True}),
        ({"extra_params": {"truncation": "auto"}}, {"truncation": "auto"}),
        (
            {"reasoning_effort": "low", "extra_params": {"reasoning": {"context": "all"}}},
            {"reasoning": {"effort": "low", "context": "all"}},
        ),
    ],
)
def test_each_setting_has_its_field(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    least = encode()
    assert {name: value for name, value in encode(**fields).items() if name not in least} == sent


def test_less_than_16_tokens_are_not_taken() -> None:
    sent = call(max_tokens=5)
    assert body_of(sent)["max_output_tokens"] == 16
    assert [str(note) for note in sent.notes] == ["max_tokens changed: the provider takes at least 16"]


def test_strict_is_always_said() -> None:
    tools = (Tool(name="a"), Tool(name="b", description="B", parameters=SCHEMA, strict=True))
    assert encode(tools=tools)["tools"] == [
        {"type": "function", "name": "a", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "b", "description": "B", "parameters": STRICT, "strict": True},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (NamedTool(name="a"), {"type": "function", "name": "a"}),
    ],
)
def test_a_choice_of_tools(choice: Any, sent: object) -> None:
    assert encode(tools=(Tool(name="a"),), tool_choice=choice)["tool_choice"] == sent


def test_a_schema_is_made_strict_where_that_can_be() -> None:
    wanted = JSONSchema(schema=SCHEMA, name="place", description="Where?")
    assert encode(response_format=wanted)["text"]["format"] == {
        "type": "json_schema",
        "name": "place",
        "description": "Where?",
        "schema": STRICT,
        "strict": True,
    }
    loose = call(response_format=JSONSchema(schema={"type": "object", "additionalProperties": True}))
    assert body_of(loose)["text"]["format"]["strict"] is False
    assert loose.notes[0].parameter == "response_format"


# Messages.


def test_system_messages_stay_where_they_are() -> None:
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "system", "user")]
    assert encode(messages=to_messages(turns))["input"] == turns


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (TextPart(text="a"), {"type": "input_text", "text": "a"}),
        (
            ImagePart(source=Inline(media_type="image/png", data="AA=="), detail="low"),
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        ),
        (ImagePart(source=Link(url="https://x/a.png")), {"type": "input_image", "image_url": "https://x/a.png"}),
        (ImagePart(source=ProviderFile(id="f")), {"type": "input_image", "file_id": "f"}),
        (DocumentPart(source=ProviderFile(id="f")), {"type": "input_file", "file_id": "f"}),
        (DocumentPart(source=Link(url="https://x/a.pdf")), {"type": "input_file", "file_url": "https://x/a.pdf"}),
        (
            DocumentPart(source=Inline(media_type="application/pdf", data="AA=="), name="a.pdf"),
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        ),
        (
            DocumentPart(source=Inline(media_type="application/pdf", data="AA==")),
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AA=="},
        ),
        (
            DocumentPart(source=Inline(media_type="text/plain", data="aGk="), name="a.txt"),
            {"type": "input_text", "text": "a.txt:\nhi"},
        ),
        (
            AudioPart(source=Inline(media_type="audio/mpeg", data="AA==")),
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
        ),
    ],
)
def test_each_part_has_its_form(part: Part, sent: dict[str, Any]) -> None:
    content = (part, TextPart(text="?"))
    body = encode(messages=(Message(role="user", content=content),))
    expected = [sent, {"type": "input_text", "text": "?"}]
    if isinstance(part, TextPart):
        assert body["input"][0]["content"] == "a?"
    else:
        assert body["input"][0]["content"] == expected


@pytest.mark.parametrize(
    "part",
    [
        AudioPart(source=Link(url="https://x/a.mp3")),
        AudioPart(source=Inline(media_type="audio/ogg", data="AA==")),
    ],
)
def test_what_cannot_be_said_is_refused(part: Part) -> None:
    with pytest.raises(Unsupported, match="audio") as caught:
        call(messages=(Message(role="user", content=(part,)),))
    assert caught.value.parameter == "messages"


def test_calls_and_their_results_are_items() -> None:
    image = ImagePart(source=Link(url="https://x/a.png"))
    turns = (
        Message(role="user", content="?"),
        Message(role="assistant", content="Let me see.", tool_calls=(ToolCall(id="c1", name="f", arguments=""),)),
        Message(role="tool", tool_call_id="c1", content=(TextPart(text="here"), image)),
    )
    assert encode(messages=turns)["input"][1:] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [
                {"type": "input_text", "text": "here"},
                {"type": "input_image", "image_url": "https://x/a.png"},
            ],
        },
    ]


# Answers put back.


def turn_of(got: Completion) -> Message:
    native = NativeTurn(origin=REF, format=CODEC.format, items=got.native) if got.native else None
    content = None if not got.content and got.tool_calls else got.content
    return Message(role="assistant", content=content, tool_calls=got.tool_calls, native=native)


ANSWERS = [p for p in load("responses") if "error" not in p.expect]


@pytest.mark.parametrize("payload", ANSWERS, ids=lambda payload: payload.name)
def test_an_answer_can_be_given_back(payload: Payload) -> None:
    """What is sent back and read again means the same."""
    got = read(payload)
    items = encode(messages=(turn_of(got),))["input"]
    if got.native:
        assert tuple(items) == got.native
        return
    output = [as_output(item) for item in items]
    again = CODEC.decode(HttpReply(status=200, headers={}, body=encoded({"status": "completed", "output": output})))
    assert (again.content, again.tool_calls) == (got.content, got.tool_calls)


def read(payload: Payload) -> Completion:
    if not payload.name.startswith("stream_"):
        return CODEC.decode(payload.reply)
    decoder = CODEC.open_stream(payload.reply.headers)
    decoder.feed(payload.reply.body)
    return decoder.close()


def as_output(item: dict[str, Any]) -> dict[str, Any]:
    if "role" not in item:
        return item
    return {"type": "message", "content": [{"type": "output_text", "text": item["content"]}]}


def encoded(body: dict[str, Any]) -> bytes:

    return msgspec.json.encode(body)


def test_the_result_of_a_custom_tool_is_one() -> None:
    item = {"type": "custom_tool_call", "call_id": "c1", "name": "math", "input": "4 + 4"}
    turns = (
        Message(role="assistant", native=NativeTurn(origin=REF, format=CODEC.format, items=(item,))),
        Message(role="tool", tool_call_id="c1", content="8"),
    )
    assert encode(messages=turns)["input"] == [
        item,
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "8"},
    ]
