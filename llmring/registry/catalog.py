"""What models can do and cost: the immutable catalog that the router looks things up in.

Values and lookups only; where they come from is the business of store.py. A model that is not here is not wrong: the
registry does not know it.
"""

from collections.abc import Iterable
from datetime import date

import msgspec

from llmring.pricing import Prices
from llmring.refs import ModelRef


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fact comes from: a version of the registry's list for one provider, and the day it was published."""

    provider: str
    version: int
    published: date

    def __str__(self) -> str:
        return f"llmring registry, {self.provider} version {self.version}, {self.published}"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says of one model. None: it does not say.

    `max_input_tokens` is as published: mostly the context window less the longest output, now and then swapped with
    `max_output_tokens`. `capabilities` are those it affirms (`vision`, `tools`, `temperature`, ...; the full list is
    in store.py). `endpoint` is its word for the API ("chat", "responses", "embeddings", "generateContent").
    `recommended_reasoning_tokens` is the least that a reasoning model should be given.
    """

    ref: ModelRef
    display_name: str
    model_aliases: tuple[str, ...] = ()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    prices: Prices | None = None
    is_active: bool = True
    release_date: date | None = None
    deprecated_date: date | None = None
    endpoint: str | None = None
    capabilities: frozenset[str] = frozenset()
    recommended_reasoning_tokens: int | None = None
    source: Source


class Catalog:
    """Models by reference. Immutable: a newer registry is a new Catalog."""

    __slots__ = ("_by_ref", "models", "sources")

    def __init__(self, models: Iterable[ModelFacts], sources: Iterable[Source] = ()) -> None:
        self.models = tuple(models)
        self.sources = tuple(sources)
        self._by_ref = _index(self.models)

    def get(self, ref: ModelRef) -> ModelFacts | None:
        """The facts of `ref`, by its exact name or else by one of its aliases."""
        return self._by_ref.get(ref)

    def prices(self, ref: ModelRef) -> Prices | None:
        facts = self._by_ref.get(ref)
        return facts.prices if facts is not None else None

    def names(self, provider: str) -> tuple[str, ...]:
        """The names of a provider's models, sorted, without aliases."""
        return tuple(
            sorted(m.ref.model for m in self.models if m.ref.provider == provider and self._by_ref[m.ref] is m)
        )

    def __len__(self) -> int:
        """How many entries the registry has, those included that another entry stands in for."""
        return len(self.models)


def _index(models: tuple[ModelFacts, ...]) -> dict[ModelRef, ModelFacts]:
    exact = {facts.ref: facts for facts in models}
    index: dict[ModelRef, ModelFacts] = {}
    # Several models may claim one alias: an active one before an inactive one, then the latest by name, which ends
    # in its date. Sorted so that the best is written last.
    for facts in sorted(models, key=lambda facts: (facts.is_active, facts.ref.model)):
        for alias in facts.model_aliases:
            index[ModelRef(facts.ref.provider, alias)] = facts
    for ref, facts in exact.items():
        # `GPT-4o` beside `gpt-4o` is a leftover of a display name (its output price is the input price): the
        # lower-case entry stands in for it.
        index[ref] = exact.get(ModelRef(ref.provider, ref.model.lower()), facts)
    return index
