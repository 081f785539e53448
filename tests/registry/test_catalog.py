"""registry/catalog.py: what a reference finds, and what stands in for what."""

from datetime import date
from decimal import Decimal

import pytest

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source

SOURCE = Source(provider="openai", version=7, published=date(2026, 8, 18))


def facts(name: str, *aliases: str, is_active: bool = True, usd: int | None = None) -> ModelFacts:
    return ModelFacts(
        ref=ModelRef("openai", name),
        display_name=name,
        model_aliases=aliases,
        is_active=is_active,
        prices=Prices(input=Decimal(usd), output=Decimal(usd)) if usd is not None else None,
        source=SOURCE,
    )


def found(catalog: Catalog, name: str, provider: str = "openai") -> str | None:
    model = catalog.get(ModelRef(provider, name))
    return model.ref.model if model is not None else None


def test_an_exact_name_comes_before_an_alias() -> None:
    catalog = Catalog([facts("gpt-5-2025", "gpt-5", "gpt-5-latest"), facts("gpt-5")])
    assert found(catalog, "gpt-5") == "gpt-5"
    assert found(catalog, "gpt-5-latest") == "gpt-5-2025"
    assert found(catalog, "gpt-5-2025") == "gpt-5-2025"


def test_what_the_registry_does_not_know_is_none() -> None:
    catalog = Catalog([facts("gpt-5")])
    assert found(catalog, "gpt-6") is None
    assert found(catalog, "gpt-5", "azure") is None
    assert catalog.prices(ModelRef("openai", "gpt-6")) is None
    assert catalog.prices(ModelRef("openai", "gpt-5")) is None


@pytest.mark.parametrize("order", [1, -1])
def test_an_alias_that_two_models_claim_is_the_active_one_and_then_the_latest(order: int) -> None:
    models = [facts("m-2024", "m"), facts("m-2025", "m"), facts("m-2026", "m", is_active=False)]
    assert found(Catalog(models[::order]), "m") == "m-2025"


def test_a_lower_case_entry_stands_in_for_its_upper_case_duplicate() -> None:
    catalog = Catalog([facts("GPT-4o", usd=9), facts("gpt-4o", usd=1)])
    assert found(catalog, "GPT-4o") == "gpt-4o"
    assert catalog.names("openai") == ("gpt-4o",)
    assert len(catalog) == 2


def test_an_upper_case_name_without_a_twin_is_itself() -> None:
    catalog = Catalog([facts("Qwen3-32B")])
    assert found(catalog, "Qwen3-32B") == "Qwen3-32B"
    assert found(catalog, "qwen3-32b") is None
    assert catalog.names("openai") == ("Qwen3-32B",)


def test_a_source_prints_as_provenance() -> None:
    assert str(SOURCE) == "llmring registry, openai version 7, 2026-08-18"
