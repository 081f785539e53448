"""Embeddings in Gemini's format: one call for many texts. Pure.

Format: https://ai.google.dev/api/embeddings.
"""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from llmring.chat import JSONObject
from llmring.codecs.codec import HttpCall, HttpReply
from llmring.codecs.google.faults import classify
from llmring.codecs.replies import count, is_set, read_json, request_id, to_call
from llmring.embeddings import Embeddings
from llmring.errors import BadReply
from llmring.usage import Usage


class _Vector(msgspec.Struct):
    values: tuple[float, ...] | None = None


class _UsageIn(msgspec.Struct, rename="camel"):
    prompt_token_count: int | float | None = None


class _Reply(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector] | None = None
    usage_metadata: _UsageIn | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class GoogleEmbeddings(msgspec.Struct, frozen=True):
    """The codec. Gemini documents how many texts a request holds; the tokens are Vertex AI's bound, for want of one of
    Gemini's own."""

    @property
    def most_texts(self) -> int:
        return 100

    @property
    def most_tokens(self) -> int:
        return 20_000

    def encode(self, texts: Sequence[str], model: str, dimensions: int | None) -> HttpCall:
        name = model.removeprefix("models/")
        shared: JSONObject = {"model": f"models/{name}"}
        if dimensions is not None:
            shared["outputDimensionality"] = dimensions
        requests = [shared | {"content": {"parts": [{"text": text}]}} for text in texts]
        return to_call(f"/v1beta/models/{quote(name, safe='')}:batchEmbedContents", {"requests": requests})

    def decode(self, reply: HttpReply) -> Embeddings:
        """Read a 2xx reply, in the order of the texts. Old models tell no usage."""
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(found.error):
            raise classify(reply)
        vectors = tuple(vector.values for vector in found.embeddings or () if vector.values)
        if not vectors or len(vectors) < len(found.embeddings or ()):
            raise BadReply("the reply lacks a vector", status=reply.status, request_id=request_id(reply.headers))
        tokens = found.usage_metadata.prompt_token_count if found.usage_metadata is not None else None
        return Embeddings(
            vectors=vectors,
            usage=Usage(input_tokens=count(tokens)) if tokens is not None else None,
            request_id=request_id(reply.headers),
        )
