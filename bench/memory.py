"""What a map of a million rows keeps in memory: `python -m bench.memory [--rows 1000000] [--check]`.

Rows come from a generator and go through `router.map` to a provider inside the process, which answers at once. Three
runs, each in a process of its own: without a journal, with one, and that journal's run once more, all of whose rows are
answered already. Prints the most memory that was resident (VmHWM of the process, the interpreter and all modules in
it), and CPU a row. `--check` exits with 1 when a run needed more than 200 MB or lost a row.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import trio

from bench.codecs import openai_whole
from bench.machine import headline
from llmring import open_router
from llmring.codecs.codec import HttpCall
from llmring.lockfile import parse_lockfile

MOST_MEGABYTES = 200.0
MODEL = "openai:gpt-4o-mini"
BODY = msgspec.json.encode(
    openai_whole("The sky is blue because air scatters short waves of light more than long ones.")
)


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its process tells of it. `megabytes`: of 10^6 bytes, the most that were resident."""

    answered: int
    megabytes: float
    cpu_seconds: float


class Connection:
    """Answers every call with the same body. A map has as many of them as it has requests on the way."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        pass

    async def open(self, call: HttpCall) -> "Reply":
        await trio.lowlevel.checkpoint()
        return Reply()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Reply:
    def __init__(self) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._rest = BODY

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        part, self._rest = self._rest, b""
        return part

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def prompts(rows: int) -> Iterator[str]:
    """All different, as rows are: equal ones would share a digest in the journal."""
    return (f"Row {number}: why is the sky blue, and why is it red at the end of the day?" for number in range(rows))


def resident_megabytes() -> float:
    """The most that was resident. `ru_maxrss` is in kilobytes, and in bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status")
    if status.exists():
        # A child's ru_maxrss begins with what its parent had when it was started; VmHWM is of this program alone.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peak = int(line.split()[1])
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


async def run_map(rows: int, checkpoint: Path | None) -> Ran:
    """One map, in this process."""
    answered = 0
    began = time.process_time()
    lockfile = parse_lockfile("", Path("bench.lock"))
    async with (
        open_router(lockfile, connect=Connection, keys={"OPENAI_API_KEY": "k"}, refresh=False) as router,
        router.map(MODEL, prompts(rows), checkpoint=checkpoint) as run,
    ):
        async for row in run:
            answered += row.ok
    return Ran(
        answered=answered,
        megabytes=resident_megabytes(),
        cpu_seconds=time.process_time() - began,
    )


def in_a_process(rows: int, checkpoint: Path | None) -> Ran:
    """One map, in a process that does nothing else."""
    command = [sys.executable, "-m", "bench.memory", "--rows", str(rows), "--inside"]
    if checkpoint is not None:
        command += ["--checkpoint", str(checkpoint)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Ran)


def measure(rows: int) -> list[tuple[str, Ran]]:
    """The three runs, printed as they end."""
    print(headline(f"a map of {rows:,} rows"))
    found = []
    with tempfile.TemporaryDirectory(prefix="llmring-memory-") as folder:
        journal = Path(folder, "run.jsonl")
        runs = {"without a journal": None, "with a journal": journal, "the same once more": journal}
        for what, checkpoint in runs.items():
            ran = in_a_process(rows, checkpoint)
            found.append((what, ran))
            size = f", journal of {checkpoint.stat().st_size / 1e6:,.0f} MB" if checkpoint is not None else ""
            print(
                f"{what:20} {ran.megabytes:6.1f} MB   goal {MOST_MEGABYTES:g}   answered {ran.answered:,}, "
                f"{1e6 * ran.cpu_seconds / rows:.0f} us of CPU a row{size}",
                flush=True,
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of every run (default 1000000)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.stdout.buffer.write(msgspec.json.encode(trio.run(run_map, options.rows, options.checkpoint)))
        return
    found = measure(options.rows)
    missed = [what for what, ran in found if ran.megabytes > MOST_MEGABYTES or ran.answered != options.rows]
    if options.check and missed:
        sys.exit(f"a goal was missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
