"""registry/published.py and entries.py: every fact of a list is kept, every fault is named, nothing else is raised."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmring.cli.facts import facts_json, facts_lines
from llmring.errors import RegistryError
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import CAPABILITIES, ModelFacts, Source
from llmring.registry.digest import facts_digest
from llmring.registry.entries import PRICE_KEYS
from llmring.registry.published import parse_published
from llmring.registry.store import encode_snapshot, read_snapshots, snapshot_of, without_texts
from tests.registry.lists import REGISTRY, document, entry, every_real, needs_registry, parse, real


def only(**fields: Any) -> ModelFacts:
    """The facts of a list's only entry."""
    (facts,) = parse(entry(**fields)).models
    return facts


def faults(*entries: Any, **top: Any) -> list[tuple[str | None, str | None, str]]:
    return [(fault.model, fault.field, fault.kind) for fault in parse(*entries, **top).faults]


def test_a_list_says_whose_it_is_and_when_it_was_published() -> None:
    published = parse(entry(), content_sha256_jcs="ab12")
    assert (published.provider, published.version, published.published) == ("openai", 3, date(2026, 8, 18))
    assert published.content_sha256 == "ab12"
    assert published.faults == ()
    assert published.models[0].source == Source(provider="openai", version=3, published=date(2026, 8, 18))


def test_an_entry_becomes_facts() -> None:
    facts = only(
        model_aliases=["gpt-5-latest"],
        model_family="gpt-5",
        dollars_per_million_tokens_cached_input=0.125,
        cache_storage_cost_per_million_tokens_per_hour=4.5,
        long_context_threshold_tokens=200_000,
        release_date="2025-08-07",
        deprecated_date="2027-08-07",
        api_endpoint="chat",
        min_recommended_reasoning_tokens=2000,
        speed_tier="fast",
    )
    assert facts.ref == ModelRef("openai", "gpt-5")
    assert facts.display_name == "GPT-5"
    assert facts.model_aliases == ("gpt-5-latest",)
    assert facts.family == "gpt-5"
    assert (facts.max_input_tokens, facts.max_output_tokens) == (272_000, 128_000)
    assert facts.prices == Prices(
        input=Decimal("1.25"),
        output=Decimal(10),
        cached_input=Decimal("0.125"),
        long_context_threshold_tokens=200_000,
    )
    assert facts.cache_storage_usd == Decimal("4.5")
    assert (facts.release_date, facts.deprecated_date) == (date(2025, 8, 7), date(2027, 8, 7))
    assert facts.endpoint == "chat"
    assert facts.recommended_reasoning_tokens == 2000
    assert facts.fields == {"speed_tier": "fast"}


def test_a_flag_that_is_absent_is_neither_affirmed_nor_denied() -> None:
    facts = only(supports_streaming=None)
    assert facts.capabilities == {"vision", "tools"}
    assert facts.says("vision") is True
    assert facts.says("json") is False
    assert facts.says("streaming") is None
    assert facts.says("audio") is None


def test_fields_that_nobody_knows_are_kept_as_they_are() -> None:
    odd = {"tiers": ["a", 1, {"deep": 0.1}], "score": 0.3, "flag": False, "null": None}
    assert only(**odd).fields == {"tiers": ["a", 1, {"deep": Decimal("0.1")}], "score": Decimal("0.3"), "flag": False}


def test_models_may_be_a_list() -> None:
    data = json.dumps(document() | {"models": [entry("a"), entry("b")]}).encode()
    published = parse_published(data, "here")
    assert [facts.ref.model for facts in published.models] == ["a", "b"]
    assert published.faults == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 100_000, "not JSON"),
        (b"[]", "expected an object, not a list"),
        (b"null", "expected an object, not null"),
        (b"<html>404</html>", "not JSON"),
        (b"{}", "'provider' is no text"),
        (b'{"provider": "Open AI"}', "'Open AI' is no name of a provider"),
        (b'{"provider": "openai"}', "'version' is null"),
        (b'{"provider": "openai", "version": true}', "'version' is true"),
        (b'{"provider": "openai", "version": -1}', "'version' is -1"),
        (b'{"provider": "openai", "version": 1000000000000}', "'version' is 1000000000000"),
        (b'{"provider": "openai", "version": 1}', "'models' is null"),
        (b'{"provider": "openai", "version": 1, "models": "none"}', "'models' is 'none'"),
    ],
)
def test_what_is_no_registry_list_is_refused_with_its_place(data: bytes, problem: str) -> None:
    with pytest.raises(RegistryError) as caught:
        parse_published(data, Path("/lists/openai.json"))
    assert str(caught.value).startswith("registry /lists/openai.json: no registry list: ")
    assert problem in str(caught.value)


INPUT = "dollars_per_million_tokens_input"


