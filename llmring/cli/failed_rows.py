"""Which line of the input it was, where a failed row ends a map. Of the others their own rows of the output say it."""

from llmring.errors import LLMRingError, TooManyFailures


class RowFailed(LLMRingError):
    """The error of a row, and where the row stands: "line 7"."""

    def __init__(self, place: str, error: LLMRingError) -> None:
        super().__init__(place, error)
        self.place = place
        self.error = error

    def __str__(self) -> str:
        text = str(self.error)
        # A row that could not be read says so itself.
        return text if text.startswith(f"{self.place}: ") else f"{self.place}: {text}"


def placed(error: LLMRingError, place: str) -> LLMRingError:
    """The error that the row of `place` has ended a map with, as its user is to see it."""
    if isinstance(error, TooManyFailures):
        return TooManyFailures(error.failed, RowFailed(place, error.last))
    return RowFailed(place, error)
