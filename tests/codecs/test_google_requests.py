"""The codec of Gemini's generateContent format: what is sent."""

from typing import Any

import pytest

from llmring.chat import (
    Cache,
    ChatRequest,
    JSONMode,
    JSONSchema,
    Message,
    NamedTool,
    Tool,
)
from llmring.codecs.google.codec import PARAMETERS
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
from tests.codecs.asking_google import CODEC, NEW, OLD, asks, call, call_of, encode, result, settings, user
from tests.codecs.payloads import (
    body_of,
)


def test_nothing_is_sent_that_was_not_set() -> None:
    assert encode() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-x", False, "/v1beta/models/gemini-x:generateContent"),
        ("gemini-x", True, "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        ("models/gemini-x", False, "/v1beta/models/gemini-x:generateContent"),
        ("a/b c?d:e", False, "/v1beta/models/a%2Fb%20c%3Fd%3Ae:generateContent"),
    ],
)
def test_the_model_and_the_stream_are_in_the_address(model: str, stream: bool, path: str) -> None:
    sent = call_of(model=model, stream=stream)
    assert sent.path == path
    assert body_of(sent).keys() == {"contents"}
    assert sent.headers == (("content-type", "application/json"),)
    assert CODEC.auth("k") == (("x-goog-api-key", "k"),)


def test_zero_is_not_absent_and_everything_has_its_name() -> None:
    body = encode(
        temperature=0.0,
        top_p=0.5,
        top_k=0,
        max_tokens=9,
        stop=("a",),
        seed=0,
        presence_penalty=0.0,
        frequency_penalty=1.5,
        logprobs=True,
        top_logprobs=3,
        n=2,
        service_tier="flex",
    )
    assert body["serviceTier"] == "flex"
    assert body["generationConfig"] == {
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 0,
        "maxOutputTokens": 9,
        "stopSequences": ["a"],
        "seed": 0,
        "presencePenalty": 0.0,
        "frequencyPenalty": 1.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "candidateCount": 2,
    }
    assert settings(top_logprobs=3) is None


def test_every_parameter_is_a_field_of_requests() -> None:
    assert set(ChatRequest.__struct_fields__) >= PARAMETERS


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning_tokens": 500}, {"thinkingBudget": 500}),
        ({"reasoning_tokens": 0}, {"thinkingBudget": 0}),
        ({"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ({"reasoning_effort": "minimal"}, {"thinkingLevel": "MINIMAL"}),
        ({"reasoning_effort": "high"}, {"thinkingLevel": "HIGH"}),
        ({"reasoning_effort": "low", "show_reasoning": True}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        ({"show_reasoning": True}, {"includeThoughts": True}),
        ({"reasoning_effort": "none", "show_reasoning": True}, {"thinkingBudget": 0}),
    ],
)
def test_reasoning_is_a_level_or_a_budget(fields: dict[str, Any], thinking: dict[str, Any]) -> None:
    assert call_of(**fields).notes == ()
    assert settings(**fields) == {"thinkingConfig": thinking}


def test_what_gemini_has_no_word_for_is_noted() -> None:
    sent = call_of(reasoning_effort="max", reasoning_tokens=9)
    assert body_of(sent)["generationConfig"] == {"thinkingConfig": {"thinkingLevel": "XHIGH"}}
    assert list(map(str, sent.notes)) == [
        "reasoning_effort changed: Gemini's highest level is XHIGH",
        "reasoning_tokens dropped: Gemini takes a level or a budget",
    ]
    assert settings(show_reasoning=False) is None


def test_extra_parameters_go_on_top_and_into_the_settings() -> None:
    body = encode(
        temperature=0.5, top_k=1, extra_params={"generationConfig": {"topK": 2, "x": 3}, "labels": {"a": "b"}}
    )
    assert body["generationConfig"] == {"temperature": 0.5, "topK": 2, "x": 3}
    assert body["labels"] == {"a": "b"}


def test_json_is_asked_for_by_type_and_schema() -> None:
    schema = {"$schema": "s", "type": "object", "properties": {"x": {"type": "string", "pattern": "a"}}}
    sent = call_of(response_format=JSONSchema(schema=schema))
    assert settings(response_format=JSONMode()) == {"responseMimeType": "application/json"}
    spelled = body_of(sent)["generationConfig"]
    assert spelled["responseMimeType"] == "application/json"
    assert spelled["responseJsonSchema"]["properties"]["x"]["type"] == "string"
    assert "pattern" not in spelled["responseJsonSchema"]["properties"]["x"]
    assert {(note.parameter, note.action) for note in sent.notes} == {("response_format", "changed")}
    assert any("pattern" in note.why for note in sent.notes)


def test_tools() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "a"}}}
    sent = call_of(tools=(Tool(name="f", description="d", parameters=schema), Tool(name="g")))
    (group,) = body_of(sent)["tools"]
    first, second = group["functionDeclarations"]
    assert first.keys() == {"name", "description", "parametersJsonSchema"}
    assert first["parametersJsonSchema"]["properties"]["x"]["type"] == "string"
    assert second == {"name": "g"}
    assert "toolConfig" not in body_of(sent)
    assert [note.parameter for note in sent.notes] == ["tools"]
    assert sent.notes[0].why.startswith("f: pattern at $.x")


