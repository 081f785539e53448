"""The actor: the catalog changes behind everybody's back, and nobody ever waits for it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from llmring.errors import RegistryError
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog
from llmring.registry.lists import Fetch, Fetched, utc_now
from llmring.registry.refresher import Refresher
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, answer
from tests.registry.lists import document, entry
from tests.registry.test_lists import bundled, got, lists, scripted
from tests.router.world import CHAIN, lockfile

Clock = trio.testing.MockClock


def priced(version: int, dollars: float) -> bytes:
    listed = entry("gpt-4", dollars_per_million_tokens_input=dollars, dollars_per_million_tokens_output=dollars)
    return json.dumps(document(listed, version=version)).encode()


async def test_a_new_list_is_published_as_a_new_catalog(tmp_path: Path, autojump_clock: Clock) -> None:
    fetch, asked = scripted(got(priced(2, 1.0)))
    published: list[Catalog] = []
    refresher = Refresher(lists(tmp_path, fetch, now=utc_now()), bundled(), published.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresher.run)
        await trio.sleep(10.0)
        assert [catalog.version("openai") for catalog in published] == [2]
        assert refresher.catalog is published[0]
        await trio.sleep(3600.0)
        assert len(asked) == 1
        await refresher.refresh()
        assert len(asked) == 2
        assert len(published) == 1
        nursery.cancel_scope.cancel()


async def test_a_dead_registry_is_asked_ever_more_rarely(tmp_path: Path, autojump_clock: Clock) -> None:
    times: list[float] = []

    async def fetch(path: str, etag: str | None = None) -> Fetched:
        times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise RegistryError(path, "dead")

    refresher = Refresher(lists(tmp_path, fetch), bundled(), lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresher.run)
        await trio.sleep(20_000.0)
        nursery.cancel_scope.cancel()
    gaps = [round(b - a) for a, b in pairwise(times)]
    assert gaps[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert refresher.problems == {"openai": "registry openai/models.json: dead"}


async def test_who_waits_for_a_refresh_is_let_go_when_the_actor_ends(tmp_path: Path, autojump_clock: Clock) -> None:
    async def fetch(path: str, etag: str | None = None) -> Fetched:
        await trio.sleep_forever()
        raise AssertionError

    refresher = Refresher(lists(tmp_path, fetch), bundled(), lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresher.run)
        with trio.move_on_after(100.0) as scope:
            await refresher.refresh()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


def no_fetch() -> Fetch | None:
    return None


async def test_without_the_network_what_is_on_disk_is_still_read(tmp_path: Path) -> None:
    Cache(tmp_path).write("openai", priced(2, 1.0), None, datetime(2026, 1, 1, tzinfo=UTC))
    published: list[Catalog] = []
    await Refresher(lists(tmp_path, no_fetch()), bundled(), published.append).run()
    assert [catalog.version("openai") for catalog in published] == [2]


ONE = CHAIN.replace("openai:first", "openai:gpt-4")


async def test_a_router_prices_by_the_newest_catalog_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TEST_KEY_A", "a")
    Cache(tmp_path / "llmring" / "registry").write("openai", priced(99, 7.0), None, utc_now())
    provider = ScriptedProvider({"gpt-4": [answer("ok", input_tokens=500_000, output_tokens=500_000)]})
    async with open_router(lockfile(ONE), connect=provider) as router:
        for _ in range(500):
            if router.catalog.version("openai") == 99:
                break
            # In a thread, of which nothing tells when it has read the file.
            await trio.sleep(0.01)
        response = await router.chat("alone", "hi")
    assert response.cost.usd == Decimal(7)


async def test_a_price_that_left_the_pin_is_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY_A", "a")
    pinned = ONE.replace('models = ["openai:gpt-4"]', 'models = ["openai:gpt-4"]\npins = { "openai:gpt-4" = "0" }')
    provider = ScriptedProvider({"gpt-4": [answer("ok")]})
    async with open_router(lockfile(pinned), connect=provider) as router:
        response = await router.chat("alone", "hi")
    assert [note.parameter for note in response.notes] == ["registry"]
    assert "openai:gpt-4 is not what the lockfile pins" in response.notes[0].why


async def test_a_registry_that_never_answers_delays_no_request(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On virtual time: not by a millisecond."""
    monkeypatch.setenv("TEST_KEY_A", "a")
    hanging: list[str] = []

    async def fetch(path: str, etag: str | None = None) -> Fetched:
        hanging.append(path)
        await trio.sleep_forever()
        raise AssertionError

    provider = ScriptedProvider({"first": [answer("ok", after=0.25)]})
    async with open_router(lockfile(), connect=provider, catalog=bundled()) as router, trio.open_nursery() as nursery:
        nursery.start_soon(Refresher(lists(tmp_path, fetch), bundled(), router.adopt).run)
        await trio.sleep(5.0)
        assert hanging == ["openai/models.json"]
        start = trio.current_time()
        await router.chat("alone", "hi")
        assert trio.current_time() - start == 0.25
        nursery.cancel_scope.cancel()
