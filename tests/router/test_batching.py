"""What is kept of rows that came back in a batch: their way, their record of decisions, their receipt, once each."""

import gc
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from types import FunctionType, ModuleType

import msgspec
import pytest
from trio.testing import MockClock

from llmring.errors import BadRequest, Unanswered
from llmring.receipts.contents import digest, opening, request_bytes
from llmring.receipts.sqlite_store import open_store
from llmring.registry.store import read_bundled
from llmring.router.comparison import compare
from llmring.router.map.journal import Journal
from llmring.router.opening import open_router
from llmring.router.records import Record, read_records
from llmring.router.replay import difference
from llmring.router.router import Router
from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.process import running_simulator
from tests.router.test_map_batches import ALONE, MODEL, QUICK, BatchProvider, Said
from tests.router.test_receipting import receipts
from tests.router.world import lockfile

CHAINED = f'[[profiles.default.bindings]]\nalias = "chain"\nmodels = ["ollama:llama3", "openai:x", "{MODEL}"]\n{ALONE}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@asynccontextmanager
async def routed(
    provider: BatchProvider, text: str = ALONE, *, ledger: Path | None = None, decisions: Path | None = None
) -> AsyncGenerator[Router]:
    async with open_router(
        lockfile(text),
        connect=provider,
        jitter=lambda: 0.0,
        receipts=ledger if ledger is not None else False,
        decisions=decisions if decisions is not None else False,
    ) as router:
        yield router


def records(path: Path) -> list[Record]:
    return [record for _, record in read_records(path)]


def text_of(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def first_lines(journal: Path, count: int) -> None:
    """Cut a journal back to what a killed process had written of it by then."""
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:count]))


# Ways.


async def test_an_answer_of_a_batch_tells_its_way(autojump_clock: object, run: Path) -> None:
    async with routed(BatchProvider(looks=2), CHAINED) as router:
        (row,) = await router.map("chain", ["hello"], mode="batch", checkpoint=run).to_list()
    assert row.response is not None
    trace = row.response.trace
    assert trace is not None and trace.batched is not None
    assert (trace.outcome, trace.model, trace.patient) == ("answered", row.response.model, True)
    assert [one.why for one in trace.decisions[0].considered] == [
        "no batch API",
        "no key for openai: set OPENAI_API_KEY",
        "",
    ]
    assert (trace.batched.id, trace.batched.taken_up) == ("msgbatch_0", False)
    head, *_, seen, asked, came = trace.explain().splitlines()
    assert head == "'chain' of profile 'default': 3 models, as they are written; no time limit"
    assert seen.endswith(f"{MODEL} is ready")
    assert asked == f"  -> {MODEL} is asked in batch msgbatch_0, handed in at {trace.batched.handed_in_at:%F %T} UTC"
    assert re.fullmatch(rf"  {MODEL} answered, read \d\S* s later", came)
    online, batched = router.estimate("chain", "hello")[2].likely_usd, trace.routes[2].cost_usd
    assert online is not None and batched is not None
    assert batched == pytest.approx(online / 2, rel=Decimal("0.2"))


async def test_a_process_that_takes_up_a_batch_makes_nothing_up(mock_clock: MockClock, run: Path) -> None:
    mock_clock.rate = QUICK
    provider = BatchProvider(looks=1)
    async with routed(provider, CHAINED) as router, router.map("chain", ["hello"], mode="batch", checkpoint=run):
        await provider.asked.wait()
    async with routed(provider, CHAINED) as router:
        (row,) = await router.map("chain", ["hello"], mode="batch", checkpoint=run).to_list()
    assert row.response is not None
    trace = row.response.trace
    assert trace is not None and trace.batched is not None
    assert [str(route.model) for route in trace.routes] == [MODEL]
    assert trace.batched.taken_up
    assert trace.batched.handed_in_at.isoformat().replace("+00:00", "Z") in text_of(run)
    assert "handed in by an earlier process at" in str(trace)


