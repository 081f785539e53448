"""What changed between two states of the registry, model by model. Pure.

Everything that a binding may rely on is compared: prices of every kind, limits, capabilities, the end date, whether the
model is active, and whether it is there at all. Names, families and texts are not.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import CAPABILITIES, Catalog, ModelFacts

ChangeKind = Literal["price", "context", "capability", "deprecation", "retirement", "activity", "added", "removed"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that is not as it was. `before` and `after` as text; None: the registry does not say.

    `deprecation`: the day of its end was set, moved or lifted. `retirement`: it is no longer active; `activity`: it is
    so again. `field`: "input" and the other names of `Prices`, "cache_storage", a name of CAPABILITIES, or the name of
    the field in ModelFacts; "model" for what was added or removed.
    """

    ref: ModelRef
    what: ChangeKind
    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.ref}: {self.what}: {self.field}: {self.before or 'unknown'} -> {self.after or 'unknown'}"


def drift(
    pinned: Catalog | Iterable[ModelFacts],
    current: Catalog | Iterable[ModelFacts],
    refs: Collection[ModelRef] | None = None,
) -> tuple[Change, ...]:
    """What changed from `pinned` to `current`, in the order of references and then of `Prices` and ModelFacts.

    `refs` None: every entry of either, by its own name. Otherwise only those, each as a call would find it: a name, or
    an alias whose change is what it leads to, before and after. A reference that neither knows has not changed.
    """
    old, new = _catalog(pinned), _catalog(current)
    if refs is not None:
        pairs = [(ref, old.get(ref), new.get(ref)) for ref in sorted(set(refs))]
    else:
        before, after = ({facts.ref: facts for facts in one.standing()} for one in (old, new))
        pairs = [(ref, before.get(ref), after.get(ref)) for ref in sorted(before.keys() | after.keys())]
    return tuple(change for ref, was, is_now in pairs for change in _changes(ref, was, is_now))


def retiring(models: Iterable[ModelFacts], today: date, days: int) -> tuple[ModelFacts, ...]:
    """The models that end within `days` of `today`, or have ended: the earliest first, then by reference."""
    last = today + timedelta(days=days)
    ending = [(facts.deprecated_date, facts.ref, facts) for facts in models if facts.deprecated_date is not None]
    return tuple(facts for day, _, facts in sorted(ending, key=lambda each: each[:2]) if day <= last)


def _catalog(models: Catalog | Iterable[ModelFacts]) -> Catalog:
    return models if isinstance(models, Catalog) else Catalog(models)


def _changes(ref: ModelRef, old: ModelFacts | None, new: ModelFacts | None) -> Iterator[Change]:
    if old is None or new is None:
        if new is not None:
            yield Change(ref=ref, what="added", field="model", before=None, after=str(new.ref))
        if old is not None:
            yield Change(ref=ref, what="removed", field="model", before=str(old.ref), after=None)
        return
    for (what, field, before), (_, _, after) in zip(_compared(old), _compared(new), strict=True):
        if before == after:
            continue
        if field == "is_active":
            what = "retirement" if old.is_active else "activity"
        yield Change(ref=ref, what=what, field=field, before=_text(before), after=_text(after))


_Fact = Decimal | int | bool | date | None


def _compared(facts: ModelFacts) -> Iterator[tuple[ChangeKind, str, _Fact]]:
    """The facts of a model that are compared, always the same ones in the same order."""
    prices = facts.prices if facts.prices is not None else Prices()
    for name in Prices.__struct_fields__:
        yield "price", name, getattr(prices, name)
    yield "price", "cache_storage", facts.cache_storage_usd
    yield "context", "max_input_tokens", facts.max_input_tokens
    yield "context", "max_output_tokens", facts.max_output_tokens
    for name in CAPABILITIES:
        yield "capability", name, facts.says(name)
    yield "deprecation", "deprecated_date", facts.deprecated_date
    yield "activity", "is_active", facts.is_active


def _text(value: _Fact) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        # 2.5 and 2.50 are one price and should look like one.
        return f"{value.normalize():f}" if value else "0"
    return None if value is None else str(value)
