"""The codec of Gemini's generateContent format: how replies, streams and errors are read, and put back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.chat import (
    Completion,
    Message,
    NativeTurn,
    TokenLogprob,
)
from llmring.codecs.codec import HttpReply
from llmring.errors import BadReply, TransportBroken
from llmring.refs import ModelRef
from tests.codecs.asking_google import CODEC, NEW, OLD, encode, result, user
from tests.codecs.payloads import (
    load,
    pieces,
    read_stream,
)

PAYLOADS = load("google")
REPLIES = [payload for payload in PAYLOADS if not payload.name.startswith("stream_")]
STREAMS = [payload for payload in PAYLOADS if payload.name.startswith("stream_")]


def decode(*parts: dict[str, Any], **more: Any) -> Completion:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"} | more
    body = msgspec.json.encode({"candidates": [candidate]})
    return CODEC.decode(HttpReply(status=200, headers={}, body=body))


def replayed(got: Completion, model: str) -> Message:
    """The turn that an answer becomes."""
    ref = ModelRef("google", model)
    native = NativeTurn(origin=ref, format="google", items=got.native) if got.native else None
    content = None if not got.content and got.tool_calls else got.content
    return Message(role="assistant", content=content, tool_calls=got.tool_calls, native=native)


def test_what_our_types_can_say_has_no_native_spelling() -> None:
    assert decode({"text": "a"}, {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}}).native == ()


@pytest.mark.parametrize(
    "part",
    [
        {"text": "b", "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
        {"text": "b", "thought": True},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ],
)
def test_all_parts_are_kept_when_one_of_them_says_more(part: dict[str, Any]) -> None:
    assert decode({"text": "a"}, part, {"text": ""}).native == ({"text": "a"}, part)


def test_thoughts_are_reasoning_and_not_content() -> None:
    got = decode({"text": "so ", "thought": True}, {"text": "a"}, {"text": "that", "thought": True}, {"text": "b"})
    assert got.reasoning == "so that"
    assert got.content == "ab"
    assert decode({"text": "a"}).reasoning is None


def test_thoughts_are_streamed_apart() -> None:
    (payload,) = (p for p in STREAMS if p.name == "stream_thoughts_and_signature")
    decoder = CODEC.open_stream({"x-gemini-service-tier": "standard"})
    deltas = [(d.content, d.reasoning) for piece in pieces(payload.reply.body, 7) for d in decoder.feed(piece)]
    assert deltas == [("", "**Adding**"), ("5 + 3", ""), (" = 8", "")]
    got = decoder.close()
    assert got.reasoning == "**Adding**"
    assert got.native == (
        {"text": "**Adding**", "thought": True},
        {"text": "5 + 3"},
        {"text": " = 8"},
        {"text": "", "thoughtSignature": "c2ln"},
    )
    assert (got.served_model, got.response_id, got.service_tier) == ("gemini-x", "r1", "standard")


def test_several_candidates_are_choices_in_their_order() -> None:
    body = msgspec.json.encode(
        {
            "candidates": [
                {"index": 1, "finishReason": "SAFETY", "finishMessage": "no"},
                {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
            ]
        }
    )
    got = CODEC.decode(HttpReply(status=200, headers={}, body=body))
    assert got.content == "a"
    assert [(c.content, c.finish_reason, c.refusal) for c in got.choices] == [
        ("a", "stop", None),
        ("", "content_filter", "no"),
    ]
    assert decode({"text": "a"}).choices == ()


def test_logprobs_are_read_with_the_likeliest_tokens() -> None:
    chosen = [{"token": "a", "tokenId": 1, "logProbability": -0.5}, {"token": "b", "logProbability": -1}]
    result_ = {"chosenCandidates": chosen, "topCandidates": [{"candidates": [chosen[0], {"token": "x"}]}]}
    assert decode({"text": "ab"}, logprobsResult=result_).logprobs == (
        TokenLogprob(token="a", logprob=-0.5, top=(("a", -0.5), ("x", 0.0))),
        TokenLogprob(token="b", logprob=-1.0),
    )
    assert decode({"text": "ab"}, logprobsResult={"chosenCandidates": "?"}).logprobs == ()


def test_a_finish_reason_with_calls_is_tool_calls_unless_it_says_more() -> None:
    part = {"functionCall": {"name": "f"}}
    assert decode(part).finish_reason == "tool_calls"
    assert decode(part, finishReason=None).finish_reason == "tool_calls"
    assert decode(part, finishReason="MAX_TOKENS").finish_reason == "length"
    assert decode(part, finishReason="MALFORMED_FUNCTION_CALL").finish_reason == "error"


def test_ids_that_gemini_did_not_give_are_not_sent_back() -> None:
    signed = decode({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"})
    for got in (signed, decode({"functionCall": {"name": "f", "args": {}}})):
        (made,) = got.tool_calls
        body = encode(user("u"), replayed(got, OLD), result(made.id, "r"))
        (call_part,), (result_part,) = (content["parts"] for content in body["contents"][1:])
        assert "id" not in call_part["functionCall"]
        assert result_part == {"functionResponse": {"name": "f", "response": {"result": "r"}}}


def test_ids_that_gemini_gave_are_sent_back() -> None:
    got = decode({"functionCall": {"id": "a1", "name": "f"}, "thoughtSignature": "c2ln"})
    body = encode(user("u"), replayed(got, NEW), result("a1", "r"), model=NEW)
    assert body["contents"][1]["parts"] == [{"functionCall": {"id": "a1", "name": "f"}, "thoughtSignature": "c2ln"}]
    assert body["contents"][2]["parts"][0]["functionResponse"]["id"] == "a1"


def test_what_another_format_spelled_is_not_replayed() -> None:
    native = NativeTurn(origin=ModelRef("x", "y"), format="anthropic", items=({"type": "thinking"},))
    body = encode(user("u"), Message(role="assistant", content="a", native=native))
    assert body["contents"][1]["parts"] == [{"text": "a"}]


ANY_PART = st.one_of(
    st.builds(lambda text: {"text": text}, st.text(min_size=1, max_size=5)),
    st.builds(lambda text: {"text": text, "thought": True}, st.text(min_size=1, max_size=5)),
    st.builds(lambda text: {"text": text, "thoughtSignature": "c2ln"}, st.text(max_size=5)),
    st.builds(
        lambda number, args: {"functionCall": {"id": f"a{number}", "name": "f", "args": args}},
        st.integers(0, 10**6),
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
    ),
    st.just({"executableCode": {"code": "1"}}),
)


@given(st.lists(ANY_PART, min_size=1, max_size=5))
def test_an_answer_put_back_is_what_it_was(parts: list[dict[str, Any]]) -> None:
    got = decode(*parts)
    spelled = encode(user("u"), replayed(got, OLD))["contents"][1]["parts"]
    if got.native:
        assert spelled == parts
        return
    # Texts that stand apart become one, and calls follow.
    assert "".join(p["text"] for p in spelled if "text" in p) == "".join(p["text"] for p in parts if "text" in p)
    assert [p for p in spelled if "functionCall" in p] == [p for p in parts if "functionCall" in p]


def test_a_stream_is_not_over_before_its_finish_reason() -> None:
    decoder = CODEC.open_stream({"x-request-id": "req_1"})
    decoder.feed(b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n')
    with pytest.raises(TransportBroken) as caught:
        decoder.close()
    assert caught.value.request_id == "req_1"
    assert decoder.partial().finish_reason == "error"


def test_calls_of_a_broken_stream_are_partial() -> None:
    decoder = CODEC.open_stream({})
    decoder.feed(
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{}},{"functionCall":{"name":"f"}}]}}]}\n\n'
    )
    assert [c.name for c in decoder.partial().tool_calls] == ["f"]
    decoder.feed(b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n')
    with pytest.raises(BadReply, match="without a name"):
        decoder.close()


def test_no_header_tells_of_a_limit() -> None:
    assert CODEC.limits({"x-ratelimit-remaining-requests": "1", "x-gemini-service-tier": "standard"}) == ()


KEYS = (
    *("candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "id", "name", "args"),
    *("index", "finishReason", "finishMessage", "logprobsResult", "chosenCandidates", "topCandidates", "token"),
    *("logProbability", "promptFeedback", "blockReason", "blockReasonMessage", "usageMetadata", "promptTokenCount"),
    *("candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "serviceTier", "modelVersion"),
    *("responseId", "error", "code", "message", "status", "details", "@type", "reason", "retryDelay", "violations"),
    *("quotaId", "quotaValue"),
)
VALUES = ["STOP", "SAFETY", "MAX_TOKENS", "RESOURCE_EXHAUSTED", "3s", "GenerateRequestsPerDay", "API_KEY_INVALID"]
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
    whole = [p for p in STREAMS if "error" not in p.expect and p.name != "stream_parallel_calls"]
    payload = data.draw(st.sampled_from(whole))
    body = payload.reply.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    decoder = CODEC.open_stream(payload.reply.headers)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        decoder.feed(body[start:end])
    assert decoder.close() == read_stream(CODEC.open_stream(payload.reply.headers), body, len(body))[1]
