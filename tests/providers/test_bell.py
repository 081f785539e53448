"""A bell wakes the one task that waits for it, once, and no ring is lost."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from llmring.providers.bell import Bell


class Listener:
    """Waits for a bell again and again, and keeps when it rang."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.heard: list[float] = []

    async def run(self) -> None:
        while True:
            await self.bell.wait()
            self.heard.append(trio.current_time())


async def test_it_wakes_the_one_who_waits(autojump_clock: MockClock) -> None:
    listener = Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        for _ in range(3):
            await trio.sleep(1.0)
            listener.bell.ring()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert listener.heard == [1.0, 2.0, 3.0]


async def test_one_that_rang_before_is_heard_once(autojump_clock: MockClock) -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    await bell.wait(until=5.0)
    assert trio.current_time() == 5.0


async def test_rings_before_the_task_has_woken_are_one() -> None:
    listener = Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        await wait_all_tasks_blocked()
        listener.bell.ring()
        listener.bell.ring()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(listener.heard) == 1


@pytest.mark.parametrize("until", [1.0, math.inf])
async def test_it_is_heard_after_a_wait_that_was_given_up(until: float, autojump_clock: MockClock) -> None:
    bell = Bell()
    with trio.move_on_after(1.0):
        await bell.wait(until)
    assert trio.current_time() == 1.0
    bell.ring()
    await bell.wait()
    assert trio.current_time() == 1.0


async def test_a_ring_in_the_moment_of_a_cancel_is_not_lost() -> None:
    bell = Bell()
    bell.ring()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bell.wait()
    assert scope.cancelled_caught
    with trio.fail_after(1.0):
        await bell.wait()
