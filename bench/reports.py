"""What reports over a ledger cost: `python -m bench.reports [--entries 1000000] [--check]`.

`llmring stats`, with its page and without, and `llmring export`, each as a process of its own over a ledger of
`--entries` receipts of 90 days, five aliases and eight models, which is made before: seconds by the clock and of CPU,
and the most that was resident. Beside them what only reading the rows takes, and a stats over a ledger of a tenth of
the size, for memory must not grow with it.
`--check` exits with 1 when a goal is missed by more than `--slack` times.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec

from bench.machine import headline
from llmring.chat import Completion
from llmring.config import LedgerPlace
from llmring.pricing import Prices
from llmring.receipts.building import Attempted, Facts
from llmring.receipts.opening import writer_for
from llmring.receipts.sqlite_store import open_store
from llmring.refs import ModelRef
from llmring.usage import Usage

STATS_SECONDS_A_MILLION, RESIDENT_MB = 30.0, 100.0
"""Of CPU, and at the most."""
DAYS, GROUP = 90, 5000
FACTS = Facts(version=7, digest="0" * 16, prices=Prices(input=Decimal("0.15"), output=Decimal("0.60")), known=True)


class Ran(msgspec.Struct, frozen=True):
    """How a process went: by the clock, CPU, and the most that was resident."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def attempts(count: int) -> Iterator[Attempted]:
    """In a fixed order; of 50 calls one fails over."""
    began, step = datetime(2026, 8, 1, tzinfo=UTC), timedelta(days=DAYS) / count
    for number in range(count):
        retries = number % 51 == 1
        fails = number % 51 == 0
        yield Attempted(
            kind="chat",
            ended_at=began + number * step,
            call=f"0123456789abcdef-{number - int(retries)}",
            attempt=1 + int(retries),
            alias=f"alias-{number % 5}",
            profile="default",
            tenant=f"tenant-{number % 97}",
            model=ModelRef("openai", f"model-{number % 8}"),
            outcome="ServerFault" if fails else "answered",
            asked=("a text",),
            answered=None if fails else Completion(content="an answer", finish_reason="stop"),
            usage=None if fails else Usage(input_tokens=number % 4001, output_tokens=number % 701),
            request_id=f"req_{number:032x}",
            took_seconds=0.2 + number % 9973 / 1000,
            lock=lambda: "0" * 64,
            facts=lambda: FACTS,
        )


def make(directory: Path, count: int) -> Path:
    path = directory / f"{count}.db"
    with closing(writer_for(LedgerPlace(where=path, key=directory / "signing.key"), None)) as writer:
        waiting: list[Attempted] = []
        for one in attempts(count):
            waiting.append(one)
            if len(waiting) == GROUP:
                writer.take(waiting)
                assert writer.flush(), "the disk takes it"
                waiting = []
        writer.take(waiting)
        assert writer.flush(), "the disk takes it"
    return path


LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen([sys.executable, "-m", "llmring", *sys.argv[1:]], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(status, time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
"""Small, for what was resident in a process when it forked counts as its child's."""


def ran(*arguments: str) -> Ran:
    """Of one command, to its end."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *arguments], capture_output=True, check=True, text=True)
    status, *numbers = done.stdout.split()
    assert status == "0", f"llmring {arguments[0]} ended well: {done.stderr}"
    return Ran(*map(float, numbers))


def reading_seconds(path: Path) -> float:
    with closing(open_store(path, must_exist=True)) as store:
        began = time.perf_counter()
        for _ in store.rows():
            pass
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="receipts in the ledger")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times a goal may be missed by")
    options = parser.parse_args()
    print(headline(f"Reports over {options.entries:,} receipts"))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        ledger, small = str(make(place, options.entries)), str(make(place, options.entries // 10))
        print(f"{'only reading the rows':42}{reading_seconds(Path(ledger)):8.1f} s")
        told = {
            "stats": ran("stats", "--ledger", ledger, "--json"),
            "stats, a tenth of the receipts": ran("stats", "--ledger", small, "--json"),
            "stats with a page": ran("stats", "--ledger", ledger, "-o", str(place / "page.html")),
            "stats of the last day": ran("stats", "--ledger", ledger, "--since", "2026-10-29"),
            "export to CSV": ran("export", "--ledger", ledger, "-o", str(place / "all.csv")),
        }
        for what, one in told.items():
            print(f"{what:42}{one.seconds:8.1f} s {one.cpu_seconds:8.1f} s of CPU {one.megabytes:8.0f} MB")
    stats = told["stats"]
    slow = stats.cpu_seconds > STATS_SECONDS_A_MILLION * options.entries / 1e6 * options.slack
    if options.check and (slow or stats.megabytes > RESIDENT_MB * options.slack):
        sys.exit("a goal was missed")


if __name__ == "__main__":
    main()
