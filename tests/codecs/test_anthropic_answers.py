"""What the codec of Anthropic's Messages format keeps of an answer, and that the answer can be given back."""

import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Completion, Message, NativeTurn
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.errors import ProviderError
from llmring.refs import ModelRef
from tests.codecs.payloads import SPLITS, Payload, body_of, load, pieces

CODEC = AnthropicCodec()
STREAMS = [p for p in load("anthropic") if p.name.startswith("stream_") and "error" not in p.expect]
JSON = msgspec.json


def given_back(completion: Completion) -> list[dict[str, Any]]:
    """The blocks of an answer that was made a turn of the conversation."""
    origin = ModelRef("anthropic", "m")
    turn = NativeTurn(origin=origin, format=CODEC.format, items=completion.native) if completion.native else None
    answer = Message(
        role="assistant", content=completion.content or None, tool_calls=completion.tool_calls, native=turn
    )
    question = Message(role="user", content="u")
    request = ChatRequest(model="a", messages=(question, answer, question))
    messages = body_of(CODEC.encode(request, Model(name="m"), stream=False))["messages"]
    return list(messages[1]["content"]) if len(messages) == 3 else []


def reply_of(blocks: list[dict[str, Any]]) -> bytes:
    return JSON.encode({"type": "message", "content": blocks, "stop_reason": "end_turn", "usage": {"output_tokens": 9}})


def stream_of(blocks: list[dict[str, Any]]) -> bytes:
    """The same answer in events: what grows comes in two pieces, everything else with the block's start."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {"output_tokens": 1}}}]
    for at, block in enumerate(blocks):
        first, deltas = in_pieces(block)
        events.append({"type": "content_block_start", "index": at, "content_block": first})
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
    events.append({"type": "message_stop"})
    return b"".join(b"data: " + JSON.encode(event) + b"\n\n" for event in events)


def in_pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            cites = [{"type": "citations_delta", "citation": c} for c in block.get("citations", ())]
            first = block | {"text": ""} | ({"citations": []} if "citations" in block else {})
            return first, [*cites, *halves("text_delta", "text", block["text"])]
        case "thinking":
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [
                *halves("thinking_delta", "thinking", block["thinking"]),
                signature,
            ]
        case "tool_use" | "server_tool_use":
            text = JSON.encode(block["input"]).decode()
            return block | {"input": {}}, halves("input_json_delta", "partial_json", text)
        case _:
            return block, []


def halves(kind: str, field: str, text: str) -> list[dict[str, Any]]:
    middle = len(text) // 2
    return [{"type": kind, field: text[:middle]}, {"type": kind, field: text[middle:]}]


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
INPUT = st.dictionaries(st.text("ab", max_size=2), st.integers(0, 9) | st.text('é\\"', max_size=2), max_size=2)
PLAIN = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    st.builds(
        lambda n, data: {"type": "tool_use", "id": f"t{n}", "name": "f", "input": data}, st.integers(0, 9), INPUT
    ),
)
RICH = st.one_of(
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s=="}, TEXT),
    st.builds(lambda text: {"type": "text", "text": text, "citations": [{"type": "char_location"}]}, TEXT),
    st.builds(lambda data: {"type": "server_tool_use", "id": "srv", "name": "web", "input": data}, INPUT),
    st.just({"type": "redacted_thinking", "data": "e=="}),
    st.just({"type": "web_search_tool_result", "tool_use_id": "srv", "content": [{"a": None}]}),
    st.just({"type": "never_seen", "text": "no text of the answer", "x": {"y": [1]}}),
)


@given(st.lists(PLAIN | RICH, max_size=6), st.integers(1, 50))
def test_an_answer_is_the_same_whole_and_streamed_in_any_split(blocks: list[dict[str, Any]], size: int) -> None:
    whole = CODEC.decode(HttpReply(status=200, headers={}, body=reply_of(blocks)))
    decoder = CODEC.open_stream({})
    deltas = [delta for piece in pieces(stream_of(blocks), size) for delta in decoder.feed(piece)]
    streamed = decoder.close()
    assert streamed == whole
    assert "".join(delta.content for delta in deltas) == whole.content
    assert "".join(delta.reasoning for delta in deltas) == (whole.reasoning or "")


@given(st.lists(PLAIN | RICH, min_size=1, max_size=6).filter(lambda blocks: any(b["type"] != "text" for b in blocks)))
def test_an_answer_with_more_than_text_and_calls_is_given_back_as_it_came(blocks: list[dict[str, Any]]) -> None:
    got = CODEC.decode(HttpReply(status=200, headers={}, body=reply_of(blocks)))
    if got.native:
        assert list(got.native) == blocks
        assert given_back(got) == blocks
    else:
        texts = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [block for block in blocks if block["type"] == "tool_use"]
        assert given_back(got) == ([{"type": "text", "text": texts}] if texts else []) + calls


def test_text_and_calls_alone_have_no_native_turn() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}
    for body in (reply_of([{"type": "text", "text": "a", "citations": []}, call]), reply_of([])):
        assert CODEC.decode(HttpReply(status=200, headers={}, body=body)).native == ()


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("payload", STREAMS, ids=lambda payload: payload.name)
def test_reasoning_is_handed_out_as_it_arrives(payload: Payload, size: int) -> None:
    decoder = CODEC.open_stream(payload.reply.headers)
    deltas = [delta for piece in pieces(payload.reply.body, size) for delta in decoder.feed(piece)]
    assert "".join(delta.reasoning for delta in deltas) == (decoder.close().reasoning or "")


def event(**fields: Any) -> bytes:
    return b"data: " + JSON.encode(fields) + b"\n\n"


def test_text_that_comes_with_a_blocks_start_is_handed_out() -> None:
    decoder = CODEC.open_stream({})
    block = {"type": "thinking", "thinking": "hm"}
    assert decoder.feed(event(type="content_block_start", index=0, content_block=block)) == [
        StreamDelta(reasoning="hm")
    ]
    block = {"type": "text", "text": "so"}
    assert decoder.feed(event(type="content_block_start", index=1, content_block=block)) == [StreamDelta(content="so")]
    assert (decoder.partial().content, decoder.partial().reasoning) == ("so", "hm")


def test_pieces_without_a_start_are_an_answer_too() -> None:
    decoder = CODEC.open_stream({})
    decoder.feed(event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}))
    decoder.feed(event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "so"}))
    decoder.feed(event(type="content_block_delta", index=9, delta={"type": "signature_delta", "signature": "s"}))
    decoder.feed(event(type="message_delta", delta={"stop_reason": "end_turn"}) + event(type="message_stop"))
    got = decoder.close()
    assert (got.content, got.reasoning) == ("so", "hm")
    assert got.native == ({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"})


def test_half_a_turn_is_not_given_back() -> None:
    decoder = CODEC.open_stream({})
    decoder.feed(event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}))
    assert decoder.partial().reasoning == "hm"
    assert decoder.partial().native == ()


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 1000 + b"\n",
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}),
        event(type="content_block_delta", index=0, delta={"type": "nobody_knows", "data": "x" * 100}),
        event(type="content_block_start", index=0, content_block={"type": "x"}),
    ],
)
def test_a_megabyte_of_garbage_costs_bounded_memory(line: bytes) -> None:
    data = line * (2**20 // len(line))
    decoder = CODEC.open_stream({})
    tracemalloc.start()
    try:
        for piece in pieces(data, 4096):
            decoder.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    except ProviderError:
        peak = 0
    finally:
        tracemalloc.stop()
    assert peak < 24 * 2**20
    decoder.partial()
