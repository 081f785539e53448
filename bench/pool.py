"""Three providers' limits used together, over real sockets: `python -m bench.pool [--minutes 10] [--check]`.

At any time four times as many rows have been handed in as the three can have admitted until then, in all so many as
their limits allow in the time. In the middle the first provider answers nothing but 503 for a tenth of the time (at
most a minute), and comes back. The simulator is a process of its own, and its limits are aiolimiter's, not ours:
requests at the first and the third, input tokens at the second. Prints the rows admitted over the most that the limits
could have admitted until the last answer (bench/simulate/bound.py), the share of requests that were refused, and the
rows that were lost. `--check` exits with 1 when a goal is missed: 97 %, 0.5 %, none.
"""

import argparse
import logging
import math
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import httpx2
import msgspec
import trio

from bench.machine import headline
from bench.simulate.bound import Supply, least_seconds
from bench.simulate.provider import Incident, Provider
from llmring import open_router
from llmring.errors import Dimension
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.faults import Fault
from llmring.sim.latency import Lognormal
from llmring.sim.process import Simulator, open_simulator

KEY_VARIABLE = "LLMRING_BENCH_KEY"
USED, REFUSED = 0.97, 0.005
OFFERED = 4.0
HAND_IN_SECONDS = 0.1
LONGEST_OUTAGE_SECONDS = 60.0
FIRST = "openai"

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.0-flash"}
LATENCY = Lognormal(median=0.3, sigma=0.4)
CONFIGS = {
    "openai": ProviderConfig(requests_per_minute=300, tokens_per_minute=200_000, latency=LATENCY, seed=1),
    "anthropic": ProviderConfig(
        requests_per_minute=1000,
        input_tokens_per_minute=10_000,
        output_tokens_per_minute=50_000,
        latency=LATENCY,
        seed=2,
    ),
    "google": ProviderConfig(requests_per_minute=150, latency=LATENCY, seed=3),
}
LIMITS = ("requests_per_minute", "tokens_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")
SHORTEST, LONGEST = 40, 360
"""Characters of a row."""

_TEXT = 8 * (
    "a river is what the rain remembers of mountains and every town along its banks has written down the year when "
    "water came into kitchens carried away two bridges one mill some forty sheep whose owner asked for them by name "
)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's own count. `charged` requests came past its limits, whatever became of them."""

    received: int
    refused: int
    charged: int
    input_tokens: int


