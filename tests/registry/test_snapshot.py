"""registry/store.py and scripts/snapshot: the bundled snapshot is small, whole, and what the registry says."""

import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmring.errors import RegistryError
from llmring.refs import ModelRef
from llmring.registry.store import BUNDLED, CAPABILITIES, read_bundled, read_snapshots

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT.parent / "shared" / "registry"
PROVIDERS = ("anthropic", "google", "openai")

needs_registry = pytest.mark.skipif(not REGISTRY.is_dir(), reason="the registry's files are not on this machine")


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


def published(provider: str) -> dict[str, Any]:
    text = (REGISTRY / provider / "models.json").read_text()
    data: dict[str, Any] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return data


PRICE_KEYS = {
    **{
        name: f"dollars_per_million_tokens_{name}"
        for name in ("input", "output", "cached_input", "cache_read", "cache_write_5m", "cache_write_1h")
    },
    "input_long_context": "dollars_per_million_tokens_input_long_context",
    "output_long_context": "dollars_per_million_tokens_output_long_context",
    "output_thinking": "dollars_per_million_tokens_output_thinking",
    "long_context_threshold_tokens": "long_context_threshold_tokens",
}


@needs_registry
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_model_is_priced_and_limited_as_in_the_real_registry(provider: str) -> None:
    models = published(provider)["models"]
    facts = {facts.ref: facts for facts in read_bundled().models if facts.ref.provider == provider}
    assert {str(ref) for ref in facts} == models.keys()
    for ref, kept in facts.items():
        model = models[str(ref)]
        assert kept.prices is not None
        assert {name: getattr(kept.prices, name) for name in PRICE_KEYS} == {
            name: model.get(key) for name, key in PRICE_KEYS.items()
        }
        assert (kept.max_input_tokens or 0) == (model["max_input_tokens"] or 0)
        assert (kept.max_output_tokens or 0) == (model["max_output_tokens"] or 0)
        assert kept.is_active == model["is_active"]
        assert kept.model_aliases == tuple(model["model_aliases"] or ())
        assert kept.capabilities == {name for name, flag in CAPABILITIES.items() if model.get(flag)}


@needs_registry
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_name_and_alias_of_the_real_registry_is_found_with_its_prices(provider: str) -> None:
    models = published(provider)["models"]
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
