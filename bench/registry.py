"""What the registry's data costs: `python -m bench.registry`.

The cold start of the bundled snapshot (a process of its own each time: CPU and wall time of reading the catalog, and
with the import of its modules), the memory that the catalog keeps (tracemalloc), `Catalog.get`, an alias's resolution
in the lockfile, and, where the registry's files lie beside the repository, the parse of the largest published list and
its reading from the cache on disk. At last the first request of a router whose registry accepts connections and never
answers, over the same without a registry. `--check` exits with 1 when a goal is missed by more than `--slack` times.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import trio

from bench.codecs import best
from bench.machine import headline
from llmring.lockfile import parse_lockfile
from llmring.refs import ModelRef
from llmring.registry.cache import Cache
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Lists, utc_now
from llmring.registry.published import parse_published
from llmring.registry.store import BUNDLED, read_bundled, read_snapshots
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, answer

READ_MILLISECONDS, RESIDENT_MEGABYTES, GET_MICROSECONDS = 10.0, 2.0, 1.0
RESOLVE_MICROSECONDS, DISK_MILLISECONDS, DELAY_RATIO = 2.0, 5.0, 1.5
PUBLISHED = Path(__file__).parents[2] / "shared" / "registry" / "openai" / "models.json"
ROUNDS = 15

COLD = """
import sys, time
import decimal, json, hashlib, msgspec, pathlib
import llmring.errors
began = time.perf_counter(), time.process_time()
from llmring.registry.store import read_bundled
loaded = time.perf_counter(), time.process_time()
read_bundled()
ended = time.perf_counter(), time.process_time()
print(*(1000 * (b - a) for a, b in zip(loaded, ended)), *(1000 * (b - a) for a, b in zip(began, ended)))
"""


def cold_milliseconds() -> tuple[float, ...]:
    """Medians: reading by the clock, reading in CPU; then both with the import of the registry's modules."""
    rounds = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, check=True, text=True)
        rounds.append([float(part) for part in done.stdout.split()])
    return tuple(statistics.median(column) for column in zip(*rounds, strict=True))


def resident_megabytes() -> float:
    """What a catalog keeps, without what was already loaded."""
    read_snapshots(BUNDLED)
    gc.collect()
    tracemalloc.start()
    catalog = read_snapshots(BUNDLED)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(catalog) > 0
    return kept / 1e6


def get_microseconds() -> float:
    catalog, ref = read_bundled(), ModelRef("anthropic", "claude-sonnet-4-5")
    return best(lambda: catalog.get(ref), 100_000) * 1e6


LOCKFILE = """
[[profiles.default.bindings]]
alias = "fast"
models = ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]
"""


def resolve_microseconds() -> float:
    lockfile = parse_lockfile(LOCKFILE, Path("llmring.lock"))
    return best(lambda: lockfile.binding("fast"), 100_000) * 1e6


def disk_milliseconds(data: bytes) -> float:
    """A list from the cache on disk into memory, whole: read, checked, parsed."""
    with tempfile.TemporaryDirectory() as directory:
        Cache(Path(directory)).write("openai", data, None, utc_now())

        def hit() -> None:
            assert Lists(read_bundled(), Cache(Path(directory)), None).load("openai") is not None

        return best(hit, 20) * 1e3


async def first_request_milliseconds(*, black_hole: bool) -> float:
    """The first request of a router whose provider answers at once while its registry hangs; the best of the rounds."""
    provider = ScriptedProvider({"gpt-4o-mini": [answer("ok")]})
    lockfile = parse_lockfile(LOCKFILE, Path("llmring.lock"))

    async def swallow(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    took = []
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, swallow, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        for _ in range(ROUNDS):
            async with open_router(lockfile, connect=provider, keys={"OPENAI_API_KEY": "k"}, refresh=False) as router:
                if black_hole:
                    lists = Lists(read_bundled(), Cache(None), fetch_from(url))
                    nursery.start_soon(partial(lists.current, "openai", force=True))
                await trio.sleep(0.05)
                began = time.perf_counter()
                await router.chat("fast", "hi")
                took.append(time.perf_counter() - began)
        nursery.cancel_scope.cancel()
    return min(took) * 1e3


def rows() -> Iterator[tuple[str, float, str, float | None]]:
    """What was measured, the number, its unit, and its goal."""
    read, read_cpu, loaded, loaded_cpu = cold_milliseconds()
    yield "read the bundled snapshot, cold", read, "ms", READ_MILLISECONDS
    yield "  in CPU", read_cpu, "ms", READ_MILLISECONDS
    yield "  with the import of its modules", loaded, "ms", None
    yield "  in CPU", loaded_cpu, "ms", None
    yield "a catalog keeps", resident_megabytes(), "MB", RESIDENT_MEGABYTES
    yield "Catalog.get", get_microseconds(), "us", GET_MICROSECONDS
    yield "an alias in the lockfile", resolve_microseconds(), "us", RESOLVE_MICROSECONDS
    if PUBLISHED.is_file():
        data = PUBLISHED.read_bytes()
        yield (
            f"parse a published list of {len(data):,} bytes",
            best(lambda: parse_published(data, ""), 20) * 1e3,
            "ms",
            None,
        )
        yield "  and read it from the cache on disk", disk_milliseconds(data), "ms", DISK_MILLISECONDS
    alone = trio.run(partial(first_request_milliseconds, black_hole=False))
    beside = trio.run(partial(first_request_milliseconds, black_hole=True))
    yield "first request, no registry", alone, "ms", None
    yield "first request, a registry that never answers", beside, "ms", None
    yield "  the one over the other", beside / alone, "times", DELAY_RATIO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times a goal may be missed by")
    options = parser.parse_args()
    print(headline("Registry data, median of 15 starts, best of 7"))
    missed = []
    for what, number, unit, goal in rows():
        print(f"{what:46}{number:9.2f} {unit}" + (f"   goal {goal:g}" if goal is not None else ""))
        if goal is not None and number > goal * options.slack:
            missed.append(what.strip())
    if options.check and missed:
        sys.exit(f"a goal was missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
