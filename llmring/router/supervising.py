"""The nursery of a router's tasks: it ends when the block does, and one error comes out, whoever has failed."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from llmring.router.calls import Calls


@asynccontextmanager
async def supervised(calls: Calls, grace: float) -> AsyncGenerator[trio.Nursery]:
    """Leaving the block refuses new calls, waits up to `grace` seconds for those under way, none where it is cancelled,
    then cuts them off and ends the tasks. A bug in a task ends the block with that error. What the block raises comes
    out as it is, never in an ExceptionGroup."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:  # noqa: BLE001 - carried past the nursery, which would wrap it in a group
                raised = error
            finally:
                is_cancelled = trio.current_effective_deadline() == -math.inf
                with trio.CancelScope(shield=True):
                    await calls.drain(0.0 if is_cancelled else grace)
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # One background task has failed, or one of them and the block: one exception comes out, the first.
        raise _first(group) from group
    if raised is not None:
        raise raised


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