async def test_rows_of_batches_are_recorded_and_not_replayed(autojump_clock: object, run: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.jsonl"
    async with routed(BatchProvider(), decisions=decisions) as router:
        await router.map(MODEL, ["the-prompt-canary", "b"], mode="batch", checkpoint=run, max_tokens=50).to_list()
        refused = router.map(MODEL, ["c"], mode="batch", checkpoint=tmp_path / "other.jsonl")
        router.dispatcher.crew("anthropic").first._connect.scripts["POST"] = [Said(400)]  # type: ignore[attr-defined]
        (row,) = await refused.to_list()
    assert isinstance(row.error, BadRequest)
    found = records(decisions)
    assert [(one.kind, one.trace.outcome) for one in found] == [
        ("batch_row", "answered"),
        ("batch_row", "answered"),
        ("batch_row", "BadRequest"),
    ]
    assert (found[0].max_tokens, found[0].usages[0].output_tokens) == (50, 5)
    assert found[2].trace.batched is not None and found[2].trace.batched.id is None
    assert "canary" not in text_of(decisions)
    # They would come out as they were; but nothing waited, and no other lockfile would have sent them online.
    assert all(difference(one.trace) is None for one in found)
    compared = compare(found, lockfile(CHAINED), None, read_bundled())
    assert (compared.requests, compared.batched, compared.before.answered, compared.after.answered) == (3, 3, 0, 0)


async def test_a_trace_of_a_batch_does_not_keep_the_prompt_alive(autojump_clock: object, run: Path) -> None:
    async with routed(BatchProvider(), CHAINED) as router:
        (row,) = await router.map("chain", ["a long prompt"], mode="batch", checkpoint=run).to_list()
    assert row.response is not None
    held: list[object] = [row.response.__dict__]
    known: set[int] = set()
    while held:
        one = held.pop()
        assert one != "a long prompt"
        if id(one) not in known and not isinstance(one, type | FunctionType | ModuleType):
            known.add(id(one))
            held += gc.get_referents(one)
    assert len(known) > 20


# Receipts.


async def test_a_row_of_a_batch_has_its_receipt_at_its_price(mock_clock: MockClock, run: Path, path: Path) -> None:
    mock_clock.rate = QUICK
    provider = BatchProvider(looks=2)
    async with routed(provider, CHAINED, ledger=path) as router:
        rows = router.map("chain", ["the-prompt-canary"], mode="batch", checkpoint=run, tenant="acme")
        (row,) = await rows.to_list()
    (receipt,) = receipts(path)
    assert receipt.tenant == "acme"
    assert row.response is not None and row.response.cost.usd is not None and row.response.cost.breakdown is not None
    assert receipt.total_cost is not None and receipt.cost_breakdown is not None
    assert Decimal(receipt.total_cost) == row.response.cost.usd > 0
    assert Decimal(receipt.cost_breakdown["output"]) == row.response.cost.breakdown.output
    assert (receipt.kind, receipt.outcome, receipt.batch, receipt.attempt) == ("batch", "answered", "msgbatch_0", 1)
    assert (receipt.alias, receipt.profile, f"{receipt.provider}:{receipt.model}") == ("chain", "default", MODEL)
    assert receipt.took_milliseconds is not None and receipt.took_milliseconds >= 5000
    with closing(open_store(path, must_exist=True)) as store:
        (entry,) = store.rows()
    assert entry.salt is not None
    asked = router.dispatcher.completed(router._request("chain", "the-prompt-canary", {}), None)
    assert receipt.request_digest == digest(opening(entry.salt, "request"), request_bytes(asked))
    assert b"canary" not in b"".join(file.read_bytes() for file in path.parent.glob("ledger*"))


async def test_a_receipt_lets_nobody_try_prompts_by_its_id(mock_clock: MockClock, run: Path, path: Path) -> None:
    mock_clock.rate = QUICK
    async with routed(BatchProvider(), ledger=path) as router:
        await router.map(MODEL, ["a"], mode="batch", checkpoint=run).to_list()
    tag = msgspec.json.decode(text_of(run).splitlines()[1])["batch"]["tag"]
    assert tag.removeprefix("run-") not in text_of(path)


async def test_rows_that_are_read_twice_have_one_receipt(mock_clock: MockClock, run: Path, path: Path) -> None:
    mock_clock.rate = QUICK
    provider = BatchProvider(looks=1)
    for _ in range(3):
        async with routed(provider, ledger=path) as router:
            rows = await router.map(MODEL, ["a", "b", "a"], mode="batch", checkpoint=run).to_list()
        assert all(row.ok and not row.resumed for row in rows)
        # What a process leaves that was killed when it had read its batch, and before it wrote a row of it down.
        first_lines(run, 3)
    assert len(provider.batches) == 1
    assert [one.outcome for one in receipts(path)] == ["answered"] * 3


async def test_a_row_has_its_receipt_before_it_is_in_the_journal(
    mock_clock: MockClock, run: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_clock.rate = QUICK
    counted: list[int] = []
    settle = Journal.settle

    def settled(self: Journal, *given: object) -> None:
        with closing(open_store(path, must_exist=True)) as store:
            counted.append(store.head().size)
        settle(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "settle", settled)
    async with routed(BatchProvider(), ledger=path) as router:
        await router.map(MODEL, map(str, range(300)), mode="batch", checkpoint=run).to_list()
    assert len(counted) == 300
    assert all(size > row for row, size in enumerate(counted))


async def test_a_ledger_that_cannot_be_written_holds_up_no_row(
    mock_clock: MockClock, run: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_clock.rate = QUICK
    async with routed(BatchProvider(), ledger=path) as router:
        monkeypatch.setattr("llmring.receipts.writer.Writer.flush", lambda _: False)
        rows = await router.map(MODEL, ["a", "b"], mode="batch", checkpoint=run).to_list()
        monkeypatch.undo()
    assert all(row.ok for row in rows)
    assert len(receipts(path)) == 2


async def test_a_batch_that_is_refused_leaves_its_rows_receipts_that_cost_nothing(
    mock_clock: MockClock, run: Path, path: Path
) -> None:
    mock_clock.rate = QUICK
    async with routed(BatchProvider(submits=[Said(400)]), ledger=path) as router:
        rows = await router.map(MODEL, ["a", "b"], mode="batch", checkpoint=run).to_list()
    assert [type(row.error) for row in rows] == [BadRequest] * 2
    assert [(one.kind, one.outcome, one.status, one.batch, one.total_cost) for one in receipts(path)] == [
        ("batch", "BadRequest", 400, None, None)
    ] * 2


async def test_rows_without_an_answer_have_receipts_that_cost_nothing(
    mock_clock: MockClock, run: Path, path: Path
) -> None:
    mock_clock.rate = QUICK
    provider = BatchProvider(looks=2)
    async with (
        routed(provider, ledger=path) as router,
        router.map(MODEL, ["a", "b"], mode="batch", checkpoint=run) as running,
    ):
        await provider.asked.wait()
        provider.batches["msgbatch_0"] = provider.batches["msgbatch_0"][:1]
        rows = [row async for row in running]
    assert sorted(type(row.error).__name__ for row in rows) == ["NoneType", Unanswered.__name__]
    answered, unanswered = receipts(path)
    assert (answered.outcome, unanswered.outcome) == ("answered", "Unanswered")
    assert (unanswered.batch, unanswered.total_cost, unanswered.total_tokens) == ("msgbatch_0", None, None)
    assert unanswered.cost_status == "no_usage"


async def test_a_row_that_goes_online_after_its_batch_has_a_receipt_of_each(
    mock_clock: MockClock, run: Path, path: Path
) -> None:
    mock_clock.rate = QUICK
    async with routed(BatchProvider(submits=[Said(400)]), ledger=path) as router:
        (row,) = await router.map(MODEL, ["a"], mode="auto", checkpoint=run).to_list()
    assert row.response is not None and row.response.content == "online"
    assert [(one.kind, one.outcome) for one in receipts(path)] == [("batch", "BadRequest"), ("chat", "answered")]


KILLED = """
import os, signal, sys
from pathlib import Path
import trio
from llmring.lockfile import parse_lockfile
from llmring.router.map.journal import Journal
from llmring.router.opening import open_router

text, directory, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
settle = Journal.settle

def settled(self, key, index, *given):
    settle(self, key, index, *given)
    if self.answered == last:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.settle = settled

async def main():
    async with open_router(parse_lockfile(text, Path("x.lock")), receipts=directory / "ledger.db") as router:
        prompts = [f"about {number}" for number in range(20)]
        rows = router.map("openai:gpt-4o-mini", prompts, mode="batch", checkpoint=directory / "run.jsonl")
        print(len(await rows.to_list()))

trio.run(main)
"""


@pytest.mark.parametrize("last", [1, 13, 20])
def test_a_kill_among_the_rows_of_a_batch_loses_no_receipt_and_doubles_none(tmp_path: Path, last: int) -> None:
    with running_simulator(SimConfig(providers={"openai": ProviderConfig()})) as simulator:
        text = f'[providers.openai]\nbase_url = "{simulator.openai_url("openai")}"\napi_key_env = "TEST_KEY_A"\n'
        for row, ended in ((last, -signal.SIGKILL), (-1, 0)):
            command = [sys.executable, "-c", KILLED, text, str(tmp_path), str(row)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == ended, done.stderr
    found = receipts(tmp_path / "ledger.db")
    assert [(one.kind, one.outcome) for one in found] == [("batch", "answered")] * 20
    assert len({one.receipt_id for one in found}) == 20
