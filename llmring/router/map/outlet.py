"""Outlet: rows that have finished, until their reader takes them: as they finish, or in the order of the inputs."""

from collections import deque

import trio

from llmring.router.map.rows import Row


class Outlet:
    """Bounded by the window of its run: a row has its place there until it is read. One task reads."""

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._finished: deque[Row] = deque()
        self._early: dict[int, Row] = {}
        self._next_index = 0
        self._news = trio.Event()
        self._closed = False

    def put(self, row: Row) -> None:
        """A row has finished."""
        if not self._ordered:
            self._finished.append(row)
        else:
            self._early[row.index] = row
            while self._next_index in self._early:
                self._finished.append(self._early.pop(self._next_index))
                self._next_index += 1
        self._news.set()

    def close(self) -> None:
        """No more will come: those too are there that waited, in order, for one that was cut off."""
        for index in sorted(self._early):
            self._finished.append(self._early.pop(index))
        self._closed = True
        self._news.set()

    async def take(self) -> Row | None:
        """The next row; None when it is closed and empty. A checkpoint only where there is none yet."""
        while not self._finished and not self._closed:
            self._news = trio.Event()
            await self._news.wait()
        return self._finished.popleft() if self._finished else None

    def take_all(self) -> list[Row]:
        """What is there, read or not, in any order."""
        rows = [*self._finished, *self._early.values()]
        self._finished.clear()
        self._early.clear()
        return rows