@pytest.mark.parametrize(
    ("fields", "field", "kind"),
    [
        ({INPUT: -1}, INPUT, "wrong_value"),
        ({INPUT: float("nan")}, INPUT, "wrong_value"),
        ({INPUT: float("inf")}, INPUT, "wrong_value"),
        ({INPUT: 1e300}, INPUT, "wrong_value"),
        ({INPUT: 1e-300}, INPUT, "wrong_value"),
        ({INPUT: "1.25"}, INPUT, "wrong_type"),
        ({INPUT: True}, INPUT, "wrong_type"),
        ({"max_input_tokens": 0}, "max_input_tokens", "unknown_limit"),
        ({"max_input_tokens": -1}, "max_input_tokens", "wrong_value"),
        ({"max_input_tokens": 1.5}, "max_input_tokens", "wrong_type"),
        ({"max_input_tokens": 10**30}, "max_input_tokens", "wrong_value"),
        ({"supports_vision": "yes"}, "supports_vision", "wrong_type"),
        ({"is_active": 1}, "is_active", "wrong_type"),
        ({"display_name": 5}, "display_name", "wrong_type"),
        ({"display_name": "\x1b[2J"}, "display_name", "wrong_value"),
        ({"deprecated_date": "soon"}, "deprecated_date", "wrong_value"),
        ({"deprecated_date": 20260818}, "deprecated_date", "wrong_type"),
        ({"model_aliases": "gpt"}, "model_aliases", "wrong_type"),
        ({"model_aliases": ["ok", 5]}, "model_aliases", "wrong_value"),
        ({"odd": {"deep": [float("nan")]}}, "odd", "wrong_value"),
        ({"odd": "\ud800"}, "odd", "wrong_value"),
        ({"odd": [10**40]}, "odd", "wrong_value"),
    ],
)
def test_a_bad_field_is_named_and_left_out_alone(fields: dict[str, Any], field: str, kind: str) -> None:
    assert faults(entry(**fields)) == [("gpt-5", field, kind)]
    facts = only(**fields)
    assert facts.prices is not None and facts.prices.output == Decimal(10)
    assert facts.prices.input == (None if INPUT in fields else Decimal("1.25"))
    assert facts.max_input_tokens == (None if "max_input_tokens" in fields else 272_000)
    assert facts.deprecated_date is None
    assert facts.model_aliases in ((), ("ok",))
    assert facts.fields == {}


def test_a_missing_key_is_named_and_the_entry_stands() -> None:
    bare = entry()
    del bare["display_name"], bare["is_active"]
    published = parse(bare)
    assert [(f.model, f.field, f.kind) for f in published.faults] == [
        ("gpt-5", "display_name", "missing_key"),
        ("gpt-5", "is_active", "missing_key"),
    ]
    assert published.models[0].display_name == "gpt-5"


@pytest.mark.parametrize(
    ("bad", "field", "kind"),
    [
        (entry("b c"), "model_name", "wrong_value"),
        (entry("b") | {"model_name": 5}, "model_name", "wrong_value"),
        (entry("b") | {"provider": "google"}, "provider", "wrong_provider"),
    ],
)
def test_a_bad_entry_is_left_out_alone(bad: dict[str, Any], field: str, kind: str) -> None:
    published = parse(entry("a"), bad, entry("c"))
    assert [facts.ref.model for facts in published.models] == ["a", "c"]
    assert [(fault.field, fault.kind) for fault in published.faults] == [(field, kind)]


def test_an_entry_that_is_no_object_is_left_out() -> None:
    published = parse(entry("a"), models={"openai:a": entry("a"), "openai:b": "soon"})
    assert [facts.ref.model for facts in published.models] == ["a"]
    assert [(fault.model, fault.kind) for fault in published.faults] == [("openai:b", "wrong_type")]


def test_an_entry_under_another_key_stands_under_its_name() -> None:
    published = parse(models={"openai:gpt-6": entry("gpt-5")})
    assert [facts.ref.model for facts in published.models] == ["gpt-5"]
    assert [fault.kind for fault in published.faults] == ["wrong_key"]


def test_of_two_entries_for_one_model_the_first_is_taken() -> None:
    first, second = json.dumps(entry(max_input_tokens=1)), json.dumps(entry(max_input_tokens=2))
    head = '{"provider": "openai", "version": 1, "updated_at": "2026-08-18T00:00:00Z", "models": '
    for models in (f'{{"openai:gpt-5": {first}, "openai:gpt-5": {second}}}', f"[{first}, {second}]"):
        published = parse_published((head + models + "}").encode(), "here")
        assert [facts.max_input_tokens for facts in published.models] == [1]
        assert "duplicate" in [fault.kind for fault in published.faults]


def test_a_key_that_stands_twice_in_an_entry_is_named() -> None:
    text = json.dumps(document(entry())).replace('"is_active": true', '"is_active": false, "is_active": true')
    published = parse_published(text.encode(), "here")
    assert published.models[0].is_active is False
    assert [(f.model, f.field, f.kind) for f in published.faults] == [("gpt-5", "is_active", "duplicate")]


