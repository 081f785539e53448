"""Bell: wakes the one task that waits for it. What trio's `Event` does for many tasks, at half the cost for one."""

import math
from collections.abc import Awaitable

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled


class Bell:
    """Rung before anybody waits, it is heard by the next who does. One task may wait at a time."""

    __slots__ = ("_is_rung", "_task")

    def __init__(self) -> None:
        self._is_rung = False
        self._task: Task | None = None

    def ring(self) -> None:
        """Wake the one who waits, or the next to come. Once more before it has woken changes nothing."""
        if not self._is_rung:
            self._is_rung = True
            if self._task is not None:
                reschedule(self._task)

    def wait(self, until: float = math.inf) -> Awaitable[None]:
        """Wait until it rings, or for the clock to say `until`. A checkpoint."""
        # A scope that never ends costs as much as the wait itself.
        return self._wait() if until == math.inf else self._wait_at_most(until)

    async def _wait_at_most(self, until: float) -> None:
        with trio.move_on_at(until):
            await self._wait()

    async def _wait(self) -> None:
        if self._is_rung:
            await trio.lowlevel.checkpoint()
        else:
            self._task = current_task()
            await wait_task_rescheduled(self._leave)
            self._task = None
        self._is_rung = False

    def _leave(self, _: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
