"""Parts of messages, response formats and cache settings, in every spelling that is read; and what is refused."""

from base64 import b64encode
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import Cache, JSONMode, JSONSchema, Message, NativeTurn, ToolCall
from llmring.errors import InvalidRequest
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
from llmring.prompt_formats import to_cache, to_response_format
from llmring.prompt_parts import to_content
from llmring.prompts import to_messages
from llmring.refs import ModelRef

PNG = Inline(media_type="image/png", data="AAEC")
PDF = Inline(media_type="application/pdf", data="AAEC")


@pytest.mark.parametrize(
    ("spelled", "part"),
    [
        ("hi", TextPart(text="hi")),
        ({"type": "text", "text": "hi"}, TextPart(text="hi")),
        ({"type": "text", "text": "hi", "cache": "1h"}, TextPart(text="hi", cache="1h")),
        ({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, TextPart(text="hi", cache="5m")),
        (
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            TextPart(text="hi", cache="1h"),
        ),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}, ImagePart(source=PNG)),
        ({"type": "image_url", "image_url": "https://x/a.png"}, ImagePart(source=Link(url="https://x/a.png"))),
        (
            {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}},
            ImagePart(source=Link(url="https://x/a.png"), detail="low"),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA\nEC"}},
            ImagePart(source=PNG),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://x/a"}}, ImagePart(source=Link(url="https://x/a"))),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ImagePart(source=ProviderFile(id="f"))),
        (
            {"type": "document", "title": "T", "source": {"type": "text", "data": "hi"}},
            DocumentPart(source=Inline(media_type="text/plain", data="aGk="), name="T"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAEC", "filename": "a.pdf"}},
            DocumentPart(source=PDF, name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_data": "data:image/png;base64,AAEC"}}, ImagePart(source=PNG)),
        ({"type": "file", "file": {"file_id": "f"}}, DocumentPart(source=ProviderFile(id="f"))),
        ({"type": "file", "file_id": "llmring-file-1"}, DocumentPart(source=RegisteredFile(id="llmring-file-1"))),
        (
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "mp3"}},
            AudioPart(source=Inline(media_type="audio/mpeg", data="AAEC")),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "WAV"}},
            AudioPart(source=Inline(media_type="audio/wav", data="AAEC")),
        ),
    ],
)
def test_each_spelling_of_a_part_is_read(spelled: Any, part: Part) -> None:
    assert to_content([spelled]) == (part,)
    assert to_content([part]) == (part,)


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content=(TextPart(text="a", cache="1h"), ImagePart(source=PNG, detail="low"))),
        Message(role="user", content=(DocumentPart(source=RegisteredFile(id="llmring-file-1"), name="a"),)),
        Message(role="user", content=(AudioPart(source=Link(url="https://x/a.mp3")),)),
        Message(role="user", content=(DocumentPart(source=ProviderFile(id="f", uri="u", media_type="m")),)),
        Message(
            role="assistant",
            tool_calls=(ToolCall(id="c", name="f", arguments="{}"),),
            native=NativeTurn(origin=ModelRef("openai", "m:1"), format="openai-responses", items=({"type": "x"},)),
        ),
        Message(role="tool", tool_call_id="c", content="r", is_error=True, cache="5m"),
    ],
)
def test_a_conversation_that_was_written_as_json_is_read_again(message: Message) -> None:
    assert to_messages([msgspec.json.decode(msgspec.json.encode(message))]) == (message,)


@pytest.mark.parametrize(
    ("spelled", "reason"),
    [
        ({"type": "video"}, "part 1: unknown type 'video': expected one of text, image_url"),
        ({"text": "hi"}, "part 1: unknown type 'None'"),
        ({"type": "text"}, "part 1: Object missing required field `text`"),
        ({"type": "text", "text": "a", "cache": "2h"}, "part 1: Invalid enum value '2h'"),
        ({"type": "image_url", "image_url": "http://x/a.png"}, "a URL must be https:// or data:"),
        ({"type": "image_url", "image_url": "/etc/passwd"}, "for a file on this machine use register_file"),
        ({"type": "image_url", "image_url": "data:image/png,AAEC"}, "a data URL needs a media type and base64"),
        ({"type": "image_url", "image_url": "data:image/png;base64,#"}, "the data of image/png is not base64"),
        ({"type": "image", "source": {"type": "base64", "data": "AA"}}, "needs media_type and data"),
        ({"type": "document", "source": {"type": "url"}}, "a source of type 'url' needs url"),
        ({"type": "file", "file": {}}, "a file needs file_id or file_data"),
        (5, "part 1: Expected `object`"),
    ],
)
def test_what_cannot_be_read_is_named(spelled: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_content([spelled])
    assert reason in str(caught.value)


@given(st.binary(max_size=100))
def test_any_bytes_come_through(data: bytes) -> None:
    encoded = b64encode(data).decode()
    spelled = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    assert to_content([spelled]) == (ImagePart(source=Inline(media_type="image/png", data=encoded)),)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.none(), max_size=4))
def test_nothing_but_our_error_is_raised(spelled: dict[str, Any]) -> None:
    for kind in ("text", "image_url", "image", "file", "document", "input_audio", "x"):
        with suppress(InvalidRequest):
            to_content([{**spelled, "type": kind}])


def test_a_mark_of_llmring_1_is_read() -> None:
    given = {"role": "user", "content": "hi", "metadata": {"cache_control": {"type": "ephemeral"}}}
    assert to_messages([given])[0].cache == "5m"


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("spelled", "read"),
    [
        (None, None),
        ("json", JSONMode()),
        ("json_object", JSONMode()),
        ("text", None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JSONMode()),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": False}},
            JSONSchema(schema=SCHEMA, name="n", strict=False),
        ),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, JSONSchema(schema=SCHEMA)),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA}, "strict": False},
            JSONSchema(schema=SCHEMA, strict=False),
        ),
        ({"type": "json_schema", "schema": SCHEMA, "name": "n"}, JSONSchema(schema=SCHEMA, name="n")),
        (JSONSchema(schema=SCHEMA), JSONSchema(schema=SCHEMA)),
    ],
)
def test_each_spelling_of_a_format_is_read(spelled: Any, read: Any) -> None:
    assert to_response_format(spelled) == read


@pytest.mark.parametrize("spelled", ["xml", {}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}])
def test_a_wrong_format_is_refused(spelled: Any) -> None:
    with pytest.raises(InvalidRequest, match="response_format"):
        to_response_format(spelled)


@pytest.mark.parametrize(
    ("spelled", "read"),
    [
        (None, None),
        (False, None),
        (True, Cache(ttl="5m")),
        ("1h", Cache(ttl="1h")),
        ({"key": "k"}, Cache(key="k")),
        ({"content": "cachedContents/1"}, Cache(content="cachedContents/1")),
        (Cache(ttl="1h"), Cache(ttl="1h")),
    ],
)
def test_each_spelling_of_a_cache_is_read(spelled: Any, read: Any) -> None:
    assert to_cache(spelled) == read


def test_a_wrong_cache_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cache: Invalid enum value '2h'"):
        to_cache("2h")
