"""The registry as the commands know it: what came with llmring, or a newer copy on disk. No network unless told so."""

from collections.abc import Sequence

from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.store import read_bundled


def current_catalog() -> Catalog:
    """Raises RegistryError."""
    return read_bundled()


def pinned_models(catalog: Catalog, provider: str, version: int, *, offline: bool) -> Sequence[ModelFacts] | None:
    """The models of a provider in a version of the registry; None where that cannot be had."""
    if catalog.version(provider) == version:
        return [facts for facts in catalog.models if facts.ref.provider == provider]
    return None
