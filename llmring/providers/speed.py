"""How fast a model answers: running means of the time to its first text and of the time for each token. Pure."""

from llmring.providers.memory import KeptSpeed, weight

_WEIGHT = 0.1
"""Of the newest answer: about the last 20 count."""


class Speed:
    """All times in seconds. Answers that came as a whole tell no first text; their time counts by the token."""

    __slots__ = ("_doubt", "_first", "_per_token")

    def __init__(self) -> None:
        self._first: float | None = None
        self._per_token: float | None = None
        self._doubt = 0.0

    def add(self, took_seconds: float, output_tokens: float, first_seconds: float | None) -> None:
        """An answer has come. `first_seconds` is when its first text came, None where that cannot be told."""
        newest = max(_WEIGHT, self._doubt)
        self._doubt = 0.0
        if first_seconds is not None:
            self._first = _mean(self._first, first_seconds, newest)
        began = first_seconds if first_seconds is not None else self._first or 0.0
        if output_tokens > 0:
            self._per_token = _mean(self._per_token, max(0.0, took_seconds - began) / output_tokens, newest)
        elif first_seconds is None:
            self._first = _mean(self._first, took_seconds, newest)

    def predict(self, output_tokens: float) -> float | None:
        """How long an answer of so many tokens will take; None while none has come."""
        if self._first is None and self._per_token is None:
            return None
        return (self._first or 0.0) + (self._per_token or 0.0) * output_tokens

    def memory(self) -> KeptSpeed | None:
        """None while no answer has come."""
        if self._first is None and self._per_token is None:
            return None
        return KeptSpeed(first=self._first, per_token=self._per_token)

    def recall(self, kept: KeptSpeed, age_seconds: float) -> None:
        """Begin with what an earlier process has kept, so long ago: the older, the more the next answer counts."""
        self._first, self._per_token = kept.first, kept.per_token
        self._doubt = 1.0 - weight(age_seconds)


def _mean(old: float | None, new: float, newest: float) -> float:
    return new if old is None else old + newest * (new - old)
