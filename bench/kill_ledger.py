"""A router that is killed again and again, with -9, under load: `python -m bench.kill_ledger [--rounds 100] [--store
sqlite|postgresql] [--check]`.

A process of its own asks the simulator over real sockets, with 16 calls at a time, and notes every answer in a file at
once: when it came, and the provider's id of it, which the receipt holds too. It is killed at a random moment, and
started again on the same ledger. After every kill the whole ledger is audited, and every answer that was older than a
second must have its receipt, once. Younger ones may be lost with the process; the oldest of those is told. `--check`
exits with 1 when an older one was lost, one has two receipts, or an audit found anything.

PostgreSQL is a server of its own (bench.postgresql), which commits to disk.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import trio

from bench.machine import headline
from bench.postgresql import open_server
from llmring import open_router
from llmring.config import LedgerPlace
from llmring.errors import LLMRingError
from llmring.ledger_url import LedgerUrl
from llmring.lockfile import parse_lockfile
from llmring.receipts.auditing import audit_ledger
from llmring.receipts.opening import open_store
from llmring.receipts.receipt import Receipt, read
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.latency import Fixed
from llmring.sim.process import Simulator, open_simulator

CALLS_AT_ONCE = 16
LATENCY_SECONDS = 0.05
PROMISED_SECONDS = 1.0
LONGEST_SECONDS = 3.0
EARLY_SHARE, EARLY_SECONDS = 0.15, 1.5
"""Of the kills, those whose moment counts from the start of the process; the others count from its first answer."""

STORES = ("sqlite", "postgresql")
KEY_VARIABLE = "LLMRING_BENCH_KEY"
_LOCKFILE = """
[providers.openai]
base_url = "{url}"
api_key_env = "{variable}"
max_in_flight = {calls}
"""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """A process from its start to its kill. `old` answers were older than was promised; of these `lost` have no
    receipt; `oldest_lost_seconds` is the age of the oldest answer of all that has none, 0 where all have one."""

    answers: int
    old: int
    lost: int
    oldest_lost_seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`receipts` are those of the ledger in the end, `repeated` those of one answer beside its first."""

    rounds: list[Round]
    receipts: int
    repeated: int
    findings: list[str]

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.rounds)

    def misses(self) -> list[str]:
        """What was not as it should be."""
        missed = list(self.findings)
        if self.lost:
            missed.append(f"{self.lost} answers older than {PROMISED_SECONDS:g} s have no receipt")
        if self.repeated:
            missed.append(f"{self.repeated} receipts of answers that have one")
        if not sum(one.old for one in self.rounds):
            missed.append("no answer was old enough to tell: take more rounds")
        return missed


async def call(url: str, notes: Path) -> None:
    """What the process does that is killed."""
    lockfile = parse_lockfile(_LOCKFILE.format(url=url, variable=KEY_VARIABLE, calls=CALLS_AT_ONCE), Path("bench.lock"))
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with open_router(lockfile, refresh=False, state=False) as router, trio.open_nursery() as nursery:

        async def ask() -> None:
            while True:
                answer = await router.chat("openai:gpt-4o-mini", "what is asked again and again", max_tokens=8)
                os.write(file, f"{time.monotonic()!r} {answer.request_id}\n".encode())

        for _ in range(CALLS_AT_ONCE):
            nursery.start_soon(ask)


