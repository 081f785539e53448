"""Calls: a closing router refuses new ones, waits for those under way, and cuts off what does not end."""

import pytest
import trio
import trio.testing

from llmring.errors import RouterClosed
from llmring.router.calls import Calls

Log = list[tuple[str, float]]


async def work(calls: Calls, seconds: float, log: Log) -> None:
    try:
        with calls.call():
            await trio.sleep(seconds)
            log.append(("done", trio.current_time()))
    except RouterClosed as error:
        log.append((str(error), trio.current_time()))


async def drain(calls: Calls, grace_seconds: float, log: Log) -> None:
    await calls.drain(grace_seconds)
    log.append(("drained", trio.current_time()))


async def run(grace_seconds: float, *seconds: float) -> Log:
    """Calls of these lengths, drained after one second."""
    calls, log = Calls(), Log()
    async with trio.open_nursery() as nursery:
        for each in seconds:
            nursery.start_soon(work, calls, each, log)
        await trio.sleep(1.0)
        await drain(calls, grace_seconds, log)
    return sorted(log, key=lambda entry: entry[1])


CUT_OFF = "the router was closed during this call"


@pytest.mark.parametrize(
    ("grace", "seconds", "log"),
    [
        (10.0, [], [("drained", 1.0)]),
        (10.0, [0.5], [("done", 0.5), ("drained", 1.0)]),
        (10.0, [3.0, 5.0], [("done", 3.0), ("done", 5.0), ("drained", 5.0)]),
        (10.0, [3.0, 99.0], [("done", 3.0), ("drained", 11.0), (CUT_OFF, 11.0)]),
        (0.0, [3.0], [("drained", 1.0), (CUT_OFF, 1.0)]),
    ],
)
async def test_closing_waits_for_the_last_call_but_no_longer_than_its_grace(
    grace: float, seconds: list[float], log: Log, autojump_clock: trio.testing.MockClock
) -> None:
    assert await run(grace, *seconds) == log


async def test_from_the_first_moment_of_closing_no_call_begins(autojump_clock: trio.testing.MockClock) -> None:
    calls, log = Calls(), Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, calls, 5.0, log)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(drain, calls, 10.0, log)
        await trio.testing.wait_all_tasks_blocked()
        assert calls.is_closing
        with pytest.raises(RouterClosed, match="the router is closed"):
            calls.begin()
        await work(calls, 1.0, log)
    assert log == [("the router is closed", 0.0), ("done", 5.0), ("drained", 5.0)]


async def test_a_call_of_several_steps_may_take_its_next_step_while_closing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls, log = Calls(), Log()

    async def read() -> None:
        calls.begin()
        for _ in range(3):
            await trio.sleep(1.0)
            with calls.step():
                await trio.sleep(1.0)
        calls.end()
        log.append(("read", trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await drain(calls, 10.0, log)
    assert sorted(log) == [("drained", 6.0), ("read", 6.0)]


async def test_after_the_grace_the_next_step_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    calls = Calls()
    calls.begin()
    with calls.step():
        await trio.sleep(1.0)
    await calls.drain(2.0)
    assert trio.current_time() == 3.0
    with pytest.raises(RouterClosed, match=CUT_OFF), calls.step():
        raise AssertionError("the step began")


async def test_work_that_ends_in_the_moment_of_the_cut_keeps_its_result(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls = Calls()
    with calls.call():
        with trio.CancelScope(shield=True):
            await calls.drain(0.0)
        result = "whole"
    assert result == "whole"


async def test_an_error_of_the_work_comes_out_as_it_is_and_ends_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls = Calls()
    with pytest.raises(KeyError, match="its own"), calls.call():
        raise KeyError("its own")
    await calls.drain(10.0)
    assert trio.current_time() == 0.0


async def test_the_callers_own_cancel_is_no_closed_router(autojump_clock: trio.testing.MockClock) -> None:
    calls = Calls()
    with trio.move_on_after(2.0) as scope, calls.call():
        await trio.sleep_forever()
    assert scope.cancelled_caught
    await calls.drain(10.0)
    assert trio.current_time() == 2.0
