"""What a new lockfile binds."""

from llmring.registry.catalog import Catalog
from llmring.registry.store import read_bundled
from llmring.review.proposals import PROPOSED, propose
from tests.review.models import CATALOG, TODAY


def test_every_alias_has_a_model_of_every_provider_that_has_a_fit_one() -> None:
    proposed = propose(CATALOG, ("openai", "anthropic"), TODAY)
    assert [str(ref) for ref in proposed["fast"]] == ["openai:beta-mini-3", "anthropic:delta-5"]
    assert [str(ref) for ref in proposed["deep"]] == ["openai:alpha-3", "anthropic:gamma-5"]
    assert [str(ref) for ref in proposed["long_context"]] == ["openai:beta-mini-3", "anthropic:gamma-5"]


def test_nothing_is_proposed_without_a_provider() -> None:
    assert propose(CATALOG, (), TODAY) == {}
    assert propose(Catalog(()), ("openai",), TODAY) == {}


def test_what_is_proposed_from_the_real_registry_is_active_for_chat_and_no_preview() -> None:
    catalog = read_bundled()
    proposed = propose(catalog, catalog.providers(), TODAY)
    assert set(proposed) == set(PROPOSED)
    for refs in proposed.values():
        assert len({ref.provider for ref in refs}) == len(refs) >= 2
        for ref in refs:
            found = catalog.get(ref)
            assert found is not None
            assert found.is_active
            assert found.is_chat
            assert not found.is_preview
