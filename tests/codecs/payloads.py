"""Payload folders: one reply of a provider each, and what it must be read as.

A folder holds `about.toml` (source, date, status, headers, what is expected) and `body.*`. Folders whose name starts
with `stream_` are replies to stream requests.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from llmring.chat import Completion
from llmring.codecs.codec import Codec, HttpCall, HttpReply, StreamDecoder
from llmring.errors import ProviderError, RateLimited

FOLDERS = Path(__file__).parents[1] / "payloads"
SPLITS = (1, 7, 1 << 20)


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    reply: HttpReply
    expect: dict[str, Any]


def load(provider: str) -> list[Payload]:
    return [_load(folder) for folder in sorted((FOLDERS / provider).glob("*/"))]


def _load(folder: Path) -> Payload:
    about = tomllib.loads((folder / "about.toml").read_text("utf-8"))
    assert about["source"]
    assert about["written"]
    (body,) = folder.glob("body.*")
    reply = HttpReply(status=about["status"], headers=about["headers"], body=body.read_bytes())
    return Payload(name=folder.name, reply=reply, expect=about["expect"])


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def body_of(call: HttpCall) -> dict[str, Any]:
    """The JSON body of a call."""
    assert isinstance(call.body, bytes)
    body: dict[str, Any] = msgspec.json.decode(call.body)
    return body


def read_stream(decoder: StreamDecoder, data: bytes, size: int) -> tuple[str, Completion]:
    """The text handed out, and the answer."""
    text = "".join(delta.content for piece in pieces(data, size) for delta in decoder.feed(piece))
    return text, decoder.close()


def check_error(error: ProviderError, expect: dict[str, Any]) -> None:
    """The class is what is expected, and so is everything that is told of it; what is not told must be absent."""
    assert type(error).__name__ == expect["error"], error
    assert error.retry_after == expect.get("retry_after")
    if isinstance(error, RateLimited):
        assert error.kind == expect.get("kind", "rate")
        assert error.dimension == expect.get("dimension")
    for name in ("message", "status", "request_id", "parameter"):
        if name in expect:
            assert getattr(error, name) == expect[name]


def check_completion(got: Completion, expect: dict[str, Any]) -> None:
    assert got.content == expect["content"]
    assert got.finish_reason == expect["finish"]
    assert got.refusal == expect.get("refusal")
    calls = [[call.id, call.name, call.arguments] for call in got.tool_calls]
    wanted = [list(call) for call in expect.get("tool_calls", [])]
    for call, want in zip(calls, wanted, strict=True):
        assert call[0] == want[0] or (want[0] == "*" and len(call[0]) == 29 and call[0].startswith("call_"))
        assert call[1:] == want[1:]
    for name in ("reasoning", "service_tier"):
        if name in expect:
            assert getattr(got, name) == expect[name]
    if "native" in expect:
        assert list(got.native) == msgspec.json.decode(expect["native"])
    check_usage(got, expect)


def check_usage(got: Completion, expect: dict[str, Any]) -> None:
    """The counters that are told; all others are 0."""
    if "usage" not in expect:
        return
    assert got.usage is not None
    assert {name: n for name, n in msgspec.structs.asdict(got.usage).items() if n} == expect["usage"]


def check_reply(codec: Codec, payload: Payload) -> None:
    """Read a whole reply as its folder says."""
    expect = payload.expect
    if payload.reply.status >= 300:
        check_error(codec.classify(payload.reply), {"status": payload.reply.status} | expect)
        return
    try:
        got = codec.decode(payload.reply)
    except ProviderError as error:
        check_error(error, expect)
    else:
        assert "error" not in expect
        check_completion(got, expect)


def check_stream(codec: Codec, payload: Payload, size: int) -> None:
    """Read a streamed reply as its folder says, in pieces of `size` bytes."""
    expect = payload.expect
    decoder = codec.open_stream(payload.reply.headers)
    try:
        text, got = read_stream(decoder, payload.reply.body, size)
    except ProviderError as error:
        check_error(error, expect)
        assert decoder.partial().content == expect["partial"]
        check_usage(decoder.partial(), expect)
    else:
        assert "error" not in expect
        assert text == got.content
        check_completion(got, expect)


def check_only_our_errors(codec: Codec, data: bytes, size: int) -> None:
    """Whatever arrives, nothing but ProviderError comes out."""
    reply = HttpReply(status=200, headers={}, body=data)
    try:
        codec.decode(reply)
    except ProviderError as error:
        str(error)
    assert isinstance(codec.classify(HttpReply(status=429, headers={}, body=data)), ProviderError)
    decoder = codec.open_stream({})
    try:
        read_stream(decoder, data, size)
    except ProviderError as error:
        str(error)
    decoder.partial()
