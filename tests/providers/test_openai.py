"""The codec of OpenAI's chat completions format: what is sent, and how replies, streams and errors are read."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Message, NamedTool, Tool, ToolCall
from llmring.errors import InvalidRequest, ProviderError, TransportBroken
from llmring.prompts import to_messages
from llmring.providers.capabilities import Model
from llmring.providers.codec import Codec, HttpReply, LimitUpdate
from llmring.providers.openai import OpenAICodec
from llmring.providers.openai_dialect import Dialect
from tests.providers.payloads import (
    SPLITS,
    Payload,
    body_of,
    check_only_our_errors,
    check_reply,
    check_stream,
    load,
    read_stream,
)

CODEC: Codec = OpenAICodec()
PAYLOADS = load("openai")
REPLIES = [payload for payload in PAYLOADS if not payload.name.startswith("stream_")]
STREAMS = [payload for payload in PAYLOADS if payload.name.startswith("stream_")]


def encode(codec: Codec = CODEC, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"messages": to_messages("hi"), **fields}
    request = ChatRequest(model="a", **given)
    return body_of(codec.encode(request, Model(name="m-1"), stream=stream))


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({"choices": choices, **more}) + b"\n\n"


def test_nothing_is_sent_that_was_not_set() -> None:
    assert encode() == {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}


def test_the_call_goes_below_the_base_url_without_the_key() -> None:
    call = CODEC.encode(ChatRequest(model="a", messages=to_messages("hi")), Model(name="m-1"), stream=False)
    assert call.path == "/chat/completions"
    assert call.headers == (("content-type", "application/json"),)
    assert CODEC.auth("k") == (("authorization", "Bearer k"),)


def test_zero_is_not_absent() -> None:
    body = encode(temperature=0.0, top_p=0.0)
    assert body["temperature"] == 0.0
    assert body["top_p"] == 0.0


@pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens"])
def test_the_bound_goes_by_the_name_the_server_knows(field: Any) -> None:
    assert encode(OpenAICodec(Dialect(max_tokens_field=field)), max_tokens=7)[field] == 7


def test_streams_ask_for_usage() -> None:
    body = encode(stream=True, stop=("a", "b"))
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["stop"] == ["a", "b"]


def test_extra_params_are_merged_last() -> None:
    body = encode(temperature=1.0, extra_params={"temperature": None, "seed": 3})
    assert body["temperature"] is None
    assert body["seed"] == 3


def test_a_conversation_with_tools() -> None:
    messages = (
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="f", arguments=""),)),
        Message(role="tool", content="r", tool_call_id="c1", is_error=True),
    )
    tool = Tool(name="f", parameters={"type": "object"}, strict=False)
    body = encode(messages=messages, tools=(tool,), tool_choice=NamedTool(name="f"))
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "r", "tool_call_id": "c1"},
    ]
    function = {"name": "f", "parameters": {"type": "object"}, "strict": False}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert encode(tool_choice="required")["tool_choice"] == "required"


@pytest.mark.parametrize("fields", [{"messages": to_messages("secret \ud83d")}, {"extra_params": {"x": object()}}])
def test_what_json_cannot_hold_is_an_invalid_request_that_does_not_quote_it(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(**fields)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("payload", REPLIES, ids=lambda payload: payload.name)
def test_a_reply_is_read_as_its_folder_says(payload: Payload) -> None:
    check_reply(CODEC, payload)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("payload", STREAMS, ids=lambda payload: payload.name)
def test_a_stream_is_read_as_its_folder_says(payload: Payload, size: int) -> None:
    check_stream(CODEC, payload, size)


def test_text_is_handed_out_as_it_comes() -> None:
    decoder = CODEC.open_stream({})
    assert [delta.content for delta in decoder.feed(chunk({"content": "a"}) + chunk({"content": "b"}))] == ["a", "b"]
    assert decoder.feed(b"data: {") == []
    assert decoder.partial().content == "ab"
    assert decoder.partial().finish_reason == "error"
    with pytest.raises(TransportBroken):
        decoder.close()


def test_a_whole_reply_to_a_stream_request_is_handed_out_before_the_connection_ends() -> None:
    decoder = CODEC.open_stream({"content-type": "application/json"})
    deltas = decoder.feed(b'\n{"choices":[{"message":{"content":"x}"},"finish_reason":"stop"}]}')
    assert [delta.content for delta in deltas] == ["x}"]
    assert decoder.feed(b"\n") == []
    assert decoder.close().content == "x}"


def test_what_follows_done_is_not_read() -> None:
    decoder = CODEC.open_stream({})
    decoder.feed(chunk({"content": "a"}, "stop") + b"data: [DONE]\n\ndata: garbage\n\n")
    decoder.feed(b"data: more garbage\n\n")
    assert decoder.close().content == "a"


def test_usage_of_a_broken_stream_is_what_was_seen() -> None:
    decoder = CODEC.open_stream({})
    assert decoder.partial().usage is None
    decoder.feed(chunk({"content": "x" * 40}))
    usage = decoder.partial().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (0, 10)


def test_only_the_first_of_several_choices_is_read() -> None:
    decoder = CODEC.open_stream({})
    other = b'data: {"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n'
    decoder.feed(other + chunk({"content": "a"}))
    with pytest.raises(TransportBroken):
        decoder.close()
    assert decoder.partial().content == "a"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"},
            (LimitUpdate(dimension="requests", limit=500, remaining=499),),
        ),
        ({"x-ratelimit-remaining-tokens": "0"}, (LimitUpdate(dimension="tokens", remaining=0),)),
        ({"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"}, ()),
        ({"x-ratelimit-limit-tokens": "many", "x-ratelimit-remaining-tokens": "nan"}, ()),
        ({"x-ratelimit-limit-tokens": "0"}, ()),
        ({"x-ratelimit-reset-tokens": "6m0s"}, ()),
        (
            {"x-ratelimit-limit-tokens-minute": "100000", "x-ratelimit-remaining-req-minute": "9"},
            (LimitUpdate(dimension="requests", remaining=9), LimitUpdate(dimension="tokens", limit=100_000)),
        ),
    ],
)
def test_limits_are_read_from_headers(headers: dict[str, str], expected: tuple[LimitUpdate, ...]) -> None:
    assert CODEC.limits(headers) == expected


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
        ({"retry-after-ms": "0", "retry-after": "1"}, "", 1.0),
        ({"retry-after": "2.5"}, "", 2.5),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "0"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "90000"}, "", None),
        ({"retry-after": "soon"}, "Please try again in 86ms.", 0.086),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:00 GMT", "date": "Fri, 20 Nov 2026 12:00:00 GMT"}, "", 60.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:00 GMT"}, "", None),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:00 GMT", "date": "Fri, 20 Nov 2026 12:01:00 GMT"}, "", None),
        ({}, "Please try again in 6m0s. Visit us.", 360.0),
        ({}, "Please try again in 1h2m3.5s", 3723.5),
        ({}, "Please retry after 55 seconds and so on.", 55.0),
        ({}, "Please retry in 48.939935699s.", 48.939935699),
        ({}, "try again in a while", None),
        ({}, "try again in 3 tries", None),
    ],
)
def test_the_delay_is_the_first_that_makes_sense(headers: dict[str, str], message: str, expected: float | None) -> None:
    body = msgspec.json.encode({"error": {"message": message or "no"}})
    assert CODEC.classify(HttpReply(status=429, headers=headers, body=body)).retry_after == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefghijKEYKEY.",
        "bad key sk-ant-api03-abcdefKEYKEY here",
        "Your api key: ****KEYKEY is invalid",
        "Authorization: Bearer KEYKEYKEY",
        "key 0123456789abcdef0123456789KEYKEY is unknown",
        "gsk_abcdefKEYKEY",
        "AIzaSyA1234567890KEYKEY",
    ],
)
def test_keys_are_masked(text: str) -> None:
    error = CODEC.classify(HttpReply(status=401, headers={}, body=msgspec.json.encode({"error": {"message": text}})))
    assert "KEYKEY" not in str(error)
    assert "[masked]" in str(error)


def test_messages_are_short_and_on_one_line() -> None:
    body = msgspec.json.encode({"error": {"message": "a\nb\x1b[31m " + "word " * 1000}})
    message = CODEC.classify(HttpReply(status=500, headers={}, body=body)).message
    assert message.startswith("a b [31m word")
    assert len(message) == 500
    assert message.isprintable()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, "BadReply"),
        (400, "BadRequest"),
        (401, "AuthFailed"),
        (402, "QuotaExhausted"),
        (403, "ModelGone"),
        (404, "BadRequest"),
        (408, "ServerFault"),
        (409, "ServerFault"),
        (413, "ContextTooLong"),
        (422, "BadRequest"),
        (425, "ServerFault"),
        (429, "RateLimited"),
        (500, "ServerFault"),
        (501, "ServerFault"),
        (502, "ServerFault"),
        (503, "Overloaded"),
        (504, "ServerFault"),
        (522, "ServerFault"),
        (529, "Overloaded"),
    ],
)
def test_without_a_body_the_status_decides(status: int, expected: str) -> None:
    error = CODEC.classify(HttpReply(status=status, headers={}, body=b""))
    assert type(error).__name__ == expected
    assert error.status == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "model",
                    "choices",
                    "index",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "finish_reason",
                    "usage",
                    "error",
                    "code",
                    "type",
                    "status",
                    "prompt_tokens",
                    "completion_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                    "x_groq",
                    "text",
                    "detail",
                    "msg",
                    "loc",
                    "metadata",
                    "raw",
                    "object",
                    "refusal",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.integers(1, 40))
def test_any_json_raises_nothing_but_our_errors(value: object, size: int) -> None:
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return
    check_only_our_errors(CODEC, data, size)
    check_only_our_errors(CODEC, b"data: " + data + b"\n\n", size)


@given(st.binary(max_size=200), st.integers(1, 40))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes, size: int) -> None:
    check_only_our_errors(CODEC, data, size)
    check_only_our_errors(CODEC, b"{" + data, size)
    check_only_our_errors(CODEC, b"data: " + data, size)


@given(st.data())
def test_any_truncation_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from(PAYLOADS))
    cut = data.draw(st.integers(0, len(payload.reply.body)))
    check_only_our_errors(CODEC, payload.reply.body[:cut], data.draw(st.integers(1, 100)))


@pytest.mark.parametrize("data", [b'{"a":' * 100_000, b"[" * 100_000, b'data: {"a":' + b"[" * 100_000 + b"\n\n"])
def test_deep_nesting_is_a_bad_reply(data: bytes) -> None:
    check_only_our_errors(CODEC, data, 4096)


@given(st.data())
def test_any_split_gives_the_same_answer(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from([p for p in STREAMS if "error" not in p.expect and "no_ids" not in p.name]))
    body = payload.reply.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    decoder = CODEC.open_stream(payload.reply.headers)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        decoder.feed(body[start:end])
    assert decoder.close() == read_stream(CODEC.open_stream(payload.reply.headers), body, len(body))[1]


def test_garbage_in_a_stream_ends_in_an_error_of_ours() -> None:
    with pytest.raises(ProviderError):
        read_stream(CODEC.open_stream({}), b"garbage " * 1_000_000, 65_536)
