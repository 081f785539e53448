"""One case with one seed, on trio's virtual clock."""

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import msgspec
import trio
import trio._core._run as scheduling
from trio.testing import MockClock

from bench.simulate.bound import Supply, least_seconds
from bench.simulate.cases import SECONDS, Case
from bench.simulate.provider import UPLINK_SECONDS, LiveProvider, Provider, Providers
from bench.simulate.windows import PERIOD_SECONDS
from llmring.errors import Dimension
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.providers.tokens import load
from llmring.registry.catalog import Catalog
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router
from llmring.router.router import Router

NOTHING_KNOWN = Catalog((), ())
KEY = "LLMRING_BENCH_KEY"
LEARNING_SECONDS = 600.0
CALLS_SHARE = 0.1
TENANTS = 100
MOST_SECONDS = 6 * SECONDS
"""A run that takes so much longer than it should is stopped, and what was not answered counts as lost."""

_TEXT = (
    "a river is what the rain remembers of mountains and every town along its banks has written down the year when "
    "water came into kitchens carried away two bridges one mill some forty sheep whose owner asked for them by name "
)
_BY_WINDOW = ("fixed", "sliding")
_NAMES: dict[Dimension, str] = {
    "requests": "requests_per_minute",
    "tokens": "tokens_per_minute",
    "input": "input_tokens_per_minute",
    "output": "output_tokens_per_minute",
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`time` and `least` in seconds, `over` their difference less the last latency as a share of `least`; `waited` and
    `unfair` as in Goal."""

    case: str
    seed: int
    time: float
    least: float
    over: float
    refused: float
    lost: int
    waited: float = 0.0
    unfair: float = 0.0


class World:
    """The providers of a case, and a lockfile that names them."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.chance = random.Random(seed)
        self.live = {about.name: LiveProvider(about, random.Random(f"{seed} {about.name}")) for about in case.providers}

    def lockfile(self) -> Lockfile:
        models = ", ".join(f'"{about.name}:{about.model}"' for about in self.case.providers)
        text = f'[[profiles.default.bindings]]\nalias = "bench"\nmodels = [{models}]\n'
        for about in self.case.providers:
            text += f'\n[providers.{about.name}]\nkind = "{about.kind}"\nbase_url = "http://{about.name}.test"\n'
            text += f'api_key_env = "{KEY}"\n'
            if self.case.told:
                text += _limits(about)
        return parse_lockfile(text, Path("bench.lock"))

    def prompts(self) -> Iterator[str]:
        """Without end."""
        words = _TEXT.split()
        text = " ".join(self.chance.choices(words, k=2000))
        number = 0
        while True:
            begin = self.chance.randrange(1000)
            yield f"row {number} {text[begin : begin + self.chance.randint(*self.case.characters)]}"
            number += 1

    def rows(self) -> int:
        """So many that the bound is about `SECONDS`, by what a row is expected to take."""
        tokens = sum(self.case.characters) / 2 / 4
        supplies = [
            Supply(
                provider=about,
                charge={
                    "requests": 1.0,
                    "day": 1.0,
                    "input": tokens,
                    "output": about.output_tokens * 1.13,
                    "tokens": tokens
                    + (self.case.max_tokens if about.charge == "in + max_tokens" else 0.0)
                    + (about.output_tokens * 1.13 if about.charge == "actual" else 0.0),
                },
                least_latency=0.0,
            )
            for about in self.case.providers
        ]
        # Half of a last window: its first row must not decide whether there is one.
        windows = sum(about.limits["requests"] for about in self.case.providers if about.counting in _BY_WINDOW) / 2
        return int(sum(supply.rows(SECONDS) for supply in supplies) - windows)

    def supplies(self) -> list[Supply]:
        """With what rows have really taken."""
        return [
            Supply(
                provider=live.as_it_was(),
                charge={
                    dimension: taken / max(1, live.counts.admitted) for dimension, taken in live.counts.taken.items()
                },
                least_latency=0.0,
            )
            for live in self.live.values()
        ]

    def refused(self, since: float = 0.0) -> float:
        """The share of requests that were refused."""
        refused = sum(at >= since for live in self.live.values() for at in live.counts.refused_at)
        admitted = sum(at >= since for live in self.live.values() for at in live.counts.admitted_at)
        return refused / max(1, refused + admitted)


def _limits(about: Provider) -> str:
    counted = "by window" if about.counting in _BY_WINDOW else "continuously"
    lines = [f'limits_counted = "{counted}"']
    lines += [f"{_NAMES[dimension]} = {amount}" for dimension, amount in about.limits.items() if dimension in _NAMES]
    return "\n".join(lines) + "\n"


def simulate(case: Case, seed: int) -> Outcome:
    """Run it. Bounded: see MOST_SECONDS."""
    _order_tasks_by(seed)
    load()
    return trio.run(_simulate, case, seed, clock=MockClock(autojump_threshold=0))


def _order_tasks_by(seed: int) -> None:
    """Tasks that are ready at once run in a random order; trio has no public way to seed it. No thread may have a part
    in a run, for it would be ready at any time: vocabularies are loaded before, and no catalog is read.
    """
    setattr(scheduling, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010 (a private constant)
    order: random.Random = getattr(scheduling, "_r")  # noqa: B009 (the same)
    order.seed(f"{seed} order")


async def _simulate(case: Case, seed: int) -> Outcome:
    world = World(case, seed)
    jitter = random.Random(f"{seed} jitter").random
    connect = Providers(world.live)
    async with trio.open_nursery() as nursery:
        for live in world.live.values():
            nursery.start_soon(live.live)
        async with open_router(
            world.lockfile(), connect=connect, keys={KEY: "key"}, catalog=NOTHING_KNOWN, jitter=jitter, grace=0.0
        ) as router:
            match case.shape:
                case "steady":
                    outcome = await _steady(world, seed, router)
                case "interactive":
                    outcome = await _interactive(world, seed, router)
                case "tenants":
                    outcome = await _tenants(world, seed, router)
                case _:
                    outcome = await _run(world, seed, router)
        nursery.cancel_scope.cancel()
    return outcome


async def _run(world: World, seed: int, router: Router) -> Outcome:
    """A map from start to end."""
    rows = world.rows()
    prompts = world.prompts()
    run = router.map("bench", (next(prompts) for _ in range(rows)), max_tokens=world.case.max_tokens)
    answered = 0
    with trio.move_on_after(MOST_SECONDS):
        answered = await _drain(run)
    time = trio.current_time()
    least = least_seconds(rows, world.supplies())
    last = max(live.counts.last_latency for live in world.live.values()) + UPLINK_SECONDS
    return Outcome(
        case=world.case.name,
        seed=seed,
        time=time,
        least=least,
        over=(time - least - last) / least,
        refused=world.refused(),
        lost=rows - answered,
    )


async def _drain(run: MapRun) -> int:
    answered = 0
    async with run:
        async for row in run:
            answered += row.ok
    return answered


async def _steady(world: World, seed: int, router: Router) -> Outcome:
    """Ten minutes of an endless map, after ten minutes in which it may learn."""
    run = router.map("bench", world.prompts(), max_tokens=world.case.max_tokens)
    failed = 0
    with trio.move_on_at(LEARNING_SECONDS + SECONDS):
        async with run:
            async for row in run:
                failed += not row.ok
    (live,) = world.live.values()
    admitted = sum(at >= LEARNING_SECONDS for at in live.counts.admitted_at)
    supply = world.supplies()[0]
    most = supply.rows(LEARNING_SECONDS + SECONDS) - supply.rows(LEARNING_SECONDS)
    least = SECONDS * admitted / most
    return Outcome(
        case=world.case.name,
        seed=seed,
        time=SECONDS,
        least=least,
        over=SECONDS / least - 1.0,
        refused=world.refused(LEARNING_SECONDS),
        lost=failed,
    )


async def _interactive(world: World, seed: int, router: Router) -> Outcome:
    """Calls at random moments, a tenth of what the limit gives, beside an endless map."""
    (live,) = world.live.values()
    waits: list[float] = []
    lost = 0

    async def call(prompt: str) -> None:
        response = await router.chat("bench", prompt)
        waits.append(sum(attempt.waited_seconds for attempt in response.attempts))

    prompts = world.prompts()
    run = router.map("bench", world.prompts(), max_tokens=world.case.max_tokens)
    async with trio.open_nursery() as nursery, run:

        async def calls() -> None:
            each = PERIOD_SECONDS / live.about.limits["requests"]
            while True:
                await trio.sleep(world.chance.expovariate(CALLS_SHARE / each))
                nursery.start_soon(call, next(prompts))

        nursery.start_soon(calls)
        with trio.move_on_at(SECONDS):
            async for row in run:
                lost += not row.ok
        nursery.cancel_scope.cancel()
    (supply,) = world.supplies()
    rows = run.report.answered
    most = supply.rows(SECONDS) - len(waits)
    return Outcome(
        case=world.case.name,
        seed=seed,
        time=SECONDS,
        least=SECONDS * rows / most,
        over=most / rows - 1.0,
        refused=world.refused(),
        lost=lost,
        waited=quantiles(waits, n=100)[98],
    )


async def _tenants(world: World, seed: int, router: Router) -> Outcome:
    """Every tenant has more to send than it gets; some have much more than others."""
    answered = [0] * TENANTS
    prompts = world.prompts()

    async def worker(tenant: int) -> None:
        while True:
            await router.chat("bench", next(prompts), tenant=f"tenant {tenant}", priority="batch")
            answered[tenant] += 1

    # No deadline for the calls: those that would miss it are refused at once.
    async with trio.open_nursery() as nursery:
        for tenant in range(TENANTS):
            for _ in range(world.chance.randint(2, 8)):
                nursery.start_soon(worker, tenant)
        await trio.sleep_until(SECONDS)
        nursery.cancel_scope.cancel()
    (supply,) = world.supplies()
    share = sum(answered) / TENANTS
    most = supply.rows(SECONDS)
    return Outcome(
        case=world.case.name,
        seed=seed,
        time=SECONDS,
        least=SECONDS * sum(answered) / most,
        over=most / sum(answered) - 1.0,
        refused=world.refused(),
        lost=0,
        unfair=max(abs(each - share) for each in answered),
    )
