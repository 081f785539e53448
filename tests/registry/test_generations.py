"""registry/generations.py: the newest of every tier, from names alone."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source
from llmring.registry.generations import Generation, current_generation, generation, newest
from llmring.registry.store import read_bundled

SOURCE = Source(provider="openai", version=7, published=date(2026, 8, 18))


def model(name: str, usd: int | None = None, **fields: Any) -> ModelFacts:
    prices = Prices(input=Decimal(usd), output=Decimal(usd)) if usd is not None else None
    return ModelFacts(ref=ModelRef("openai", name), display_name=name, prices=prices, source=SOURCE, **fields)


def names(*models: ModelFacts) -> list[str]:
    return [facts.ref.model for facts in newest(Catalog(models), "openai")]


@pytest.mark.parametrize(
    ("name", "tier", "number", "stamp"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku", (4, 5), "20251001"),
        ("claude-3-5-haiku-20241022", "claude-haiku", (3, 5), "20241022"),
        ("claude-opus-5", "claude-opus", (5,), ""),
        ("gpt-5.4-mini", "gpt-mini", (5, 4), ""),
        ("gpt-4o-2024-08-06", "gpt", (4,), "2024-08-06"),
        ("gpt-4-0613", "gpt", (4,), "0613"),
        ("gpt-5.2-chat-latest", "gpt-chat", (5, 2), ""),
        ("o4-mini", "o-mini", (4,), ""),
        ("o3", "o", (3,), ""),
        ("gemini-2.0-flash-001", "gemini-flash", (2, 0), "001"),
        ("models/gemini-3.7-flash", "gemini-flash", (3, 7), ""),
        ("mistral-large-2512", "mistral-large", (), "2512"),
        ("qwen3-32b", "qwen-32b", (3,), ""),
    ],
)
def test_a_name_says_tier_generation_and_date(name: str, tier: str, number: tuple[int, ...], stamp: str) -> None:
    assert generation(name) == Generation(tier=tier, number=number, stamp=stamp)


def test_the_later_generation_stands_for_its_tier() -> None:
    assert names(model("gpt-5"), model("gpt-5.1"), model("gpt-4o"), model("gpt-5-mini")) == ["gpt-5.1", "gpt-5-mini"]


def test_of_one_generation_the_entry_without_a_date_stands_and_else_the_latest() -> None:
    assert names(model("gpt-5-2025-08-07"), model("gpt-5")) == ["gpt-5"]
    assert names(model("gpt-5-2025-08-07"), model("gpt-5-2026-01-01")) == ["gpt-5-2026-01-01"]


def test_what_is_gone_no_chat_or_a_preview_does_not_count() -> None:
    left = (
        model("a-2", is_active=False),
        model("b-2", is_chat=False),
        model("c-2-preview", is_preview=True),
    )
    assert names(*left, model("a-1"), model("b-1"), model("c-1")) == ["a-1", "b-1", "c-1"]


def test_the_best_comes_first() -> None:
    models = (model("a-1", 9), model("b-2", 1), model("c-2", 5), model("d-2"), model("e-2", 5))
    assert names(*models) == ["c-2", "e-2", "b-2", "d-2", "a-1"]


def test_a_model_is_of_the_current_generation_when_it_stands_for_its_tier() -> None:
    old, new = model("gpt-5"), model("gpt-5.1")
    catalog = Catalog([old, new])
    assert current_generation(new, catalog)
    assert not current_generation(old, catalog)
    assert newest(catalog, "nobody") == ()


def test_the_bundled_catalog_has_one_current_model_for_every_tier() -> None:
    catalog = read_bundled()
    assert [facts.ref.model for facts in newest(catalog, "anthropic")] == [
        "claude-fable-5",
        "claude-mythos-5",
        "claude-opus-5",
        "claude-sonnet-5",
        "claude-haiku-4-5-20251001",
    ]
    for provider in catalog.providers():
        found = newest(catalog, provider)
        tiers = [generation(facts.ref.model).tier for facts in found]
        assert len(tiers) == len(set(tiers)) > 0
        assert not any(re.search("embed|preview|tts|live", facts.ref.model) for facts in found)
