"""The rows of a map: as they come in, on their way, and finished. Values only."""

from collections.abc import AsyncIterable, Iterable

import msgspec

from llmring.chat import ChatRequest, ChatResponse
from llmring.errors import InvalidRequest, LLMRingError
from llmring.prompts import Prompt

Input = Prompt | ChatRequest | InvalidRequest
Inputs = Iterable[Input] | AsyncIterable[Input]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row came from, what it is known by in the journal, and to those that ask the same."""

    index: int
    prompt: Input
    key: str | None = None
    digest: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One finished row: `index` counts the inputs from 0; exactly one of `response` and `error` is set. `resumed`: an
    earlier run of the same journal has had the answer. `duplicate_of` is the index of the row that was asked in its
    place, and that the cost of the answer belongs to."""

    index: int
    prompt: Input
    response: ChatResponse | None = None
    error: LLMRingError | None = None
    resumed: bool = False
    duplicate_of: int | None = None

    @property
    def ok(self) -> bool:
        return self.error is None
