"""A map that is killed again and again, with -9: `python -m bench.kill [--rows 20000] [--kills 20] [--check]`.

`llmring map --checkpoint` over real sockets, killed at random moments (`--seed`) and started again with the same
command; then the same rows once more, undisturbed and without a journal, for the output to compare. The simulator
counts the requests. Between it and the map stands a relay that notes which row every request is of, so that what was
asked again is known row by row: a row whose line was in the journal when a process died must not be among them. One
that was answered, or on its way, but not yet written is paid twice by nature: at most the connections at every kill.
`--check` exits with 1 when a row was lost, asked again though it was written, or is other than in the undisturbed run.
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import httpx2
import msgspec
import trio

from bench.machine import headline
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.latency import Fixed
from llmring.sim.process import Simulator, open_simulator

CONNECTIONS = 64
LATENCY_SECONDS = 0.2
EARLY_SHARE, EARLY_SECONDS = 0.2, 2.0
"""Of the kills, those whose moment counts from the start of the process, which loads its modules and reads the journal
for most of the time; the others count from its first request."""

LOCKFILE = """
[[profiles.default.bindings]]
alias = "steady"
models = ["steady:m"]

[providers.steady]
kind = "openai"
base_url = "{url}/steady/v1"
api_key_env = "LLMRING_BENCH_KEY"
max_in_flight = {connections}
"""
_ROW = re.compile(rb"<row (\d+)>")
_LONGEST_ROW = 32


class Relay:
    """Passes bytes on, and counts the requests of every row since `forget`; `first` comes with the first of them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: Counter[int] = Counter()
        self.first = trio.Event()

    def forget(self) -> None:
        self.asked.clear()
        self.first = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        try:
            async with (
                client,
                await trio.open_tcp_stream("127.0.0.1", self._port) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._answers, server, client)
                await self._requests(client, server)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            # A process that was killed.
            pass

    async def _requests(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        tail = b""
        while part := await client.receive_some():
            tail += part
            end = 0
            for found in _ROW.finditer(tail):
                self.asked[int(found[1])] += 1
                self.first.set()
                end = found.end()
            tail = tail[max(end, len(tail) - _LONGEST_ROW) :]
            await server.send_all(part)

    async def _answers(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        while part := await server.receive_some():
            await client.send_all(part)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When a process is killed: so many seconds after its start, or after its first request."""

    seconds: float
    is_early: bool


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One process; `killed` is None for one that ended by itself. `written` and `asked` are its own lines of the
    journal and requests; `again` of them were for rows whose line an earlier process had written."""

    killed: Moment | None
    written: int
    asked: int
    again: int


def journal_rows(path: Path) -> set[int]:
    """The rows that were answered by whole lines of the journal."""
    if not path.exists():
        return set()
    *lines, _torn = path.read_bytes().split(b"\n")
    return {line["row"] for line in map(json.loads, lines[1:]) if "response" in line}


class Project:
    """A directory with a lockfile and rows, in which the command line is run."""

    def __init__(self, directory: Path, rows: int) -> None:
        self.directory = directory
        self.journal = directory / "run.jsonl"
        (directory / "in.jsonl").write_text("".join(f'"<row {number}> and what it asks"\n' for number in range(rows)))

    def lead_to(self, url: str) -> None:
        (self.directory / "llmring.lock").write_text(LOCKFILE.format(url=url, connections=CONNECTIONS))

    def command(self, output: str, *more: str) -> list[str]:
        arguments = ["map", "steady", "in.jsonl", "--ordered", "--quiet", "-o", output, *more]
        return [sys.executable, "-m", "llmring", *arguments]

    async def start(self, command: list[str]) -> trio.Process:
        """With a clean environment: no key and no setting of whoever measures."""
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "LLMRING_BENCH_KEY": "bench",
            "LLMRING_REGISTRY_REFRESH": "off",
            "LLMRING_STATUS": "off",
        }
        return await trio.lowlevel.open_process(command, cwd=self.directory, env=variables)

    async def run_to_the_end(self, command: list[str]) -> None:
        process = await self.start(command)
        code = await process.wait()
        if code != 0:
            raise SystemExit(f"{' '.join(command)}: exit code {code}")

    def answers(self, output: str) -> list[bytes]:
        return (self.directory / output).read_bytes().splitlines()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`requests` is the simulator's count, the undisturbed run's not among them; `lost` rows have no answer."""

    rows: int
    wanted_kills: int
    runs: list[Run]
    requests: int
    lost: int
    is_identical: bool

    @property
    def kills(self) -> list[Run]:
        return [run for run in self.runs if run.killed is not None]

    def misses(self) -> list[str]:
        """What was not as it should be."""
        missed = []
        if len(self.kills) < self.wanted_kills:
            missed.append(f"ended after {len(self.kills)} kills: take more rows")
        if self.lost:
            missed.append(f"{self.lost} rows lost")
        if not self.is_identical:
            missed.append("the output is not that of an undisturbed run")
        if any(run.again for run in self.runs):
            missed.append(f"{sum(run.again for run in self.runs)} rows asked again that were in the journal")
        if any(run.asked - run.written > CONNECTIONS for run in self.runs):
            missed.append("more rows asked and not written than there are connections")
        if self.requests - self.rows > sum(run.asked - run.written for run in self.runs):
            missed.append("more requests than rows that were on their way when a process was killed")
        return missed


async def received(simulator: Simulator) -> int:
    """Requests, by the simulator's own count; once none is on its way any more."""
    async with httpx2.AsyncClient() as client:
        while True:
            providers = (await client.get(f"{simulator.url}/__stats")).json()["providers"]
            cells = [model for key in providers["steady"]["keys"].values() for model in key["models"].values()]
            if not any(cell["in_flight"] for cell in cells):
                return sum(cell["received"] for cell in cells)
            await trio.sleep(0.05)


async def kill(process: trio.Process, moment: Moment, relay: Relay) -> None:
    if not moment.is_early:
        await relay.first.wait()
    await trio.sleep(moment.seconds)
    process.send_signal(signal.SIGKILL)


async def one_run(project: Project, relay: Relay, moment: Moment | None) -> Run:
    """A process from its start to its end, or to its kill; told as killed only if it was still running."""
    before = await trio.to_thread.run_sync(journal_rows, project.journal)
    relay.forget()
    process = await project.start(project.command("out.jsonl", "--checkpoint", "run.jsonl"))
    async with trio.open_nursery() as nursery:
        if moment is not None:
            nursery.start_soon(kill, process, moment, relay)
        code = await process.wait()
        nursery.cancel_scope.cancel()
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"the map ended with exit code {code}")
    written = await trio.to_thread.run_sync(journal_rows, project.journal)
    return Run(
        killed=moment if code else None,
        written=len(written - before),
        asked=relay.asked.total(),
        again=sum(relay.asked[row] for row in before),
    )


