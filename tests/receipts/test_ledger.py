"""The ledger under real conditions, in every store: several writers, kills, hand-overs, what cannot be kept."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio

from llmring.chat import Completion
from llmring.config import LedgerPlace
from llmring.errors import ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.pricing import Prices, ruled
from llmring.receipts import ledger as ledger_module
from llmring.receipts import writer as writer_module
from llmring.receipts.building import RANDOM_BYTES, Facts, draft
from llmring.receipts.checkpoint import read_checkpoint
from llmring.receipts.contents import digest, opening, request_bytes, response_bytes
from llmring.receipts.keys import prepare_next, read_key, take_next
from llmring.receipts.ledger import Ledger, open_ledger
from llmring.receipts.opening import open_store
from llmring.receipts.receipt import Gap, Handover, Receipt, read, timestamp
from llmring.receipts.writer import Writer
from llmring.refs import ModelRef
from llmring.usage import Usage
from tests.receipts.attempts import ANSWERED, ASKED, NOON, attempted, writer_at, written
from tests.receipts.ledgers import entries, judged, receipts


def test_an_attempt_becomes_a_receipt_with_nothing_of_what_was_said(place: LedgerPlace) -> None:
    written(place, attempted()).close()
    (receipt,) = receipts(place)
    assert (receipt.sequence, receipt.previous, receipt.attempt, receipt.outcome) == (0, None, 1, "answered")
    assert (receipt.prompt_tokens, receipt.completion_tokens, receipt.total_tokens) == (1200, 80, 1280)
    assert (receipt.input_cost, receipt.output_cost, receipt.total_cost) == ("0.00018", "0.000048", "0.000228")
    assert (receipt.registry_version, receipt.price_digest) == (7, "0123456789abcdef")
    assert (receipt.took_milliseconds, receipt.served_model) == (812, "gpt-4o-mini-2024-07-18")
    assert receipt.timestamp == "2026-08-01T12:00:00.000000Z"
    with closing(open_store(place, must_exist=True)) as store:
        (row,) = store.rows()
    assert b"canary" not in row.signed.payload
    assert judged(place).findings == ()


def test_the_owner_proves_what_was_asked_and_answered(place: LedgerPlace) -> None:
    written(place, attempted()).close()
    with closing(open_store(place, must_exist=True)) as store:
        (row,) = store.rows()
    receipt = read(row.signed.payload_type, row.signed.payload)
    assert isinstance(receipt, Receipt) and row.salt is not None
    assert digest(opening(row.salt, "request"), request_bytes(ASKED)) == receipt.request_digest
    assert digest(opening(row.salt, "response"), response_bytes(ANSWERED)) == receipt.response_digest


def test_what_is_not_known_is_not_nought(place: LedgerPlace) -> None:
    failed = attempted(outcome="ServerFault", status=500, usage=None, answered=None)
    wild = attempted(usage=Usage(input_tokens=2**60))
    below = attempted(usage=Usage(input_tokens=-1))
    written(place, failed, wild, below).close()
    for receipt in receipts(place):
        assert (receipt.total_tokens, receipt.total_cost, receipt.cost_status) == (None, None, "no_usage")
    assert receipts(place)[0].response_digest is None


@pytest.mark.parametrize(("told", "asked"), [("flex", None), (None, "flex")])
def test_a_stream_of_the_flex_tier_that_was_cut_has_the_costs_of_its_share(told: str | None, asked: str | None) -> None:
    facts = Facts(
        prices=ruled(Prices(input=Decimal("0.15"), output=Decimal("0.60")), ModelRef("openai", "m")), known=True
    )
    seen = Completion(content="so f", finish_reason="error", service_tier=told)
    left = attempted(
        asked=msgspec.structs.replace(ASKED, service_tier=asked),
        answered=None,
        partial=seen,
        outcome="left",
        usage=Usage(output_tokens=100),
        facts=lambda: facts,
    )
    assert draft(left, bytes(RANDOM_BYTES)).receipt.total_cost == "0.00003"


def test_a_receipt_that_cannot_be_made_is_a_gap(place: LedgerPlace, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise KeyError("the-key-canary")

    written(place, attempted(lock=broken), attempted()).close()
    first, gap = entries(place)
    assert isinstance(first, Receipt) and isinstance(gap, Gap)
    assert (gap.missing, gap.why) == (1, "a receipt cannot be made: KeyError")
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": 42},
        {"tenant": "a\ud800b"},
        {"alias": 5},
        {"status": 1.5},
        {"status": 200.0},
        {"attempt": True},
        {"request_id": ["req"]},
        {"kind": "other"},
    ],
)
def test_what_could_not_be_read_again_is_a_gap_and_not_signed(place: LedgerPlace, wrong: dict[str, object]) -> None:
    written(place, attempted(1), attempted(2, **wrong), attempted(3)).close()
    first, third, gap = entries(place)
    assert isinstance(first, Receipt) and isinstance(third, Receipt) and isinstance(gap, Gap)
    assert (first.attempt, third.attempt) == (1, 3)
    assert (gap.missing, gap.why) == (1, "a receipt cannot be made: ReceiptError")
    assert judged(place).findings == ()


def test_a_gap_tells_of_a_path_that_is_no_text(place: LedgerPlace, caplog: pytest.LogCaptureFixture) -> None:
    writer = writer_at(place)
    writer.lost(1, NOON, os.fsdecode(b"cannot write /caf\xe9/ledger.db"))
    assert writer.flush()
    (gap,) = entries(place)
    assert isinstance(gap, Gap)
    assert gap.why == "cannot write /caf\\udce9/ledger.db"
    assert caplog.text.isascii()


def test_writers_take_turns_on_one_chain(place: LedgerPlace) -> None:
    first, second = written(place, attempted(1)), written(place, attempted(2))
    for writer in (first, second, first):
        writer.take([attempted(3)])
        assert writer.flush()
    assert [receipt.sequence for receipt in receipts(place)] == list(range(5))
    assert judged(place).findings == ()


def test_checkpoints_come_with_the_thousands_and_with_the_day(
    place: LedgerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "CHECKPOINT_ENTRIES", 4)
    now = writer_module.utc_now()
    writer = writer_at(place)
    monkeypatch.setattr(writer, "_now", lambda: now)
    for count in (3, 1, 3):
        writer.take([attempted()] * count)
        writer.flush()
    now += timedelta(days=1)
    writer.take([attempted()])
    writer.flush()
    with closing(open_store(place, must_exist=True)) as store:
        assert [read_checkpoint(one).size for one in store.checkpoints()] == [4, 8]
    assert read_checkpoint(writer.checkpoint()).size == 8
    assert judged(place).checkpoints == 2


def test_a_key_is_handed_over_under_running_writers(place: LedgerPlace) -> None:
    running, rotating = written(place, attempted(1)), writer_at(place)
    to = prepare_next(key_of(place))
    rotating.hand_over(to)
    # The file is not replaced yet: whoever comes now finishes that.
    running.take([attempted(2)])
    assert running.flush()
    assert read_key(key_of(place)).key_id == to.key_id
    first, handover, second = entries(place)
    assert isinstance(handover, Handover)
    assert (first.key_id, second.key_id) == (handover.key_id, handover.to_key_id)
    found = judged(place)
    assert (found.findings, found.signers) == ((), (handover.key_id, to.key_id))
    with pytest.raises(ReceiptError, match="cannot replace the key"):
        take_next(key_of(place))


def test_another_key_does_not_sign_a_ledger(place: LedgerPlace) -> None:
    written(place, attempted(1)).close()
    (key_of(place)).unlink()
    writer = writer_at(place)
    writer.take([attempted(2)])
    assert not writer.flush()
    prepare_next(key_of(place))
    take_next(key_of(place))
    assert not writer.flush()
    assert len(receipts(place)) == 1
    with pytest.raises(ReceiptError, match="bring back the one"):
        writer.checkpoint()


async def test_a_ledger_writes_while_it_is_open_and_when_it_is_closed(
    place: LedgerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, is_flushed, token = writer_at(place), trio.Event(), trio.lowlevel.current_trio_token()
    flush = writer.flush

    def flush_and_tell() -> bool:
        is_written = flush()
        token.run_sync_soon(is_flushed.set)
        return is_written

    monkeypatch.setattr(writer, "flush", flush_and_tell)
    async with open_ledger(writer, required=True) as ledger:
        ledger.post(attempted(1))
        with trio.fail_after(20):
            await is_flushed.wait()
        assert [receipt.attempt for receipt in receipts(place)] == [1]
        ledger.post(attempted(2))
    assert [receipt.attempt for receipt in receipts(place)] == [1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name == "llmring receipts"]


def test_an_attempt_that_is_left_twice_has_one_receipt(place: LedgerPlace) -> None:
    row, other = attempted(kind="batch", identity=b"1" * 16), attempted(kind="batch", identity=b"2" * 16)
    first = written(place, row, row)
    second = written(place, row, other, attempted(2))
    assert (first.written, second.written) == (1, 2)
    second.take([row])
    assert second.flush() and second.written == 2
    first.close()
    second.close()
    assert [one.receipt_id for one in receipts(place)][:2] == [f"rcpt_{name.hex()}" for name in (b"1" * 16, b"2" * 16)]
    assert len(receipts(place)) == 3
    assert judged(place).findings == ()


async def test_whoever_waits_for_receipts_finds_them_on_disk(
    place: LedgerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the test may take: whoever waits is not kept for the group.
    monkeypatch.setattr(ledger_module, "GROUP_SECONDS", 1000.0)
    async with open_ledger(writer_at(place), required=True) as ledger:
        for number in range(1, 4):
            ledger.post(attempted(number))
            await ledger.settled()
            assert len(receipts(place)) == number


async def test_a_ledger_that_cannot_be_written_is_waited_for_once(
    place: LedgerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []

    def refuse(self: Writer) -> bool:
        flushed.append(False)
        return False

    async with open_ledger(writer_at(place), required=True) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "flush", refuse)
            patched.setattr(ledger_module, "RETRY_SECONDS", 1000.0)
            ledger.post(attempted())
            await ledger.settled()
            assert flushed
            with trio.CancelScope() as scope:
                scope.cancel()
                await ledger.settled()
            assert not scope.cancelled_caught
    assert len(receipts(place)) == 1


async def test_a_disk_that_hangs_is_not_waited_for_long(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def hang(self: Writer) -> bool:
        free.wait()
        return True

    monkeypatch.setattr(ledger_module, "SETTLE_SECONDS", 0.01)
    async with open_ledger(writer_at(place), required=True) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "flush", hang)
            ledger.post(attempted())
            await ledger.settled()
            with trio.CancelScope() as scope:
                scope.cancel()
                await ledger.settled()
            assert not scope.cancelled_caught
            free.set()


async def test_a_cancelled_program_has_its_receipts(place: LedgerPlace) -> None:
    with trio.CancelScope() as scope:
        async with open_ledger(writer_at(place), required=True) as ledger:
            ledger.post(attempted())
            scope.cancel()
            await trio.sleep_forever()
    assert len(receipts(place)) == 1


async def test_more_than_the_queue_holds_is_a_gap(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_WAITING", 3)
    ledger = Ledger(writer_at(place))
    for number in range(5):
        ledger.post(attempted(number))
    assert ledger.missing == 2
    ledger.start()
    await ledger.aclose()
    *kept, gap = entries(place)
    assert (len(kept), ledger.missing) == (3, 0)
    assert isinstance(gap, Gap)
    assert (gap.missing, gap.why) == (2, "they come faster than they can be written")


def arguments(place: LedgerPlace) -> list[str]:
    where = place.where.reveal() if isinstance(place.where, LedgerUrl) else str(place.where)
    return [where, str(place.key)]


def is_there(place: LedgerPlace) -> bool:
    """A process may be killed before it has made one."""
    try:
        open_store(place, must_exist=True).close()
    except ReceiptError:
        return False
    return True


def key_of(place: LedgerPlace) -> Path:
    assert place.key is not None
    return place.key


KILLED = """
import sys, time
from pathlib import Path
import trio
from llmring.receipts.ledger import open_ledger
from llmring.chat import Completion
from llmring.config import LedgerPlace
from llmring.ledger_url import parse_ledger
from tests.receipts.attempts import attempted, writer_at

