"""Checks a directory of published lists as the registry serves it: <provider>/models.json, <provider>/v/N/models.json.

For whoever keeps a registry. Reads files, blocking; changes none. What a file should be and is not is a Finding, a file
that cannot be read included; nothing raises but a directory that is none.
"""

import re
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from llmring.errors import RegistryError
from llmring.registry.digest import chain_holds
from llmring.registry.faults import Fault, FaultKind
from llmring.registry.published import HASH_KEY, PublishedList, parse_published

LIST = "models.json"
_VERSION = re.compile(r"[1-9]\d*")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and the file that has it, from the directory that was checked."""

    path: Path
    fault: Fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"


class _File(msgspec.Struct, frozen=True):
    """A list as read: its bytes, what they say, and whether its hash follows from the version before."""

    data: bytes
    list: PublishedList
    holds: bool = True


def verify(directory: Path) -> tuple[Finding, ...]:
    """What is wrong with the lists in `directory`, by provider and version. Raises RegistryError where there are none.

    A finding whose `fault.is_anomaly` is a habit of the real lists, which every reader of llmring understands; the
    others are mistakes.
    """
    try:
        homes = sorted(path for path in directory.iterdir() if path.is_dir() and _has_lists(path))
    except OSError as error:
        raise RegistryError(directory, str(error.strerror or error).lower()) from error
    if not homes:
        raise RegistryError(directory, f"holds no <provider>/{LIST}")
    return tuple(
        Finding(path=path.relative_to(directory), fault=fault) for home in homes for path, fault in _provider(home)
    )


def _has_lists(home: Path) -> bool:
    return (home / LIST).exists() or (home / "v").is_dir()


def _provider(home: Path) -> Iterator[tuple[Path, Fault]]:
    kept: dict[int, _File] = {}
    for version, path in _versions(home):
        file = yield from _read(path, home.name)
        if file is None:
            continue
        if file.list.version != version:
            yield path, _fault("wrong_version", f"is {file.list.version} in the directory of {version}", "version")
        holds = _holds(file, kept.get(version - 1))
        kept[version] = msgspec.structs.replace(file, holds=holds)
        if not holds:
            yield (
                path,
                _fault("broken_chain", "does not follow from the version before: edited after hashing", HASH_KEY),
            )
    for missing in sorted(set(range(1, max(kept, default=0))) - {version for version, _ in _versions(home)}):
        yield home / "v" / str(missing) / LIST, _fault("missing_version", "is missing between other versions")
    yield from _current(home, kept)


def _versions(home: Path) -> list[tuple[int, Path]]:
    """The kept versions, oldest first."""
    names = [path.name for path in home.glob("v/*") if _VERSION.fullmatch(path.name)]
    return [(number, home / "v" / str(number) / LIST) for number in sorted(map(int, names))]


def _read(path: Path, provider: str) -> Generator[tuple[Path, Fault], None, _File | None]:
    """A file, as the generator's value; None where there is no list in it."""
    try:
        data = path.read_bytes()
        published = parse_published(data, path)
    except OSError as error:
        yield path, _fault("unreadable", f"cannot be read: {str(error.strerror or error).lower()}")
        return None
    except RegistryError as error:
        yield path, _fault("unreadable", error.problem)
        return None
    if published.provider != provider:
        yield path, _fault("wrong_provider", f"is {published.provider!r} in the directory of {provider!r}", "provider")
    for fault in published.faults:
        yield path, fault
    if published.content_sha256 is None:
        yield path, _fault("missing_key", "is missing", HASH_KEY)
    return _File(data, published)


def _holds(file: _File, before: _File | None) -> bool:
    """Whether the hash follows from the version before; after none, or after one that does not hold, a chain may begin.

    A list without a hash is no link of a chain: it has a fault already.
    """
    if file.list.content_sha256 is None:
        return True
    if before is not None and chain_holds(file.data, before.list.content_sha256):
        return True
    return (before is None or not before.holds) and chain_holds(file.data, None)


def _current(home: Path, kept: dict[int, _File]) -> Iterator[tuple[Path, Fault]]:
    """Whether <provider>/models.json is the latest version, to the byte."""
    path = home / LIST
    latest = kept.get(max(kept, default=0))
    if latest is not None and path.is_file() and path.read_bytes() == latest.data:
        return
    file = yield from _read(path, home.name)
    if file is not None and latest is not None:
        what = f"differs from v/{max(kept)}/{LIST}, the latest version that is kept"
        yield path, _fault("stale_current", what)


def _fault(kind: FaultKind, what: str, field: str | None = None) -> Fault:
    return Fault(field=field, kind=kind, what=what)
