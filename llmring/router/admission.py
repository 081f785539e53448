"""Admission: may work that was begun still be sent? What is stopped calls back whoever waits for a turn or for money;
what is on the wire goes on, for it is paid for.
"""

from collections.abc import Generator
from contextlib import contextmanager

import trio

from llmring.errors import Attempt


class CalledBack(Exception):
    """The request is not sent, or not once more: its work was stopped. `attempts` are those that had failed before."""

    def __init__(self, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__("called back: its work was stopped")
        self.attempts = attempts


class Admission:
    """Of all requests of one piece of work, such as a map. Open until it is ended."""

    def __init__(self) -> None:
        self.is_over = False
        self._waiting: set[trio.CancelScope] = set()

    def end(self) -> None:
        """Send nothing more, from now on; a second time changes nothing."""
        self.is_over = True
        for scope in self._waiting:
            scope.cancel()

    @contextmanager
    def waiting(self) -> Generator[None]:
        """A wait before something is sent. Raises CalledBack; what was given in that moment may be there all the same,
        and `is_over` says so."""
        if self.is_over:
            raise CalledBack
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            raise CalledBack
