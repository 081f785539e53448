"""What waiting in line costs: `python -m bench.scheduler [--check]`.

CPU of one request from its place in line to its settled permit: the worker's task, the line, the limits, the breaker.
Nothing is sent. With 1 waiter, so that every request waits for the one before it alone, and with 10,000, who line up
again as soon as they were served. Beside it, turn by turn in the same run, what a bare trio checkpoint costs: a machine
that is slow or busy slows both. Best of several rounds. `--check` exits with 1 when a goal is missed by more than
`--slack` times; the ratio is what counts there.
"""

import argparse
import gc
import math
import sys
import time

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from bench.machine import headline
from llmring.lockfile.providers import ProviderSettings
from llmring.providers.endpoint import endpoint
from llmring.providers.line import Waiter
from llmring.providers.regime import Charge
from llmring.providers.route import Permit, Route
from llmring.providers.worker import ProviderWorker
from llmring.testing import ScriptedProvider
from llmring.usage import Usage

ROUNDS = 7
CHECKPOINTS = 50_000
PLENTY = 1e9
"""A limit that is counted at every request and never reached: what is measured is work, not waiting."""

CHARGE: Charge = {"requests": 1.0, "day": 1.0, "tokens": 200.0}
USAGE = Usage(input_tokens=150, output_tokens=50)


class Goal(msgspec.Struct, frozen=True):
    """`microseconds` on the machine that they were set on; `ratio` to a checkpoint on any."""

    waiters: int
    requests: int
    microseconds: float
    ratio: float


GOALS = (
    Goal(waiters=1, requests=20_000, microseconds=25.0, ratio=7.0),
    Goal(waiters=10_000, requests=30_000, microseconds=40.0, ratio=11.5),
)


def open_worker(connections: int) -> ProviderWorker:
    settings = ProviderSettings(
        name="openai",
        base_url="http://127.0.0.1:1",
        requests_per_minute=PLENTY,
        tokens_per_minute=PLENTY,
        max_in_flight=connections,
    )
    return ProviderWorker(endpoint("openai", settings), "k", ScriptedProvider({}), lambda: 0.0)


class Crowd:
    """Tasks that stand in line, go, and stand in line again, until so many requests have been settled."""

    def __init__(self, route: Route, requests: int) -> None:
        self._route = route
        self._left = requests
        self._number = 0
        self.done = trio.Event()

    async def stand_in_line(self) -> Permit:
        """One request's wait, as the dispatcher has it."""
        self._number += 1
        waiter: Waiter[Permit] = Waiter(self._number, math.inf)
        permit = await waiter.wait([(self._route.line, CHARGE)], math.inf)
        assert permit is not None, "nothing sends it away"
        return permit

    async def member(self) -> None:
        while True:
            permit = await self.stand_in_line()
            permit.settle("exact", trio.current_time(), USAGE)
            self._left -= 1
            if self._left <= 0:
                self.done.set()
                await trio.sleep_forever()


async def line_microseconds(waiters: int, requests: int) -> float:
    """CPU of one request. All waiters are in line before it is measured; a single one is alone with the worker."""
    worker = open_worker(connections=1 if waiters == 1 else 64)
    route = worker.route("gpt-4o-mini")
    crowd = Crowd(route, requests)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        held = [await crowd.stand_in_line() for _ in range(route.credential.max_in_flight)]
        for _ in range(waiters):
            nursery.start_soon(crowd.member)
        await wait_all_tasks_blocked()
        began = time.process_time()
        for permit in held:
            permit.settle("exact", trio.current_time(), USAGE)
        await crowd.done.wait()
        seconds = time.process_time() - began
        nursery.cancel_scope.cancel()
    return 1e6 * seconds / requests


async def checkpoint_microseconds() -> float:
    """CPU of one bare checkpoint."""
    began = time.process_time()
    for _ in range(CHECKPOINTS):
        await trio.lowlevel.checkpoint()
    return 1e6 * (time.process_time() - began) / CHECKPOINTS


def measure(goal: Goal) -> tuple[float, float]:
    """Microseconds of CPU a request, and a checkpoint: each the best of its rounds, taken in turn."""
    lines, checkpoints = [], []
    for _ in range(ROUNDS):
        gc.collect()
        checkpoints.append(trio.run(checkpoint_microseconds))
        lines.append(trio.run(line_microseconds, goal.waiters, goal.requests))
    return min(lines), min(checkpoints)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times a goal may be missed by")
    options = parser.parse_args()
    print(headline(f"CPU of a request in line, best of {ROUNDS}"))
    missed = []
    for goal in GOALS:
        line, checkpoint = measure(goal)
        ratio = line / checkpoint
        print(
            f"{goal.waiters:6,} waiting {line:6.1f} us a request   goal {goal.microseconds:g}   "
            f"{ratio:4.1f} checkpoints of {checkpoint:.1f} us   goal {goal.ratio:g}",
            flush=True,
        )
        if ratio > goal.ratio * options.slack:
            missed.append(f"{goal.waiters:,} waiting")
    if options.check and missed:
        sys.exit(f"a goal was missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
