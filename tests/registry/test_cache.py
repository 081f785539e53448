"""Lists on disk: whole or not at all, and never an error."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.registry.cache import Cache

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    Cache(tmp_path / "deep" / "cache").write("openai", b"{}", '"tag"', NOW)
    copy = Cache(tmp_path / "deep" / "cache").read("openai")
    assert copy is not None
    assert (copy.data, copy.etag, copy.fetched_at) == (b"{}", '"tag"', NOW)


@given(st.binary(max_size=200), st.sampled_from(["models.json", "models.meta"]))
def test_whatever_lies_there_is_read_or_discarded_with_a_note(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    directory = tmp_path_factory.mktemp("cache")
    cache = Cache(directory)
    cache.write("openai", b"{}", None, NOW)
    (directory / "openai" / name).write_bytes(data)
    copy = cache.read("openai")
    if copy is None:
        assert len(cache.notes) == 1
        assert cache.notes[0].startswith("the kept registry list of openai was discarded: ")
        assert not (directory / "openai" / name).exists()
    else:
        assert name == "models.meta" or data == b"{}"
    assert cache.info() is not None


def test_half_a_pair_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("openai", b"{}", None, NOW)
    (tmp_path / "openai" / "models.meta").unlink()
    assert cache.read("openai") is None


def test_versions_are_kept_for_ever_and_listed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("openai", b"{}", None, NOW)
    for version in (10, 9):
        cache.write_version("openai", version, b"[]")
    (entry,) = cache.info()
    assert (entry.provider, entry.fetched_at, entry.versions) == ("openai", NOW, (9, 10))
    assert cache.read_version("openai", 9) == b"[]"
    assert cache.read_version("openai", 8) is None
    cache.discard("openai", "a test")
    assert cache.read("openai") is None
    assert cache.read_version("openai", 9) == b"[]"


def test_clearing_deletes_lists_and_nothing_else(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("openai", b"{}", None, NOW)
    cache.write_version("google", 1, b"{}")
    (tmp_path / "openai" / "mine.txt").write_text("mine")
    assert cache.clear() == 3
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]
    assert cache.clear() == 0


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "../x", "A"])
def test_a_provider_is_no_way_out_of_the_directory(tmp_path: Path, name: str) -> None:
    cache = Cache(tmp_path / "cache")
    cache.write(name, b"{}", None, NOW)
    cache.write_version(name, 1, b"{}")
    assert cache.read(name) is None
    assert list(tmp_path.rglob("*")) == []


def test_without_a_directory_nothing_is_kept_and_that_is_noted_once() -> None:
    cache = Cache(None)
    cache.write("openai", b"{}", None, NOW)
    assert (cache.read("openai"), cache.info(), cache.clear()) == (None, (), 0)
    assert cache.notes == ["there is no home directory: the registry's lists are not kept on disk"]


def test_a_place_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.write("openai", b"{}", None, NOW)
    assert cache.read("openai") is None
    assert len(cache.notes) >= 1
