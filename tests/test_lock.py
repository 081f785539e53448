"""lock.py: the lockfile as its owner works on it, on disk."""

import os
from pathlib import Path
from typing import Any

import pytest

from llmring import lock
from llmring.config import BUNDLED_LOCKFILE
from llmring.errors import ConfigError, InvalidRequest, LockfileMissing, UnknownAlias
from llmring.lockfile import Lockfile, read_lockfile
from tests.review.models import CATALOG, TODAY


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, no settings, no keys."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LLMRING_") or name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    return tmp_path / "llmring.lock"


def bind(alias: str, models: str, **more: Any) -> lock.Bound:
    return lock.bind(alias, models, catalog=CATALOG, today=TODAY, **more)


def models(lockfile: Lockfile, alias: str, profile: str | None = None) -> list[str]:
    return [str(ref) for ref in lockfile.binding(alias, profile).models]


def test_a_first_binding_makes_the_lockfile_where_the_library_finds_it(project: Path) -> None:
    bound = bind("fast", "openai:alpha-3, anthropic:gamma-5")
    assert (bound.path, bound.created, bound.profile) == (project, True, "default")
    assert models(read_lockfile(project), "fast") == ["openai:alpha-3", "anthropic:gamma-5"]
    assert not bind("fast", "openai:alpha-3").created


def test_the_environment_names_the_file_and_the_profile(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = project.with_name("other.lock.json")
    monkeypatch.setenv("LLMRING_LOCKFILE_PATH", str(elsewhere))
    monkeypatch.setenv("LLMRING_PROFILE", "prod")
    bind("fast", "openai:alpha-3")
    bind("fast", "openai:alpha-2", profile="dev")
    lockfile = read_lockfile(elsewhere)
    assert (models(lockfile, "fast", "prod"), models(lockfile, "fast", "dev")) == (
        ["openai:alpha-3"],
        ["openai:alpha-2"],
    )
    assert not project.exists()


def test_a_pattern_is_written_as_models_with_what_they_were_taken_from(project: Path) -> None:
    bound = bind("smart", "anthropic:*", constraints={"max_cost": 3, "temperature": 0.5}, pin=True)
    assert [str(ref) for ref in bound.models] == ["anthropic:delta-5"]
    assert [(str(one.ref), one.taken) for one in bound.considered] == [
        ("anthropic:delta-5", True),
        ("anthropic:gamma-5", False),
    ]
    binding = read_lockfile(project).binding("smart")
    assert binding.models_from == ("anthropic:*",)
    assert dict(binding.constraints) == {"temperature": 0.5, "max_cost": "3"}
    assert set(map(str, binding.pins)) == {"anthropic:delta-5"}


def test_constraints_stay_and_hold_when_none_are_given(project: Path) -> None:
    bind("smart", "anthropic:*", constraints={"max_cost": 3})
    with pytest.raises(InvalidRequest, match="openai:alpha-3 does not hold the constraints"):
        bind("smart", "openai:alpha-3")
    bind("smart", "openai:beta-mini-3")
    binding = read_lockfile(project).binding("smart")
    assert dict(binding.constraints) == {"max_cost": "3"}
    assert binding.models_from == ()


@pytest.mark.parametrize(
    ("alias", "wanted", "more", "problem"),
    [
        ("a b", "openai:alpha-3", {}, "'a b' is not an alias"),
        ("lib:x", "openai:alpha-3", {}, "no package 'lib' is in \\[extends\\] packages"),
        ("x", "", {}, "name at least one model"),
        ("x", "gpt-4o", {}, "'gpt-4o' is not a model reference: expected 'provider:model'"),
        ("x", "openai:a,,b:c", {}, "name at least one model"),
        ("x", "openai:alpha-3", {"constraints": {"max_cots": 1}}, "unknown key 'max_cots': did you mean 'max_cost'"),
        ("x", "openai:*", {"constraints": {"min_context": 10**9}}, "no model of openai:\\* holds the constraints:\n  "),
    ],
)
def test_a_wrong_binding_is_refused_and_writes_nothing(
    project: Path, alias: str, wanted: str, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        bind(alias, wanted, **more)
    assert not project.exists()


def test_a_model_that_the_registry_does_not_know_is_bound_and_named() -> None:
    bound = bind("x", "openai:alpah-3,ollama:any")
    assert [str(ref) for ref in bound.unknown] == ["openai:alpah-3"]


def test_what_was_bound_can_be_unbound(project: Path) -> None:
    bind("x", "openai:alpha-3")
    bind("y", "openai:alpha-3")
    lock.unbind("x")
    assert list(read_lockfile(project).profiles["default"].bindings) == ["y"]
    with pytest.raises(UnknownAlias):
        lock.unbind("x")


def test_without_a_lockfile_there_is_nothing_to_edit() -> None:
    with pytest.raises(LockfileMissing):
        lock.unbind("x")
    for work in (lock.upgrade, lock.bump_registry):
        with pytest.raises(LockfileMissing):
            work()


def test_the_bundled_lockfile_is_refused() -> None:
    with pytest.raises(ConfigError, match="comes with llmring and is not edited"):
        bind("x", "openai:alpha-3", lockfile=BUNDLED_LOCKFILE)


def test_init_proposes_for_the_keys_that_are_there(project: Path) -> None:
    lockfile = lock.init(catalog=CATALOG, today=TODAY, keys={"OPENAI_API_KEY": "k"})
    assert {ref.provider for b in lockfile.profiles["default"].bindings.values() for ref in b.models} == {"openai"}
    assert lockfile.profiles["default"].registry_versions == {"openai": 7}
    with pytest.raises(FileExistsError):
        lock.init(catalog=CATALOG, today=TODAY, keys={})
    every = lock.init(catalog=CATALOG, today=TODAY, keys={}, force=True)
    assert models(every, "deep") == ["anthropic:gamma-5", "openai:alpha-3"]
    assert read_lockfile(project).profiles == every.profiles


def test_a_bump_pins_what_is_used_and_renews_the_digests(project: Path) -> None:
    project.write_text(
        '[[profiles.default.bindings]]\nalias = "x"\nmodels = ["openai:alpha-3", "ollama:any"]\n'
        'pins = { "openai:alpha-3" = "old" }\n[profiles.default.registry_versions]\nopenai = 6 # six\n'
    )
    planned = lock.bump_registry(catalog=CATALOG, write=False)
    assert [(bump.provider, bump.before, bump.after) for bump in planned] == [("openai", 6, 7)]
    assert "openai = 6 # six" in project.read_text()
    assert lock.bump_registry(catalog=CATALOG) == planned
    assert "openai = 7 # six" in project.read_text()
    assert '"old"' not in project.read_text()


def test_an_upgrade_can_be_looked_at_first(project: Path) -> None:
    project.write_text('[aliases.default]\nfast = "openai:alpha-3"\n')
    planned = lock.upgrade(write=False)
    assert planned.before != planned.after
    assert project.read_text() == planned.before
    assert lock.upgrade() == planned
    assert read_lockfile(project).forms == ("canonical",)


def test_an_order_is_written_and_the_usual_one_is_not(project: Path) -> None:
    bind("x", "openai:alpha-3,anthropic:gamma-5", order="cheapest")
    assert read_lockfile(project).binding("x").order == "cheapest"
    bind("x", "openai:alpha-3")
    assert 'order = "cheapest"' in project.read_text()
    bind("x", "openai:alpha-3", order="ordered")
    assert "order" not in project.read_text()
