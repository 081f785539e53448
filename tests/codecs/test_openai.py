"""The codec of OpenAI's chat completions format: how replies and streams are read, and what garbage does."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import Message, NativeTurn
from llmring.codecs.codec import Codec, HttpReply
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import DEEPSEEK, GROQ, OPENAI, OPENROUTER, Dialect
from llmring.errors import ProviderError, TransportBroken
from llmring.refs import ModelRef
from llmring.usage import Usage
from tests.codecs.chat_calls import encode
from tests.codecs.payloads import (
    Payload,
    check_only_our_errors,
    load,
    read_stream,
)

CODEC: Codec = OpenAICodec()
DIALECTS: dict[str, Dialect] = {"deepseek": DEEPSEEK, "groq": GROQ, "openrouter": OPENROUTER}
PAYLOADS = load("openai")
REPLIES = [payload for payload in PAYLOADS if not payload.name.startswith("stream_")]
STREAMS = [payload for payload in PAYLOADS if payload.name.startswith("stream_")]


def codec_of(payload: Payload) -> Codec:
    """The server's, where the folder names one that has rules of its own."""
    return OpenAICodec(DIALECTS.get(payload.expect.get("dialect", ""), OPENAI))


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({"choices": choices, **more}) + b"\n\n"


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_what_is_beside_the_answer_is_read_as_the_folder_says(payload: Payload) -> None:
    codec, expect = codec_of(payload), payload.expect
    if "error" in expect:
        return
    if payload.name.startswith("stream_"):
        _, got = read_stream(codec.open_stream(payload.reply.headers), payload.reply.body, 1 << 20)
    else:
        got = codec.decode(payload.reply)
    assert got.reasoning == expect.get("reasoning")
    assert list(got.native) == msgspec.json.decode(expect.get("native", "[]"))
    assert [choice.content for choice in got.choices] == expect.get("choices", [])
    assert got.service_tier == expect.get("service_tier")
    assert [[token.token, token.logprob, [list(other) for other in token.top]] for token in got.logprobs] == expect.get(
        "logprobs", []
    )


def test_reasoning_is_handed_out_as_it_comes() -> None:
    decoder = OpenAICodec(DEEPSEEK).open_stream({})
    deltas = decoder.feed(chunk({"reasoning_content": "a"}) + chunk({"reasoning_content": "b", "content": "c"}))
    assert [(delta.content, delta.reasoning) for delta in deltas] == [("", "a"), ("c", "b")]
    decoder.feed(chunk({"reasoning_content": "x" * 38}))
    partial = decoder.partial()
    assert partial.usage == Usage(reasoning_tokens=10)
    assert (partial.reasoning, partial.native) == ("ab" + "x" * 38, ())
    decoder.feed(chunk({}, "stop"))
    assert decoder.close().native[0]["reasoning_content"] == partial.reasoning


def test_ids_that_are_made_here_are_the_same_in_all_places() -> None:
    message = {"tool_calls": [{"function": {"name": "f"}}]}
    body = msgspec.json.encode({"choices": [{"index": n, "message": message} for n in (1, 0)]})
    got = CODEC.decode(HttpReply(status=200, headers={}, body=body))
    assert got.choices[0].tool_calls == got.tool_calls


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
                    "reasoning",
                    "reasoning_content",
                    "reasoning_details",
                    "thinking",
                    "summary",
                    "logprobs",
                    "token",
                    "logprob",
                    "top_logprobs",
                    "service_tier",
                    "param",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


REPLY_KEYS = {"content": JSON, "reasoning": JSON, "reasoning_content": JSON, "reasoning_details": st.lists(JSON)}


@given(st.fixed_dictionaries(REPLY_KEYS), JSON, st.sampled_from([DEEPSEEK, OPENROUTER]))
def test_any_turn_raises_nothing_but_our_errors(turn: dict[str, Any], logprobs: object, dialect: Dialect) -> None:
    choice = {"message": turn, "delta": turn, "logprobs": logprobs, "finish_reason": "stop"}
    try:
        data = msgspec.json.encode({"choices": [choice, choice]})
    except UnicodeEncodeError:
        return
    check_only_our_errors(OpenAICodec(dialect), data, 40)
    check_only_our_errors(OpenAICodec(dialect), b"data: " + data + b"\n\n", 40)


FRAGMENTS = st.text(max_size=8)


@given(
    FRAGMENTS,
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8)), max_size=3),
    st.text(min_size=1, max_size=8),
    st.sampled_from([OPENAI, DEEPSEEK, OPENROUTER]),
)
def test_an_answer_that_is_given_back_says_the_same(
    content: str, calls: list[tuple[str, str]], reasoning: str, dialect: Dialect
) -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content or None if calls else content,
        "reasoning_content": reasoning,
        "reasoning_details": [{"type": "reasoning.text", "text": reasoning, "signature": "s", "index": 0}],
    }
    if calls:
        message["tool_calls"] = [
            {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": arguments.strip() or "{}"}}
            for n, (name, arguments) in enumerate(calls)
        ]
    codec = OpenAICodec(dialect)
    data = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]})
    got = codec.decode(HttpReply(status=200, headers={}, body=data))
    native = NativeTurn(origin=ModelRef(provider="p", model="m"), format=codec.format, items=got.native)
    turn = Message(
        role="assistant",
        content=got.content or None if got.tool_calls else got.content,
        tool_calls=got.tool_calls,
        native=native if got.native else None,
    )
    (sent,) = encode(dialect, messages=(turn,))["messages"]
    replayed = {"role", "content", "tool_calls", dialect.replays}
    assert sent == {name: value for name, value in message.items() if name in replayed}


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