async def main():
    place = LedgerPlace(where=parse_ledger(sys.argv[1]), key=Path(sys.argv[2]))
    async with open_ledger(writer_at(place), required=True) as ledger:
        for number in range(10**9):
            ledger.post(attempted(number))
            print(number, time.monotonic(), flush=True)
            # Like a program that keeps the loop busy: nothing of trio's runs meanwhile.
            time.sleep(0.002)

trio.run(main)
"""


@pytest.mark.parametrize("seconds", [0.1, 0.9, 1.7])
def test_a_kill_loses_nothing_that_is_older_than_a_second(place: LedgerPlace, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments(place)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline()]
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            lines.append(process.stdout.readline())
        killed_at = time.monotonic()
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    told = [line.split() for line in lines if line.endswith("\n") and len(line.split()) == 2]
    old = [int(number) for number, at in told if float(at) < killed_at - 1.0]
    kept = [receipt.attempt for receipt in receipts(place)] if is_there(place) else []
    assert kept[: len(old)] == old
    assert kept == list(range(len(kept)))
    if kept:
        assert judged(place).findings == ()
    written(place, attempted(0)).close()
    assert judged(place).findings == ()


def test_an_attempt_is_left_behind_in_microseconds(place: LedgerPlace) -> None:
    ledger = Ledger(writer_at(place))
    one = attempted()
    began = time.process_time()
    for _ in range(ledger_module.MOST_WAITING):
        ledger.post(one)
    assert (time.process_time() - began) / ledger_module.MOST_WAITING < 10e-6


def test_a_key_may_be_handed_over_before_there_is_a_receipt(place: LedgerPlace) -> None:
    writer = writer_at(place)
    writer.open()
    writer.hand_over(prepare_next(key_of(place)))
    take_next(key_of(place))
    writer.take([attempted(1)])
    assert writer.flush()
    found = judged(place)
    assert (found.findings, len(found.signers)) == ((), 2)


def test_opening_a_router_loads_no_library_before_there_is_a_receipt() -> None:
    program = (
        "import sys, llmring; llmring.open_router, llmring.ReceiptSigner;"
        "assert 'llmring.receipts.ledger' in sys.modules;"
        "print({'nacl', 'psycopg', 'rfc8785', 'sqlite3'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_entries_are_found_by_their_time(place: LedgerPlace) -> None:
    times = [NOON + timedelta(seconds=number) for number in range(5)]
    written(place, *[attempted(number, ended_at=at) for number, at in enumerate(times)])
    since, until = timestamp(times[1]), timestamp(times[4])
    with closing(open_store(place, must_exist=True)) as store:
        assert [row.sequence for row in store.rows(since=since, until=until)] == [1, 2, 3]
        assert [row.sequence for row in store.rows(since=since, newest=2)] == [4, 3]
        assert [row.sequence for row in store.rows(until=since)] == [0]
