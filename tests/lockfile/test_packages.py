"""Aliases of other packages: found without importing them, bound anew by whoever extends them, one level deep."""

import sys
from pathlib import Path

import pytest

from llmring.errors import LockfileInvalid, UnknownAlias
from llmring.lockfile import Lockfile, read_lockfile
from llmring.lockfile.packages import check_package, find_package_lockfile

LIBRARY = """
[extends]
packages = ["deeper"]
[[profiles.default.bindings]]
alias = "summarizer"
models = ["anthropic:claude-haiku-4-5"]
[[profiles.default.bindings]]
alias = "translator"
models = ["openai:gpt-5"]
[[profiles.prod.bindings]]
alias = "translator"
models = ["openai:gpt-5-pro"]
"""


def install(directory: Path, name: str, lockfile: str | None) -> None:
    """A package that must not be imported."""
    package = directory / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    if lockfile is not None:
        (package / "llmring.lock").write_text(lockfile)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    return site


def consumer(tmp_path: Path, packages: str, bindings: str = "") -> Lockfile:
    path = tmp_path / "llmring.lock"
    path.write_text(f"[extends]\npackages = {packages}\n[profiles.default]\n[profiles.prod]\n{bindings}")
    return read_lockfile(path)


def models(lockfile: Lockfile, alias: str, profile: str | None = None) -> list[str]:
    return [str(ref) for ref in lockfile.binding(alias, profile).models]


def test_an_alias_of_a_package_is_resolved_without_importing_it(site: Path, tmp_path: Path) -> None:
    install(site, "liba_sums", LIBRARY)
    lockfile = consumer(tmp_path, '["liba_sums"]')
    assert models(lockfile, "liba_sums:summarizer") == ["anthropic:claude-haiku-4-5"]
    assert lockfile.binding("liba_sums:summarizer").alias == "liba_sums:summarizer"
    assert "liba_sums" not in sys.modules
    with pytest.raises(UnknownAlias):
        lockfile.binding("summarizer")


def test_the_package_is_asked_in_the_same_profile_and_else_in_its_own_default(site: Path, tmp_path: Path) -> None:
    install(site, "liba_prof", LIBRARY)
    lockfile = consumer(tmp_path, '["liba_prof"]')
    assert models(lockfile, "liba_prof:translator", "prod") == ["openai:gpt-5-pro"]
    assert models(lockfile, "liba_prof:summarizer", "prod") == ["anthropic:claude-haiku-4-5"]


def test_what_is_bound_anew_holds_in_its_profile(site: Path, tmp_path: Path) -> None:
    install(site, "liba_anew", LIBRARY)
    override = '[[profiles.prod.bindings]]\nalias = "liba_anew:summarizer"\nmodels = "ollama:llama3.3:70b"'
    lockfile = consumer(tmp_path, '["liba_anew"]', override)
    assert models(lockfile, "liba_anew:summarizer", "prod") == ["ollama:llama3.3:70b"]
    assert models(lockfile, "liba_anew:summarizer") == ["anthropic:claude-haiku-4-5"]


def test_what_a_package_extends_in_turn_is_not_read(site: Path, tmp_path: Path) -> None:
    install(site, "liba_deep", LIBRARY)
    install(site, "deeper", LIBRARY)
    lockfile = consumer(tmp_path, '["liba_deep"]')
    theirs = lockfile.extended["liba_deep"].lockfile
    assert theirs is not None
    assert theirs.extended == {}
    with pytest.raises(UnknownAlias, match="unknown alias 'liba_deep:deeper:summarizer'"):
        lockfile.binding("liba_deep:deeper:summarizer")


def test_a_package_without_a_lockfile_fails_its_own_aliases_alone(site: Path, tmp_path: Path) -> None:
    install(site, "libb_bare", None)
    install(site, "libc_broken", "[[bindings]]\nalias = 5")
    lockfile = consumer(
        tmp_path,
        '["libb_bare", "no_such_package", "libc_broken"]',
        '[[profiles.default.bindings]]\nalias = "mine"\nmodels = "openai:gpt-5"\n',
    )
    assert models(lockfile, "mine") == ["openai:gpt-5"]
    for package in ("libb_bare", "no_such_package"):
        with pytest.raises(UnknownAlias, match=r"package not installed or has no llmring.lock"):
            lockfile.binding(f"{package}:x")
    with pytest.raises(UnknownAlias, match=r"failed to load lockfile - .*line 2: .*alias must be a string"):
        lockfile.binding("libc_broken:x")


def test_an_unknown_alias_of_a_package_names_the_nearest(site: Path, tmp_path: Path) -> None:
    install(site, "liba_near", LIBRARY)
    with pytest.raises(UnknownAlias, match="did you mean 'liba_near:summarizer'"):
        consumer(tmp_path, '["liba_near"]').binding("liba_near:sumarizer")


def test_a_package_is_found_by_the_name_of_its_distribution_and_inside_another(site: Path, tmp_path: Path) -> None:
    install(site, "my_library", LIBRARY)
    assert find_package_lockfile("my-library") == site / "my_library" / "llmring.lock"
    install(site / "outer_space", "inner", LIBRARY)
    assert find_package_lockfile("outer_space.inner") == site / "outer_space" / "inner" / "llmring.lock"
    info = site / "Other_Name-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-name\nVersion: 1.0\n")
    (info / "RECORD").write_text("my_library/llmring.lock,,\n")
    assert find_package_lockfile("other-name") == site / "my_library" / "llmring.lock"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "../a", "a:b", "é"])
def test_what_cannot_be_a_package_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must follow PEP 508"):
        check_package(name)


@pytest.mark.parametrize("name", ["sys", "os", "json", "a..b", "1a", "x.y.z"])
def test_looking_for_any_package_only_looks(name: str) -> None:
    assert find_package_lockfile(name) is None


def test_a_reference_to_a_package_that_is_not_extended_is_a_model(tmp_path: Path) -> None:
    lockfile = consumer(tmp_path, "[]")
    assert models(lockfile, "libx:summarizer") == ["libx:summarizer"]
    path = tmp_path / "llmring.lock"
    path.write_text('[[profiles.default.bindings]]\nalias = "libx:summarizer"\nmodels = "openai:gpt-5"')
    with pytest.raises(LockfileInvalid, match=r"'libx' is not listed in extends.packages"):
        read_lockfile(path)
