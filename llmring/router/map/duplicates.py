"""Rows that ask the same of the same models: the first is asked, the others get its answer. Decisions only.

In memory are the digests of the rows asked so far, and the rows that wait for one under way: the window bounds those.
Answers lie in a journal, the run's own or a scratch one.
"""

from typing import Generic, TypeVar

import msgspec

from llmring.chat import ChatResponse
from llmring.router.map.journal import Journal

Follower = TypeVar("Follower")


class First(msgspec.Struct, frozen=True):
    """The row that is asked: its place in the inputs, its key in the journal, and whether an earlier run has had its
    answer."""

    index: int
    key: str
    resumed: bool = False


class Settled(msgspec.Struct, frozen=True):
    """A row asked before has this answer."""

    first: First
    response: ChatResponse


class Duplicates(Generic[Follower]):
    """`answers` is where the rows that were asked are settled."""

    def __init__(self, answers: Journal) -> None:
        self.answers = answers
        self._firsts: dict[str, First] = {}
        self._waiting: dict[str, list[Follower]] = {}

    def look(self, digest: str, follower: Follower) -> Settled | First | None:
        """The answer of the row with this digest; or that row, under way, and `follower` waits for it; None when there
        is none, so that the row at hand is to be asked."""
        first = self._firsts.get(digest)
        if first is None:
            return None
        waiting = self._waiting.get(digest)
        if waiting is not None:
            waiting.append(follower)
            return first
        response = self.answers.answer(first.key)
        return None if response is None else Settled(first, response)

    def begin(self, digest: str, first: First) -> None:
        """This row is asked, or was by an earlier run."""
        self._firsts[digest] = first
        if not first.resumed:
            self._waiting[digest] = []

    def end(self, digest: str, *, ok: bool) -> tuple[First, list[Follower]]:
        """The row that was asked has ended: hand over those that waited for it. After a failure the next one that comes
        is asked again."""
        first = self._firsts[digest] if ok else self._firsts.pop(digest)
        return first, self._waiting.pop(digest)
