"""registry/drift.py: what changed between two states, every fact that a binding may rely on."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import CAPABILITIES, Catalog, ModelFacts, Source
from llmring.registry.drift import Change, ChangeKind, drift, retiring
from llmring.registry.published import parse_published
from tests.registry.lists import VERSIONS, needs_registry, real

SOURCE = Source(provider="openai", version=7, published=date(2026, 8, 18))


def model(name: str = "m", **fields: Any) -> ModelFacts:
    return ModelFacts(ref=ModelRef("openai", name), display_name=name, source=SOURCE, **fields)


def changes(old: ModelFacts, new: ModelFacts) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.what, each.field, each.before, each.after) for each in drift([old], [new])]


def test_the_same_facts_have_not_changed_whatever_else_did() -> None:
    newer = msgspec.structs.replace(SOURCE, version=8)
    other = msgspec.structs.replace(model(), source=newer, display_name="new", family="f", fields={"x": 1})
    assert drift([model()], [other]) == ()


@pytest.mark.parametrize("kind", [name for name in Prices.__struct_fields__ if not name.endswith("tokens")])
def test_a_price_of_every_kind_that_changes_is_named(kind: str) -> None:
    def priced(usd: str) -> ModelFacts:
        return model(prices=msgspec.structs.replace(Prices(), **{kind: Decimal(usd)}))

    old, new = priced("2.50"), priced("3")
    assert changes(old, new) == [("price", kind, "2.5", "3")]
    assert changes(old, model()) == [("price", kind, "2.5", None)]
    assert changes(old, priced("2.5")) == []


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (
            {"prices": Prices(long_context_threshold_tokens=1)},
            {},
            ("price", "long_context_threshold_tokens", "1", None),
        ),
        ({"cache_storage_usd": Decimal(0)}, {"cache_storage_usd": Decimal(1)}, ("price", "cache_storage", "0", "1")),
        ({"max_input_tokens": 5}, {"max_input_tokens": 6}, ("context", "max_input_tokens", "5", "6")),
        ({}, {"max_output_tokens": 6}, ("context", "max_output_tokens", None, "6")),
        ({}, {"deprecated_date": date(2027, 1, 2)}, ("deprecation", "deprecated_date", None, "2027-01-02")),
        ({}, {"is_active": False}, ("retirement", "is_active", "yes", "no")),
        ({"is_active": False}, {}, ("activity", "is_active", "no", "yes")),
        ({"capabilities": frozenset({"vision"})}, {}, ("capability", "vision", "yes", "no")),
        ({"unstated": frozenset({"vision"})}, {}, ("capability", "vision", None, "no")),
    ],
)
def test_limits_abilities_and_ends_that_change_are_named(
    old: dict[str, Any], new: dict[str, Any], change: tuple[str, str, str | None, str | None]
) -> None:
    assert changes(model(**old), model(**new)) == [change]


def test_every_capability_is_compared() -> None:
    found = drift([model()], [model(capabilities=frozenset(CAPABILITIES))])
    assert [each.field for each in found] == list(CAPABILITIES)


def test_what_appears_and_what_goes_is_named() -> None:
    assert drift([model("a")], [model("b")]) == (
        Change(ref=ModelRef("openai", "a"), what="removed", field="model", before="openai:a", after=None),
        Change(ref=ModelRef("openai", "b"), what="added", field="model", before=None, after="openai:b"),
    )


def test_only_the_models_that_are_asked_for_are_compared_by_alias_too() -> None:
    old = Catalog([model("a-1", model_aliases=("a",), max_input_tokens=1), model("b")])
    new = Catalog([model("a-2", model_aliases=("a",), max_input_tokens=2)])
    alias = ModelRef("openai", "a")
    assert drift(old, new, {alias}) == (
        Change(ref=alias, what="context", field="max_input_tokens", before="1", after="2"),
    )
    assert drift(old, new, [ModelRef("openai", "nobody")]) == ()
    assert drift(old, new, []) == ()


def test_what_ends_soon_and_what_has_ended_is_retiring_earliest_first() -> None:
    today = date(2026, 11, 21)
    models = [model(str(days), deprecated_date=today + timedelta(days)) for days in (31, 30, 1, 0, -5)]
    found = retiring([*models, model("open")], today, 30)
    assert [facts.ref.model for facts in found] == ["-5", "0", "1", "30"]


def steps() -> list[tuple[str, int]]:
    return [(provider, version) for provider, last in VERSIONS.items() for version in range(1, last)]


def between(provider: str, version: int) -> tuple[Change, ...]:
    old, new = (parse_published(real(provider, each), "real").models for each in (version, version + 1))
    return drift(old, new)


@needs_registry
@pytest.mark.parametrize(("provider", "version"), steps())
def test_between_neighbours_forward_and_back_are_mirror_images(provider: str, version: int) -> None:
    old, new = (Catalog(parse_published(real(provider, each), "real").models) for each in (version, version + 1))
    forward, back = drift(old, new), drift(new, old)
    assert {(c.ref, c.field, c.before, c.after) for c in forward} == {(c.ref, c.field, c.after, c.before) for c in back}
    added = {c.ref.model for c in forward if c.what == "added"}
    removed = {c.ref.model for c in forward if c.what == "removed"}
    assert added == set(new.names(provider)) - set(old.names(provider))
    assert removed == set(old.names(provider)) - set(new.names(provider))


SPOTS = [
    ("anthropic", 1, "claude-3-5-haiku-20241022", "price", "input", "1", "0.8"),
    ("anthropic", 5, "claude-3-7-sonnet-20250219", "retirement", "is_active", "yes", "no"),
    ("anthropic", 6, "claude-opus-4-1-20250805", "deprecation", "deprecated_date", None, "2026-08-05"),
    ("google", 2, "gemini-2.5-pro", "price", "output", "15", "10"),
    ("google", 3, "gemini-2.5-flash-lite", "price", "cache_read", "0.025", "0.01"),
    ("google", 4, "gemini-2.0-flash", "retirement", "is_active", "yes", "no"),
    ("openai", 2, "gpt-5-mini", "added", "model", None, "openai:gpt-5-mini"),
    ("openai", 4, "gpt-5-mini", "price", "output", "0.25", "2"),
    ("openai", 4, "o1-mini", "retirement", "is_active", "yes", "no"),
    ("openai", 5, "gpt-5.2", "context", "max_input_tokens", "256000", "272000"),
    ("openai", 6, "gpt-5.6-sol", "added", "model", None, "openai:gpt-5.6-sol"),
    ("anthropic", 1, "claude-3-opus-20240229", "removed", "model", "anthropic:claude-3-opus-20240229", None),
]
"""Read in the files themselves: what changed from that version to the next."""


@needs_registry
@pytest.mark.parametrize(("provider", "version", "name", "what", "field", "before", "after"), SPOTS)
def test_changes_of_the_real_lists_are_found(
    provider: str, version: int, name: str, what: ChangeKind, field: str, before: str | None, after: str | None
) -> None:
    change = Change(ref=ModelRef(provider, name), what=what, field=field, before=before, after=after)
    assert change in between(provider, version)


@needs_registry
def test_an_alias_that_came_to_lead_elsewhere_has_changed() -> None:
    old, new = (Catalog(parse_published(real("openai", version), "real").models) for version in (2, 3))
    alias = ModelRef("openai", "gpt-5-mini")
    known = [change for change in drift(old, new, {alias}) if change.before is not None]
    prices = [change for change in known if change.what == "price"]
    assert prices == [Change(ref=alias, what="price", field="output", before="2", after="0.25")]


@needs_registry
def test_how_much_of_each_kind_changed_between_real_lists() -> None:
    assert Counter(change.what for change in between("anthropic", 6)) == {"deprecation": 5, "retirement": 5, "added": 8}
    assert Counter(change.what for change in between("openai", 6)) == {"added": 19}
