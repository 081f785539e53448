"""registry/verify.py: what is wrong with a directory of lists is found, and each finding names its file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from llmring.errors import RegistryError
from llmring.registry.verify import verify
from tests.registry.lists import REGISTRY, document, entry, needs_registry


def write(directory: Path, number: int, before: str | None = None, **top: Any) -> str:
    """A version of openai's list that follows from `before`; the latest one is current. Returns its hash."""
    content = document(entry(), **{"version": number, **top})
    hashed = content | ({"content_sha256_jcs": before} if before else {})
    sha256 = hashlib.sha256(json.dumps(hashed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path = directory / "openai" / "v" / str(number) / "models.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content | {"content_sha256_jcs": sha256}))
    (directory / "openai" / "models.json").write_bytes(path.read_bytes())
    return sha256


def found(directory: Path) -> list[tuple[str, str]]:
    return [(str(finding.path), finding.fault.kind) for finding in verify(directory)]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_right_registry_has_no_finding(tmp_path: Path) -> None:
    write(tmp_path, 2, write(tmp_path, 1))
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "other").mkdir()
    assert verify(tmp_path) == ()


def test_a_list_that_was_edited_after_hashing_is_found(tmp_path: Path) -> None:
    write(tmp_path, 3, write(tmp_path, 2, write(tmp_path, 1)))
    edit(tmp_path / "openai/v/2/models.json", updated_at="2026-08-19T00:00:00Z")
    assert found(tmp_path) == [("openai/v/2/models.json", "broken_chain")]


def test_a_chain_may_not_begin_anew_after_a_list_that_holds(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    assert found(tmp_path) == [("openai/v/2/models.json", "broken_chain")]


def test_a_version_in_the_wrong_place_or_missing_is_found(tmp_path: Path) -> None:
    write(tmp_path, 1, version=7)
    write(tmp_path, 3)
    assert found(tmp_path) == [
        ("openai/v/1/models.json", "wrong_version"),
        ("openai/v/2/models.json", "missing_version"),
    ]


def test_a_current_list_that_is_not_the_latest_version_is_found(tmp_path: Path) -> None:
    first = write(tmp_path, 1)
    old = (tmp_path / "openai/models.json").read_bytes()
    write(tmp_path, 2, first)
    (tmp_path / "openai/models.json").write_bytes(old)
    assert found(tmp_path) == [("openai/models.json", "stale_current")]
    (tmp_path / "openai/models.json").unlink()
    assert found(tmp_path) == [("openai/models.json", "unreadable")]


def test_a_list_of_another_provider_is_found(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "openai").rename(tmp_path / "google")
    assert found(tmp_path) == [("google/v/1/models.json", "wrong_provider")]


def test_a_list_that_cannot_be_read_is_a_finding_and_the_others_are_checked(tmp_path: Path) -> None:
    write(tmp_path, 2, write(tmp_path, 1))
    (tmp_path / "openai/v/1/models.json").write_text("{")
    edit(tmp_path / "openai/v/2/models.json", models=[entry(dollars_per_million_tokens_input=-1)])
    assert found(tmp_path) == [
        ("openai/v/1/models.json", "unreadable"),
        ("openai/v/2/models.json", "wrong_value"),
        ("openai/v/2/models.json", "broken_chain"),
        ("openai/models.json", "stale_current"),
    ]


def test_faults_of_entries_and_a_missing_hash_are_found(tmp_path: Path) -> None:
    write(tmp_path, 1)
    bad = entry("b", dollars_per_million_tokens_output=float("nan"), model_aliases=["x"])
    del bad["is_active"]
    models = {"openai:a": entry("a", model_aliases=["x"]), "openai:c": bad}
    path = tmp_path / "openai/v/1/models.json"
    edit(path, models=models, content_sha256_jcs=None)
    (tmp_path / "openai/models.json").write_bytes(path.read_bytes())
    assert [(finding.fault.model, finding.fault.field, finding.fault.kind) for finding in verify(tmp_path)] == [
        ("b", "is_active", "missing_key"),
        ("b", None, "wrong_key"),
        ("b", "dollars_per_million_tokens_output", "wrong_value"),
        ("a", "model_aliases", "alias_claimed_twice"),
        (None, "content_sha256_jcs", "missing_key"),
    ]


def test_a_directory_without_lists_is_a_registry_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="holds no <provider>"):
        verify(tmp_path)
    with pytest.raises(RegistryError, match="no such file"):
        verify(tmp_path / "gone")


@needs_registry
def test_of_the_real_registry_two_lists_were_edited_after_hashing() -> None:
    assert [
        (str(finding.path), finding.fault.kind) for finding in verify(REGISTRY) if not finding.fault.is_anomaly
    ] == [("anthropic/v/1/models.json", "broken_chain"), ("google/v/3/models.json", "broken_chain")]
