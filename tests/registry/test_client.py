"""The registry asked in so many words, as llmring 1 spelled it, over a directory that is a registry."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmring.errors import ConfigError, RegistryError, RegistryStale
from llmring.registry.client import RegistryClient
from llmring.registry.lists import utc_now
from tests.registry.lists import REGISTRY, document, entry, needs_registry

OLD = document(entry("gpt-4"), entry("gpt-5", dollars_per_million_tokens_input=2.5), version=98)
NEW = document(entry("gpt-5", model_aliases=["five"]), entry("gpt-6"), entry("gpt-3", is_active=False), version=99)


def publish(place: Path, **top: Any) -> str:
    """Newer than what came with the package."""
    for path, listed in (("v/98/models.json", OLD), ("v/99/models.json", NEW | top), ("models.json", NEW | top)):
        (place / "openai" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "openai" / path).write_text(json.dumps(listed))
    return place.as_uri()


@pytest.fixture
def client(tmp_path: Path) -> RegistryClient:
    return RegistryClient(publish(tmp_path / "registry"), tmp_path / "cache")


async def test_the_methods_of_the_documents(client: RegistryClient) -> None:
    assert [facts.ref.model for facts in await client.fetch_current_models("openai")] == ["gpt-5", "gpt-6", "gpt-3"]
    assert await client.get_current_version("openai") == 99
    assert (await client.fetch_version("openai", 98)).version == 98
    assert await client.validate_model("openai", "gpt-5")
    assert await client.validate_model("openai", "five")
    assert not await client.validate_model("openai", "gpt-3")
    assert not await client.validate_model("openai", "gpt-4")
    assert await client.validate_model("openai", "gpt-4", 98)


async def test_drift_since_a_pinned_version(client: RegistryClient) -> None:
    found = await client.check_drift("openai", 98)
    assert {name: value for name, value in found.items() if name != "changes"} == {
        "has_drift": True,
        "pinned_version": 98,
        "current_version": 99,
        "versions_behind": 1,
        "added_models": ["gpt-3", "gpt-6"],
        "removed_models": ["gpt-4"],
        "price_changes": [
            {
                "model": "gpt-5",
                "old_input_cost": Decimal("2.5"),
                "new_input_cost": Decimal("1.25"),
                "old_output_cost": Decimal("10.0"),
                "new_output_cost": Decimal("10.0"),
            }
        ],
    }
    assert "openai:gpt-5: price: input: 2.5 -> 1.25" in found["changes"]
    assert (await client.check_drift("openai", 99))["has_drift"] is False


async def test_a_list_that_is_too_old_or_of_no_day_is_stale(tmp_path: Path) -> None:
    today = utc_now().date()
    fresh = RegistryClient(publish(tmp_path / "a", updated_at=f"{today}T00:00:00"), tmp_path / "ca")
    await fresh.assert_fresh("openai", 2)
    old = RegistryClient(publish(tmp_path / "b", updated_at=f"{today - timedelta(days=40)}T00:00:00"), tmp_path / "cb")
    with pytest.raises(RegistryStale) as caught:
        await old.assert_fresh("openai", 30)
    assert caught.value.updated_at == today - timedelta(days=40)
    assert 40 <= (caught.value.age_days or 0) < 42
    undated = RegistryClient(publish(tmp_path / "c", updated_at=None), tmp_path / "cc")
    with pytest.raises(RegistryStale, match="of an unknown day"):
        await undated.assert_fresh("openai", 30)


async def test_without_the_registry_the_package_answers_and_says_so(tmp_path: Path) -> None:
    client = RegistryClient((tmp_path / "nowhere").as_uri(), tmp_path / "cache")
    version = await client.get_current_version("openai")
    source = client.get_source_info()["openai"]
    assert (source["version"], source["origin"]) == (version, "llmring's own snapshot")
    assert "no such file" in source["problem"]
    with pytest.raises(RegistryError):
        await client.fetch_version("openai", 1)
    with pytest.raises(RegistryError):
        await client.get_current_version("nobody")
    assert await client.validate_model("nobody", "anything")


async def test_clearing_and_invalidating(client: RegistryClient, tmp_path: Path) -> None:
    await client.fetch_current_models("openai")
    publish(tmp_path / "registry", version=100)
    assert await client.get_current_version("openai") == 99
    client.invalidate_cache("openai")
    assert await client.get_current_version("openai") == 100
    await client.fetch_version("openai", 98)
    client.clear_cache()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


async def test_force_asks_though_the_copy_is_fresh(client: RegistryClient, tmp_path: Path) -> None:
    await client.fetch_current_models("openai")
    publish(tmp_path / "registry", version=100)
    await client.fetch_current_models("openai", force_refresh=True)
    assert await client.get_current_version("openai") == 100


@pytest.mark.parametrize("url", ["http://example.com", "ftp://x", "https://me:secret@x", "x", "file://", "https://"])
def test_an_address_that_cannot_be_a_registrys_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="registry_url must be https") as caught:
        RegistryClient(url)
    assert "secret" not in str(caught.value)


@needs_registry
async def test_the_real_registry_is_served_from_its_directory(tmp_path: Path) -> None:
    client = RegistryClient(REGISTRY.as_uri(), tmp_path)
    for provider in ("openai", "anthropic", "google"):
        assert len(await client.fetch_current_models(provider, force_refresh=True)) > 10
        current = await client.get_current_version(provider)
        for version in range(1, current):
            assert (await client.check_drift(provider, version))["has_drift"]
    assert (await client.fetch_version("anthropic", 9)).published == date(2026, 8, 18)
