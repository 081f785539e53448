"""What receipts cost: `python -m bench.receipts [--entries 1000000] [--check]`.

On the requests' path, making an attempt's record and leaving it to the ledger; in the ledger's thread, signing a
receipt (its bytes, the chain, the signature, the tree) and all that is done for it, from the attempt to the row on
disk; at last an audit of a ledger of `--entries` receipts (1.6 GB a million, in the directory for temporary files), by
one process and by two: by the clock, for a machine that does nothing else, and in CPU. The others are CPU.
`--check` exits with 1 when a goal is missed by more than `--slack` times.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import msgspec

from bench.machine import headline
from llmring.chat import ChatRequest, Completion, Message
from llmring.config import LedgerPlace
from llmring.pricing import Prices
from llmring.receipts.auditing import audit_ledger
from llmring.receipts.building import RANDOM_BYTES, Attempted, Facts, draft
from llmring.receipts.ledger import MOST_WAITING, Ledger
from llmring.receipts.merkle import Frontier, leaf_hash
from llmring.receipts.opening import writer_for
from llmring.receipts.receipt import RECEIPT, Receipt, payload
from llmring.receipts.signing import PrivateKey, sign
from llmring.receipts.sqlite_store import SqliteStore, open_store
from llmring.receipts.store import Addition, End, Key, Row
from llmring.refs import ModelRef
from llmring.usage import Usage

POST_MICROSECONDS, SIGN_MICROSECONDS, AUDIT_SECONDS_A_MILLION = 10.0, 60.0, 60.0
ROUNDS = 5
SIGNED = 2000
GROUP = 2000
PROCESSES = 2

FACTS = Facts(version=7, digest="0" * 16, prices=Prices(input=Decimal("0.15"), output=Decimal("0.60")), known=True)
ATTEMPT = Attempted(
    kind="chat",
    ended_at=datetime(2026, 8, 1, tzinfo=UTC),
    call="0123456789abcdef-17",
    attempt=1,
    alias="summarizer",
    profile="default",
    model=ModelRef("openai", "gpt-4o-mini"),
    outcome="answered",
    asked=ChatRequest(model="summarizer", messages=(Message(role="user", content="word " * 200),), max_tokens=200),
    answered=Completion(content="word " * 100, finish_reason="stop", served_model="gpt-4o-mini-2024-07-18"),
    usage=Usage(input_tokens=210, output_tokens=105),
    request_id="req_0123456789abcdef",
    took_seconds=0.8,
    lock=lambda: "0" * 64,
    facts=lambda: FACTS,
)


def post_microseconds() -> float:
    rounds = []
    for _ in range(ROUNDS):
        ledger = Ledger(writer_for(LedgerPlace(where=Path("ledger.db"), key=None), None))
        began = time.process_time()
        for _ in range(MOST_WAITING):
            ledger.post(msgspec.structs.replace(ATTEMPT, ended_at=datetime.now(UTC)))
        rounds.append((time.process_time() - began) / MOST_WAITING)
    return min(rounds) * 1e6


def chained(key: PrivateKey, receipt: Receipt, count: int, ledger: str) -> Iterator[Row]:
    """`count` receipts as a ledger signs them."""
    tree, last = Frontier(), None
    for number in range(count):
        placed = msgspec.structs.replace(
            receipt,
            receipt_id=f"rcpt_{number:032x}",
            ledger=ledger,
            sequence=number,
            previous=last.hex() if last is not None else None,
            key_id=key.key_id,
        )
        signed = sign(key, RECEIPT, payload(placed))
        last = leaf_hash(signed.payload)
        tree.append(last)
        yield Row(number, signed, placed.receipt_id, placed.timestamp, last, None)


def sign_microseconds(key: PrivateKey, receipt: Receipt) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in chained(key, receipt, SIGNED, "0" * 32):
            pass
        rounds.append((time.process_time() - began) / SIGNED)
    return min(rounds) * 1e6


def whole_microseconds() -> float:
    """From attempts to rows on disk."""
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        writer = writer_for(LedgerPlace(where=Path(directory) / "ledger.db", key=Path(directory) / "signing.key"), None)
        writer.open()
        for _ in range(ROUNDS):
            began = time.process_time()
            writer.take([ATTEMPT] * SIGNED)
            assert writer.flush(), "the disk takes it"
            rounds.append((time.process_time() - began) / SIGNED)
        writer.close()
    return min(rounds) * 1e6


@contextmanager
def ledger_of(key: PrivateKey, receipt: Receipt, count: int) -> Iterator[SqliteStore]:
    """A ledger of `count` receipts, on disk."""
    with tempfile.TemporaryDirectory() as directory, closing(open_store(Path(directory) / "ledger.db")) as store:
        source, tree = chained(key, receipt, count, store.head().ledger), Frontier()

        def add(end: End) -> Addition:
            rows = list(islice(source, GROUP))
            for row in rows:
                tree.append(row.hash)
            keys = [Key(key.key_id, key.public.raw, 0)] if end.head.size == 0 else []
            after = msgspec.structs.replace(
                end.head, size=tree.size, last=rows[-1].hash, frontier=tree.encode(), key_id=key.key_id
            )
            return Addition(rows=rows, head=after, keys=keys)

        while store.head().size < count:
            store.append(add)
        yield store


def audit_seconds(store: SqliteStore, count: int, processes: int) -> tuple[float, float]:
    """Of a ledger of `count` receipts: by the clock, and in CPU of all processes."""
    began, used = time.perf_counter(), _cpu()
    judged = audit_ledger(store, processes=processes)
    took, cpu = time.perf_counter() - began, _cpu() - used
    assert judged.entries == count and not judged.findings, judged.findings[:3]
    return took, cpu


def _cpu() -> float:
    """Of this process and of those that it has ended."""
    return sum(os.times()[:4])


def rows(count: int) -> Iterator[tuple[str, float, str, float | None]]:
    """What was measured, the number, its unit, and its goal."""
    key, receipt = PrivateKey.generate(), draft(ATTEMPT, bytes(RANDOM_BYTES)).receipt
    yield "leave an attempt to the ledger", post_microseconds(), "us", POST_MICROSECONDS
    yield "sign a receipt into the chain", sign_microseconds(key, receipt), "us", SIGN_MICROSECONDS
    yield "  from the attempt to the disk, all in all", whole_microseconds(), "us", None
    with ledger_of(key, receipt, count) as store:
        alone, alone_cpu = audit_seconds(store, count, 1)
        took, cpu = audit_seconds(store, count, PROCESSES)
    yield f"audit {count:,} receipts, {PROCESSES} processes", took, "s", AUDIT_SECONDS_A_MILLION * count / 1e6
    yield "  in CPU of all, each", cpu / count * 1e6, "us", None
    yield "  one process", alone, "s", None
    yield "  in CPU, each", alone_cpu / count * 1e6, "us", None
    yield "  times as long as with several", alone / took, "", None
    yield "memory, at the most", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", None
    yield "  of a process that checks", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, "MB", None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="receipts to audit")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="how many times a goal may be missed by")
    options = parser.parse_args()
    print(headline("Receipts, best of 5"))
    missed = []
    for what, number, unit, goal in rows(options.entries):
        print(f"{what:46}{number:9.2f} {unit}" + (f"   goal {goal:g}" if goal is not None else ""), flush=True)
        if goal is not None and number > goal * options.slack:
            missed.append(what.strip())
    if options.check and missed:
        sys.exit(f"a goal was missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
