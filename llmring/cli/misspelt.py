"""Names of a row that are nearly those of options. Rows may have more than is read: they are told, and not refused."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from llmring.cli.running import note

ALIKE = 0.85
"""max_token, temprature and maxTokens are; "text" and "title" are like nothing."""
MOST_NAMES = 1_000
"""Rows that have each a name of their own are told of no further."""


class Misspelt:
    """Says once of every name which one may be meant."""

    def __init__(self, known: Iterable[str], say: Callable[[str], None] = note) -> None:
        self._known = tuple(known)
        self._seen = set(self._known)
        self._say = say

    def look(self, names: Iterable[str], place: str) -> None:
        """`place` is where they were found."""
        for name in names:
            if name in self._seen or len(self._seen) >= MOST_NAMES:
                continue
            self._seen.add(name)
            spelled = name.strip().lower().replace("-", "_").replace(" ", "_")
            for meant in get_close_matches(spelled, self._known, n=1, cutoff=ALIKE):
                self._say(f"{place}: {name!r} is not read: did you mean {meant!r}?")
