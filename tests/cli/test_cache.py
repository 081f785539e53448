"""The registry's lists on this machine, as a user looks after them."""

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.registry.lists import document, entry

OLD = document(entry("gpt-5", dollars_per_million_tokens_input=2.5), version=98)
NEW = document(entry("gpt-5"), entry("gpt-nova"), version=99)


@pytest.fixture
def registry(bare: Terminal) -> Path:
    """A registry in a directory, and a cache of one's own."""
    place = bare.directory / "registry"
    for path, listed in (("v/98/models.json", OLD), ("models.json", NEW)):
        (place / "openai" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "openai" / path).write_text(json.dumps(listed))
    bare.variables |= {
        "LLMRING_REGISTRY_URL": place.as_uri(),
        "XDG_CACHE_HOME": str(bare.directory / "cache"),
        "LLMRING_REGISTRY_REFRESH": "on",
    }
    return place


def test_what_is_fetched_is_kept_shown_used_and_cleared(bare: Terminal, registry: Path) -> None:
    assert "(nothing is kept)" in bare.run("cache", "info").out
    refreshed = bare.run("cache", "refresh")
    assert refreshed.code == 1
    assert "  openai: v99\n" in refreshed.out
    assert "anthropic: v" in refreshed.out
    assert "not renewed" in refreshed.out
    told = bare.run("cache", "info", "--json").json()
    assert [(one["provider"], one["versions"]) for one in told["lists"]] == [("openai", [])]
    assert told["directory"] == str(bare.directory / "cache" / "llmring" / "registry")
    assert "gpt-nova" in bare.run("list", "--provider", "openai").out
    assert bare.run("cache", "clear").out == "✅ Deleted 2 files\n"
    assert "gpt-nova" not in bare.run("list", "--provider", "openai").out


def test_a_damaged_copy_is_noted_and_nothing_else(bare: Terminal, registry: Path) -> None:
    bare.run("cache", "refresh")
    kept = bare.directory / "cache" / "llmring" / "registry" / "openai" / "models.json"
    kept.write_text("{")
    assert bare.run("list", "--provider", "openai").code == 0
    assert not kept.exists()


def test_a_pinned_version_is_fetched_once_for_drift(bare: Terminal, registry: Path) -> None:
    bare.run("cache", "refresh")
    (bare.directory / "llmring.lock").write_text(
        '[[bindings]]\nalias = "x"\nmodels = "openai:gpt-5"\n[registry_versions]\nopenai = 98\n'
    )
    offline = bare.run("lock", "drift", "--offline")
    assert "the list of v98 is not at hand, only pins are compared" in offline.out
    ended = bare.run("lock", "drift", "--ci")
    assert ended.code == 3
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["default", "openai:gpt-5", "price", "input", "2.5", "1.25"] in lines
    assert bare.run("lock", "drift", "--offline", "--json").json()["drift"][0]["changes"] == [
        {"model": "openai:gpt-5", "what": "price", "field": "input", "before": "2.5", "after": "1.25"}
    ]
    bumped = bare.run("lock", "bump-registry")
    assert ["default", "openai:gpt-5", "price", "input", "2.5", "1.25"] in [
        line.split() for line in bumped.out.splitlines()
    ]
    assert "  openai: v98 → v99\n" in bumped.out
    assert bare.run("lock", "drift", "--ci").code == 0
    # The pinned list is kept for the day when it is no longer the newest.
    newer = document(entry("gpt-5", dollars_per_million_tokens_input=9.0), version=100)
    (registry / "openai" / "models.json").write_text(json.dumps(newer))
    bare.run("cache", "refresh")
    assert bare.run("lock", "drift", "--offline", "--json").json()["drift"][0]["changes"][0]["after"] == "9"


def test_a_version_that_cannot_be_had_is_said(bare: Terminal, registry: Path) -> None:
    (bare.directory / "llmring.lock").write_text(
        '[[bindings]]\nalias = "x"\nmodels = "openai:gpt-5"\n[registry_versions]\nopenai = 5\n'
    )
    ended = bare.run("lock", "drift")
    assert ended.code == 0
    assert "version 5 of openai cannot be had" in ended.err


def test_an_address_that_cannot_be_a_registrys_is_one_line(bare: Terminal) -> None:
    bare.variables["LLMRING_REGISTRY_URL"] = "http://example.com"
    ended = bare.run("cache", "refresh")
    assert ended.code == 2
    assert ended.err.startswith("Error: LLMRING_REGISTRY_URL must be https://")
