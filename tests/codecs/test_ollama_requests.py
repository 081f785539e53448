"""The codec of Ollama's format: what is sent."""

from base64 import b64encode
from typing import Any

import pytest

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NativeTurn, Note, Tool, ToolCall
from llmring.codecs.capabilities import Capabilities, Model, Reasoning
from llmring.codecs.codec import Codec, HttpCall
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Inline,
    Link,
    Part,
    ProviderFile,
    RegisteredFile,
    Source,
    TextPart,
)
from llmring.prompts import to_messages
from llmring.refs import ModelRef
from tests.codecs.payloads import body_of

CODEC: Codec = OllamaCodec()
PICTURE = ImagePart(source=Inline(media_type="image/png", data="cG5n"))


def call_of(*messages: Message, stream: bool = False, reasoning: Reasoning = "unknown", **fields: Any) -> HttpCall:
    request = ChatRequest(model="a", messages=messages or to_messages("hi"), **fields)
    return CODEC.encode(request, Model(name="m", capabilities=Capabilities(reasoning=reasoning)), stream=stream)


def encode(*messages: Message, **fields: Any) -> dict[str, Any]:
    return body_of(call_of(*messages, **fields))


def spelled(*parts: Part) -> Any:
    (message,) = encode(Message(role="user", content=parts))["messages"]
    return message


def text_file(text: str | bytes, media_type: str = "text/plain", name: str | None = None) -> DocumentPart:
    data = b64encode(text.encode() if isinstance(text, str) else text).decode()
    return DocumentPart(source=Inline(media_type=media_type, data=data), name=name)


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_sent_that_was_not_set_but_how_to_answer_and_not_to_cut(stream: bool) -> None:
    assert encode(stream=stream) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
        "truncate": False,
    }


def test_the_call_goes_to_chat_and_the_key_is_a_bearer() -> None:
    sent = call_of()
    assert (sent.method, sent.path, sent.headers) == ("POST", "/api/chat", (("content-type", "application/json"),))
    assert CODEC.auth("k") == (("authorization", "Bearer k"),)
    assert CODEC.format == "ollama"


def test_zero_is_not_absent_and_everything_has_its_name() -> None:
    body = encode(
        temperature=0.0,
        top_p=0.5,
        top_k=1,
        max_tokens=9,
        stop=("a", "b"),
        seed=0,
        presence_penalty=0.0,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=0,
        cache=Cache(ttl="1h", key="k"),
    )
    assert {name: body[name] for name in body if name not in ("model", "messages", "stream", "truncate")} == {
        "options": {
            "temperature": 0.0,
            "top_p": 0.5,
            "top_k": 1,
            "num_predict": 9,
            "stop": ["a", "b"],
            "seed": 0,
            "presence_penalty": 0.0,
            "frequency_penalty": -0.5,
        },
        "logprobs": True,
        "top_logprobs": 0,
        "keep_alive": "1h",
    }


def test_extra_params_go_last_and_options_are_merged() -> None:
    body = encode(
        temperature=0.5,
        seed=1,
        extra_params={"options": {"num_ctx": 32768, "seed": 2}, "truncate": True, "keep_alive": -1},
    )
    assert body["options"] == {"temperature": 0.5, "seed": 2, "num_ctx": 32768}
    assert (body["truncate"], body["keep_alive"]) == (True, -1)
    assert encode(extra_params={"options": {"num_ctx": 1}})["options"] == {"num_ctx": 1}
    assert encode(seed=1, extra_params={"options": None})["options"] is None


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "max"),
    ],
)
def test_an_effort_is_a_word(effort: Any, think: object) -> None:
    call = call_of(reasoning_effort=effort, show_reasoning=True)
    assert body_of(call)["think"] == think
    changed = Note(parameter="reasoning_effort", action="changed", why=f"Ollama takes {think!r}, not {effort!r}")
    assert call.notes == (() if think in (False, effort) else (changed,))


@pytest.mark.parametrize(
    ("reasoning", "think"),
    [("unknown", None), ("never", None), ("optional", True), ("default", True), ("always", True)],
)
def test_to_show_reasoning_is_asked_for_where_a_model_surely_takes_it(reasoning: Any, think: bool | None) -> None:
    assert encode(show_reasoning=True, reasoning=reasoning).get("think") is think
    assert "think" not in encode(show_reasoning=False, reasoning=reasoning)


def test_json_and_schemas_are_formats() -> None:
    assert encode(response_format=JSONMode())["format"] == "json"
    schema = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    call = call_of(response_format=JSONSchema(schema=schema))
    assert body_of(call)["format"] == schema
    assert call.notes == ()


def test_what_a_schema_does_not_enforce_is_noted() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "number", "minimum": 1}}}
    call = call_of(response_format=JSONSchema(schema=schema))
    assert "minimum" not in body_of(call)["format"]["properties"]["x"]
    (note,) = call.notes
    assert (note.parameter, note.action) == ("response_format", "changed")
    assert note.why.startswith("minimum at $.x")


