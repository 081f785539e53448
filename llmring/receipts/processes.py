"""Work that is shared among processes, for checks of many entries: more cores verify more signatures at a time, while
threads would wait for one another's turn in the interpreter. Effects: processes; blocks.

Processes are spawned: a fork would take over whatever locks other threads hold. Each costs a third of a second of CPU
to start, so few entries are checked where they are.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Result = TypeVar("Result")

MANY = 20_000
"""Entries that are worth a process: a second and a half of one core."""

AHEAD = 2
"""Pieces of work that wait for each process, so that none is without."""


def processes_for(entries: int) -> int:
    """How many processes so many entries are worth, on the cores that this one may use."""
    if entries < MANY:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def all_done(works: Iterable[Callable[[], Result]], processes: int) -> list[Result]:
    """What every piece of work gives, in order. `works` are taken as they are needed, so they may be made on the way.

    Pieces and results cross between processes, so both must pickle; what a piece raises is raised here. Where a process
    ends before its time, or none can be started, the rest is done in this one. Leaving early, on Ctrl-C too, waits for
    the pieces that are being done.
    """
    pool = _pool(processes)
    if pool is None:
        return [work() for work in works]
    done: list[Result] = []
    under_way: deque[tuple[Callable[[], Result], Future[Result] | None]] = deque()
    try:
        for work in works:
            under_way.append((work, _handed(pool, work)))
            if len(under_way) > AHEAD * processes:
                done.append(_result(*under_way.popleft()))
        done += [_result(*one) for one in under_way]
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def _pool(processes: int) -> ProcessPoolExecutor | None:
    if processes < 2:
        return None
    try:
        return ProcessPoolExecutor(processes, get_context("spawn"), _leave_interrupts)
    except (ImportError, NotImplementedError, OSError):
        # A system without shared semaphores, as some containers are.
        return None


def _leave_interrupts() -> None:
    """Ctrl-C goes to every process of a terminal; the one that shares out the work says so, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _handed(pool: ProcessPoolExecutor, work: Callable[[], Result]) -> Future[Result] | None:
    """None where a process has ended before its time, by which the whole pool is broken."""
    try:
        return pool.submit(work)
    except BrokenProcessPool:
        return None


def _result(work: Callable[[], Result], future: Future[Result] | None) -> Result:
    try:
        return work() if future is None else future.result()
    except BrokenProcessPool:
        return work()
