"""Whether a lockfile can do its work: every model of every binding, against the registry and the keys. Pure."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

import msgspec

from llmring.errors import InvalidRequest
from llmring.lockfile import Binding, Budget, Lockfile
from llmring.lockfile.budgets import EACH
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.review.choice import choose
from llmring.review.requirements import failings

RETIRING_DAYS = 30


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a binding. `problems` make the lockfile fail, `warnings` are to be known; `stands_for` is the model
    that an alias of the registry leads to."""

    profile: str
    alias: str
    ref: ModelRef
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    stands_for: ModelRef | None = None


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """A binding from patterns that would be bound to other models today."""

    profile: str
    alias: str
    bound: tuple[ModelRef, ...]
    today: tuple[ModelRef, ...]
    why: str | None = None


def validate(
    lockfile: Lockfile,
    catalog: Catalog,
    missing_key: Callable[[str], str | None],
    today: date,
    days: int = RETIRING_DAYS,
) -> tuple[Verdict, ...]:
    """A verdict on every model of every binding. `missing_key(provider)` says which variable to set, None where none is
    missing; it may raise ConfigError for a provider that nobody knows."""
    return tuple(
        judge(profile.name, binding, ref, catalog, missing_key, today, days, lockfile.budgets)
        for profile in lockfile.profiles.values()
        for binding in profile.bindings.values()
        for ref in binding.models
    )


def judge(
    profile: str,
    binding: Binding,
    ref: ModelRef,
    catalog: Catalog,
    missing_key: Callable[[str], str | None],
    today: date,
    days: int = RETIRING_DAYS,
    budgets: Sequence[Budget] = (),
) -> Verdict:
    """A verdict on one model of a binding, for which `budgets` pay."""
    problems: list[str] = []
    warnings: list[str] = []
    facts = catalog.get(ref)
    if facts is not None:
        problems += _out_of_use(facts, today)
        problems += failings(facts, binding.requirements)
        warnings += _retiring(facts, today, days)
    elif ref.provider in catalog.providers():
        near = catalog.nearest(ref)
        problems.append("is not in the registry" + (f": did you mean {near}?" if near is not None else ""))
    else:
        warnings.append(f"the registry knows no models of {ref.provider}: not checked")
    missing = missing_key(ref.provider)
    if missing is not None:
        problems.append(missing)
    capped = next((budget.name for budget in budgets if _pays(budget, profile, binding.alias)), None)
    if capped is not None and facts is not None and catalog.prices(ref) is None:
        problems.append(f"has no price, so budget {capped!r} refuses it")
    other = facts.ref if facts is not None and facts.ref != ref else None
    return Verdict(
        profile=profile,
        alias=binding.alias,
        ref=ref,
        problems=tuple(problems),
        warnings=tuple(warnings),
        stands_for=other,
    )


def _pays(budget: Budget, profile: str, alias: str) -> bool:
    """Whether a budget refuses what has no price, of this alias."""
    names = ((budget.profile, profile), (budget.alias, alias))
    return budget.unpriced == "refuse" and all(name in (None, EACH, own) for name, own in names)


def _out_of_use(facts: ModelFacts, today: date) -> Iterator[str]:
    retired = facts.deprecated_date
    if retired is not None and retired <= today:
        yield f"was retired on {retired}"
    elif not facts.is_active:
        yield "is not active any more"
    if not facts.is_chat:
        yield "is not a chat model"


def _retiring(facts: ModelFacts, today: date, days: int) -> Iterator[str]:
    retired = facts.deprecated_date
    if retired is not None and today < retired:
        soon = ", soon" if retired <= today + timedelta(days=days) else ""
        yield f"will be retired on {retired}{soon}"


def stale(lockfile: Lockfile, catalog: Catalog, today: date) -> tuple[Stale, ...]:
    """The bindings whose patterns would be answered otherwise today."""
    found: list[Stale] = []
    for profile in lockfile.profiles.values():
        for binding in profile.bindings.values():
            if not binding.models_from:
                continue
            try:
                considered = choose(catalog, binding.models_from, binding.requirements, today, most=len(binding.models))
                now, why = tuple(one.ref for one in considered if one.taken), None
            except InvalidRequest as error:
                now, why = (), str(error)
            if now != binding.models:
                found.append(Stale(profile=profile.name, alias=binding.alias, bound=binding.models, today=now, why=why))
    return tuple(found)
