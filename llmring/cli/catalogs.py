"""Which catalog the commands look models up in. Needs no key and no network."""

from collections.abc import Sequence

from llmring.cli.running import Failed
from llmring.errors import RegistryError
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.store import read_bundled


def current_catalog() -> Catalog:
    """The newest catalog on this machine. Raises Failed when what came with the package is damaged."""
    try:
        return read_bundled()
    except RegistryError as error:
        raise Failed(error) from error


def pinned_models(catalog: Catalog, provider: str, version: int, *, offline: bool) -> Sequence[ModelFacts] | None:
    """The models of a provider in a version of the registry; None where that cannot be had."""
    if catalog.version(provider) == version:
        return [facts for facts in catalog.models if facts.ref.provider == provider]
    return None
