"""What a receipt adds to a routed call: `python -m bench.routed [--check]`.

One call to a scripted provider without a ledger and with one. CPU of the event loop's thread by `time.thread_time`,
which is the request's path: call by call in turns, so that both find the same in the caches, the median of the rounds'
means and of their differences. CPU of the process, which has the ledger's thread in it: in rounds that take turns. In
microseconds. `--check` exits with 1 when the median difference, of the path, is above `--most`.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.machine import headline
from llmring.lockfile import parse_lockfile
from llmring.registry.catalog import Catalog
from llmring.registry.store import read_bundled
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer

ROUNDS = 60
CALLS = 50
WARMING = 5
MOST_US = 10.0
SETTLED_SECONDS = 0.5
"""After which the ledger's thread has written: twice what it waits for the first of a group."""

LOCKFILE = '[[profiles.default.bindings]]\nalias = "a"\nmodels = ["openai:gpt-4o-mini"]\n'


@asynccontextmanager
async def opened(receipts: Path | bool, catalog: Catalog) -> AsyncGenerator[tuple[Router, ScriptedProvider]]:
    provider = ScriptedProvider({"gpt-4o-mini": [answer()]})
    lockfile = parse_lockfile(LOCKFILE, Path("bench.lock"))
    keys = {"OPENAI_API_KEY": "k"}
    async with open_router(lockfile, connect=provider, keys=keys, catalog=catalog, receipts=receipts) as router:
        yield router, provider


Side = tuple[Router, ScriptedProvider]


async def paths(sides: Sequence[Side]) -> list[float]:
    """Microseconds of CPU of a call at each side, in the event loop's thread: the mean of a round."""
    seconds = [0.0 for _ in sides]
    for number in range(WARMING + CALLS):
        for index in range(len(sides)) if number % 2 else reversed(range(len(sides))):
            router, _ = sides[index]
            began = time.thread_time()
            await router.chat("a", "hello")
            # After a pause the first ones pay for what has left the caches meanwhile.
            seconds[index] += time.thread_time() - began if number >= WARMING else 0.0
    await _settled(sides)
    return [1e6 * one / CALLS for one in seconds]


async def process(side: Side) -> float:
    """Microseconds of CPU of a call, in all threads."""
    began = time.process_time()
    for _ in range(CALLS):
        await side[0].chat("a", "hello")
    await _settled([side])
    return 1e6 * (time.process_time() - began) / CALLS


async def _settled(sides: Sequence[Side]) -> None:
    """Wait until the ledger's thread has written what calls have left, which is a part of what they cost."""
    await trio.sleep(SETTLED_SECONDS)
    for _, provider in sides:
        # What it writes down would grow from round to round.
        provider.calls.clear()


async def measure() -> tuple[list[list[float]], list[list[float]]]:
    """Of every round: without a ledger, and with one. The paths, and the whole process."""
    catalog = read_bundled()
    path: list[list[float]] = []
    whole: list[list[float]] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            opened(False, catalog) as bare,
            opened(Path(directory) / "ledger.db", catalog) as receipted,
        ):
            sides = [bare, receipted]
            await paths(sides)
            for _ in range(ROUNDS):
                gc.collect()
                path.append(await paths(sides))
                whole.append([await process(side) for side in sides])
    return path, whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--most", type=float, default=MOST_US, help="microseconds that a receipt may add to the path")
    options = parser.parse_args()
    path, whole = trio.run(measure)
    print(headline(f"CPU of a routed call, {ROUNDS} rounds of {CALLS}"))
    for name, rounds in (("the event loop's thread", path), ("the whole process", whole)):
        without, kept = (statistics.median(one[side] for one in rounds) for side in (0, 1))
        print(
            f"{name:24} without {without:7.1f} us   with {kept:7.1f} us   {kept / without:6.3f} times"
            f"   median difference {_added(rounds):6.1f} us"
        )
    return int(options.check and _added(path) > options.most)


def _added(rounds: list[list[float]]) -> float:
    return statistics.median(kept - without for without, kept in rounds)


if __name__ == "__main__":
    sys.exit(main())
