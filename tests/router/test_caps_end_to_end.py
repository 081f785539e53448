"""Caps by the provider's own books: whatever calls, streams, maps, cancels, failures and restarts do, in any order,
what is billed in a period is no more than its cap, and what was not spent can be spent later.

Real routers over one ledger, on virtual time. The provider bills what it pleases, up to the most that a call may cost.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import trio
import trio.lowlevel
import trio.testing
import trio.to_thread
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmring.codecs.codec import HttpCall
from llmring.errors import AllModelsFailed, BudgetExceeded, MapTimeout, ProviderError, StreamBroken
from llmring.lockfile import Budget
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedConnection, ScriptedProvider, ScriptedReply, Step, answer, cut, hang, no_connection
from llmring.testing import status as replied
from tests.router.test_map_caps import CHEAP, DEAR, PRICED
from tests.router.world import lockfile

RATES = {CHEAP: (Decimal("0.15"), Decimal("0.60")), DEAR: (Decimal(1), Decimal(5))}
UNIT = Decimal("0.0005")
BEGAN = datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)
"""Ten seconds before both a day and a month."""


class Asker(msgspec.Struct, frozen=True):
    """Who asks, as the prompt tells the provider. `run` is the number of a map, 0 for none."""

    router: int
    alias: str
    tenant: str
    run: int = 0
    is_cut: bool = False

    @property
    def prompt(self) -> str:
        return msgspec.json.encode(self).decode()


class Bill(msgspec.Struct):
    """`counted` is what the router may take it for at the most."""

    asker: Asker
    at: datetime
    usd: Decimal
    counted: Decimal


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a call: `share` of the most is billed, where anything is."""

    kind: str
    share: float
    after: float


class Provider(ScriptedProvider):
    """Keeps its own books. `fates` are of its calls in turn; those that come later are answered whole."""

    def __init__(self, fates: Sequence[Fate]) -> None:
        super().__init__({})
        self.bills: list[Bill] = []
        self._fates = list(fates)
        self._body: bytes = b""

    def __call__(self, base_url: str, headers: Mapping[str, str]) -> "Connection":
        self.connections += 1
        return Connection(self, base_url, dict(headers))

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=trio.current_time())

    def end(self) -> None:
        """From now on calls are answered."""
        self._fates.clear()

    def see(self, body: bytes) -> None:
        self._body = body

    def take(self, model: str, headers: Mapping[str, str] | None = None) -> Step:
        body = msgspec.json.decode(self._body)
        content = body["messages"][0]["content"]
        prompt = content if isinstance(content, str) else content[0]["text"]
        asker = msgspec.json.decode(prompt, type=Asker)
        fate = self._fates.pop(0) if self._fates else Fate("whole", 0.1, 0.1)
        most_in, most_out = len(prompt) + 24, body.get("max_completion_tokens") or body["max_tokens"]
        tokens_in, tokens_out = int(most_in * fate.share), int(most_out * fate.share)
        rate_in, rate_out = RATES[model]
        whole = (tokens_in * rate_in + tokens_out * rate_out) / 10**6
        most = (most_in * rate_in + most_out * rate_out) / 10**6
        steps = {
            "whole": answer("o", "k", after=fate.after, each=0.1, input_tokens=tokens_in, output_tokens=tokens_out),
            "cut": cut("half", after=fate.after),
            "504": replied(504, after=fate.after),
            "408": replied(408, after=fate.after),
            "hang": hang(),
            "429": replied(429, retry_after=1),
            "500": replied(500, after=fate.after),
            "529": replied(529),
            "nobody": no_connection(),
        }
        free = fate.kind in ("429", "500", "529", "nobody")
        is_known = fate.kind == "whole" and not asker.is_cut
        usd = Decimal(0) if free else whole
        self.bills.append(Bill(asker, self.now(), usd, usd if free or is_known else most))
        return steps[fate.kind]


class Connection(ScriptedConnection):
    async def open(self, call: HttpCall) -> ScriptedReply:
        assert isinstance(self._provider, Provider)
        assert isinstance(call.body, bytes)
        self._provider.see(call.body)
        return await super().open(call)


class Act(msgspec.Struct, frozen=True):
    """One thing that a program does: `rows` of a map, with a `cap` of its own in units, or a call, or a stream."""

    kind: str
    alias: str
    tenant: str
    tokens: int
    at: float
    cut_after: float
    rows: int
    cap: int


async def act(router: Router, number: int, one: Act, run: int) -> None:
    await trio.sleep(one.at)
    asker = Asker(number, one.alias, one.tenant, run if one.kind == "map" else 0, one.cut_after < math.inf)
    try:
        with trio.move_on_after(one.cut_after):
            match one.kind:
                case "chat":
                    await router.chat(one.alias, asker.prompt, max_tokens=one.tokens, tenant=one.tenant, timeout=12)
                case "stream":
                    async with router.stream(
                        one.alias, asker.prompt, max_tokens=one.tokens, tenant=one.tenant, timeout=12
                    ) as stream:
                        _ = [chunk async for chunk in stream]
                case _:
                    prompts = [asker.prompt] * one.rows
                    budget = UNIT * one.cap
                    await router.map(
                        one.alias, prompts, max_tokens=one.tokens, tenant=one.tenant, budget=budget, deadline=15
                    ).to_list()
    except (ProviderError, AllModelsFailed, BudgetExceeded, StreamBroken, MapTimeout):
        pass


async def step(clock: trio.testing.MockClock) -> None:
    """Jump to the next deadline when everybody waits; for a thread that works at the ledger, wait in real time."""
    threads = trio.to_thread.current_default_thread_limiter()
    while True:
        await trio.testing.wait_all_tasks_blocked()
        while threads.borrowed_tokens:
            await trio.testing.wait_all_tasks_blocked(0.0005)
        seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if 0.0 < seconds < math.inf:
            clock.jump(seconds)


