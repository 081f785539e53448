"""The ladder: memory, disk, network, an older disk, the package. Over real sockets where it asks."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio

from llmring.errors import RegistryError
from llmring.registry import fetch as fetching
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Fetch, Fetched, Lists
from tests.registry.lists import document, entry, parse
from tests.registry.serving import reply, serving

Result = TypeVar("Result")
More = TypeVarTuple("More")

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def listed(version: int, *names: str) -> bytes:
    return json.dumps(document(*(entry(name) for name in names or ("gpt-5",)), version=version)).encode()


def bundled(version: int = 1) -> Catalog:
    found = parse(entry("gpt-4"), version=version)
    return Catalog(found.models, [found.source])


def lists(directory: Path | None, fetch: Fetch | None, version: int = 1, now: datetime = NOW) -> Lists:
    return Lists(bundled(version), Cache(directory), fetch, lambda: now, at_once)


async def at_once(work: Callable[[Unpack[More]], Result], /, *args: *More) -> Result:
    """Virtual time does not wait for threads."""
    await trio.lowlevel.checkpoint()
    return work(*args)


def scripted(*answers: Fetched | RegistryError) -> tuple[Fetch, list[tuple[str, str | None]]]:
    """Gives one answer after the other; the last one repeats."""
    asked: list[tuple[str, str | None]] = []
    rest = list(answers)

    async def fetch(path: str, etag: str | None = None) -> Fetched:
        asked.append((path, etag))
        await trio.sleep(1.0)
        told = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(told, RegistryError):
            raise told
        return told

    return fetch, asked


def got(data: bytes | None, etag: str | None = None) -> Fetched:
    return Fetched(data=data, etag=etag)


async def test_a_list_is_fetched_once_kept_and_asked_for_again_when_it_is_a_day_old(
    tmp_path: Path, autojump_clock: object
) -> None:
    fetch, asked = scripted(got(listed(3), '"a"'), got(None))
    first = await lists(tmp_path, fetch).current("openai")
    assert (first.list.version, first.origin) == (3, "network")
    again = await lists(tmp_path, fetch, now=NOW + timedelta(hours=23)).current("openai")
    assert (again.list.version, again.origin) == (3, "disk")
    assert asked == [("openai/models.json", None)]
    later = lists(tmp_path, fetch, now=NOW + timedelta(hours=25))
    assert (await later.current("openai")).list.version == 3
    assert asked[1:] == [("openai/models.json", '"a"')]
    assert (await later.current("openai")).fetched_at == NOW + timedelta(hours=25)
    assert len(asked) == 2


async def test_a_copy_from_the_future_is_not_fresh(tmp_path: Path, autojump_clock: object) -> None:
    fetch, asked = scripted(got(listed(3)))
    await lists(tmp_path, fetch, now=NOW + timedelta(days=3)).current("openai")
    await lists(tmp_path, fetch, now=NOW).current("openai")
    assert len(asked) == 2


async def test_a_dead_registry_leaves_the_old_copy_and_then_the_package(tmp_path: Path, autojump_clock: object) -> None:
    dead, _ = scripted(RegistryError("https://x", "cannot be reached"))
    none = lists(tmp_path, dead)
    assert (await none.current("openai")).origin == "llmring's own snapshot"
    assert none.problems == {"openai": "registry https://x: cannot be reached"}
    fetch, _ = scripted(got(listed(3)))
    await lists(tmp_path, fetch).current("openai")
    old = await lists(tmp_path, dead, now=NOW + timedelta(days=9)).current("openai")
    assert (old.list.version, old.origin) == (3, "disk")
    with pytest.raises(RegistryError, match="cannot be reached"):
        await lists(tmp_path, dead).current("elsewhere")


async def test_a_package_that_is_newer_than_the_copy_stands_in_for_it(tmp_path: Path, autojump_clock: object) -> None:
    fetch, _ = scripted(got(listed(3)))
    await lists(tmp_path, fetch).current("openai")
    newer = lists(tmp_path, None, version=4)
    newer.load_all()
    assert newer.catalog().version("openai") == 4


async def test_tasks_that_want_the_same_list_wait_for_one_fetch(tmp_path: Path, autojump_clock: object) -> None:
    fetch, asked = scripted(got(listed(3)))
    shared = lists(tmp_path, fetch)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(shared.current, "openai")
    assert len(asked) == 1


async def test_a_fetch_that_is_cancelled_leaves_everything_as_it_was(tmp_path: Path, autojump_clock: object) -> None:
    fetch, asked = scripted(got(listed(3)))
    shared = lists(tmp_path, fetch)
    with trio.move_on_after(0.5) as scope:
        await shared.current("openai")
    assert scope.cancelled_caught
    assert (await shared.current("openai")).list.version == 3
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html>", "no registry list: not JSON"),
        (json.dumps(document(entry(), provider="google")).encode(), "is a list of 'google', not of 'openai'"),
        (None, "said that nothing has changed, to somebody who has nothing"),
    ],
)
async def test_an_answer_that_is_no_list_changes_nothing(
    tmp_path: Path, autojump_clock: object, data: bytes | None, problem: str
) -> None:
    fetch, _ = scripted(got(data))
    shared = lists(tmp_path, fetch)
    assert (await shared.current("openai")).list.version == 1
    assert problem in shared.problems["openai"]
    assert Cache(tmp_path).read("openai") is None


async def test_a_copy_that_is_no_list_is_discarded(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("openai", b"{}", None, NOW)
    shared = lists(tmp_path, None)
    assert (await shared.current("openai")).list.version == 1
    assert cache.read("openai") is None


async def test_a_version_is_fetched_once_and_for_all(tmp_path: Path, autojump_clock: object) -> None:
    fetch, asked = scripted(got(listed(2)))
    assert (await lists(tmp_path, fetch).version("openai", 2)).version == 2
    assert (await lists(tmp_path, None).version("openai", 2)).version == 2
    assert (await lists(tmp_path, None).version("openai", 1)).version == 1
    assert asked == [("openai/v/2/models.json", None)]
    with pytest.raises(RegistryError, match="version 7 is not on disk, and the network is not asked"):
        await lists(tmp_path, None).version("openai", 7)
    with pytest.raises(RegistryError, match="is version 2, not 5"):
        await lists(tmp_path, fetch).version("openai", 5)


async def test_what_is_pinned_now_can_be_kept_as_its_version(tmp_path: Path, autojump_clock: object) -> None:
    fetch, _ = scripted(got(listed(3)), got(listed(4)))
    shared = lists(tmp_path, fetch)
    await shared.current("openai")
    shared.keep_version("openai")
    await shared.current("openai", force=True)
    assert (await lists(tmp_path, None).version("openai", 3)).version == 3


# Over sockets.


async def test_etags_redirects_and_passing_failures_over_a_socket(tmp_path: Path) -> None:
    failures = iter(["503 Service Unavailable", "429 Too Many Requests"])

    def answer(path: str, headers: dict[str, str]) -> bytes:
        if path == "/openai/models.json":
            status = next(failures, None)
            return reply(status) if status is not None else reply("302 Found", location="/moved.json")
        if headers.get("if-none-match") == '"v3"':
            return reply("304 Not Modified")
        return reply("200 OK", listed(3), etag='"v3"')

    async with serving(answer) as (url, asked):
        shared = lists(tmp_path, fetch_from(url))
        assert (await shared.current("openai")).list.version == 3
        assert [path for path, _ in asked] == ["/openai/models.json"] * 3 + ["/moved.json"]
        assert (await shared.current("openai", force=True)).list.version == 3
        assert asked[-1][1]["if-none-match"] == '"v3"'
    assert shared.problems == {}


BAD: list[tuple[Callable[[str, dict[str, str]], bytes], str]] = [
    (lambda *_: reply("404 Not Found"), "HTTP 404"),
    (lambda *_: reply("200 OK", b"x" * 5000), "is longer than 4096 bytes"),
    (lambda *_: reply("302 Found", location="http://example.com/"), "redirects to an address that is not https"),
    (lambda path, _: reply("302 Found", location=path), "redirects more than 3 times"),
    (lambda *_: b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf", "cannot be reached"),
    (lambda *_: b"nonsense\r\n\r\n", "cannot be reached"),
    (lambda *_: reply("500 Oh"), "HTTP 500"),
]


@pytest.mark.parametrize(("answer", "problem"), BAD)
async def test_whatever_a_registry_does_becomes_our_error(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, dict[str, str]], bytes], problem: str
) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 4096)
    async with serving(answer) as (url, _):
        with pytest.raises(RegistryError) as caught:
            await fetch_from(url)("openai/models.json")
    assert problem in str(caught.value)


async def test_a_registry_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WHOLE_SECONDS", 0.2)
    async with serving(lambda *_: None) as (url, _):
        with pytest.raises(RegistryError, match="no answer within"):
            await fetch_from(url)("openai/models.json")


async def test_nobody_listening_is_our_error() -> None:
    async with serving(lambda *_: None) as (url, _):
        pass
    with pytest.raises(RegistryError, match="cannot be reached"):
        await fetch_from(url)("openai/models.json")


async def test_a_directory_is_a_registry(tmp_path: Path) -> None:
    place = tmp_path / "my registry" / "openai"
    place.mkdir(parents=True)
    (place / "models.json").write_bytes(listed(5))
    shared = lists(None, fetch_from((tmp_path / "my registry").as_uri()))
    assert (await shared.current("openai")).list.version == 5
    with pytest.raises(RegistryError, match="no such file"):
        await shared.version("openai", 6)
