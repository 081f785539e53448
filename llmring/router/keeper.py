"""Keeper: has what a router learns of limits written to the state file, every minute while it changes and at the end.

Off the event loop, in a thread; nothing waits for it but the end of the router, for a second at most.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from llmring.config import Settings
from llmring.providers.worker import Kept, Recalled
from llmring.refs import ModelRef
from llmring.router.state_file import StateFile

WRITE_EVERY_SECONDS = 60.0

Memories = Callable[[float], Iterable[Kept]]
"""What is known now of every model that was used."""


class Keeper:
    """Without a `file` it keeps nothing."""

    def __init__(self, file: StateFile | None) -> None:
        self.memories: Memories = lambda now: ()
        self._file = file
        self._written: dict[tuple[ModelRef, str], int] = {}

    def recall(self, ref: ModelRef, account: str) -> Recalled | None:
        """What earlier processes have kept of a model. The first call reads a small file."""
        return self._file.recall(ref, account) if self._file is not None else None

    async def run(self) -> None:
        """Write until cancelled; a write that has begun is ended first."""
        while self._file is not None:
            await trio.sleep(WRITE_EVERY_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Write what has changed, if anything has. Not while `run` does."""
        if self._file is None:
            return
        known = self.memories(trio.current_time())
        changed = [kept for kept in known if self._written.get((kept.ref, kept.account)) != kept.uses]
        if not changed:
            return
        is_written = await trio.to_thread.run_sync(self._file.write, changed, self._file.clock())
        if is_written:
            self._written.update({(kept.ref, kept.account): kept.uses for kept in changed})


def keeper_in(settings: Settings, state: Path | str | Literal[False] | None, *, is_real: bool) -> Keeper:
    """In the directory `state`, or in the user's own. What somebody's own `connect` teaches, of a test maybe, is not
    true of the provider that it stands in for."""
    directory = settings.state_directory if is_real else None
    if state is not None:
        directory = Path(state) if state else None
    return Keeper(StateFile(Path(os.path.expanduser(directory))) if directory is not None else None)


@asynccontextmanager
async def keeping(keeper: Keeper) -> AsyncGenerator[None]:
    """Around the nursery: when its last task has ended, all is known."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await keeper.save()
