"""registry/catalog.py: what a reference finds, and what stands in for what."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source, blended_usd

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


def other(name: str, provider: str = "google", **fields: Any) -> ModelFacts:
    source = Source(provider=provider, version=5, published=None)
    return ModelFacts(ref=ModelRef(provider, name), display_name=name, source=source, **fields)


MIXED = Catalog(
    [
        facts("gpt-5", "gpt-5-latest"),
        facts("gpt-5-mini"),
        facts("GPT-5"),
        facts("o3"),
        other("gemini-3.7-flash", family="gemini-3"),
        other("gemini-3.5-flash", family="gemini-3"),
        other("gemini-2.5-pro", family="gemini-2.5"),
    ],
    [SOURCE],
)


def test_a_catalog_lists_its_providers_and_their_versions() -> None:
    assert MIXED.providers() == ("google", "openai")
    assert MIXED.version("openai") == 7
    assert MIXED.version("google") is None


def test_aliases_are_listed_with_what_they_mean() -> None:
    assert MIXED.aliases("openai") == {"gpt-5-latest": ModelRef("openai", "gpt-5")}
    assert MIXED.aliases("nobody") == {}


def test_families_are_the_registrys() -> None:
    assert {family: len(models) for family, models in MIXED.families("google").items()} == {
        "gemini-2.5": 1,
        "gemini-3": 2,
    }
    assert MIXED.families("openai") == {}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("openai:*", ["gpt-5", "gpt-5-mini", "o3"]),
        ("openai:gpt-5*", ["gpt-5", "gpt-5-mini"]),
        ("openai:gpt-5", ["gpt-5"]),
        ("openai:gpt-5-latest", []),
        ("google:gemini-3.[57]-*", ["gemini-3.5-flash", "gemini-3.7-flash"]),
        ("azure:*", []),
        ("*:o3", ValueError),
        ("gpt-5*", ValueError),
    ],
)
def test_a_pattern_matches_models_of_one_provider(pattern: str, names: list[str] | type[Exception]) -> None:
    if isinstance(names, list):
        assert [facts.ref.model for facts in MIXED.matching(pattern)] == names
    else:
        with pytest.raises(names):
            MIXED.matching(pattern)


@pytest.mark.parametrize(
    ("meant", "nearest"),
    [
        ("openai:gpt5", "openai:gpt-5"),
        ("openai:gpt-5-latst", "openai:gpt-5-latest"),
        ("google:gemini-3.7-flsh", "google:gemini-3.7-flash"),
        ("openai:gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("opnai:gpt-5-mini", "openai:gpt-5-mini"),
        ("ollama:llama3.3:70b", None),
    ],
)
def test_what_was_meant_is_guessed(meant: str, nearest: str | None) -> None:
    found = MIXED.nearest(ModelRef.parse(meant))
    assert (str(found) if found is not None else None) == nearest


def test_a_blended_price_is_three_parts_input_and_one_part_output() -> None:
    model = msgspec.structs.replace(facts("m"), prices=Prices(input=Decimal("1.25"), output=Decimal(10)))
    assert blended_usd(model) == Decimal("3.4375")
    assert blended_usd(facts("m")) is None
    assert blended_usd(msgspec.structs.replace(model, prices=Prices(input=Decimal(1)))) is None


def test_a_source_without_a_day_says_so() -> None:
    assert str(other("m").source) == "llmring registry, google version 5, undated"
