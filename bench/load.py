"""A map at full pressure against the simulator, over real sockets: `python -m bench.load --rpm 500 --rows 2000`.

Prints the rows answered and lost, the refusals the simulator counted, the wall time against the least possible one, and
this process's CPU per request. The simulator is a process of its own, and its limits are aiolimiter's, not ours.
"""

import argparse
import os
import time
from pathlib import Path

import httpx2
import trio

from bench.machine import headline
from llmring import MapRun, open_router
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.latency import Lognormal
from llmring.sim.process import Simulator, open_simulator

MODEL = "openai:gpt-4o-mini"
KEY_VARIABLE = "LLMRING_BENCH_KEY"


def lockfile(simulator: Simulator, rpm: int | None, in_flight: int) -> Lockfile:
    """One provider; its limit is written down, or left to be learned from its headers."""
    limit = f"requests_per_minute = {rpm}" if rpm is not None else ""
    text = f"""
        [providers.openai]
        base_url = "{simulator.openai_url("openai")}"
        api_key_env = "{KEY_VARIABLE}"
        max_in_flight = {in_flight}
        {limit}
    """
    return parse_lockfile(text, Path("bench.lock"))


async def drain(run: MapRun) -> None:
    async with run:
        async for row in run:
            if row.error is not None:
                print(f"row {row.index}: {row.error}")


async def refusals(simulator: Simulator) -> int:
    """The 429s as the simulator counted them."""
    async with httpx2.AsyncClient() as client:
        stats = (await client.get(f"{simulator.url}/__stats")).json()
    keys = stats["providers"]["openai"]["keys"].values()
    return sum(model["statuses"].get("429", 0) for key in keys for model in key["models"].values())


async def measure(options: argparse.Namespace) -> None:
    latency = Lognormal(median=options.latency, sigma=0.4)
    provider = ProviderConfig(requests_per_minute=options.rpm, latency=latency, seed=7)
    async with open_simulator(SimConfig(providers={"openai": provider})) as simulator:
        known = None if options.learned else options.rpm
        settled = lockfile(simulator, known, options.in_flight)
        async with open_router(settled, refresh=False, state=False, receipts=False) as router:
            run = router.map(MODEL, (f"row {number}" for number in range(options.rows)))
            cpu_before = time.process_time()
            await drain(run)
            cpu_seconds = time.process_time() - cpu_before
        refused = await refusals(simulator)
    least = max(0.0, options.rows - options.rpm) / (options.rpm / 60) + options.latency
    wall = run.report.wall_seconds
    print(headline("map over real sockets"))
    print(f"limit {options.rpm}/min ({'learned from headers' if options.learned else 'configured'})")
    print(f"answered {run.report.answered}, lost {options.rows - run.report.answered}, 429s {refused}")
    print(f"wall {wall:.1f} s, least possible {least:.1f} s, limit used {least / wall:.1%}")
    print(f"CPU {1e6 * cpu_seconds / options.rows:.0f} us a request")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--rpm", type=int, default=500, help="requests per minute at the simulator (default 500)")
    parser.add_argument("--rows", type=int, default=2000, help="prompts to send (default 2000)")
    parser.add_argument("--latency", type=float, default=0.2, help="median seconds a reply takes (default 0.2)")
    parser.add_argument("--in-flight", type=int, default=64, help="connections (default 64)")
    parser.add_argument("--learned", action="store_true", help="do not tell the router the limit")
    os.environ[KEY_VARIABLE] = "bench"
    trio.run(measure, parser.parse_args())


if __name__ == "__main__":
    main()