@pytest.mark.parametrize(
    ("choice", "spelled"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NamedTool(name="f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice: Any, spelled: dict[str, str]) -> None:
    body = encode(tools=(Tool(name="f"),), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": spelled}


def test_strict_tools_are_validated_where_the_model_can() -> None:
    tools = (Tool(name="f", strict=True),)
    assert encode(model=NEW, tools=tools)["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert encode(model=NEW, tools=tools, tool_choice="none")["toolConfig"]["functionCallingConfig"]["mode"] == "NONE"
    old = call_of(model=OLD, tools=tools)
    assert "toolConfig" not in body_of(old)
    assert [note.parameter for note in old.notes] == ["tools"]


def test_cached_content_stands_for_the_system_message_and_the_tools() -> None:
    sent = call_of(
        Message(role="system", content="s"),
        user("u"),
        cache=Cache(content="cachedContents/1"),
        tools=(Tool(name="f"),),
        tool_choice="auto",
        temperature=1.0,
    )
    assert body_of(sent) == {
        "contents": [{"role": "user", "parts": [{"text": "u"}]}],
        "generationConfig": {"temperature": 1.0},
        "cachedContent": "cachedContents/1",
    }
    assert [note.parameter for note in sent.notes] == ["messages", "tools", "tool_choice"]
    assert call_of(cache=Cache(content="cachedContents/1", key="k", ttl="5m")).notes == ()


# Messages.


def test_all_system_messages_are_the_instruction_in_order() -> None:
    body = encode(
        Message(role="system", content="one"),
        user("u"),
        Message(role="system", content=""),
        Message(role="system", content=(TextPart(text="two"), TextPart(text="three"))),
    )
    assert body["systemInstruction"] == {"parts": [{"text": "one"}, {"text": "two"}, {"text": "three"}]}
    assert [content["role"] for content in body["contents"]] == ["user"]
    image = ImagePart(source=Link(url="https://a/b.png"))
    with pytest.raises(Unsupported) as caught:
        encode(Message(role="system", content=(image,)), user("u"))
    assert caught.value.parameter == "messages"


def test_a_request_with_nothing_to_say_is_not_for_gemini() -> None:
    with pytest.raises(Unsupported) as caught:
        encode(Message(role="system", content="s"), user(""))
    assert caught.value.parameter == "messages"


def test_the_results_of_one_round_stand_directly_behind_it_in_the_order_of_its_calls() -> None:
    body = encode(
        user("u"),
        asks(call("c1", "f", '{"x": [1.50]}'), call("c2", "g"), text="t"),
        user("hurry"),
        result("c2", "", is_error=True),
        result("c1", "r1"),
        asks(call("c3")),
        result("c3", "r3"),
    )
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "t"},
                {"functionCall": {"name": "f", "args": {"x": [1.5]}, "id": "c1"}},
                {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"result": "r1"}, "id": "c1"}},
                {"functionResponse": {"name": "g", "response": {"error": ""}, "id": "c2"}},
            ],
        },
        {"role": "user", "parts": [{"text": "hurry"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}, "id": "c3"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "r3"}, "id": "c3"}}]},
    ]


def test_an_id_of_one_round_may_come_back_in_the_next() -> None:
    body = encode(asks(call("c", "f")), result("c", "1"), asks(call("c", "g")), result("c", "2"))
    results = [part["functionResponse"] for content in body["contents"][1::2] for part in content["parts"]]
    assert [(r["name"], r["response"]["result"]) for r in results] == [("f", "1"), ("g", "2")]