class _Cell(msgspec.Struct):
    """Of the simulator's counters, those that are read."""

    received: int
    statuses: dict[str, int]
    input_tokens: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `used` is the share of what the limits could have admitted; `refused` that of the requests; seconds."""

    rows: int
    lost: int
    used: float
    refused: float
    wall: float
    least: float
    cpu: float
    counted: dict[str, Counted]

    def misses(self) -> list[str]:
        """The goals that were missed."""
        missed = []
        if self.used < USED:
            missed.append(f"{self.used:.1%} of the joint quota used, goal {USED:.0%}")
        if self.refused >= REFUSED:
            missed.append(f"{self.refused:.2%} refused, goal {REFUSED:.1%}")
        if self.lost:
            missed.append(f"{self.lost} rows lost")
        return missed


def lockfile(simulator: Simulator) -> Lockfile:
    """One alias with the three behind it; what limits they have is written down."""
    urls = {
        "openai": simulator.openai_url("openai"),
        "anthropic": simulator.anthropic_url("anthropic"),
        "google": simulator.google_url("google"),
    }
    models = ", ".join(f'"{name}:{model}"' for name, model in MODELS.items())
    text = f'[[profiles.default.bindings]]\nalias = "pool"\nmodels = [{models}]\n'
    for name, config in CONFIGS.items():
        text += f'\n[providers.{name}]\nbase_url = "{urls[name]}"\napi_key_env = "{KEY_VARIABLE}"\n'
        text += "".join(f"{limit} = {amount}\n" for limit in LIMITS if (amount := getattr(config, limit)) is not None)
    return parse_lockfile(text, Path("bench.lock"))


def supply(name: str, input_tokens: float, outage: Incident) -> Supply:
    """A provider for the bound, where a row takes so many input tokens."""
    config = CONFIGS[name]
    limits: dict[Dimension, int | None] = {
        "requests": config.requests_per_minute,
        "tokens": config.tokens_per_minute,
        "input": config.input_tokens_per_minute,
    }
    about = Provider(
        name=name,
        limits={dimension: float(amount) for dimension, amount in limits.items() if amount is not None},
        incidents=(outage,) if name == FIRST else (),
    )
    return Supply(
        provider=about,
        charge={"requests": 1.0, "tokens": input_tokens, "input": input_tokens},
        least_latency=0.0,
    )


def prompt(number: int, chance: random.Random) -> str:
    begin = chance.randrange(len(_TEXT) - LONGEST)
    return f"row {number} {_TEXT[begin : begin + chance.randint(SHORTEST, LONGEST)]}"


async def offered(rows: int, supplies: Sequence[Supply], chance: random.Random) -> AsyncIterator[str]:
    """The rows as they are handed in: at any time four times what the limits can have admitted until then."""
    began = trio.current_time()
    handed_in = 0
    while handed_in < rows:
        seconds = trio.current_time() - began
        due = min(rows, math.ceil(OFFERED * sum(supply.rows(seconds) for supply in supplies)))
        for number in range(handed_in, due):
            yield prompt(number, chance)
        handed_in = max(handed_in, due)
        await trio.sleep(HAND_IN_SECONDS)


async def strike(simulator: Simulator, outage: Incident) -> None:
    """Let the first provider go down when it is time; it comes back by itself."""
    await trio.sleep(outage.at)
    fault = Fault(kind="status_503", until_seconds=outage.seconds)
    async with httpx2.AsyncClient() as client:
        command = msgspec.json.encode({"provider": FIRST, "fault": fault})
        (await client.post(f"{simulator.url}/__control", content=command)).raise_for_status()


async def counts(simulator: Simulator) -> dict[str, Counted]:
    async with httpx2.AsyncClient() as client:
        stats = (await client.get(f"{simulator.url}/__stats")).json()
    return {name: _counted(stats["providers"][name]["keys"], model) for name, model in MODELS.items()}


def _counted(keys: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]], model: str) -> Counted:
    (key,) = keys.values()
    cell = msgspec.convert(key["models"][model], _Cell)
    refused = cell.statuses.get("429", 0)
    return Counted(
        received=cell.received, refused=refused, charged=cell.received - refused, input_tokens=cell.input_tokens
    )


async def measure(minutes: float) -> Outcome:
    """Run it for about so many minutes."""
    chance = random.Random(11)
    seconds = 60.0 * minutes
    outage = Incident(kind="500", at=seconds / 2, seconds=min(LONGEST_OUTAGE_SECONDS, seconds / 10))
    tokens = sum(len(prompt(0, chance)) for _ in range(1000)) / 1000 / 4
    expected = [supply(name, tokens, outage) for name in CONFIGS]
    rows = int(sum(each.rows(seconds) for each in expected))
    answered: set[int] = set()
    async with open_simulator(SimConfig(providers=CONFIGS)) as simulator, trio.open_nursery() as nursery:
        async with open_router(lockfile(simulator), refresh=False, state=False, receipts=False) as router:
            cpu_before = time.process_time()
            nursery.start_soon(strike, simulator, outage)
            # All that was handed in may wait: a smaller window would hold it back at the door.
            async with router.map("pool", offered(rows, expected, chance), window=rows) as run:
                async for row in run:
                    if row.error is None:
                        answered.add(row.index)
            cpu = time.process_time() - cpu_before
        counted = await counts(simulator)
        nursery.cancel_scope.cancel()
    wall = run.report.wall_seconds
    taken = [supply(name, each.input_tokens / each.charged, outage) for name, each in counted.items()]
    received = sum(each.received for each in counted.values())
    return Outcome(
        rows=rows,
        lost=rows - len(answered),
        used=len(answered) / sum(each.rows(wall) for each in taken),
        refused=sum(each.refused for each in counted.values()) / received,
        wall=wall,
        least=least_seconds(rows, taken),
        cpu=cpu,
        counted=counted,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long the limits need for the rows (default 10)"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    options = parser.parse_args()
    os.environ[KEY_VARIABLE] = "bench"
    # That a provider keeps failing is no news here.
    logging.getLogger("llmring").addHandler(logging.NullHandler())
    print(headline("three providers at four times their limits, one of them down in the middle"))
    outcome = trio.run(measure, options.minutes)
    print(f"rows {outcome.rows:,}, lost {outcome.lost}   goal 0")
    print(f"joint quota used {outcome.used:.1%}   goal {USED:.0%}")
    print(f"429s {outcome.refused:.3%} of the requests   goal {REFUSED:.1%}")
    print(f"wall {outcome.wall:.1f} s, least possible {outcome.least:.1f} s")
    for name, each in outcome.counted.items():
        print(f"  {name:10} {each.received:,} requests, {each.refused} refused, {each.input_tokens:,} input tokens")
    print(f"CPU {1e6 * outcome.cpu / outcome.rows:.0f} us a row")
    if options.check and outcome.misses():
        sys.exit(f"a goal was missed: {'; '.join(outcome.misses())}")


if __name__ == "__main__":
    main()
