"""A small registry of our own, and lockfiles that use it."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmring.lockfile import Lockfile, parse_lockfile
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source

TODAY = date(2026, 6, 1)

OPENAI = Source(provider="openai", version=7, published=date(2026, 5, 1))
ANTHROPIC = Source(provider="anthropic", version=4, published=date(2026, 5, 2))


def facts(text: str, cost: str | None = "1", **fields: Any) -> ModelFacts:
    """A model whose every token costs the same."""
    ref = ModelRef.parse(text)
    price = None if cost is None else Prices(input=Decimal(cost), output=Decimal(cost))
    known: dict[str, Any] = {"max_input_tokens": 100_000, "capabilities": frozenset({"tools"}), **fields}
    source = OPENAI if ref.provider == "openai" else ANTHROPIC
    return ModelFacts(ref=ref, display_name=text, prices=price, source=source, **known)


MODELS = (
    facts("openai:alpha-3", "8", model_aliases=("alpha",)),
    facts("openai:alpha-2", "6"),
    facts("openai:beta-mini-3", "1", capabilities=frozenset({"tools", "vision"})),
    facts("openai:old-1", is_active=False),
    facts("openai:gone-1", deprecated_date=date(2026, 5, 1)),
    facts("openai:going-1", deprecated_date=date(2026, 6, 20)),
    facts("openai:embed-3", is_chat=False),
    facts("openai:alpha-4-preview", "9", is_preview=True),
    facts("openai:priceless-3", None),
    facts("anthropic:gamma-5", "4", max_input_tokens=500_000),
    facts("anthropic:delta-5", "2", max_input_tokens=None),
)
CATALOG = Catalog(MODELS, (OPENAI, ANTHROPIC))


def lockfile(text: str) -> Lockfile:
    return parse_lockfile(text, Path("llmring.lock"))


def keys(*providers: str) -> Callable[[str], str | None]:
    """The keys of these providers are there."""
    return lambda provider: None if provider in providers else f"no key: set {provider.upper()}_API_KEY"
