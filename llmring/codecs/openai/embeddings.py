"""Vectors from `/embeddings`, at OpenAI and at every server that speaks its format. Pure.

Asked for as base64, which is a third of the size; servers that do not know it send numbers, which are read too. Format:
https://platform.openai.com/docs/api-reference/embeddings.
"""

import struct
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from llmring.codecs.codec import HttpCall, HttpReply
from llmring.codecs.openai.faults import classify
from llmring.codecs.replies import count, is_set, read_json, request_id, to_call
from llmring.embeddings import Embeddings
from llmring.errors import BadReply
from llmring.usage import Usage


class _Vector(msgspec.Struct):
    embedding: str | list[float | list[Any]]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | float | None = None


class _Reply(msgspec.Struct):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class OpenAIEmbeddings(msgspec.Struct, frozen=True, kw_only=True):
    """An EmbeddingsCodec. The bounds are OpenAI's; `dimensions_field` is "output_dimension" at Mistral.

    `encoded` asks for base64, a quarter of the bytes, which not every server knows; either form is read.
    """

    most_texts: int = 2048
    most_tokens: int = 300_000
    dimensions_field: Literal["dimensions", "output_dimension"] = "dimensions"
    encoded: bool = True

    def encode(self, texts: Sequence[str], model: str, dimensions: int | None) -> HttpCall:
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if self.encoded:
            body["encoding_format"] = "base64"
        if dimensions is not None:
            body[self.dimensions_field] = dimensions
        return to_call("/embeddings", body)

    def decode(self, reply: HttpReply) -> Embeddings:
        """Read a 2xx reply, in the order of the texts. Raises BadReply, or the error that its body carries."""
        asked = request_id(reply.headers)
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=asked)
        if is_set(found.error):
            raise classify(reply)
        try:
            vectors = _in_order([_floats(vector.embedding) for vector in found.data or ()], found.data or [])
        except ValueError as error:
            raise BadReply(str(error), status=reply.status, request_id=asked) from None
        usage = found.usage
        return Embeddings(
            vectors=vectors,
            usage=Usage(input_tokens=count(usage.prompt_tokens)) if usage else None,
            served_model=found.model or None,
            request_id=asked,
        )


def _floats(embedding: str | list[float | list[Any]]) -> tuple[float, ...]:
    """One vector. Raises ValueError."""
    if isinstance(embedding, str):
        # binascii.Error is a ValueError.
        data = b64decode(embedding, validate=True)
        if len(data) % 4:
            raise ValueError("a vector of the reply is cut short")
        return struct.unpack(f"<{len(data) // 4}f", data)
    if any(isinstance(number, list) for number in embedding):
        raise ValueError("the server sends a vector for each token, not for each text: its model needs a pooling type")
    return tuple(number for number in embedding if not isinstance(number, list))


def _in_order(vectors: list[tuple[float, ...]], told: list[_Vector]) -> tuple[tuple[float, ...], ...]:
    """By index; as they came where the indexes tell nothing. Raises ValueError."""
    if not vectors:
        raise ValueError("the reply holds no vectors")
    places = {vector.index: number for number, vector in enumerate(told)}
    if places.keys() == set(range(len(vectors))):
        return tuple(vectors[places[index]] for index in range(len(vectors)))
    if len(places) > 1:
        raise ValueError("the vectors of the reply are numbered wrongly")
    return tuple(vectors)
