"""What every codec must do, for all of them: read each payload folder as it says, in any split; and on whatever else
arrives, whole, cut off or nonsense, raise nothing but our own errors, in bounded memory."""

import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.codec import Codec
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import DEEPSEEK, GROQ, MISTRAL, OPENAI, OPENROUTER, TOGETHER, XAI
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.errors import BadReply, ProviderError
from tests.codecs.payloads import SPLITS, Payload, check_only_our_errors, check_reply, check_stream, load, pieces

DIALECTS = {
    "deepseek": DEEPSEEK,
    "groq": GROQ,
    "mistral": MISTRAL,
    "openrouter": OPENROUTER,
    "together": TOGETHER,
    "xai": XAI,
}


def chat_codec(payload: Payload) -> Codec:
    """The server's, where the folder names one that has rules of its own."""
    return OpenAICodec(DIALECTS.get(payload.expect.get("dialect", ""), OPENAI))


class Format(msgspec.Struct, frozen=True):
    """A wire format: its codec, and replies and streams with a hole where any JSON may stand."""

    codec: Codec
    holes: tuple[bytes, ...]
    codec_of: Callable[[Payload], Codec] | None = None


FORMATS = {
    "openai": Format(
        OpenAICodec(),
        (
            b'{"choices":[{"message":%b,"finish_reason":"stop"}]}',
            b'data: {"choices":[{"delta":{"tool_calls":[%b]}}],"usage":%b}\n\n',
        ),
        chat_codec,
    ),
    "responses": Format(
        ResponsesCodec(),
        (
            b'{"status":"completed","output":[%b]}',
            b'{"status":"completed","output":[{"type":"reasoning","summary":%b,"encrypted_content":"x"}],"usage":%b}',
            b'data: {"type":"response.output_item.done","output_index":0,"item":%b}\n\n',
            b'data: {"type":"response.completed","response":%b}\n\n',
            b'data: {"type":"error","error":%b}\n\n',
        ),
    ),
    "anthropic": Format(
        AnthropicCodec(),
        (
            b'{"content":%b,"stop_reason":"end_turn"}',
            b'data: {"type":"message_start","message":%b}\n\n',
            b'data: {"type":"content_block_start","index":0,"content_block":%b}\n\n',
            b'data: {"type":"content_block_delta","index":0,"delta":%b}\n\n',
        ),
    ),
    "google": Format(
        GoogleCodec(),
        (
            b'{"candidates":[{"finishReason":"STOP","content":{"parts":%b}}]}',
            b'data: {"candidates":[{"content":{"parts":%b}}],"usageMetadata":%b}\n\n',
        ),
    ),
    "ollama": Format(
        OllamaCodec(),
        (
            b'{"done":true,"message":%b}\n',
            b'{"done":true,"message":{"tool_calls":[{"function":%b}]}}\n',
            b'{"done":true,"eval_count":%b,"logprobs":%b}\n',
        ),
    ),
}
EACH = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())

Case = tuple[Codec, Payload]


def cases(*, streamed: bool) -> list[Case]:
    return [
        (form.codec_of(payload) if form.codec_of is not None else form.codec, payload)
        for name, form in FORMATS.items()
        for payload in load(name)
        if payload.name.startswith("stream_") == streamed
    ]


REPLIES, STREAMS = cases(streamed=False), cases(streamed=True)


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, Payload) else None


@pytest.mark.parametrize(("codec", "payload"), REPLIES, ids=name_of)
def test_a_reply_is_read_as_its_folder_says(codec: Codec, payload: Payload) -> None:
    check_reply(codec, payload)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize(("codec", "payload"), STREAMS, ids=name_of)
def test_a_stream_is_read_as_its_folder_says(codec: Codec, payload: Payload, size: int) -> None:
    check_stream(codec, payload, size)


@given(st.data())
def test_any_truncation_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    codec, payload = data.draw(st.sampled_from([*REPLIES, *STREAMS]))
    cut = data.draw(st.integers(0, len(payload.reply.body)))
    check_only_our_errors(codec, payload.reply.body[:cut], data.draw(st.integers(1, 100)))


@EACH
@given(data=st.binary(max_size=200), size=st.integers(1, 40))
def test_any_bytes_raise_nothing_but_our_errors(form: Format, data: bytes, size: int) -> None:
    check_only_our_errors(form.codec, data, size)
    check_only_our_errors(form.codec, b"{" + data, size)
    check_only_our_errors(form.codec, b"data: " + data, size)


WORDS = """
    type id name text content parts role error code message status usage input output arguments function args delta
    index thinking signature thoughtSignature summary tool_calls functionCall finish_reason logprobs
"""
# The formats' own words, so that nonsense goes deep.
KEYS = st.sampled_from(WORDS.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@EACH
@given(value=JSON, size=st.integers(1, 40))
def test_any_json_raises_nothing_but_our_errors(form: Format, value: object, size: int) -> None:
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return
    for hole in (b"%b", b"data: %b\n\n", b'{"error":%b}', b'data: {"error":%b}\n\n', *form.holes):
        check_only_our_errors(form.codec, hole.replace(b"%b", data), size)


@EACH
@pytest.mark.parametrize("head", [b'{"a":', b"[", b'data: {"a":['])
def test_deep_nesting_is_a_bad_reply(form: Format, head: bytes) -> None:
    check_only_our_errors(form.codec, head * 100_000, 4096)


@EACH
@pytest.mark.parametrize(
    "garbage",
    [b"x" * 2**20, b"data: " + b"y" * 2**20, b"{" + b'"a' * 2**19, b"\n" * 2**20, b": keep-alive\n\n" * 80_000],
    ids=["bytes", "one event", "one object", "line ends", "comments"],
)
def test_a_mebibyte_of_garbage_costs_bounded_memory(form: Format, garbage: bytes) -> None:
    decoder = form.codec.open_stream({"content-type": "text/event-stream"})
    parts = pieces(garbage, 4096)
    tracemalloc.start()
    try:
        for part in parts:
            decoder.feed(part)
        decoder.close()
    except ProviderError:
        pass
    else:
        pytest.fail("garbage is no answer")
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 6 * 2**20


@EACH
def test_one_event_without_an_end_is_cut_off(form: Format) -> None:
    decoder = form.codec.open_stream({"content-type": "text/event-stream"})

    def feed_on() -> None:
        for _ in range(100):
            decoder.feed(b'{"a": "' + b"x" * 2**16)

    with pytest.raises(BadReply, match="larger than"):
        feed_on()
