"""The calls under way, so that a closing router can refuse new ones, wait for these, and cut off what does not end."""

from collections.abc import Generator
from contextlib import contextmanager

import trio

from llmring.errors import RouterClosed


class Calls:
    """Counts calls from start to end; a stream or a map is one call that works in several steps."""

    def __init__(self) -> None:
        self._under_way = 0
        self._steps: set[trio.CancelScope] = set()
        self._closing = False
        self._cut_off = False
        self._all_ended = trio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether new work is refused."""
        return self._closing

    def begin(self) -> None:
        """A call starts. Raises RouterClosed when no more are taken. Pair with `end`."""
        if self._closing:
            raise RouterClosed("the router is closed")
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._all_ended.set()

    @contextmanager
    def step(self) -> Generator[None]:
        """Work that awaits, inside a call: cancelled when the grace period is over, and RouterClosed then."""
        if self._cut_off:
            raise RouterClosed("the router was closed during this call")
        with trio.CancelScope() as scope:
            self._steps.add(scope)
            try:
                yield
            finally:
                self._steps.discard(scope)
        if scope.cancelled_caught:
            raise RouterClosed("the router was closed during this call")

    @contextmanager
    def call(self) -> Generator[None]:
        """A call that is one step."""
        self.begin()
        try:
            with self.step():
                yield
        finally:
            self.end()

    async def drain(self, grace_seconds: float) -> None:
        """Take no more calls, wait for those under way, and cut off what is left after `grace_seconds`."""
        self._closing = True
        if self._under_way:
            self._all_ended = trio.Event()
            with trio.move_on_after(grace_seconds):
                await self._all_ended.wait()
        self._cut_off = True
        for scope in self._steps:
            scope.cancel()
