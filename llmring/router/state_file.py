"""The state file: what routers of one user have learned of limits, by model and account, for the next process.

    <directory>/limits.json    replaced whole, mode 600
    <directory>/limits.lock    held while it is: what another process has written in between is kept

An account is a digest of a provider's address and credential under a random salt of this file, so that it says nothing
of the key. Of two entries for one model and account the newest counts. What cannot be read or written is a warning in
the log and never an error: without it a router learns anew. All of it blocks for milliseconds, `write` for a second
where somebody does not give the lock back; whoever minds uses a thread.
"""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from llmring.providers.memory import FORGOTTEN_SECONDS, Memory
from llmring.providers.worker import Kept, Recalled
from llmring.refs import ModelRef

_LOG = logging.getLogger("llmring")

VERSION = 1
MOST_ENTRIES = 1000
"""The newest are kept."""

MOST_BYTES = 8 * 2**20
"""A file that is longer is none of ours."""

LOCK_TRIES = 20
LOCK_SECONDS = 0.05
"""Between two tries."""

_FILE, _NEW, _LOCK = "limits.json", "limits.new", "limits.lock"
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is when it was so."""

    provider: str
    model: str
    account: str
    at: _Time
    memory: Memory

    @property
    def key(self) -> tuple[str, str, str]:
        return self.provider, self.model, self.account


class _Head(msgspec.Struct, frozen=True):
    llmring_state: int


class _State(msgspec.Struct, frozen=True, kw_only=True):
    llmring_state: int
    salt: str
    entries: tuple[_Entry, ...] = ()


class _Newer(Exception):
    """Of a later llmring: not ours to read, and not to replace."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class StateFile:
    """`clock()` is the wall clock. Reads nothing before it is asked."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self.path = directory / _FILE
        self.clock = clock
        self._salt: str | None = None
        self._found: dict[tuple[str, str, str], _Entry] = {}
        self._warned: set[str] = set()

    def recall(self, ref: ModelRef, account: str) -> Recalled | None:
        """What earlier processes have kept of a model; None for nothing. The file is read once, at the first call."""
        if self._salt is None:
            state = self._load() or _nothing()
            self._salt, self._found = state.salt, {entry.key: entry for entry in state.entries}
        entry = self._found.get((ref.provider, ref.model, _digest(account, self._salt)))
        if entry is None:
            return None
        age = max(0.0, (self.clock() - entry.at).total_seconds())
        return Recalled(entry.memory, age) if age < FORGOTTEN_SECONDS else None

    def write(self, kept: Iterable[Kept], at: datetime) -> bool:
        """Add what was so `at` a time, or put it in the place of what is older; whether that was possible."""
        try:
            # Before anybody may look into it.
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                before = self._load()
                if before is None:
                    return False
                self._replace(_merged(before, kept, at, self.clock()))
        except OSError as error:
            self._warn(f"what was learned of limits is not kept in {self.path}: {error.strerror or error}")
            return False
        return True

    def _load(self) -> _State | None:
        """What is in the file: nothing where it is missing or damaged. None for a later llmring's."""
        try:
            return _decode(_bytes(self.path))
        except FileNotFoundError:
            pass
        except _Newer as error:
            self._warn(f"{self.path} is left alone: {error}")
            return None
        except (msgspec.DecodeError, ValueError) as error:
            self._warn(f"{self.path} is damaged, and limits are learned anew: {error}")
        except OSError as error:
            self._warn(f"{self.path} cannot be read, and limits are learned anew: {error.strerror or error}")
        return _nothing()

    def _replace(self, state: _State) -> None:
        """A process that is killed here leaves the old file whole, and half of a new one that the next replaces."""
        new = self.path.with_name(_NEW)
        # Not through a link, and never one that others may read.
        with suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(state))
        new.replace(self.path)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Raises OSError when another process holds the lock all the time."""
        try:
            import fcntl
        except ImportError:
            yield
            return
        with ExitStack() as stack:
            file = stack.enter_context(open(os.open(self.path.with_name(_LOCK), os.O_RDWR | os.O_CREAT, 0o600), "rb"))
            for tries_left in reversed(range(LOCK_TRIES)):
                try:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not tries_left:
                        raise
                    time.sleep(LOCK_SECONDS)
                except OSError:
                    # A file system without locks: the last writer wins.
                    break
            yield

    def _warn(self, text: str) -> None:
        """Once: a full disk is one all day."""
        if text not in self._warned:
            self._warned.add(text)
            _LOG.warning("%s", text)


def _nothing() -> _State:
    return _State(llmring_state=VERSION, salt=os.urandom(16).hex())


def _merged(before: _State, kept: Iterable[Kept], at: datetime, now: datetime) -> _State:
    oldest = now - timedelta(seconds=FORGOTTEN_SECONDS)
    # From the future: a clock was wrong, and nothing would ever be newer.
    entries = {entry.key: entry for entry in before.entries if oldest < entry.at <= now}
    for one in kept:
        entry = _Entry(
            provider=one.ref.provider,
            model=one.ref.model,
            account=_digest(one.account, before.salt),
            at=at,
            memory=one.memory,
        )
        other = entries.get(entry.key)
        if other is None or other.at <= at:
            entries[entry.key] = entry
    newest = sorted(entries.values(), key=lambda entry: entry.at, reverse=True)[:MOST_ENTRIES]
    return _State(llmring_state=VERSION, salt=before.salt, entries=tuple(newest))


def _digest(account: str, salt: str) -> str:
    return hashlib.blake2b(account.encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest()


def _bytes(path: Path) -> bytes:
    """Raises OSError. Never waits: a named pipe would hold up the program until somebody writes."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("no regular file")
        return file.read(MOST_BYTES + 1)


def _decode(data: bytes) -> _State:
    """Raises msgspec.DecodeError, ValueError, _Newer."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes")
    version = msgspec.json.decode(data, type=_Head).llmring_state
    if version > VERSION:
        raise _Newer(f"it is of version {version}, this llmring writes {VERSION}")
    state = msgspec.json.decode(data, type=_State)
    if not 16 <= len(bytes.fromhex(state.salt)) <= 64:
        raise ValueError("its salt has the wrong length")
    return state
