"""Published lists on disk, as they came: one a provider with its ETag and time, and versions, which never change.

    <directory>/<provider>/models.json    the newest list that was fetched
    <directory>/<provider>/models.meta    when, its ETag, and the SHA-256 of the list, so that half a pair is noticed
    <directory>/<provider>/v/<N>.json     a version, kept for ever

Files are replaced whole, so that two processes do no harm to one another. What cannot be read is discarded with a note
and never an error: a cache is not needed. All of it blocks for a few milliseconds; whoever minds uses a thread.
"""

import hashlib
import logging
import os
import re
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_LOG = logging.getLogger("llmring")
# What may be a directory here: a provider's name, and no way out of the cache.
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*")
_LIST, _META = "models.json", "models.meta"


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A list on disk. `fetched_at` is UTC."""

    data: bytes
    etag: str | None
    fetched_at: datetime


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache holds of a provider, for people. `size` in bytes, all files together."""

    provider: str
    fetched_at: datetime | None
    versions: tuple[int, ...]
    size: int


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    etag: str | None
    fetched_at: datetime
    sha256: str


class Cache:
    """`directory` None: there is nowhere to keep anything, which is noted once."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.notes: list[str] = []

    def read(self, provider: str) -> Copy | None:
        """The newest list that was fetched; None where there is none that is whole."""
        place = self._place(provider)
        if place is None:
            return None
        raw, data = self._bytes(place / _META), self._bytes(place / _LIST)
        if raw is None or data is None:
            return None
        try:
            meta = msgspec.json.decode(raw, type=_Meta)
        except msgspec.DecodeError:
            self._discard(place, "its note of the time is damaged")
            return None
        if hashlib.sha256(data).hexdigest() != meta.sha256:
            self._discard(place, "the list is not the one that was kept")
            return None
        return Copy(data=data, etag=meta.etag, fetched_at=meta.fetched_at.astimezone(UTC))

    def write(self, provider: str, data: bytes, etag: str | None, now: datetime) -> None:
        """Keep a list that was fetched, or one that has been found to be the same still."""
        place = self._place(provider)
        meta = _Meta(etag=etag, fetched_at=now, sha256=hashlib.sha256(data).hexdigest())
        if place is not None and self._put(place / _LIST, data):
            self._put(place / _META, msgspec.json.encode(meta))

    def discard(self, provider: str, why: str) -> None:
        """Forget a list that turned out to be none."""
        place = self._place(provider)
        if place is not None:
            self._discard(place, why)

    def read_version(self, provider: str, version: int) -> bytes | None:
        place = self._place(provider)
        return self._bytes(place / "v" / f"{version}.json") if place is not None else None

    def write_version(self, provider: str, version: int, data: bytes) -> None:
        place = self._place(provider)
        if place is not None:
            self._put(place / "v" / f"{version}.json", data)

    def providers(self) -> tuple[str, ...]:
        """Those that there may be a list of."""
        return tuple(place.name for place in self._places())

    def info(self) -> tuple[Entry, ...]:
        """What there is, by provider."""
        entries: list[Entry] = []
        for place in self._places():
            copy = self.read(place.name)
            versions = sorted(int(path.stem) for path in place.glob("v/*.json") if path.stem.isdecimal())
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            entries.append(
                Entry(
                    provider=place.name,
                    fetched_at=copy.fetched_at if copy is not None else None,
                    versions=tuple(versions),
                    size=size,
                )
            )
        return tuple(entries)

    def clear(self, provider: str | None = None) -> int:
        """Delete the lists, of one provider or of all; returns how many files went. Other files there stay."""
        count = 0
        for place in self._places():
            if provider is not None and place.name != provider:
                continue
            for path in (place / _LIST, place / _META, *place.glob("v/*.json")):
                with suppress(FileNotFoundError):
                    path.unlink()
                    count += 1
            for directory in (place / "v", place):
                # Not empty: somebody else's files.
                with suppress(OSError):
                    directory.rmdir()
        return count

    def _places(self) -> list[Path]:
        if self.directory is None or not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if path.is_dir() and _PROVIDER.fullmatch(path.name))

    def _place(self, provider: str) -> Path | None:
        if self.directory is None:
            self._note("there is no home directory: the registry's lists are not kept on disk")
            return None
        return self.directory / provider if _PROVIDER.fullmatch(provider) else None

    def _bytes(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")
            return None

    def _put(self, path: Path, data: bytes) -> bool:
        """Whether it was written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
        except OSError as error:
            self._note(f"{path.parent} cannot be written: {(error.strerror or str(error)).lower()}")
            return False
        new = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            new.replace(path)
        except OSError as error:
            self._note(f"{path} cannot be written: {(error.strerror or str(error)).lower()}")
            return False
        finally:
            new.unlink(missing_ok=True)
        return True

    def _discard(self, place: Path, why: str) -> None:
        for path in (place / _LIST, place / _META):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._note(f"the kept registry list of {place.name} was discarded: {why}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            _LOG.info("%s", text)
