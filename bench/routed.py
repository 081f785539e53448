"""What a receipt adds to a routed call: `python -m bench.routed [--check]`.

One call to a scripted provider without a ledger and with one, in rounds that take turns: CPU of the event loop's thread
by `time.thread_time`, which is the request's path, and CPU of the process, which has the ledger's thread in it. In
microseconds of the best rounds, and the median of the rounds' differences, which varies less from run to run. `--check`
exits with 1 when that median, of the path, is above `--most`.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

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


class Cost(NamedTuple):
    """Microseconds of CPU of one call."""

    path: float
    process: float


@asynccontextmanager
async def opened(receipts: Path | bool, catalog: Catalog) -> AsyncGenerator[tuple[Router, ScriptedProvider]]:
    provider = ScriptedProvider({"gpt-4o-mini": [answer()]})
    lockfile = parse_lockfile(LOCKFILE, Path("bench.lock"))
    keys = {"OPENAI_API_KEY": "k"}
    async with open_router(lockfile, connect=provider, keys=keys, catalog=catalog, receipts=receipts) as router:
        yield router, provider


async def cost(router: Router, provider: ScriptedProvider) -> Cost:
    for _ in range(WARMING):
        # After a pause the first ones pay for what has left the caches meanwhile: more where a ledger has written.
        await router.chat("a", "hello")
    path, process = time.thread_time(), time.process_time()
    for _ in range(CALLS):
        await router.chat("a", "hello")
    path = time.thread_time() - path
    # Until the ledger's thread has written what these calls have left, which is a part of what they cost.
    await trio.sleep(SETTLED_SECONDS)
    process = time.process_time() - process
    # What it writes down would grow from round to round.
    provider.calls.clear()
    return Cost(1e6 * path / CALLS, 1e6 * process / CALLS)


async def measure() -> tuple[list[Cost], list[Cost]]:
    """Of every round: without a ledger, and with one."""
    catalog = read_bundled()
    without: list[Cost] = []
    kept: list[Cost] = []
    with tempfile.TemporaryDirectory() as directory:
        async with (
            opened(False, catalog) as bare,
            opened(Path(directory) / "ledger.db", catalog) as receipted,
        ):
            await cost(*bare)
            await cost(*receipted)
            for number in range(ROUNDS):
                gc.collect()
                sides = [(bare, without), (receipted, kept)]
                for one, costs in sides if number % 2 else reversed(sides):
                    costs.append(await cost(*one))
    return without, kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--most", type=float, default=MOST_US, help="microseconds that a receipt may add to the path")
    options = parser.parse_args()
    without, kept = trio.run(measure)
    print(headline(f"CPU of a routed call, {ROUNDS} rounds of {CALLS} that take turns"))
    added = 0.0
    for name, index in (("the event loop's thread", 0), ("the whole process", 1)):
        bare, more = min(one[index] for one in without), min(one[index] for one in kept)
        median = statistics.median(b[index] - a[index] for a, b in zip(without, kept, strict=True))
        print(
            f"{name:24} without {bare:7.1f} us   with {more:7.1f} us   {more / bare:6.3f} times"
            f"   + {more - bare:6.1f} us, median + {median:6.1f} us"
        )
        added = median if index == 0 else added
    return int(options.check and added > options.most)


if __name__ == "__main__":
    sys.exit(main())