def periods(budgets: Sequence[Budget], bills: Sequence[Bill]) -> Iterator[tuple[Budget, object, list[Bill]]]:
    """The bills of every budget, of each that it is for and in each period."""
    for budget in budgets:
        found: dict[object, list[Bill]] = {}
        for bill in bills:
            asker = bill.asker
            wanted = ((budget.alias, asker.alias), (budget.tenant, asker.tenant))
            if any(name not in (None, "*", own) for name, own in wanted):
                continue
            whose = tuple(own if name is not None else None for name, own in wanted)
            when = {"run": asker.router, "day": bill.at.date(), "month": bill.at.month}[budget.per]
            found.setdefault((whose, when), []).append(bill)
        yield from ((budget, key, those) for key, those in found.items())


fates = st.lists(
    st.builds(
        Fate,
        kind=st.sampled_from(
            ["whole"] * 4 + ["cut", "cut", "504", "504", "408", "hang", "429", "500", "529", "nobody"]
        ),
        share=st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0]),
        after=st.sampled_from([0.0, 0.3, 2.0]),
    ),
    min_size=5,
    max_size=30,
)
budgets_ = st.lists(
    st.tuples(
        st.sampled_from(["day", "month", "run"]),
        st.sampled_from([None, None, "alone", "*"]),
        st.sampled_from([None, None, "acme", "*"]),
        st.sampled_from([2, 3, 5, 8, 12, 40]),
    ),
    min_size=1,
    max_size=3,
).map(
    lambda found: [
        Budget(name=f"b{at}", per=per, alias=alias, tenant=tenant, limit=UNIT * limit)  # type: ignore[arg-type]
        for at, (per, alias, tenant, limit) in enumerate(found)
    ]
)
acts = st.lists(
    st.builds(
        Act,
        kind=st.sampled_from(["chat", "chat", "stream", "map"]),
        alias=st.sampled_from(["alone", "chain"]),
        tenant=st.sampled_from(["", "acme"]),
        tokens=st.integers(300, 3000),
        at=st.sampled_from([0.0, 0.0, 1.0, 9.9, 10.0]),
        cut_after=st.sampled_from([math.inf, math.inf, math.inf, 0.2, 3.0]),
        rows=st.integers(1, 5),
        cap=st.integers(0, 20),
    ),
    min_size=3,
    max_size=8,
)


TWO_THAT_WAIT = [Act("chat", "alone", "acme", 3000, 0.0, math.inf, 1, 0)] * 2
"""For one another, at the budget with the least money, while others of their budgets are asked for more."""


@example(
    [Fate("whole", 1.0, 2.0)] * 5,
    [
        Budget(name="b0", per="month", limit=UNIT * 40),
        Budget(name="b1", per="day", limit=UNIT * 40),
        Budget(name="b2", per="day", limit=UNIT * 5),
    ],
    [[TWO_THAT_WAIT]],
)
@given(fates, budgets_, st.lists(st.lists(acts, min_size=1, max_size=2), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_nothing_is_billed_beyond_a_cap_and_what_is_left_can_be_spent(
    what: list[Fate], budgets: list[Budget], lives: list[list[list[Act]]]
) -> None:
    """One or two routers at once, and after them the next ones, over the same ledger."""
    provider = Provider(what)
    caps: dict[int, Decimal] = {}
    clock = trio.testing.MockClock()

    async def live(directory: Path, number: int, todo: Sequence[Act]) -> None:
        async with opened(directory) as router, trio.open_nursery() as nursery:
            for one in todo:
                run = len(caps) + 1
                caps[run] = UNIT * one.cap
                nursery.start_soon(act, router, number, one, run)

    def opened(directory: Path) -> AbstractAsyncContextManager[Router]:
        return open_router(
            lockfile(PRICED),
            connect=provider,
            receipts=directory / "ledger.db",
            budgets=budgets,
            clock=provider.now,
            jitter=lambda: 0.0,
            keys={"TEST_KEY_A": "a", "TEST_KEY_B": "b"},
        )

    async def probe(directory: Path, number: int) -> None:
        """A request that costs next to nothing is answered where there is room for it."""
        asker = Asker(number, "alone", "acme")
        rate_in, rate_out = RATES[CHEAP]
        needed = ((len(asker.prompt) + 24) * rate_in + rate_out) / 10**6
        now = Bill(asker, provider.now(), Decimal(0), Decimal(0))
        room = all(
            sum(bill.counted for bill in those) + needed <= budget.limit
            for budget, _, those in periods(budgets, [*provider.bills, now])
            if now in those
        )
        async with opened(directory) as router:
            try:
                await router.chat("alone", asker.prompt, max_tokens=1, tenant="acme", timeout=120)
            except BudgetExceeded:
                assert not room
            assert all(one.reserved_usd == 0 and one.waiting == 0 for one in router.status().budgets)

    async def stepped(directory: Path) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step, clock)
            await run(directory)
            nursery.cancel_scope.cancel()

    async def run(directory: Path) -> None:
        number = 0
        for routers in lives:
            async with trio.open_nursery() as nursery:
                for todo in routers:
                    number += 1
                    nursery.start_soon(live, directory, number, todo)
        provider.end()
        await probe(directory, number + 1)

    with tempfile.TemporaryDirectory() as name:
        trio.run(stepped, Path(name), clock=clock)
    for budget, key, those in periods(budgets, provider.bills):
        assert sum(bill.usd for bill in those) <= budget.limit, (budget, key)
    for run_number, cap in caps.items():
        assert sum(bill.usd for bill in provider.bills if bill.asker.run == run_number) <= cap