class Harness:
    """A ledger, and the processes that write it one after the other."""

    def __init__(self, place: LedgerPlace, directory: Path, simulator: Simulator) -> None:
        self._place = place
        self._directory = directory
        self._simulator = simulator
        self._kept: Counter[str] = Counter()
        self._size = 0
        self.findings: list[str] = []

    @property
    def receipts(self) -> int:
        return self._kept.total()

    @property
    def repeated(self) -> int:
        return self._kept.total() - len(self._kept)

    def round(self, number: int, seconds: float, *, is_early: bool) -> Round:
        """Blocks. `seconds` after its start, or its first answer, the process is killed."""
        notes = self._directory / f"answers-{number}"
        notes.touch()
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.kill_ledger", "--call", self._simulator.openai_url("openai"), str(notes)],
            env=self._variables(),
        )
        began = time.monotonic()
        while not is_early and notes.stat().st_size == 0 and process.poll() is None and time.monotonic() < began + 60.0:
            time.sleep(0.005)
        time.sleep(seconds)
        killed_at = time.monotonic()
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise SystemExit(f"the process ended by itself, with exit code {process.returncode}")
        return self._judged(notes, killed_at)

    def _judged(self, notes: Path, killed_at: float) -> Round:
        self._look()
        *lines, _torn = notes.read_text().split("\n")
        answers = {name: killed_at - float(at) for at, name in map(str.split, lines)}
        lost = [age for name, age in answers.items() if name not in self._kept]
        return Round(
            answers=len(answers),
            old=sum(age > PROMISED_SECONDS for age in answers.values()),
            lost=sum(age > PROMISED_SECONDS for age in lost),
            oldest_lost_seconds=max(lost, default=0.0),
        )

    def _look(self) -> None:
        """Audit the ledger, and read what is new in it."""
        try:
            store = open_store(self._place, must_exist=True)
        except LLMRingError:
            # Killed before it made one; what has been there before is missed.
            if self._size:
                raise
            return
        with closing(store):
            self.findings += map(str, audit_ledger(store).findings)
            before, self._size = self._size, store.head().size
            entries = [
                read(held.signed.payload_type, held.signed.payload) for held in store.held(before, self._size - 1)
            ]
        self._kept.update(one.provider_request_id or "" for one in entries if isinstance(one, Receipt))

    def _variables(self) -> dict[str, str]:
        """A clean environment: no key and no setting of whoever measures."""
        where = self._place.where
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "XDG_DATA_HOME": str(self._directory),
            "LLMRING_RECEIPTS": where.reveal() if isinstance(where, LedgerUrl) else str(where),
            KEY_VARIABLE: "bench",
        }


@contextmanager
def new_place(store: str, directory: Path) -> Iterator[LedgerPlace]:
    """Where there is no ledger yet, in the store of that name."""
    if store == "sqlite":
        yield LedgerPlace(where=directory / "ledger.db", key=directory / "signing.key")
        return
    with open_server() as server:
        yield LedgerPlace(where=LedgerUrl(server.new_database()), key=directory / "llmring" / "signing.key")


def moments(rounds: int, seed: int) -> Iterator[tuple[float, bool]]:
    chance = random.Random(seed)
    for _ in range(rounds):
        is_early = chance.random() < EARLY_SHARE
        yield chance.uniform(0.0, EARLY_SECONDS if is_early else LONGEST_SECONDS), is_early


async def measure(place: LedgerPlace, directory: Path, rounds: int, seed: int) -> Outcome:
    """Kill it so often."""
    done: list[Round] = []
    config = SimConfig(providers={"openai": ProviderConfig(latency=Fixed(seconds=LATENCY_SECONDS))})
    async with open_simulator(config) as simulator:
        harness = Harness(place, directory, simulator)
        for number, (seconds, is_early) in enumerate(moments(rounds, seed), 1):
            one = await trio.to_thread.run_sync(lambda: harness.round(number, seconds, is_early=is_early))  # noqa: B023
            done.append(one)
            since = "its start" if is_early else "its first answer"
            print(
                f"{number:3}  killed {seconds:.2f} s after {since:17} answers {one.answers:5,}  older than a second "
                f"{one.old:5,}  of these lost {one.lost}  oldest lost {one.oldest_lost_seconds:.2f} s",
                flush=True,
            )
    return Outcome(rounds=done, receipts=harness.receipts, repeated=harness.repeated, findings=harness.findings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="how often it is killed (default 100)")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="where the ledger is (default sqlite)")
    parser.add_argument("--seed", type=int, default=5, help="of the moments (default 5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when anything was lost that was promised")
    parser.add_argument("--call", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call is not None:
        trio.run(call, options.call[0], Path(options.call[1]))
        return
    print(headline(f"a router with a ledger in {options.store}, killed {options.rounds} times, seed {options.seed}"))
    with tempfile.TemporaryDirectory(prefix="llmring-kill-") as folder, new_place(options.store, Path(folder)) as place:
        outcome = trio.run(measure, place, Path(folder), options.rounds, options.seed)
    answers, old = (sum(getattr(one, name) for one in outcome.rounds) for name in ("answers", "old"))
    print(f"answers {answers:,}, older than {PROMISED_SECONDS:g} s when killed: {old:,}")
    print(f"of these without a receipt: {outcome.lost}   goal 0")
    print(f"oldest answer without one: {max(one.oldest_lost_seconds for one in outcome.rounds):.2f} s")
    print(f"receipts {outcome.receipts:,}, of an answer that had one: {outcome.repeated}   goal 0")
    print(f"audits {len(outcome.rounds)}, findings {len(outcome.findings)}   goal 0")
    if options.check and outcome.misses():
        sys.exit(f"missed: {'; '.join(outcome.misses())}")


if __name__ == "__main__":
    main()
