"""What the servers that speak chat completions take, and what they call it."""

from typing import Any

import pytest

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NamedTool, Tool, ToolCall
from llmring.codecs.codec import Codec, HttpReply, LimitUpdate
from llmring.codecs.openai import dialect as openai_dialect
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import (
    AZURE,
    COMPATIBLE,
    DEEPSEEK,
    GROQ,
    LLAMACPP,
    LMSTUDIO,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    TOGETHER,
    VLLM,
    XAI,
    Dialect,
)
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, ProviderFile, TextPart
from tests.codecs.chat_calls import added, call, encode

ALL = {name: value for name, value in vars(openai_dialect).items() if isinstance(value, Dialect)}


@pytest.mark.parametrize("dialect", ALL.values(), ids=list(ALL))
def test_every_dialect_makes_a_codec_whose_parameters_are_fields_of_a_request(dialect: Dialect) -> None:
    codec: Codec = OpenAICodec(dialect)
    assert codec.parameters <= set(ChatRequest.__struct_fields__)
    assert codec.format == "openai-chat"
    assert encode(dialect) == {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}


SETTINGS: list[tuple[str, Dialect, dict[str, Any], dict[str, Any]]] = [
    ("openai", OPENAI, {"user": "u"}, {"safety_identifier": "u"}),
    ("azure", AZURE, {"user": "u", "max_tokens": 1}, {"user": "u", "max_completion_tokens": 1}),
    ("compatible", COMPATIBLE, {"user": "u", "max_tokens": 1}, {"user": "u", "max_tokens": 1}),
    ("mistral", MISTRAL, {"seed": 1, "max_tokens": 2}, {"random_seed": 1, "max_tokens": 2}),
    ("mistral", MISTRAL, {"tool_choice": "required"}, {"tool_choice": "any"}),
    ("mistral", MISTRAL, {"tool_choice": "auto"}, {"tool_choice": "auto"}),
    ("mistral", MISTRAL, {"stream": True}, {"stream": True}),
    ("mistral", MISTRAL, {"cache": Cache(key="k")}, {"prompt_cache_key": "k"}),
    ("mistral", MISTRAL, {"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
    ("together", TOGETHER, {"top_k": 3}, {"top_k": 3}),
    ("xai", XAI, {"max_tokens": 1, "reasoning_effort": "low"}, {"max_completion_tokens": 1, "reasoning_effort": "low"}),
    ("deepseek", DEEPSEEK, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    (
        "deepseek",
        DEEPSEEK,
        {"reasoning_effort": "high"},
        {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
    ),
    ("groq", GROQ, {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
    ("groq", GROQ, {"reasoning_effort": "low"}, {"reasoning_effort": "low", "reasoning_format": "parsed"}),
    ("groq", GROQ, {"show_reasoning": False}, {"reasoning_format": "hidden"}),
    ("groq", GROQ, {"show_reasoning": True}, {"reasoning_format": "parsed"}),
    ("openrouter", OPENROUTER, {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    ("openrouter", OPENROUTER, {"reasoning_tokens": 2000}, {"reasoning": {"max_tokens": 2000}}),
    ("openrouter", OPENROUTER, {"reasoning_tokens": 0}, {"reasoning": {"enabled": False}}),
    (
        "openrouter",
        OPENROUTER,
        {"reasoning_effort": "low", "show_reasoning": False},
        {"reasoning": {"effort": "low", "exclude": True}},
    ),
    ("openrouter", OPENROUTER, {"cache": Cache(ttl="1h")}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),
    ("deepseek", DEEPSEEK, {"response_format": JSONSchema(schema={})}, {"response_format": {"type": "json_object"}}),
    ("llama.cpp", LLAMACPP, {"response_format": JSONMode()}, {"response_format": {"type": "json_object"}}),
]


@pytest.mark.parametrize(("name", "dialect", "fields", "expected"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting_is_spelled_as_the_server_calls_it(
    name: str, dialect: Dialect, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert added(dialect, **fields) == expected


def test_lm_studio_has_schemas_but_no_json_mode() -> None:
    assert added(LMSTUDIO, response_format=JSONMode())["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("dialect", [LMSTUDIO, LLAMACPP])
def test_where_no_tool_can_be_named_it_is_the_only_one(dialect: Dialect) -> None:
    body = added(dialect, tools=(Tool(name="a"), Tool(name="b")), tool_choice=NamedTool(name="b"))
    assert body == {"tools": [{"type": "function", "function": {"name": "b"}}], "tool_choice": "required"}


@pytest.mark.parametrize("dialect", [VLLM, LLAMACPP, LMSTUDIO])
def test_local_servers_get_one_system_message_at_the_start(dialect: Dialect) -> None:
    system, user = Message(role="system", content="a"), Message(role="user", content="u")
    leading = call(dialect, messages=(system, Message(role="system", content="b"), user))
    assert leading.notes == ()
    spelled = encode(dialect, messages=(system, user, Message(role="system", content="b")))["messages"]
    assert spelled == [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "u"}]
    moved = call(dialect, messages=(user, system))
    assert [(note.parameter, note.action) for note in moved.notes] == [("messages", "changed")]
    assert len(encode(OPENAI, messages=(system, user, system))["messages"]) == 3


def test_mistral_gets_tool_ids_of_nine_letters_and_digits() -> None:
    messages = (
        Message(role="assistant", tool_calls=(ToolCall(id="call_1", name="f", arguments="{}"),)),
        Message(role="tool", content="r", tool_call_id="call_1"),
        Message(role="assistant", tool_calls=(ToolCall(id="gRgYUmPLP", name="f", arguments="{}"),)),
    )
    asked, answered, own = encode(MISTRAL, messages=messages)["messages"]
    made = asked["tool_calls"][0]["id"]
    assert len(made) == 9
    assert made.isalnum()
    assert answered["tool_call_id"] == made
    assert own["tool_calls"][0]["id"] == "gRgYUmPLP"


def test_mistral_takes_documents_by_url_and_sound_as_bare_base64() -> None:
    parts = (
        DocumentPart(source=Link(url="https://a.example/b.pdf")),
        DocumentPart(source=Inline(media_type="application/pdf", data="AA=="), name="x.pdf"),
        DocumentPart(source=ProviderFile(id="f-1")),
        AudioPart(source=Inline(media_type="audio/ogg", data="AA==")),
    )
    (message,) = encode(MISTRAL, messages=(Message(role="user", content=parts),))["messages"]
    assert message["content"] == [
        {"type": "document_url", "document_url": "https://a.example/b.pdf", "document_name": "b.pdf"},
        {"type": "document_url", "document_url": "data:application/pdf;base64,AA==", "document_name": "x.pdf"},
        {"type": "file", "file_id": "f-1"},
        {"type": "input_audio", "input_audio": "AA=="},
    ]


def test_mistral_takes_images_in_a_result_for_no_user_may_speak_behind_it() -> None:
    image = ImagePart(source=Link(url="https://a.example/b.png"))
    result = call(MISTRAL, messages=(Message(role="tool", content=(image,), tool_call_id="gRgYUmPLP"),))
    assert result.notes == ()
    (message,) = encode(MISTRAL, messages=(Message(role="tool", content=(image,), tool_call_id="gRgYUmPLP"),))[
        "messages"
    ]
    assert message["content"] == [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]


def test_openrouter_is_told_what_to_cache() -> None:
    messages = (
        Message(role="system", content="s", cache="1h"),
        Message(role="user", content=(TextPart(text="a", cache="5m"), TextPart(text="b"))),
        Message(role="assistant", content="", cache="5m"),
    )
    system, user, assistant = encode(OPENROUTER, messages=messages)["messages"]
    assert system["content"] == [
        {"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    assert user["content"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        {"type": "text", "text": "b"},
    ]
    assert assistant["content"] == ""
    assert encode(OPENAI, messages=messages)["messages"][1]["content"] == "ab"


def test_openrouter_fetches_documents() -> None:
    part = DocumentPart(source=Link(url="https://a.example/b.pdf"))
    (message,) = encode(OPENROUTER, messages=(Message(role="user", content=(part,)),))["messages"]
    assert message["content"] == [
        {"type": "file", "file": {"filename": "b.pdf", "file_data": "https://a.example/b.pdf"}}
    ]


def test_azure_has_a_header_of_its_own_and_deployments_with_a_version() -> None:
    assert OpenAICodec(AZURE).auth("k") == (("api-key", "k"),)
    assert call(AZURE).path == "/chat/completions"
    old = Dialect(auth="api-key", api_version="2024-10-21")
    assert call(old).path == "/openai/deployments/m-1/chat/completions?api-version=2024-10-21"


GROQ_HEADERS = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-tokens": "17997",
}


@pytest.mark.parametrize(
    ("dialect", "headers", "expected"),
    [
        (
            GROQ,
            GROQ_HEADERS,
            (
                LimitUpdate(dimension="day", limit=14_400, remaining=14_370, period=86_400.0),
                LimitUpdate(dimension="tokens", limit=18_000, remaining=17_997),
            ),
        ),
        (
            TOGETHER,
            {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1"},
            (LimitUpdate(dimension="requests", limit=10, remaining=9, period=1.0),),
        ),
        (
            MISTRAL,
            {
                "x-ratelimit-limit-req-minute": "100",
                "x-ratelimit-remaining-req-minute": "99",
                "x-ratelimit-limit-tokens-minute": "100000",
                "x-ratelimit-remaining-tokens-minute": "98321",
                "x-ratelimit-limit-req-10-second": "60",
                "x-ratelimit-limit-tokens-month": "1000000000",
            },
            (
                # 60 at once, and 100 a minute.
                LimitUpdate(dimension="requests", limit=60, remaining=99, period=36.0),
                LimitUpdate(dimension="tokens", limit=100_000, remaining=98_321),
            ),
        ),
        (
            AZURE,
            {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "99"},
            (LimitUpdate(dimension="requests", limit=100, remaining=99),),
        ),
    ],
    ids=["groq", "together", "mistral", "azure"],
)
def test_limits_are_counted_as_the_provider_counts(
    dialect: Dialect, headers: dict[str, str], expected: tuple[LimitUpdate, ...]
) -> None:
    assert OpenAICodec(dialect).limits(headers) == expected


def test_an_empty_limit_is_the_dialects() -> None:
    reply = HttpReply(status=429, headers={"x-ratelimit-remaining-requests": "0"}, body=b"")
    assert vars(OpenAICodec(GROQ).classify(reply))["dimension"] == "day"
    assert vars(OpenAICodec(OPENAI).classify(reply))["dimension"] == "requests"
