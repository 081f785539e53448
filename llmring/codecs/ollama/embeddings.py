"""Embeddings in Ollama's format: one call for many texts. Pure.

Format: https://docs.ollama.com/api/embed.
"""

from collections.abc import Sequence

import msgspec

from llmring.chat import JSONObject
from llmring.codecs.codec import HttpCall, HttpReply
from llmring.codecs.ollama.faults import classify
from llmring.codecs.replies import count, is_set, read_json, request_id, to_call
from llmring.embeddings import Embeddings
from llmring.errors import BadReply
from llmring.usage import Usage


class _Reply(msgspec.Struct):
    model: str | None = None
    embeddings: list[tuple[float, ...] | None] | None = None
    prompt_eval_count: int | float | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class OllamaEmbeddings(msgspec.Struct, frozen=True):
    """The codec. Ollama documents no bounds; these keep one call from holding the model for long."""

    @property
    def most_texts(self) -> int:
        return 256

    @property
    def most_tokens(self) -> int:
        return 100_000

    def encode(self, texts: Sequence[str], model: str, dimensions: int | None) -> HttpCall:
        # A text that is too long would lose its end without a word.
        body: JSONObject = {"model": model, "input": list(texts), "truncate": False}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return to_call("/api/embed", body)

    def decode(self, reply: HttpReply) -> Embeddings:
        """Read a 2xx reply, in the order of the texts."""
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(found.error):
            raise classify(reply)
        vectors = tuple(vector for vector in found.embeddings or () if vector)
        if not vectors or len(vectors) < len(found.embeddings or ()):
            raise BadReply("the reply lacks a vector", status=reply.status, request_id=request_id(reply.headers))
        tokens = found.prompt_eval_count
        return Embeddings(
            vectors=vectors,
            usage=Usage(input_tokens=count(tokens)) if tokens is not None else None,
            served_model=found.model or None,
            request_id=request_id(reply.headers),
        )
