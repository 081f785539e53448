"""registry/digest.py: the same facts have the same digest everywhere; the chain of the real lists is checked."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llmring.errors import RegistryError
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import ModelFacts, Source
from llmring.registry.digest import chain_holds, facts_digest, published_digest
from tests.registry.lists import every_real, needs_registry, real

FACTS = ModelFacts(
    ref=ModelRef("openai", "gpt-5"),
    display_name="GPT-5",
    max_input_tokens=272_000,
    prices=Prices(input=Decimal("1.25"), output=Decimal(10)),
    source=Source(provider="openai", version=7, published=date(2026, 8, 18)),
)


def changed(**fields: Any) -> ModelFacts:
    return msgspec.structs.replace(FACTS, **fields)


def test_a_digest_is_the_same_on_every_machine() -> None:
    # printf '{"deprecated_date":null,"is_active":true,"limits":{...},"prices":{...}}' | sha256sum, keys sorted.
    assert facts_digest(FACTS) == "ef242aa94eff36de"


def test_how_a_price_is_written_does_not_count() -> None:
    assert facts_digest(changed(prices=Prices(input=Decimal("1.250"), output=Decimal("1E+1")))) == facts_digest(FACTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"display_name": "other"},
        {"capabilities": frozenset({"vision"})},
        {"source": Source(provider="openai", version=8, published=date(2026, 8, 19))},
        {"fields": {"speed_tier": "fast"}},
    ],
)
def test_what_no_binding_relies_on_does_not_count(fields: dict[str, Any]) -> None:
    assert facts_digest(changed(**fields)) == facts_digest(FACTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"prices": None},
        {"prices": Prices(input=Decimal("1.25"), output=Decimal(11))},
        {"prices": Prices(input=Decimal("1.25"), output=Decimal(10), cache_read=Decimal(0))},
        {"prices": Prices(input=Decimal("1.25"), output=Decimal(10), long_context_threshold_tokens=1)},
        {"cache_storage_usd": Decimal("4.5")},
        {"max_input_tokens": None},
        {"max_output_tokens": 1},
        {"deprecated_date": date(2027, 1, 1)},
        {"is_active": False},
    ],
)
def test_every_price_limit_and_end_counts(fields: dict[str, Any]) -> None:
    assert facts_digest(changed(**fields)) != facts_digest(FACTS)


def test_a_published_digest_depends_on_the_content_alone() -> None:
    one = b'{"b": 1.0, "a": "\xc3\xa9", "content_sha256_jcs": "x"}'
    other = b'{"a":"\\u00e9","b":1}'
    assert published_digest(one) == published_digest(other)
    # printf '{"a":"\xc3\xa9","b":1}' | sha256sum
    assert published_digest(one) == "aa58fba8483623bed37c1b02edfccbdd9a53123837c20bfa4cb4049993a2872e"


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 9007199254740993}', b'{"a": "\\ud800"}'])
def test_what_has_no_canonical_form_is_a_registry_error(data: bytes) -> None:
    with pytest.raises(RegistryError):
        published_digest(data)


def test_a_chain_begins_without_the_field_and_goes_on_with_the_hash_before() -> None:
    # printf '%s' '{"models":{"\\u00e9":1.5},"version":1}' | sha256sum; then, with that in the field, of version 2.
    first = "72f2a5c39d74d3c3aa70d6e82a9cbad6d3cde4e638a29a890f4d4fbc440973f8"
    second = "3937236f411dd1a94d67addae728ee2a6788bfd827fb95d3b5a033726c559800"
    one = {"version": 1, "models": {"é": 1.5}, "content_sha256_jcs": first}
    two = {"version": 2, "models": {}, "content_sha256_jcs": second}
    assert chain_holds(json.dumps(one, indent=2).encode(), None)
    assert chain_holds(json.dumps(two).encode(), first)
    assert not chain_holds(json.dumps(two).encode(), None)
    assert not chain_holds(json.dumps(two | {"version": 3}).encode(), first)
    assert not chain_holds(b"{}", None)
    with pytest.raises(RegistryError):
        chain_holds(b"[]", None)


@needs_registry
def test_nineteen_of_the_twenty_one_real_lists_hold() -> None:
    before: dict[str, str | None] = {}
    holding = set()
    for provider, version in every_real():
        data = real(provider, version)
        # The first list of anthropic does not hold, and the second begins anew.
        begins = (provider, version) == ("anthropic", 2)
        if chain_holds(data, None if begins else before.get(provider)):
            holding.add((provider, version))
        before[provider] = json.loads(data)["content_sha256_jcs"]
    assert set(every_real()) - holding == {("anthropic", 1), ("google", 3)}