def test_tools_are_functions_without_references_in_their_schemas() -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/X"}},
        "$defs": {"X": {"type": "string", "minLength": 1}},
    }
    call = call_of(tools=(Tool(name="f", description="d", parameters=schema), Tool(name="g")))
    (first, second) = body_of(call)["tools"]
    assert first["type"] == "function"
    assert first["function"]["description"] == "d"
    assert first["function"]["parameters"]["properties"]["x"]["type"] == "string"
    assert second == {
        "type": "function",
        "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
    }
    assert call.notes == ()


def test_that_strict_is_not_enforced_is_noted() -> None:
    call = call_of(tools=(Tool(name="f", strict=True), Tool(name="g", strict=False)))
    assert call.notes == (Note(parameter="tools", action="changed", why="f: Ollama does not enforce `strict`"),)


def test_arguments_are_objects_and_results_have_the_name_of_their_function() -> None:
    ours = "call_" + "0a" * 12
    body = encode(
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(id="c1", name="f", arguments='{"x": [1.50]}'),
                ToolCall(id=ours, name="g", arguments=" "),
            ),
        ),
        Message(role="tool", content="r1", tool_call_id="c1"),
        Message(role="tool", content="r2", tool_call_id=ours, is_error=True),
        Message(role="tool", content="r3", tool_call_id="unknown"),
    )
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"x": [1.5]}}},
                {"function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "r1", "tool_name": "f", "tool_call_id": "c1"},
        {"role": "tool", "content": "r2", "tool_name": "g"},
        {"role": "tool", "content": "r3", "tool_call_id": "unknown"},
    ]


@pytest.mark.parametrize("arguments", ['{"secret":', "[1]", '"secret"', "\ud83d", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_without_being_quoted(arguments: str) -> None:
    with pytest.raises(InvalidRequest, match="c1") as caught:
        encode(Message(role="assistant", tool_calls=(ToolCall(id="c1", name="f", arguments=arguments),)))
    assert "secret" not in str(caught.value)


def test_images_stand_beside_the_text_as_bare_base64() -> None:
    assert spelled(TextPart(text="a"), PICTURE, TextPart(text="b"), PICTURE) == {
        "role": "user",
        "content": "ab",
        "images": ["cG5n", "cG5n"],
    }
    assert spelled(PICTURE) == {"role": "user", "content": "", "images": ["cG5n"]}


def test_text_documents_become_text_with_their_name() -> None:
    body = spelled(
        TextPart(text="Read "),
        TextPart(text="these:"),
        text_file("grüße\n", name="a.txt"),
        text_file("\ufeff{}", "application/json; charset=utf-8"),
        TextPart(text="Done."),
    )
    assert body["content"] == (
        'Read these:\n\n<document name="a.txt">\ngrüße\n\n</document>\n\n<document>\n{}\n</document>\n\nDone.'
    )


@pytest.mark.parametrize("part", [text_file(b"\xff"), DocumentPart(source=Inline(media_type="text/csv", data="a"))])
def test_a_text_document_that_is_none_is_refused(part: Part) -> None:
    with pytest.raises(InvalidRequest, match="is not UTF-8 text"):
        spelled(part)


ELSEWHERE: tuple[Source, ...] = (Link(url="https://x.test/a"), RegisteredFile(id="f1"), ProviderFile(id="f1"))
INLINE_SOUND = Inline(media_type="audio/wav", data="d2F2")


@pytest.mark.parametrize(
    "part",
    [
        *(ImagePart(source=source) for source in ELSEWHERE),
        *(DocumentPart(source=source) for source in ELSEWHERE),
        text_file("%PDF-", "application/pdf"),
        *(AudioPart(source=source) for source in (INLINE_SOUND, *ELSEWHERE)),
    ],
)
def test_what_ollama_cannot_be_told_is_refused(part: Part) -> None:
    with pytest.raises(Unsupported, match="Ollama") as caught:
        spelled(TextPart(text="a"), part)
    assert caught.value.parameter == "messages"


def test_a_request_without_messages_only_loads_a_model_and_is_refused() -> None:
    with pytest.raises(Unsupported) as caught:
        CODEC.encode(ChatRequest(model="a", messages=()), Model(name="m"), stream=False)
    assert caught.value.parameter == "messages"


def test_a_turn_of_its_own_is_replayed_as_it_was_and_no_other() -> None:
    item = {"role": "assistant", "content": "a", "thinking": "t", "new": 1}
    turns = [
        Message(role="assistant", content="b", native=NativeTurn(origin=ModelRef("o", "m"), format=name, items=(item,)))
        for name in ("ollama", "anthropic")
    ]
    assert encode(*turns)["messages"] == [item, {"role": "assistant", "content": "b"}]
