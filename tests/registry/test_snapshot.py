"""registry/store.py and scripts/snapshot: the bundled snapshot is small, whole, and what the registry says."""

import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from llmring.errors import RegistryError
from llmring.refs import ModelRef
from llmring.registry.published import PublishedList, parse_published
from llmring.registry.store import (
    BUNDLED,
    encode_snapshot,
    read_bundled,
    read_snapshots,
    snapshot_of,
    without_texts,
)
from tests.registry.lists import REGISTRY, ROOT, entry, needs_registry, parse

PROVIDERS = ("anthropic", "google", "openai")


def test_the_bundled_catalog_has_the_providers_models_with_prices() -> None:
    catalog = read_bundled()
    assert [source.provider for source in catalog.sources] == list(PROVIDERS)
    prices = catalog.prices(ModelRef.parse("openai:gpt-4o"))
    assert prices is not None
    assert (prices.input, prices.output, prices.cached_input) == (
        Decimal("2.5"),
        Decimal(10),
        Decimal("1.25"),
    )


def test_the_bundled_catalog_is_read_once() -> None:
    assert read_bundled() is read_bundled()


def test_the_snapshot_is_small_and_names_no_host() -> None:
    files = list(BUNDLED.glob("*.json"))
    assert sum(path.stat().st_size for path in files) <= 60_000
    assert not any(b"http" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("anthropic:claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("openai:gpt-5", "gpt-5"),
        ("openai:GPT-4o", "gpt-4o"),
        ("openai:gpt-4o-2024-11-20", "gpt-4o-2024-08-06"),
        ("google:gemini-2.5-flash-preview-05-20", "gemini-2.5-flash"),
    ],
)
def test_aliases_and_anomalies_of_the_registry_resolve(spelt: str, name: str) -> None:
    facts = read_bundled().get(ModelRef.parse(spelt))
    assert facts is not None
    assert facts.ref.model == name


def test_no_limit_is_zero() -> None:
    for facts in read_bundled().models:
        assert facts.max_input_tokens is None or facts.max_input_tokens > 0
        assert facts.max_output_tokens is None or facts.max_output_tokens > 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b'{"provider":"x","version":1,"published":"2026-01-01","models":[{"name":"m"}]}', "title"),
        (b'{"provider":"x","version":1,"published":"soon","models":[]}', "published"),
        (
            b'{"provider":"x","version":1,"published":"2026-01-01","models":[{"name":"m","title":"","input":-1}]}',
            "m has a price that is no price",
        ),
        (
            b'{"provider":"x","version":1,"published":"2026-01-01","models":[{"name":"m","title":"","input":"NaN"}]}',
            "m has a price that is no price",
        ),
    ],
)
def test_a_damaged_file_is_a_registry_error_that_names_it(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=problem) as caught:
        read_snapshots(tmp_path)
    assert caught.value.path == path


def test_a_missing_or_unreadable_snapshot_is_a_registry_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="the installation is not complete"):
        read_snapshots(tmp_path / "gone")
    (tmp_path / "x.json").mkdir()
    with pytest.raises(RegistryError, match="is a directory"):
        read_snapshots(tmp_path)


def published(provider: str) -> PublishedList:
    path = REGISTRY / provider / "models.json"
    return parse_published(path.read_bytes(), path)


@needs_registry
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_snapshot_holds_what_a_published_list_says_except_its_texts(provider: str) -> None:
    kept = {facts.ref: facts for facts in read_bundled().models if facts.ref.provider == provider}
    said = {
        facts.ref: msgspec.structs.replace(facts, fields=without_texts(facts.fields))
        for facts in published(provider).models
    }
    assert kept == said
    assert all("description" not in facts.fields for facts in kept.values())


def test_a_snapshot_that_is_written_and_read_is_the_same(tmp_path: Path) -> None:
    everything = parse(
        entry(
            "a",
            api_endpoint="embeddings",
            dollars_per_million_tokens_cache_read=0.1,
            cache_storage_cost_per_million_tokens_per_hour=1,
            added_date="2026-01-01",
            temperature_values=[0.1, 1.0],
            requires_tier=0,
            model_family="a",
        ),
        entry("b-preview", is_active=False, max_input_tokens=None),
        updated_at=None,
    )
    (tmp_path / "openai.json").write_bytes(encode_snapshot(snapshot_of(everything)))
    catalog = read_snapshots(tmp_path)
    assert catalog.models == everything.models
    assert catalog.sources == (everything.source,)


@needs_registry
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_name_and_alias_of_the_real_registry_is_found_with_its_prices(provider: str) -> None:
    models = json.loads((REGISTRY / provider / "models.json").read_text(), parse_float=Decimal)["models"]
    for model in models.values():
        # An upper-case duplicate is answered by its lower-case entry.
        expected = models.get(f"{provider}:{model['model_name'].lower()}", model)
        prices = read_bundled().prices(ModelRef(provider, model["model_name"]))
        assert prices is not None
        assert prices.output == expected["dollars_per_million_tokens_output"]
        assert all(read_bundled().get(ModelRef(provider, alias)) for alias in model["model_aliases"] or ())


@needs_registry
def test_the_bundled_files_are_what_the_script_makes_of_the_registry(tmp_path: Path) -> None:
    for provider in PROVIDERS:
        (tmp_path / "from" / provider).mkdir(parents=True)
        shutil.copy(REGISTRY / provider / "models.json", tmp_path / "from" / provider)
    (tmp_path / "to").mkdir()
    script = [
        sys.executable,
        str(ROOT / "scripts" / "snapshot"),
        str(tmp_path / "from"),
        "--to",
        str(tmp_path / "to"),
    ]
    subprocess.run(script, check=True, capture_output=True, env={"PYTHONPATH": str(ROOT)})
    for provider in PROVIDERS:
        made = tmp_path / "to" / f"{provider}.json"
        assert made.read_bytes() == (BUNDLED / made.name).read_bytes()
