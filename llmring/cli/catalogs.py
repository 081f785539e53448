"""The registry as the commands know it: what came with llmring, or a newer copy on disk.

No key is needed; the network is asked only for a pinned version that is not here, and only where that is allowed.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from llmring.cli.running import Failed, note, run_trio
from llmring.config import read_registry_url, read_settings
from llmring.errors import RegistryError
from llmring.registry.cache import Cache
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.lists import Fetch, Lists
from llmring.registry.store import read_bundled


def current_catalog() -> Catalog:
    """The newest catalog on this machine. Raises Failed when what came with the package is damaged."""
    return _lists(offline=True).catalog()


def pinned_models(provider: str, version: int, *, offline: bool) -> Sequence[ModelFacts] | None:
    """The models of a provider in a version of the registry; None where that cannot be had, which is noted."""
    lists = _lists(offline=offline or not read_settings().refresh)
    found = lists.version_at_hand(provider, version)
    if found is None and lists.may_ask:
        try:
            found = run_trio(partial(lists.version, provider, version))
        except Failed as error:
            note(f"version {version} of {provider} cannot be had: {error}")
    return found.models if found is not None else None


def keep_pinned(providers: Iterable[str]) -> None:
    """Keep the lists of today as versions, so that they can be compared when newer ones have come."""
    lists = _lists(offline=True)
    for provider in providers:
        lists.keep_version(provider)


def _lists(*, offline: bool) -> Lists:
    try:
        lists = Lists(read_bundled(), Cache(read_settings().cache_directory), None if offline else _fetch())
    except RegistryError as error:
        raise Failed(error) from error
    lists.load_all()
    return lists


def _fetch() -> Fetch:
    # Only now: it brings an HTTP client along.
    from llmring.registry.fetch import fetch_from

    return fetch_from(read_registry_url())