def moments(rows: int, kills: int, seed: int) -> list[Moment | None]:
    """When the processes are killed, so that about two thirds of the rows are done at the last kill; then None."""
    chance = random.Random(seed)
    longest = 1.5 * rows * LATENCY_SECONDS / CONNECTIONS / kills
    drawn: list[Moment | None] = []
    for _ in range(kills):
        is_early = chance.random() < EARLY_SHARE
        seconds = chance.uniform(0.0, EARLY_SECONDS if is_early else longest)
        drawn.append(Moment(seconds=seconds, is_early=is_early))
    return [*drawn, None]


async def measure(directory: Path, rows: int, kills: int, seed: int) -> Outcome:
    """Kill it so often, let it end, and compare."""
    project = Project(directory, rows)
    runs: list[Run] = []
    config = SimConfig(providers={"steady": ProviderConfig(latency=Fixed(seconds=LATENCY_SECONDS))})
    async with open_simulator(config) as simulator, trio.open_nursery() as nursery:
        relay = Relay(int(simulator.url.rpartition(":")[2]))
        listeners = await nursery.start(partial(trio.serve_tcp, relay.serve, 0, host="127.0.0.1"))
        project.lead_to(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        for moment in moments(rows, kills, seed):
            runs.append(await one_run(project, relay, moment))
            print(told(len(runs), runs[-1]), flush=True)
            if runs[-1].killed is None:
                break
        requests = await received(simulator)
        project.lead_to(simulator.url)
        await project.run_to_the_end(project.command("undisturbed.jsonl"))
        nursery.cancel_scope.cancel()
    answers = project.answers("out.jsonl")
    answered = {answer["row"] for answer in map(json.loads, answers) if "content" in answer}
    return Outcome(
        rows=rows,
        wanted_kills=kills,
        runs=runs,
        requests=requests,
        lost=rows - len(answered),
        is_identical=answers == project.answers("undisturbed.jsonl"),
    )


def told(number: int, run: Run) -> str:
    """A process in one line."""
    end = "ran to its end"
    if run.killed is not None:
        end = f"killed {run.killed.seconds:.2f} s after its {'start' if run.killed.is_early else 'first request'}"
    return (
        f"{number:3}  {end:38}  asked {run.asked:6,}  written {run.written:6,}  "
        f"not yet written {run.asked - run.written:3}  written before and asked again {run.again}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the map (default 20000)")
    parser.add_argument("--kills", type=int, default=20, help="how often it is killed (default 20)")
    parser.add_argument("--seed", type=int, default=5, help="of the moments (default 5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a row was lost or paid for in vain")
    options = parser.parse_args()
    print(headline(f"a map of {options.rows:,} rows killed {options.kills} times, seed {options.seed}"))
    with tempfile.TemporaryDirectory(prefix="llmring-kill-") as folder:
        outcome = trio.run(measure, Path(folder), options.rows, options.kills, options.seed)
    unwritten = sum(run.asked - run.written for run in outcome.runs)
    print(f"rows {outcome.rows:,}, lost {outcome.lost}; killed {len(outcome.kills)} times")
    print(f"requests {outcome.requests:,}: {outcome.requests - outcome.rows} beyond one a row")
    print(f"on the way or not yet written when a process was killed: {unwritten}, at most {CONNECTIONS} at a time")
    print(f"written, and asked again: {sum(run.again for run in outcome.runs)}   goal 0")
    print(f"output identical to that of an undisturbed run: {'yes' if outcome.is_identical else 'no'}")
    if options.check and outcome.misses():
        sys.exit(f"missed: {'; '.join(outcome.misses())}")


if __name__ == "__main__":
    main()
