"""The codec of Anthropic's Messages format: what is sent, and how replies, streams and errors are read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Message, ToolCall
from llmring.codecs.anthropic.codec import DEFAULT_MAX_TOKENS, AnthropicCodec
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, LimitUpdate
from llmring.errors import InvalidRequest, TransportBroken, Unsupported
from llmring.prompts import to_messages
from tests.codecs.payloads import (
    body_of,
    load,
    read_stream,
)

CODEC: Codec = AnthropicCodec()
PAYLOADS = load("anthropic")
REPLIES = [payload for payload in PAYLOADS if not payload.name.startswith("stream_")]
STREAMS = [payload for payload in PAYLOADS if payload.name.startswith("stream_")]


def encode(*messages: Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
    request = ChatRequest(model="a", messages=messages or to_messages("hi"), **fields)
    return body_of(CODEC.encode(request, Model(name="m-1"), stream=stream))


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def call(call_id: str, arguments: str = "") -> ToolCall:
    return ToolCall(id=call_id, name="f", arguments=arguments)


def test_nothing_is_sent_that_was_not_set_but_the_bound_that_is_required() -> None:
    assert encode() == {
        "model": "m-1",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_the_call_goes_to_messages_with_the_version() -> None:
    sent = CODEC.encode(ChatRequest(model="a", messages=to_messages("hi")), Model(name="m-1"), stream=False)
    assert sent.path == "/v1/messages"
    assert dict(sent.headers) == {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    assert CODEC.auth("k") == (("x-api-key", "k"),)


def test_zero_is_not_absent_and_everything_has_its_name() -> None:
    body = encode(temperature=0.0, top_p=0.5, max_tokens=9, stop=("a",), stream=True, extra_params={"top_k": 3})
    settings = {name: body[name] for name in body if name not in ("model", "messages")}
    assert settings == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 9,
        "stop_sequences": ["a"],
        "stream": True,
        "top_k": 3,
    }


def test_all_system_messages_go_to_the_top_in_order() -> None:
    body = encode(
        Message(role="system", content="one"),
        Message(role="user", content="u"),
        Message(role="system", content=" "),
        Message(role="system", content="two"),
    )
    assert body["system"] == [text("one"), text("two")]
    assert [message["role"] for message in body["messages"]] == ["user"]


def test_the_results_of_one_round_are_one_user_message_and_come_before_its_text() -> None:
    body = encode(
        Message(role="user", content="u"),
        Message(role="assistant", content="t", tool_calls=(call("c1", '{"x": [1.50]}'), call("c2"))),
        Message(role="user", content="hurry"),
        Message(role="tool", content="r1", tool_call_id="c1"),
        Message(role="tool", content="", tool_call_id="c2", is_error=True),
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                text("t"),
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": [1.5]}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "r1"},
                {"type": "tool_result", "tool_use_id": "c2", "is_error": True},
                text("hurry"),
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ['{"secret":', "[1]", '"secret"', "\ud83d", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_without_being_quoted(arguments: str) -> None:
    with pytest.raises(InvalidRequest, match="c1") as caught:
        encode(Message(role="assistant", tool_calls=(call("c1", arguments),)))
    assert "secret" not in str(caught.value)


def test_blank_texts_are_not_sent() -> None:
    body = encode(
        Message(role="user", content="u"),
        Message(role="assistant", content="", tool_calls=(call("c1"),)),
        Message(role="user", content=" \n"),
    )
    assert [[block["type"] for block in message["content"]] for message in body["messages"]] == [["text"], ["tool_use"]]


def test_a_request_with_nothing_to_say_is_not_for_anthropic() -> None:
    with pytest.raises(Unsupported):
        encode(Message(role="system", content="s"), Message(role="user", content=""))


def test_the_end_of_a_prefill_is_stripped_and_no_other_text() -> None:
    body = encode(
        Message(role="user", content="u "),
        Message(role="assistant", content="a "),
        Message(role="user", content="v "),
        Message(role="assistant", content="Once upon \n"),
    )
    assert [message["content"][0]["text"] for message in body["messages"]] == ["u ", "a ", "v ", "Once upon"]


def test_a_stream_is_not_over_before_message_stop() -> None:
    decoder = CODEC.open_stream({"request-id": "req_1"})
    decoder.feed(b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n')
    with pytest.raises(TransportBroken) as caught:
        decoder.close()
    assert caught.value.request_id == "req_1"


def test_limits_are_read_from_headers_and_retry_after_on_a_good_reply_is_not() -> None:
    prefix = "anthropic-ratelimit-"
    headers = {
        f"{prefix}requests-limit": "50",
        f"{prefix}requests-remaining": "49",
        f"{prefix}input-tokens-limit": "40000",
        f"{prefix}input-tokens-remaining": "39000",
        f"{prefix}output-tokens-remaining": "nonsense",
        f"{prefix}tokens-reset": "2026-08-19T14:34:12Z",
        "retry-after": "30",
    }
    assert CODEC.limits(headers) == (
        LimitUpdate(dimension="requests", limit=50, remaining=49),
        LimitUpdate(dimension="input", limit=40_000, remaining=39_000, rounding=1000),
    )
    decoder = CODEC.open_stream(headers)
    with pytest.raises(Exception, match="busy") as caught:
        decoder.feed(b'data: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n')
    assert caught.value.retry_after is None  # type: ignore[attr-defined]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "id",
                    "model",
                    "content",
                    "text",
                    "name",
                    "input",
                    "stop_reason",
                    "stop_details",
                    "usage",
                    "error",
                    "message",
                    "delta",
                    "index",
                    "input_tokens",
                    "content_block",
                    "partial_json",
                    "output_tokens",
                    "cache_creation",
                    "thinking",
                    "explanation",
                    "details",
                    "error_code",
                ]
            ),
            inner
            | st.sampled_from(
                [
                    "message_start",
                    "message_delta",
                    "message_stop",
                    "content_block_start",
                    "content_block_delta",
                    "error",
                    "ping",
                    "text_delta",
                    "input_json_delta",
                    "tool_use",
                    "text",
                ]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.data())
def test_any_split_gives_the_same_answer(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from([p for p in STREAMS if "error" not in p.expect]))
    body = payload.reply.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    decoder = CODEC.open_stream(payload.reply.headers)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        decoder.feed(body[start:end])
    assert decoder.close() == read_stream(CODEC.open_stream(payload.reply.headers), body, len(body))[1]