def test_a_result_without_its_call_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="c9"):
        encode(user("u"), asks(call("c1")), result("c9", "r"))


@pytest.mark.parametrize("arguments", ['{"secret":', "[1]", '"secret"', "\ud83d", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_without_being_quoted(arguments: str) -> None:
    with pytest.raises(InvalidRequest, match="c1") as caught:
        encode(asks(call("c1", "f", arguments)))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "is_signed"),
    [
        ("gemini-3-pro-preview", True),
        ("models/gemini-3.7-flash", True),
        ("gemini-10-pro", True),
        ("gemini-flash-latest", True),
        ("gemini-pro-latest", True),
        ("gemini-2.5-pro", False),
        ("gemini-2.0-flash", False),
        ("gemini-1.5-pro-002", False),
        ("gemini-pro", False),
        ("gemma-3-27b-it", False),
    ],
)
def test_calls_of_others_are_marked_as_unsigned_where_signatures_are_asked_for(model: str, is_signed: bool) -> None:
    body = encode(user("u"), asks(call("c1"), call("c2"), text="t"), result("c1", "r"), result("c2", "r"), model=model)
    signatures = [part.get("thoughtSignature") for part in body["contents"][1]["parts"]]
    assert signatures == [None, "skip_thought_signature_validator" if is_signed else None, None]


IMAGE = Inline(media_type="image/png", data="aGk=")


@pytest.mark.parametrize(
    ("part", "spelled"),
    [
        (ImagePart(source=IMAGE), {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
        (
            AudioPart(source=Inline(media_type="audio/mpeg", data="aGk=")),
            {"inlineData": {"mimeType": "audio/mpeg", "data": "aGk="}},
        ),
        (
            DocumentPart(source=Inline(media_type="application/pdf", data="aGk="), name="a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        ),
        (
            DocumentPart(source=Inline(media_type="text/markdown", data="aGk=")),
            {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
        ),
        (
            DocumentPart(source=Inline(media_type="application/json", data="aGk=")),
            {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
        ),
        (
            ImagePart(source=Link(url="https://a/b.JPG?c=d.pdf")),
            {"fileData": {"fileUri": "https://a/b.JPG?c=d.pdf", "mimeType": "image/jpeg"}},
        ),
        (ImagePart(source=Link(url="https://a/b")), {"fileData": {"fileUri": "https://a/b"}}),
        (ImagePart(source=Link(url="https://[")), {"fileData": {"fileUri": "https://["}}),
        (
            AudioPart(source=ProviderFile(id="files/1", uri="https://a/files/1", media_type="audio/wav")),
            {"fileData": {"fileUri": "https://a/files/1", "mimeType": "audio/wav"}},
        ),
        (
            DocumentPart(source=ProviderFile(id="files/1", uri="https://a/files/1")),
            {"fileData": {"fileUri": "https://a/files/1"}},
        ),
    ],
)
def test_media_are_inline_or_by_their_address(part: Part, spelled: dict[str, Any]) -> None:
    body = encode(Message(role="user", content=(TextPart(text="t"), part, TextPart(text=""))))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "t"}, spelled]}]


@pytest.mark.parametrize("source", [ProviderFile(id="files/1"), RegisteredFile(id="file-1")])
def test_a_file_that_gemini_cannot_find_is_not_for_gemini(source: Source) -> None:
    with pytest.raises(Unsupported, match=source.id) as caught:  # type: ignore[union-attr]
        encode(Message(role="user", content=(ImagePart(source=source),)))
    assert caught.value.parameter == "messages"


def test_media_of_results_stand_behind_all_results() -> None:
    body = encode(
        asks(call("c1", "see"), call("c2", "say")),
        Message(role="tool", tool_call_id="c1", content=(TextPart(text="this"), ImagePart(source=IMAGE))),
        result("c2", "r2"),
        user("so?"),
    )
    _, results, media, last = body["contents"]
    assert [part["functionResponse"]["response"] for part in results["parts"]] == [{"result": "this"}, {"result": "r2"}]
    assert media["parts"] == [
        {"text": "Of the result of see:"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]
    assert last["parts"] == [{"text": "so?"}]
