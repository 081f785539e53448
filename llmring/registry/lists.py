"""A registry's lists, wherever they are: in memory, on disk, on the network, in the package. One object a registry.

    memory -> disk, 24 hours -> network -> disk, older -> what came with llmring

The newest version wins: a package that is newer than the copy on disk stands in for it. Tasks that want the same list
at the same time wait for one fetch.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import msgspec
import trio

from llmring.errors import RegistryError
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog
from llmring.registry.published import PublishedList, parse_published

_LOG = logging.getLogger("llmring")

FRESH = timedelta(hours=24)


Result = TypeVar("Result")
More = TypeVarTuple("More")


class Aside(Protocol):
    """Calls a function beside the event loop."""

    def __call__(self, work: Callable[[Unpack[More]], Result], /, *args: *More) -> Awaitable[Result]: ...


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A file. `data` None: it is the one that the ETag was of."""

    data: bytes | None
    etag: str | None


class Fetch(Protocol):
    """Gets `path` below a base address. Raises RegistryError."""

    async def __call__(self, path: str, etag: str | None = None) -> Fetched: ...


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A list at hand, and how it came here. `fetched_at` is UTC, None for what came with the package."""

    list: PublishedList
    origin: str
    etag: str | None = None
    fetched_at: datetime | None = None
    data: bytes | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether it need not be asked for again. A copy from the future is not trusted."""
        return self.fetched_at is not None and timedelta(0) <= now - self.fetched_at < FRESH


def utc_now() -> datetime:
    return datetime.now(UTC)


