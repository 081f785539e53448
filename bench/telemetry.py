"""What telemetry costs a routed call: `python -m bench.telemetry [--check]`.

CPU of `router.chat` with a scripted provider, on a loop without sockets: with no telemetry at all (its calls replaced
by nothing), with OpenTelemetry's API alone as it comes, and with its SDK, spans and metrics kept in memory. The three
take turns in one process, because a shared machine drifts; best of several rounds. `--check` exits with 1 when the API
alone costs more than `--most` microseconds a call, counted in bare trio checkpoints where the machine is slower.
"""

import argparse
import gc
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bench.machine import headline
from llmring.lockfile import parse_lockfile
from llmring.registry.catalog import Catalog
from llmring.registry.store import read_bundled
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.telemetry.telemetry import Telemetry
from llmring.testing import ScriptedProvider, answer

ROUNDS = 60
CALLS = 100
CHECKPOINTS = 5_000
MOST_US = 15.0
"""What the API alone may cost a call, in microseconds, on a machine whose checkpoint takes `CHECKPOINT_US`."""
CHECKPOINT_US = 4.0

LOCKFILE = '[[profiles.default.bindings]]\nalias = "a"\nmodels = ["openai:gpt-4o-mini"]\n'


class Nothing:
    """Stands where telemetry, a call and an attempt do, and does nothing: the bottom line."""

    is_recording = False

    def take(self, *_args: object) -> "Nothing":
        return self

    call = attempt = current = watching = take
    follow = waits = goes = answered = failed = end = take

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def with_sdk() -> tuple[Telemetry, InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    return Telemetry(tracers, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)), spans


@asynccontextmanager
async def opened(telemetry: Any, catalog: Catalog) -> AsyncGenerator[Router]:
    provider = ScriptedProvider({"gpt-4o-mini": [answer()]})
    lockfile = parse_lockfile(LOCKFILE, Path("bench.lock"))
    keys = {"OPENAI_API_KEY": "k"}
    async with open_router(lockfile, connect=provider, keys=keys, catalog=catalog, telemetry=telemetry) as router:
        # What it writes down would grow from round to round.
        yield router
        provider.calls.clear()


async def cpu_us(router: Router) -> float:
    """Of one call."""
    began = time.process_time()
    for _ in range(CALLS):
        await router.chat("a", "hello")
    return 1e6 * (time.process_time() - began) / CALLS


async def checkpoint_us() -> float:
    began = time.process_time()
    for _ in range(CHECKPOINTS):
        await trio.lowlevel.checkpoint()
    return 1e6 * (time.process_time() - began) / CHECKPOINTS


async def measure() -> Iterator[tuple[str, float]]:
    catalog = read_bundled()
    sdk, spans = with_sdk()
    kinds: dict[str, Any] = {"nothing": Nothing(), "API alone": Telemetry(), "SDK in memory": sdk}
    best = dict.fromkeys([*kinds, "checkpoint"], float("inf"))
    async with AsyncExitStack() as stack:
        routers = {name: await stack.enter_async_context(opened(one, catalog)) for name, one in kinds.items()}
        for _ in range(ROUNDS):
            gc.collect()
            for name, router in routers.items():
                best[name] = min(best[name], await cpu_us(router))
            best["checkpoint"] = min(best["checkpoint"], await checkpoint_us())
            spans.clear()
    return iter(best.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--most", type=float, default=MOST_US, help="microseconds that the API alone may cost a call")
    options = parser.parse_args()
    found = dict(trio.run(measure))
    bare, checkpoint = found["nothing"], found.pop("checkpoint")
    print(headline("CPU of a routed call, best of 60 rounds"))
    for name, cost in found.items():
        print(f"{name:14} {cost:8.1f} us   + {cost - bare:6.1f} us   {cost / bare:6.3f} times")
    print(f"{'checkpoint':14} {checkpoint:8.1f} us")
    slower = max(1.0, checkpoint / CHECKPOINT_US)
    return int(options.check and found["API alone"] - bare > options.most * slower)


if __name__ == "__main__":
    sys.exit(main())