@pytest.mark.parametrize(
    ("updated_at", "day", "kind"),
    [
        ("2026-08-18T17:29:16.542543", date(2026, 8, 18), "naive_time"),
        ("2026-08-18", date(2026, 8, 18), "naive_time"),
        ("2026-08-18T17:29:16+00:00", date(2026, 8, 18), None),
        ("yesterday", None, "wrong_value"),
        (5, None, "wrong_value"),
        (None, None, "missing_key"),
    ],
)
def test_of_the_time_of_publication_the_day_is_kept(updated_at: object, day: date | None, kind: str | None) -> None:
    published = parse(entry(), updated_at=updated_at)
    assert published.published == day
    assert [(fault.field, fault.kind) for fault in published.faults] == ([("updated_at", kind)] if kind else [])


def test_a_name_that_speaks_to_a_terminal_is_shown_harmless() -> None:
    (fault,) = parse(entry("a\x1b[2J")).faults
    assert str(fault).isprintable()


def read_or_refuse(data: bytes) -> None:
    try:
        published = parse_published(data, "fuzz")
    except RegistryError:
        return
    for fault in published.faults:
        assert str(fault).isprintable()
    # Whatever was accepted can be kept, and is the same when it is read again.
    with TemporaryDirectory() as directory:
        (Path(directory) / "x.json").write_bytes(encode_snapshot(snapshot_of(published)))
        kept = read_snapshots(Path(directory))
    by_name = sorted(published.models, key=lambda facts: facts.ref.model)
    assert kept.models == tuple(replace(facts, fields=without_texts(facts.fields)) for facts in by_name)
    for facts in kept.models:
        facts_digest(facts)
        list(facts_lines(facts))
        msgspec.json.encode(facts_json(facts))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_a_registry_error(data: bytes) -> None:
    read_or_refuse(data)


@given(JSON)
def test_any_json_is_a_list_or_a_registry_error(value: Any) -> None:
    read_or_refuse(json.dumps(value).encode())


@given(st.dictionaries(st.sampled_from([*entry(), "api_endpoint", "model_aliases", "release_date"]), JSON), JSON)
def test_any_entry_is_read_or_left_out(fields: dict[str, Any], other: Any) -> None:
    models = {"openai:gpt-5": entry() | fields, "openai:other": other}
    read_or_refuse(json.dumps(document() | {"models": models}).encode())


@needs_registry
@pytest.mark.parametrize(("provider", "version"), every_real())
def test_the_real_lists_hold_anomalies_only(provider: str, version: int) -> None:
    published = parse_published(real(provider, version), "real")
    assert (published.provider, published.version) == (provider, version)
    assert all(fault.is_anomaly for fault in published.faults)


@needs_registry
@pytest.mark.parametrize(("provider", "version"), every_real())
def test_nothing_of_the_real_lists_is_lost(provider: str, version: int) -> None:
    data = real(provider, version)
    models = json.loads(data, parse_float=Decimal)["models"]
    published = parse_published(data, "real")
    swapped = {fault.model for fault in published.faults if fault.kind == "swapped_limits"}
    assert {str(facts.ref) for facts in published.models} == set(models)
    for facts in published.models:
        given = {key: value for key, value in models[str(facts.ref)].items() if value is not None}
        assert spelled(facts) == {key: value for key, value in given.items() if key not in NOT_COMPARED}
        if facts.ref.model not in swapped:
            assert (facts.max_input_tokens or 0) == given.get("max_input_tokens", 0)
            assert (facts.max_output_tokens or 0) == given.get("max_output_tokens", 0)


NOT_COMPARED = {"provider", "model_name", "max_input_tokens", "max_output_tokens"}


def spelled(facts: ModelFacts) -> dict[str, Any]:
    """Facts by the registry's names, without what NOT_COMPARED has."""
    prices = facts.prices or Prices()
    values: dict[str, Any] = {
        "display_name": facts.display_name,
        "model_family": facts.family,
        "cache_storage_cost_per_million_tokens_per_hour": facts.cache_storage_usd,
        "long_context_threshold_tokens": prices.long_context_threshold_tokens,
        "is_active": facts.is_active,
        "api_endpoint": facts.endpoint,
        "min_recommended_reasoning_tokens": facts.recommended_reasoning_tokens,
        "release_date": str(facts.release_date) if facts.release_date else None,
        "added_date": str(facts.added_date) if facts.added_date else None,
        "deprecated_date": str(facts.deprecated_date) if facts.deprecated_date else None,
        **{key: getattr(prices, name) for name, key in PRICE_KEYS.items()},
        **{flag: facts.says(name) for name, flag in CAPABILITIES.items()},
        **facts.fields,
    }
    original = json.loads(real(facts.source.provider, facts.source.version))["models"][str(facts.ref)]
    aliases = {"model_aliases": list(facts.model_aliases)} if original.get("model_aliases") is not None else {}
    return {key: value for key, value in values.items() if value is not None} | aliases


def test_the_registry_beside_the_repository_is_the_one_that_is_tested_with() -> None:
    if REGISTRY.is_dir():
        assert sorted(path.name for path in REGISTRY.iterdir() if path.is_dir()) == ["anthropic", "google", "openai"]
