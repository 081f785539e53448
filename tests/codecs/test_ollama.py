"""The codec of Ollama's format: how replies, streams and errors are read, and put back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Completion, Message, NativeTurn, TokenLogprob
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpReply
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.errors import TransportBroken
from llmring.refs import ModelRef
from tests.codecs.payloads import (
    SPLITS,
    body_of,
    load,
    pieces,
    read_stream,
)

CODEC: Codec = OllamaCodec()
PAYLOADS = load("ollama")
REPLIES = [payload for payload in PAYLOADS if not payload.name.startswith("stream_")]
STREAMS = [payload for payload in PAYLOADS if payload.name.startswith("stream_")]


def decode(message: dict[str, Any], **more: Any) -> Completion:
    body = {"model": "m", "message": {"role": "assistant"} | message, "done": True, "done_reason": "stop"} | more
    return CODEC.decode(HttpReply(status=200, headers={}, body=msgspec.json.encode(body)))


def put_back(got: Completion) -> Any:
    """The turn that an answer becomes, as it is sent."""
    native = NativeTurn(origin=ModelRef("ollama", "m"), format="ollama", items=got.native) if got.native else None
    content = None if not got.content and got.tool_calls else got.content
    turn = Message(role="assistant", content=content, tool_calls=got.tool_calls, native=native)
    (message,) = body_of(CODEC.encode(ChatRequest(model="a", messages=(turn,)), Model(name="m"), stream=False))[
        "messages"
    ]
    return message


def function(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_thinking_is_streamed_apart_and_replayed() -> None:
    (payload,) = (p for p in STREAMS if p.name == "stream_thinking_and_calls")
    decoder = CODEC.open_stream({"x-request-id": "r1"})
    deltas = [(d.content, d.reasoning) for piece in pieces(payload.reply.body, 7) for d in decoder.feed(piece)]
    assert deltas == [("", "I must "), ("", "look."), ("Wait.", "")]
    got = decoder.close()
    assert (got.reasoning, got.served_model, got.request_id) == ("I must look.", "m", "r1")
    assert got.native == (
        {
            "role": "assistant",
            "content": "Wait.",
            "thinking": "I must look.",
            "tool_calls": [
                {"id": "call_1", "function": function("look", at="sky")},
                {"id": "call_2", "function": function("ask", whom="Ü")},
            ],
        },
    )


def test_what_our_types_can_say_has_no_native_spelling() -> None:
    call = {"id": "c1", "type": "function", "function": {"index": 0} | function("f", x=1)}
    got = decode({"content": "a", "thinking": "", "tool_calls": [call, None]})
    assert (got.native, got.reasoning) == ((), None)
    assert [c.id for c in got.tool_calls] == ["c1"]


@pytest.mark.parametrize(
    "call", [{"function": function("f"), "signature": "s"}, {"function": function("f") | {"signature": "s"}}]
)
def test_calls_that_say_more_are_kept_as_they_came(call: dict[str, Any]) -> None:
    got = decode({"content": "a", "tool_calls": [call]})
    assert got.native == ({"role": "assistant", "content": "a", "tool_calls": [call]},)


def test_a_reason_with_calls_is_tool_calls_unless_it_says_more() -> None:
    message = {"tool_calls": [{"function": function("f")}]}
    assert decode(message).finish_reason == "tool_calls"
    assert decode(message, done_reason=None).finish_reason == "tool_calls"
    assert decode(message, done_reason="length").finish_reason == "length"


def test_logprobs_are_read_with_the_likeliest_tokens() -> None:
    first = {"token": "a", "logprob": -0.5, "bytes": [97]}
    second = {"token": "b", "logprob": -1, "top_logprobs": [first, {"token": "x"}]}
    expected = (
        TokenLogprob(token="a", logprob=-0.5),
        TokenLogprob(token="b", logprob=-1.0, top=(("a", -0.5), ("x", 0.0))),
    )
    assert decode({"content": "ab"}, logprobs=[first, second]).logprobs == expected
    assert decode({"content": "ab"}, logprobs="?").logprobs == ()
    lines = [
        {"message": {"content": "a"}, "logprobs": [first]},
        {"message": {"content": "b"}, "logprobs": [second], "done": True},
    ]
    stream = b"\n".join(map(msgspec.json.encode, lines))
    assert read_stream(CODEC.open_stream({}), stream, 9)[1].logprobs == expected


def test_an_id_that_ollama_did_not_give_is_not_sent_back() -> None:
    for more in ({}, {"thinking": "t"}):
        got = decode({"tool_calls": [{"function": function("f")}]} | more)
        (made,) = got.tool_calls
        assert len(made.id) == 29
        assert put_back(got)["tool_calls"] == [{"function": function("f")}]


ANY_CALL = st.fixed_dictionaries(
    {
        "id": st.from_regex(r"call_[a-z0-9]{8}", fullmatch=True),
        "function": st.fixed_dictionaries(
            {
                "name": st.text(min_size=1, max_size=5),
                "arguments": st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | st.text(max_size=3), max_size=2),
            }
        ),
    },
    optional={"signature": st.text(max_size=3)},
)


@given(st.text(max_size=5), st.text(max_size=5), st.lists(ANY_CALL, max_size=3), st.integers(1, 60))
def test_an_answer_put_back_is_what_it_was(content: str, thinking: str, calls: list[dict[str, Any]], size: int) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    message |= {"thinking": thinking} if thinking else {}
    message |= {"tool_calls": calls} if calls else {}
    got = decode(message)
    assert put_back(got) == message
    lines = [{"message": {name: value}} for name, value in message.items() if name != "role"]
    stream = b"\n".join(map(msgspec.json.encode, [*lines, {"done": True, "done_reason": "stop", "model": "m"}]))
    assert read_stream(CODEC.open_stream({}), stream, size)[1] == got


def test_a_stream_is_not_over_before_it_is_done() -> None:
    decoder = CODEC.open_stream({"x-request-id": "r1"})
    decoder.feed(b'{"message":{"content":"a","tool_calls":[{},{"function":{"name":"f"}},1]},"done_reason":"stop"}\n')
    with pytest.raises(TransportBroken) as caught:
        decoder.close()
    assert caught.value.request_id == "r1"
    got = decoder.partial()
    assert (got.finish_reason, got.content, [c.name for c in got.tool_calls]) == ("error", "a", ["f"])


@pytest.mark.parametrize("size", SPLITS)
def test_the_text_of_a_whole_reply_does_not_wait_for_the_end_of_its_line(size: int) -> None:
    (payload,) = (p for p in STREAMS if p.name == "stream_whole_reply")
    assert not payload.reply.body.endswith(b"\n")
    decoder = CODEC.open_stream({})
    deltas = [delta for piece in pieces(payload.reply.body, size) for delta in decoder.feed(piece)]
    assert [delta.content for delta in deltas] == ["Hello"]


def test_no_header_tells_of_a_limit() -> None:
    assert CODEC.limits({"x-ratelimit-remaining-requests": "1"}) == ()


KEYS = (
    *("model", "message", "content", "thinking", "tool_calls", "id", "function", "name", "arguments", "index"),
    *("done", "done_reason", "prompt_eval_count", "eval_count", "logprobs", "token", "logprob", "top_logprobs"),
    *("error", "status", "code", "type"),
)
VALUES = ["stop", "length", "load", "model 'x' not found", "does not support tools", 400, 1e300]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner | st.sampled_from(VALUES), max_size=4)
    ),
    max_leaves=12,
)


@given(st.data())
def test_any_split_gives_the_same_answer(data: st.DataObject) -> None:
    whole = [p for p in STREAMS if "error" not in p.expect and p.name != "stream_two_calls_in_a_line"]
    payload = data.draw(st.sampled_from(whole))
    body = payload.reply.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    decoder = CODEC.open_stream(payload.reply.headers)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        decoder.feed(body[start:end])
    assert decoder.close() == read_stream(CODEC.open_stream(payload.reply.headers), body, len(body))[1]
