"""Vectors for texts, as a codec reads them and as the caller gets them. Values only."""

import msgspec

from llmring.errors import Attempt
from llmring.refs import ModelRef
from llmring.trace import Trace, attached
from llmring.usage import Cost, Usage


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors in the order of their texts, as a codec reads them from one reply."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    served_model: str | None = None
    request_id: str | None = None


class EmbedResponse(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One vector for each text, in order, all of the one model `model`.

    `usage` is the sum over the requests that were made, None when the provider told none of it. `attempts` lists every
    try and skip on the way.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: ModelRef
    alias: str
    usage: Usage | None = None
    cost: Cost
    served_model: str | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def trace(self) -> Trace | None:
        """What was seen and decided before the first request, which decides for all of them."""
        return attached(self)
