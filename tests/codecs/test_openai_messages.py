"""Messages as chat completions spells them: images, documents, sound, and what it cannot say."""

from base64 import b64encode
from typing import Any

import pytest

from llmring.chat import Message, NativeTurn, ToolCall
from llmring.codecs.openai.dialect import DEEPSEEK, GROQ, OPENAI, Dialect
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
    TextPart,
)
from llmring.refs import ModelRef
from tests.codecs.chat_calls import call, encode

PNG = Inline(media_type="image/png", data="iVBORw==")
PDF = Inline(media_type="application/pdf", data="JVBERg==")


def text_document(text: str, media_type: str = "text/plain") -> Inline:
    return Inline(media_type=media_type, data=b64encode(text.encode()).decode())


def content(*parts: Part, dialect: Dialect = OPENAI) -> Any:
    return encode(dialect, messages=(Message(role="user", content=parts),))["messages"][0]["content"]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            ImagePart(source=Link(url="https://a.example/b.png")),
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        ),
        (
            ImagePart(source=PNG, detail="high"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "high"}},
        ),
        (
            DocumentPart(source=PDF, name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        (
            DocumentPart(source=PDF),
            {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        (DocumentPart(source=ProviderFile(id="file-1")), {"type": "file", "file": {"file_id": "file-1"}}),
        (DocumentPart(source=text_document("Grüße"), name="a.txt"), {"type": "text", "text": "a.txt:\nGrüße"}),
        (DocumentPart(source=text_document("{}", "application/json")), {"type": "text", "text": "{}"}),
        (
            AudioPart(source=Inline(media_type="audio/wav", data="AA==")),
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        ),
        (
            AudioPart(source=Inline(media_type="audio/mpeg", data="AA==")),
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
        ),
    ],
)
def test_a_part_is_spelled(part: Part, expected: dict[str, Any]) -> None:
    assert content(TextPart(text="look"), part) == [{"type": "text", "text": "look"}, expected]


def test_text_alone_is_text_for_every_server_reads_that() -> None:
    assert content(TextPart(text="a"), TextPart(text="b")) == "ab"


@pytest.mark.parametrize(
    ("part", "dialect", "message"),
    [
        (DocumentPart(source=Link(url="https://a.example/b.pdf")), OPENAI, "not by a link"),
        (DocumentPart(source=Inline(media_type="application/zip", data="AA==")), OPENAI, "not application/zip"),
        (DocumentPart(source=RegisteredFile(id="llmring-file-1")), OPENAI, "was not uploaded"),
        (DocumentPart(source=PDF), DEEPSEEK, "no documents"),
        (ImagePart(source=ProviderFile(id="file-1")), OPENAI, "not by a file's id"),
        (AudioPart(source=Link(url="https://a.example/b.mp3")), OPENAI, "by its data alone"),
        (AudioPart(source=Inline(media_type="audio/ogg", data="AA==")), OPENAI, "wav and mp3"),
        (AudioPart(source=Inline(media_type="audio/wav", data="AA==")), GROQ, "no audio"),
    ],
)
def test_what_the_server_has_no_form_for_is_unsupported(part: Part, dialect: Dialect, message: str) -> None:
    with pytest.raises(Unsupported, match=message) as caught:
        content(part, dialect=dialect)
    assert caught.value.parameter == "messages"


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_and_tools_show_pictures(role: Any) -> None:
    with pytest.raises(Unsupported, match=f"role {role}"):
        encode(messages=(Message(role=role, content=(ImagePart(source=PNG),)),))


def test_a_document_that_is_not_base64_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="not base64"):
        content(DocumentPart(source=Inline(media_type="text/plain", data="a")))


def test_an_image_in_a_result_follows_the_results_in_a_user_message() -> None:
    calls = (ToolCall(id="c1", name="f", arguments="{}"), ToolCall(id="c2", name="f", arguments="{}"))
    messages = (
        Message(role="assistant", tool_calls=calls),
        Message(role="tool", content=(TextPart(text="seen"), ImagePart(source=PNG)), tool_call_id="c1"),
        Message(role="tool", content=(ImagePart(source=PNG),), tool_call_id="c2"),
        Message(role="user", content="u"),
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    assert encode(messages=messages)["messages"][1:] == [
        {"role": "tool", "content": "seen", "tool_call_id": "c1"},
        {"role": "tool", "content": "The result is in the next user message.", "tool_call_id": "c2"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Result of tool call c1:"},
                image,
                {"type": "text", "text": "Result of tool call c2:"},
                image,
            ],
        },
        {"role": "user", "content": "u"},
    ]
    assert encode(messages=messages[:3])["messages"][1:] == encode(messages=messages)["messages"][1:4]
    (note,) = call(messages=messages).notes
    assert (note.parameter, note.action) == ("messages", "changed")


def test_a_turn_of_this_format_is_replayed_verbatim_and_no_other() -> None:
    origin = ModelRef(provider="p", model="m")
    item = {"role": "assistant", "content": "c", "reasoning_content": "r", "odd": [1]}
    turn = Message(role="assistant", content="x", native=NativeTurn(origin=origin, format="openai-chat", items=(item,)))
    assert encode(messages=(turn,))["messages"] == [item]
    other = Message(role="assistant", content="x", native=NativeTurn(origin=origin, format="anthropic", items=(item,)))
    assert encode(messages=(other,))["messages"] == [{"role": "assistant", "content": "x"}]
