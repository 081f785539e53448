"""What models can do and cost: the immutable catalog that the router looks things up in.

Values and lookups only; where they come from is the business of store.py and published.py. A model that is not here is
not wrong: the registry does not know it.
"""

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from llmring.pricing import Prices, RuledPrices, ruled
from llmring.refs import ModelRef

Json: TypeAlias = "bool | int | Decimal | str | list[Json] | dict[str, Json] | None"
"""A JSON value whose fractions were read as Decimal."""

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "vision": "supports_vision",
        "pdf": "supports_pdf_input",
        "documents": "supports_documents",
        "audio": "supports_audio",
        "tools": "supports_function_calling",
        "parallel_tools": "supports_parallel_tool_calls",
        "tool_choice": "supports_tool_choice",
        "json": "supports_json_mode",
        "json_schema": "supports_json_schema",
        "streaming": "supports_streaming",
        "temperature": "supports_temperature",
        "system": "supports_system_message",
        "reasoning": "is_reasoning_model",
        "thinking": "supports_thinking",
        "caching": "supports_caching",
        "logprobs": "supports_logprobs",
        "several_answers": "supports_multiple_responses",
    }
)
"""Our names of capabilities, and the registry's flags that affirm them."""

_NEAR = 0.6
_WEIGHT_IN, _WEIGHT_ALL = 3, 4


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fact comes from: a version of `origin`'s list for one provider, and the day it was published.

    `published` None: the list does not say.
    """

    origin: str = "llmring registry"
    provider: str
    version: int
    published: date | None

    def __str__(self) -> str:
        return f"{self.origin}, {self.provider} version {self.version}, {self.published or 'undated'}"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says of one model. None: it does not say.

    `max_input_tokens` is as published: mostly the context window less the longest output. `capabilities` are those it
    affirms, of the names in CAPABILITIES; on those in `unstated` it is silent, the others it denies. `endpoint` is its
    word for the API ("chat", "responses", "embeddings", "generateContent"). `is_chat`: answers a plain conversation;
    `is_preview`: named as a preview or an experiment (anomalies.py decides both). `cache_storage_usd`: dollars per
    million cached tokens and hour. `recommended_reasoning_tokens` is the least that a reasoning model should be given.
    `deprecated_date`: when it is shut down, or was. `fields`: what else is published of it, by the registry's names.
    `source` holds for every fact of the entry.
    """

    ref: ModelRef
    display_name: str
    model_aliases: tuple[str, ...] = ()
    family: str | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    prices: Prices | None = None
    cache_storage_usd: Decimal | None = None
    is_active: bool = True
    is_chat: bool = True
    is_preview: bool = False
    release_date: date | None = None
    added_date: date | None = None
    deprecated_date: date | None = None
    endpoint: str | None = None
    capabilities: frozenset[str] = frozenset()
    unstated: frozenset[str] = frozenset()
    recommended_reasoning_tokens: int | None = None
    fields: Mapping[str, Json] = MappingProxyType({})
    source: Source

    def says(self, capability: str) -> bool | None:
        """Whether the registry affirms or denies `capability`; None where it is silent."""
        return None if capability in self.unstated else capability in self.capabilities


class Catalog:
    """Models by reference. Immutable: a newer registry is a new Catalog."""

    __slots__ = ("_by_ref", "_prices", "models", "sources")

    def __init__(self, models: Iterable[ModelFacts], sources: Iterable[Source] = ()) -> None:
        self.models = tuple(models)
        self.sources = tuple(sources)
        self._by_ref = _index(self.models)
        self._prices: dict[ModelRef, RuledPrices] = {}

    def get(self, ref: ModelRef) -> ModelFacts | None:
        """The facts of `ref`, by its exact name or else by one of its aliases."""
        return self._by_ref.get(ref)

    def prices(self, ref: ModelRef) -> RuledPrices | None:
        """What `ref` is billed by: the registry's prices under its provider's rule (billing.py)."""
        facts = self._by_ref.get(ref)
        if facts is None or facts.prices is None:
            return None
        # Asked for in every request, and worked out once a model.
        found = self._prices.get(facts.ref)
        if found is None:
            found = self._prices[facts.ref] = ruled(facts.prices, facts.ref)
        return found

    def providers(self) -> tuple[str, ...]:
        """The providers that there is a list of, sorted."""
        return tuple(sorted({source.provider for source in self.sources} | {m.ref.provider for m in self.models}))

    def version(self, provider: str) -> int | None:
        """The version of a provider's list; None where there is no list."""
        return next((source.version for source in self.sources if source.provider == provider), None)

    def standing(self, provider: str | None = None) -> tuple[ModelFacts, ...]:
        """The models of one provider, or of all, sorted by reference, without entries that another stands in for."""
        models = (m for m in self.models if provider is None or m.ref.provider == provider)
        return tuple(sorted((m for m in models if self._by_ref[m.ref] is m), key=lambda facts: facts.ref))

    def names(self, provider: str) -> tuple[str, ...]:
        """The names of a provider's models, sorted, without aliases."""
        return tuple(facts.ref.model for facts in self.standing(provider))

    def aliases(self, provider: str) -> dict[str, ModelRef]:
        """The other names of a provider's models, sorted, and what each of them means."""
        found = ((ref, facts) for ref, facts in self._by_ref.items() if ref.provider == provider)
        # A duplicate by case is no alias: it has facts of its own, wrong ones.
        own = {facts.ref for facts in self.models}
        return {ref.model: facts.ref for ref, facts in sorted(found, key=lambda pair: pair[0]) if ref not in own}

    def families(self, provider: str) -> dict[str, tuple[ModelFacts, ...]]:
        """A provider's models by the family that the registry names, sorted; models without one are left out."""
        found: dict[str, list[ModelFacts]] = {}
        for facts in self.standing(provider):
            if facts.family is not None:
                found.setdefault(facts.family, []).append(facts)
        return {family: tuple(found[family]) for family in sorted(found)}

    def matching(self, pattern: str) -> tuple[ModelFacts, ...]:
        """The models that `pattern` names, such as `anthropic:*` or `openai:gpt-5*`, sorted; aliases do not count.

        Wildcards (`*`, `?`, `[...]`) are for the model's part. Raises ValueError for what is no `provider:model`.
        """
        wanted = ModelRef.parse(pattern)
        return tuple(f for f in self.standing(wanted.provider) if fnmatchcase(f.ref.model, wanted.model))

    def nearest(self, ref: ModelRef) -> ModelRef | None:
        """The known name or alias that `ref` was most likely meant to be; None when nothing is close.

        The same name at another provider comes first, then names at the provider itself, then all.
        """
        elsewhere = sorted(known for known in self._by_ref if known.model == ref.model and known != ref)
        if elsewhere:
            return elsewhere[0]
        same = {known.model: known for known in self._by_ref if known.provider == ref.provider}
        every = {str(known): known for known in self._by_ref}
        for text, known in ((ref.model, same), (str(ref), every)):
            close = difflib.get_close_matches(text, sorted(known), n=1, cutoff=_NEAR)
            if close:
                return known[close[0]]
        return None

    def __len__(self) -> int:
        """How many entries the registry has, those included that another entry stands in for."""
        return len(self.models)


def blended_usd(facts: ModelFacts) -> Decimal | None:
    """Dollars per million tokens of three parts input and one part output; None where either price is unknown."""
    if facts.prices is None or facts.prices.input is None or facts.prices.output is None:
        return None
    return (_WEIGHT_IN * facts.prices.input + facts.prices.output) / _WEIGHT_ALL


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
