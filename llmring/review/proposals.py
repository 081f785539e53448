"""What a new lockfile binds: sensible aliases for the providers whose keys are there. Pure.

Chat models only, active, of the current generation and no previews; every alias with a fallback from another provider,
where there is one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, blended_usd
from llmring.registry.generations import generation, newest

Best = Callable[[Sequence[ModelFacts]], ModelFacts]
"""Of a provider's models of today, the best first, those that are fit; at least one."""


def _first(models: Sequence[ModelFacts]) -> ModelFacts:
    return models[0]


def _cheapest(models: Sequence[ModelFacts]) -> ModelFacts:
    return min(models, key=_cost)


def _middle(models: Sequence[ModelFacts]) -> ModelFacts:
    """Of the provider's latest generation, whose names may not be told apart otherwise."""
    latest = max(generation(facts.ref.model).number for facts in models)
    newest_ones = sorted((facts for facts in models if generation(facts.ref.model).number == latest), key=_cost)
    return newest_ones[(len(newest_ones) - 1) // 2]


def _longest(models: Sequence[ModelFacts]) -> ModelFacts:
    return max(models, key=lambda facts: (facts.max_input_tokens or 0, -_cost(facts)))


def _cost(facts: ModelFacts) -> Decimal:
    return blended_usd(facts) or Decimal(0)


PROPOSED: Mapping[str, tuple[str | None, Best]] = {
    "fast": ("tools", _cheapest),
    "balanced": ("tools", _middle),
    "deep": (None, _first),
    "long_context": (None, _longest),
    "vision": ("vision", _middle),
    "json": ("json_schema", _cheapest),
}
"""By alias, the capability that its models must not be denied, and which of those that are fit is taken."""


def propose(catalog: Catalog, providers: Sequence[str], today: date) -> dict[str, tuple[ModelRef, ...]]:
    """Models by alias, one of each of `providers`, in their order. Empty when none of them has a model."""
    proposed: dict[str, tuple[ModelRef, ...]] = {}
    for alias, (capability, best) in PROPOSED.items():
        fit = {name: _fit(_candidates(catalog, name, today), capability) for name in providers}
        refs = tuple(best(models).ref for models in fit.values() if models)
        if refs:
            proposed[alias] = refs
    return proposed


def _fit(models: Sequence[ModelFacts], capability: str | None) -> list[ModelFacts]:
    """What the registry is silent about is left in: of too many models it says too little."""
    return [facts for facts in models if capability is None or facts.says(capability) is not False]


def _candidates(catalog: Catalog, provider: str, today: date) -> list[ModelFacts]:
    """Those with a price: one that is not known could be any."""
    return [
        facts
        for facts in newest(catalog, provider)
        if blended_usd(facts) is not None and (facts.deprecated_date is None or facts.deprecated_date > today)
    ]
