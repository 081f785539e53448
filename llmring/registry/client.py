"""RegistryClient: a registry asked in so many words, by programs that want its lists and not a router.

The ladder of lists.py stands behind every answer. Errors are RegistryError; none is turned into a number. For trio.
"""

import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from llmring.config import read_registry_url, read_settings
from llmring.errors import RegistryError, RegistryStale
from llmring.refs import ModelRef
from llmring.registry.cache import Cache
from llmring.registry.catalog import ModelFacts
from llmring.registry.drift import Change, drift
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Held, Lists, utc_now
from llmring.registry.published import PublishedList
from llmring.registry.store import read_bundled

_LOG = logging.getLogger("llmring")


class RegistryClient:
    """`registry_url`: https, a `file://` directory, or http on this machine; by default LLMRING_REGISTRY_URL, then the
    public registry. `cache_dir`: by default the user's cache. Making one reads nothing."""

    def __init__(self, registry_url: str | None = None, cache_dir: Path | None = None) -> None:
        directory = cache_dir if cache_dir is not None else read_settings().cache_directory
        self.registry_url = read_registry_url(registry_url)
        self._lists = Lists(read_bundled(), Cache(directory), fetch_from(self.registry_url))

    async def fetch_current_models(self, provider: str, force_refresh: bool = False) -> list[ModelFacts]:
        """The models of a provider now: of a copy that is less than a day old, or of a new one."""
        return list((await self._current(provider, force=force_refresh)).list.models)

    async def fetch_version(self, provider: str, version: int) -> PublishedList:
        """A version of a provider's list; it never changes, so it is fetched once and kept."""
        return await self._lists.version(provider, version)

    async def get_current_version(self, provider: str) -> int:
        """The version of the newest list that is to be had; `get_source_info` says where it came from."""
        return (await self._current(provider)).list.version

    async def check_drift(self, provider: str, pinned_version: int) -> dict[str, Any]:
        """What changed since `pinned_version`: has_drift, pinned_version, current_version, versions_behind,
        added_models, removed_models, price_changes (input and output, in dollars per million tokens), and `changes`,
        which are all, as text."""
        current = (await self._current(provider)).list
        pinned = await self._lists.version(provider, pinned_version)
        changes = drift(pinned.models, current.models)
        return {
            "has_drift": bool(changes),
            "pinned_version": pinned_version,
            "current_version": current.version,
            "versions_behind": current.version - pinned_version,
            "added_models": [change.ref.model for change in changes if change.what == "added"],
            "removed_models": [change.ref.model for change in changes if change.what == "removed"],
            "price_changes": _price_changes(changes, pinned, current),
            "changes": [str(change) for change in changes],
        }

    async def validate_model(self, provider: str, model_name: str, version: int | None = None) -> bool:
        """Whether a model, or an alias of one, is in the registry and active. True, with a warning in the log, where
        there is no list of the provider at all: what is not known is not wrong."""
        try:
            found = (
                await self._lists.version(provider, version)
                if version is not None
                else (await self._current(provider)).list
            )
        except RegistryError as error:
            _LOG.warning("%s:%s cannot be checked: %s", provider, model_name, error)
            return True
        facts = next((f for f in found.models if model_name in (f.ref.model, *f.model_aliases)), None)
        return facts is not None and facts.is_active

    async def assert_fresh(self, provider: str, max_age_days: float, force_refresh: bool = True) -> None:
        """Raise RegistryStale when the provider's list was published more than `max_age_days` ago, or says not when."""
        published = (await self._current(provider, force=force_refresh)).list.published
        age = _age_days(published)
        if age is None or age > max_age_days:
            raise RegistryStale(provider, published, age)

    def clear_cache(self) -> None:
        """Delete what is kept on disk, and forget what is in memory."""
        self._lists.cache.clear()
        self._lists.forget()

    def invalidate_cache(self, provider: str | None = None) -> None:
        """Forget a provider's list, or all, so that the next question asks the network. Versions stay."""
        for name in [provider] if provider is not None else self._lists.providers():
            self._lists.cache.discard(name, "as told")
        self._lists.forget(provider)

    def get_source_info(self) -> dict[str, dict[str, Any]]:
        """By provider: version, origin ("network", "disk", "llmring's own snapshot"), fetched_at, problem."""
        info: dict[str, dict[str, Any]] = {}
        for provider in self._lists.providers():
            held = self._lists.at_hand(provider)
            assert held is not None, "it was just named"
            info[provider] = {
                "version": held.list.version,
                "origin": held.origin,
                "fetched_at": held.fetched_at,
                "problem": self._lists.problems.get(provider),
            }
        return info

    async def _current(self, provider: str, *, force: bool = False) -> Held:
        return await self._lists.current(provider, force=force)


def _age_days(published: date | None) -> float | None:
    if published is None:
        return None
    return (utc_now() - datetime(published.year, published.month, published.day, tzinfo=UTC)).total_seconds() / 86_400


def _price_changes(changes: tuple[Change, ...], pinned: PublishedList, current: PublishedList) -> list[dict[str, Any]]:
    """One entry a model whose input or output price has changed."""
    refs = dict.fromkeys(c.ref for c in changes if c.what == "price" and c.field in ("input", "output"))
    old, new = ({facts.ref: facts for facts in one.models} for one in (pinned, current))
    return [
        {
            "model": ref.model,
            "old_input_cost": _price(old, ref, "input"),
            "new_input_cost": _price(new, ref, "input"),
            "old_output_cost": _price(old, ref, "output"),
            "new_output_cost": _price(new, ref, "output"),
        }
        for ref in refs
    ]


def _price(models: dict[ModelRef, ModelFacts], ref: ModelRef, kind: str) -> Any:
    facts = models.get(ref)
    return getattr(facts.prices, kind) if facts is not None and facts.prices is not None else None
