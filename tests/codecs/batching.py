"""Batches for tests: rows that a chat codec encoded, and the reading of results."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmring.chat import ChatRequest
from llmring.codecs.anthropic.batches import AnthropicBatches
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.batch import Batch, BatchCodec, BatchReader, BatchResult, BatchRow, BatchStatus
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpCall, HttpReply
from llmring.codecs.google.batches import GoogleBatches
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.openai.batches import OpenAIBatches
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.prompts import to_messages
from tests.codecs.payloads import pieces

FORMATS: Mapping[str, tuple[BatchCodec, Codec]] = {
    "chat": (OpenAIBatches(), OpenAICodec()),
    "responses": (OpenAIBatches(), ResponsesCodec()),
    "messages": (AnthropicBatches(), AnthropicCodec()),
    "generate": (GoogleBatches(), GoogleCodec()),
}
OVER = BatchStatus(id="batches/b", state="ended", results=("batches/b",))
IN_FILE = BatchStatus(id="batches/b", state="ended", results=("files/f",))


def call(codec: Codec, prompt: str = "hi", model: str = "m-1", **fields: Any) -> HttpCall:
    request = ChatRequest(model="a", messages=to_messages(prompt), **fields)
    return codec.encode(request, Model(name=model), stream=False)


def batch(codec: Codec, *keys: str, tag: str = "run-1") -> Batch:
    """A batch with a row for each of the keys, which differ by their prompts."""
    return Batch(rows=tuple(BatchRow(key=key, call=call(codec, f"of {key}")) for key in keys), tag=tag)


def reply(body: Any, **headers: str) -> HttpReply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=200, headers=names, body=msgspec.json.encode(body))


def read_results(reader: BatchReader, data: bytes, size: int = 1 << 20) -> dict[str, Any]:
    """What became of the rows, by their keys; no key twice."""
    found: list[BatchResult] = [result for piece in pieces(data, size) for result in reader.feed(piece)]
    found += reader.close()
    assert len({result.key for result in found}) == len(found)
    return {result.key: result.outcome for result in found}


def lines(*values: Any) -> bytes:
    return b"".join(msgspec.json.encode(value) + b"\n" for value in values)


def wrapped(form: str, key: str, online: HttpReply) -> bytes:
    """The body of results that hold one reply as it came online, in the manner of its provider."""
    body = msgspec.Raw(online.body)
    match form:
        case "messages" if online.status < 300:
            return lines({"custom_id": key, "result": {"type": "succeeded", "message": body}})
        case "messages":
            return lines({"custom_id": key, "result": {"type": "errored", "error": body}})
        case "generate":
            assert online.status < 300
            row = {"metadata": {"key": key}, "response": body}
            return msgspec.json.encode({"name": "batches/b", "response": inlined(row)})
        case _:
            return lines({"custom_id": key, "response": {"status_code": online.status, "body": body}, "error": None})


def inlined(*rows: object) -> dict[str, Any]:
    return {"inlinedResponses": {"inlinedResponses": list(rows)}}


def keys(number: int) -> Sequence[str]:
    return [f"row-{at}" for at in range(number)]