class Lists:
    """`bundled` is the catalog of last resort, `fetch` None where the network may not be asked, `clock` the time.

    `aside` does what blocks for some milliseconds, in a thread unless a test on virtual time has it done at once.
    """

    def __init__(
        self,
        bundled: Catalog,
        cache: Cache,
        fetch: Fetch | None,
        clock: Callable[[], datetime] = utc_now,
        aside: Aside = trio.to_thread.run_sync,
    ) -> None:
        self.cache = cache
        self.problems: dict[str, str] = {}
        self._bundled = {source.provider: source for source in bundled.sources}
        self._bundled_models = bundled.models
        self._fetch = fetch
        self._clock = clock
        self.aside = aside
        self._held: dict[str, Held] = {}
        self._locks: dict[str, trio.Lock] = {}

    @property
    def may_ask(self) -> bool:
        """Whether the network may be asked."""
        return self._fetch is not None

    def providers(self) -> tuple[str, ...]:
        """Those that there is a list of at hand."""
        return tuple(sorted({*self._bundled, *self._held}))

    def catalog(self) -> Catalog:
        """All lists at hand, as one. What is on disk is seen after `load`."""
        lists = [held.list for name in self.providers() if (held := self.at_hand(name)) is not None]
        models = [facts for one in lists for facts in one.models]
        return Catalog(models, [one.source for one in lists])

    def at_hand(self, provider: str) -> Held | None:
        """What is in memory, or in the package when that is newer."""
        held, source = self._held.get(provider), self._bundled.get(provider)
        if source is None or (held is not None and held.list.version >= source.version):
            return held
        models = tuple(facts for facts in self._bundled_models if facts.ref.provider == provider)
        whole = PublishedList(provider=provider, version=source.version, published=source.published, models=models)
        return Held(list=whole, origin="llmring's own snapshot")

    def load(self, provider: str) -> Held | None:
        """Read the copy on disk into memory, when there is none yet. Blocks for some milliseconds."""
        if provider in self._held:
            return self._held[provider]
        copy = self.cache.read(provider)
        if copy is None:
            return None
        try:
            found = parse_published(copy.data, f"the kept list of {provider}")
            _check_provider(found, provider, "the kept list")
        except RegistryError as error:
            self.cache.discard(provider, error.problem)
            return None
        held = Held(list=found, origin="disk", etag=copy.etag, fetched_at=copy.fetched_at, data=copy.data)
        self._held[provider] = held
        return held

    def load_all(self) -> None:
        """`load` what the package and the disk know of."""
        for provider in dict.fromkeys((*self._bundled, *self.cache.providers())):
            self.load(provider)

    async def current(self, provider: str, *, force: bool = False) -> Held:
        """The list by the ladder above; with `force` the network is asked though the copy is fresh.

        Raises RegistryError only where no list is to be had at all. Why the network could not help is in `problems`.
        """
        async with self._locks.setdefault(provider, trio.Lock()):
            held = self._held.get(provider) or await self.aside(self.load, provider)
            if self._fetch is not None and (force or held is None or not held.is_fresh(self._clock())):
                try:
                    await self._renew(provider, held, self._fetch)
                    self.problems.pop(provider, None)
                except RegistryError as error:
                    self.problems[provider] = str(error)
            found = self.at_hand(provider)
        if found is None:
            why = self.problems.get(provider, "there is no list of it, and the network is not asked")
            raise RegistryError(provider, why)
        return found

    async def _renew(self, provider: str, held: Held | None, fetch: Fetch) -> None:
        path = f"{provider}/models.json"
        fetched = await fetch(path, held.etag if held is not None else None)
        now = self._clock()
        if fetched.data is None:
            if held is None or held.data is None:
                raise RegistryError(path, "said that nothing has changed, to somebody who has nothing")
            new = msgspec.structs.replace(held, fetched_at=now, origin="network")
        else:
            found = await self.aside(parse_published, fetched.data, path)
            _check_provider(found, provider, path)
            new = Held(list=found, origin="network", etag=fetched.etag, fetched_at=now, data=fetched.data)
            _LOG.info("registry: %s is at version %d", provider, found.version)
        self._held[provider] = new
        assert new.data is not None, "it came with its bytes"
        await self.aside(self.cache.write, provider, new.data, new.etag, now)

    async def version(self, provider: str, version: int) -> PublishedList:
        """A version, which never changes: from memory, disk, or the network once and for all. Raises RegistryError."""
        held = await self.aside(self.version_at_hand, provider, version)
        if held is not None:
            return held
        if self._fetch is None:
            raise RegistryError(provider, f"version {version} is not on disk, and the network is not asked")
        path = f"{provider}/v/{version}/models.json"
        fetched = await self._fetch(path)
        found = parse_published(fetched.data or b"", path)
        _check_provider(found, provider, path)
        if found.version != version:
            raise RegistryError(path, f"is version {found.version}, not {version}")
        await self.aside(self.cache.write_version, provider, version, fetched.data or b"")
        return found

    def version_at_hand(self, provider: str, version: int) -> PublishedList | None:
        """A version without the network; None where it is not here. Blocks for some milliseconds."""
        for held in (self.load(provider), self.at_hand(provider)):
            if held is not None and held.list.version == version:
                return held.list
        data = self.cache.read_version(provider, version)
        if data is None:
            return None
        try:
            found = parse_published(data, f"the kept version {version} of {provider}")
        except RegistryError:
            # Fetched again when it is asked for, and replaced.
            return None
        return found if (found.provider, found.version) == (provider, version) else None

    def keep_version(self, provider: str) -> None:
        """Keep the list at hand as its version, so that what is pinned now can be compared for ever."""
        held = self.load(provider)
        if held is not None and held.data is not None and held is self.at_hand(provider):
            self.cache.write_version(provider, held.list.version, held.data)

    def forget(self, provider: str | None = None) -> None:
        """Drop what is in memory, of one provider or of all."""
        for name in [provider] if provider is not None else list(self._held):
            self._held.pop(name, None)


def _check_provider(found: PublishedList, provider: str, place: str) -> None:
    if found.provider != provider:
        raise RegistryError(place, f"is a list of {found.provider!r}, not of {provider!r}")
