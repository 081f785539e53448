"""Which models are the newest of their kind: what `lock init` binds. Pure.

The registry's `model_family` does not tell ("claude-4" beside "claude-opus", "gpt-5.6" beside "gpt-5"), so a model's
line, tier and generation are read from its name: `claude-haiku-4-5-20251001` is of the tier `claude-haiku`, generation
4.5; `gpt-5.4-mini` of `gpt-mini`, 5.4; `o4-mini` of `o-mini`, 4.
"""

import re
from decimal import Decimal

import msgspec

from llmring.registry.catalog import Catalog, ModelFacts, blended_usd

# A date or a build at the end: -2025-08-07, -20251001, -2512, -0613, -001, -09-2025.
_STAMP = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|\d{3}|\d{2}-\d{4})$")
# `4o` is a 4; `32b` is a size, not a generation.
_NUMBER = re.compile(r"(?P<line>[a-z]*?)(?P<number>\d{1,2}(?:\.\d+)*)[ac-z]?")
_IDLE = frozenset({"latest", "preview", "exp", "experimental", "beta"})


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What a name says of a model. `number`: () where it says none, (4, 5) for 4.5. `stamp`: its date, "" without."""

    tier: str
    number: tuple[int, ...]
    stamp: str


def generation(name: str) -> Generation:
    """Read a model's name."""
    bare = name.lower().removeprefix("models/")
    stamped = _STAMP.search(bare)
    words = (bare[: stamped.start()] if stamped else bare).split("-")
    tier: list[str] = []
    number: list[int] = []
    for word in words:
        found = _NUMBER.fullmatch(word)
        if found is None:
            tier += [word] if word not in _IDLE else []
            continue
        number += [int(part) for part in found["number"].split(".")]
        tier += [found["line"]] if found["line"] else []
    return Generation(tier="-".join(tier), number=tuple(number), stamp=stamped[1] if stamped else "")


def current_generation(facts: ModelFacts, catalog: Catalog) -> bool:
    """Whether a model is what one would choose of its tier today: active, for chat, no preview, and none is newer."""
    return facts in newest(catalog, facts.ref.provider)


def newest(catalog: Catalog, provider: str) -> tuple[ModelFacts, ...]:
    """One model of every tier of a provider, best first: the later generation, then the dearer one, then by name.

    Only active chat models without a preview in their name count. Of two entries for one model the one without a date
    stands, which the provider keeps current; of two dates the later one. A model whose end is announced counts as long
    as it is active.
    """
    best: dict[str, tuple[tuple[int, ...], bool, str, ModelFacts]] = {}
    for facts in catalog.standing(provider):
        if not (facts.is_active and facts.is_chat) or facts.is_preview:
            continue
        read = generation(facts.ref.model)
        rank = (read.number, not read.stamp, read.stamp, facts)
        if read.tier not in best or best[read.tier][:3] < rank[:3]:
            best[read.tier] = rank
    ranked = sorted(best.values(), key=lambda rank: rank[3].ref)
    ranked.sort(key=lambda rank: (rank[0], blended_usd(rank[3]) or Decimal(0)), reverse=True)
    return tuple(facts for *_, facts in ranked)
