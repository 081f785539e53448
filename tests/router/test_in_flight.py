"""A server that works on a few requests at once and lets the others wait: how many it is sent, on virtual time."""

from itertools import pairwise

import pytest
import trio
import trio.testing

from llmring.codecs.codec import HttpCall
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedConnection, ScriptedProvider, ScriptedReply, answer, status
from tests.router.world import lockfile

Clock = trio.testing.MockClock
LOCAL = """
[[profiles.default.bindings]]
alias = "local"
models = ["ollama:model"]
"""
VLLM = LOCAL.replace("ollama", "vllm") + '[providers.vllm]\nmax_in_flight = "auto"\n'
SECONDS = 2.0


class Parallel(ScriptedProvider):
    """Works on `slots` requests at once, each for two seconds, in the order they come."""

    def __init__(self, slots: int) -> None:
        super().__init__({"model": [answer(output_tokens=20)]})
        self.slots = trio.CapacityLimiter(slots)
        self.seen: list[tuple[float, int]] = []
        self.answered: list[float] = []

    def __call__(self, base_url: str, headers: object) -> "Waiting":
        return Waiting(self, base_url, {})


class Waiting(ScriptedConnection):
    def __init__(self, server: Parallel, base_url: str, headers: dict[str, str]) -> None:
        super().__init__(server, base_url, headers)
        self._server = server

    async def open(self, call: HttpCall) -> ScriptedReply:
        server = self._server
        server.seen.append(
            (trio.current_time(), server.slots.statistics().tasks_waiting + server.slots.borrowed_tokens + 1)
        )
        async with server.slots:
            await trio.sleep(SECONDS)
        server.answered.append(trio.current_time())
        return await super().open(call)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def load(server: Parallel, text: str, seconds: float) -> list[tuple[float, int]]:
    """An endless map: how many it may have in flight, every second."""
    allowed: list[tuple[float, int]] = []

    async def look(router: Router) -> None:
        while True:
            await trio.sleep(1.0)
            allowed.append((trio.current_time(), router.status().routes[0].most_connections))

    async with open_router(lockfile(text), connect=server) as router, trio.open_nursery() as nursery:
        nursery.start_soon(look, router)
        with trio.move_on_after(seconds):
            async with router.map("local", (f"row {number}" for number in range(10**9))) as run:
                async for row in run:
                    assert row.ok
        nursery.cancel_scope.cancel()
    return allowed


def most(slots: int) -> int:
    return max(2 * slots, slots + 2)


@pytest.mark.parametrize("text", [LOCAL, VLLM], ids=["ollama", "auto"])
@pytest.mark.parametrize("slots", [1, 4, 16])
async def test_the_number_in_flight_settles_at_what_the_server_works_on(
    autojump_clock: Clock, slots: int, text: str
) -> None:
    server, start = Parallel(slots), trio.current_time()
    warm = start + 100
    allowed = [limit for at, limit in await load(server, text, 400) if at > warm]
    assert sum(at > warm for at in server.answered) / 300 >= 0.95 * slots / SECONDS
    assert max(in_flight for at, in_flight in server.seen if at > warm) <= most(slots)
    # Below are the rounds in which half of it is tried.
    assert sum(slots <= limit <= most(slots) for limit in allowed) >= 0.85 * len(allowed)


async def test_it_follows_a_server_that_is_given_more_or_less(autojump_clock: Clock) -> None:
    server, start = Parallel(4), trio.current_time()

    async def change() -> None:
        for at, slots in ((200.0, 16), (600.0, 2)):
            await trio.sleep_until(start + at)
            server.slots.total_tokens = slots

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        await load(server, LOCAL, 1000)
    for since, until, slots in ((100, 200, 4), (300, 600, 16), (800, 1000, 2)):
        rate = sum(start + since < at <= start + until for at in server.answered) / (until - since)
        assert rate >= 0.95 * slots / SECONDS
        seen = [in_flight for at, in_flight in server.seen if start + since < at <= start + until]
        assert max(seen) <= most(slots)


async def test_a_busy_server_is_sent_half_as_many(autojump_clock: Clock) -> None:
    provider = ScriptedProvider({"model": [*[answer(after=1, output_tokens=9)] * 200, status(503), answer(after=1)]})
    async with (
        open_router(lockfile(LOCAL), connect=provider, jitter=lambda: 0.0) as router,
        router.map("local", ["x"] * 201) as run,
    ):
        allowed = [router.status().routes[0].most_connections async for row in run if row.ok]
    assert max(allowed) >= 16
    assert any(after == before // 2 for before, after in pairwise(allowed))


async def test_a_number_in_the_lockfile_is_that_number(autojump_clock: Clock) -> None:
    text = LOCAL + "[providers.ollama]\nmax_in_flight = 3\n"
    async with open_router(lockfile(text), connect=Parallel(1)) as router:
        assert await router.map("local", ["x"] * 30).to_list()
        assert router.status().routes[0].most_connections == 3
