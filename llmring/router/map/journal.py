"""Journal: the settled rows of a map on disk, so that a killed run goes on where it stood and pays nothing twice.

JSON lines, appended. The first says what the file is; every other one is a row, or about a batch (batch_lines.py):

    {"llmring_journal": 2}
    {"key": "4f0c…", "row": 7, "response": {…}}
    {"key": "91ab…", "row": 8, "error": {"type": "AllModelsFailed", "message": "…"}}

A row's key is a digest of what would be sent and to whom, with a number where the same row comes again: never its place
in the input, which an edit of the input moves. Lines go to the system whole and before the row is handed out, so a
process may be killed at any moment; what the system itself loses with its power is bounded by `sync`. A line without
its end is what a killed process leaves, and is dropped.
"""

import hashlib
import os
import re
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO

import msgspec

from llmring.chat import ChatRequest, ChatResponse
from llmring.errors import ConfigError, LLMRingError
from llmring.refs import ModelRef
from llmring.router.map.batch_lines import BatchLine, OpenBatch, taken_in
from llmring.router.map.file_lock import lock
from llmring.router.map.places import Places
from llmring.router.map.row_key import VERSION, row_digest

_VERSIONS = range(1, VERSION + 1)
"""They differ in the digests that rows are known by: a journal goes on with those that it was begun with."""

SYNC_SECONDS = 1.0
SYNC_ROWS = 256
"""A journal is forced to disk so often at least: what a power failure can cost."""

_READ_BYTES = 64 * 1024
"""Rows are asked for nearly in the order they were settled: one look at the file is good for the next ones too."""


_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What Anthropic takes as a custom_id (https://docs.claude.com/en/api/creating-message-batches); others take more."""


class _Head(msgspec.Struct, frozen=True):
    llmring_journal: int


class _Error(msgspec.Struct, frozen=True):
    type: str
    message: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    key: str
    row: int
    response: ChatResponse | None = None
    error: _Error | None = None


class _Settled(msgspec.Struct, frozen=True):
    """A line without the answer itself. About a batch, it has no key: an older llmring then refuses the journal, for
    it would ask again what is on its way."""

    key: str | None = None
    error: _Error | None = None
    batch: BatchLine | None = None


class _BatchEntry(msgspec.Struct, frozen=True):
    batch: BatchLine


_HEADS = {version: msgspec.json.encode(_Head(version)) + b"\n" for version in _VERSIONS}
_LINES = msgspec.json.Decoder(_Line)
_SETTLED = msgspec.json.Decoder(_Settled)


class Journal:
    """Made by `open_journal`. `answered` counts the rows that are on disk already; `batches` are those, by tag, whose
    results are not."""

    def __init__(
        self,
        path: Path,
        file: Any,
        reader: BinaryIO,
        offsets: Places,
        batches: dict[str, OpenBatch],
        version: int = VERSION,
    ) -> None:
        self.path = path
        self._version = version
        self.batches = batches
        self._file = file
        self._reader = reader
        self._offsets = offsets
        self._times = Places()
        self._unsynced = 0
        self._torn = False

    @property
    def answered(self) -> int:
        return len(self._offsets)

    def digest(self, request: ChatRequest, models: Sequence[ModelRef]) -> str:
        """What rows that ask the same have in common."""
        return row_digest(request, models, self._version)

    def key(self, request: ChatRequest, models: Sequence[ModelRef]) -> str:
        """The key of the next row with this request. Asked once a row, in the order of the input."""
        digest = self.digest(request, models)
        number = self._times.get(digest) or 0
        self._times.put(digest, number + 1)
        return digest if number == 0 else f"{digest}-{number}"

    def answer(self, key: str) -> ChatResponse | None:
        """The answer of an earlier run; None where there is none that can be read, or only a failure: it is tried
        again."""
        offset = self._offsets.get(key)
        if offset is None:
            return None
        try:
            self._reader.seek(offset)
            line = _LINES.decode(self._reader.readline())
        except (OSError, msgspec.DecodeError):
            # A disk that fails, or a line of another llmring.
            return None
        return line.response if line.key == key else None

    def settle(self, key: str, index: int, response: ChatResponse | None, error: LLMRingError | None) -> None:
        """Write a finished row. Raises LLMRingError when it cannot be written; the row itself is not lost by that."""
        told = None if error is None else _Error(type(error).__name__, str(error))
        kept = None if response is None else _without_errors(response)
        offset = self._append(_Line(key=key, row=index, response=kept, error=told))
        if response is not None:
            self._offsets.put(key, offset)

    def note_batch(self, line: BatchLine) -> None:
        """Write what has become of a batch. Raises LLMRingError when it cannot be written."""
        self._append(_BatchEntry(line))
        taken_in(self.batches, line)

    def _append(self, entry: _Line | _BatchEntry) -> int:
        """Where it stands. Raises LLMRingError."""
        line = msgspec.json.encode(entry) + b"\n"
        if self._torn:
            raise LLMRingError(f"cannot write {self.path}: its last line is torn")
        try:
            offset: int = self._file.seek(0, os.SEEK_END)
            self._write(line, offset)
        except OSError as failed:
            raise LLMRingError(f"cannot write {self.path}: {failed.strerror or failed}") from failed
        self._unsynced += 1
        return offset

    def _write(self, line: bytes, offset: int) -> None:
        """All of a line, or nothing: a line behind half of another could never be read."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._torn = True
            self._file.truncate(offset)
            self._torn = False
            raise

    @property
    def is_due(self) -> bool:
        """Whether so many rows wait to be forced to disk that it should not wait for the next second."""
        return self._unsynced >= SYNC_ROWS

    def sync(self) -> None:
        """Force to disk what was written. Blocks for milliseconds: call it from a thread. Raises LLMRingError."""
        if self._unsynced:
            self._unsynced = 0
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise LLMRingError(f"cannot write {self.path}: {error.strerror or error}") from error


def safe_key(key: str) -> str:
    """A caller's own key as batch APIs take it, too: itself, where that is short and plain, else its digest."""
    if _SAFE.fullmatch(key):
        return key
    return hashlib.sha256(key.encode()).hexdigest()[:32]


@contextmanager
def open_journal(path: Path) -> Generator[Journal]:
    """Open or make a journal, for one writer at a time. Blocks while it reads one that is there.

    Raises ConfigError: another run is writing it, it is no journal or no regular file, or it cannot be opened.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"cannot open the journal {path}: it is no regular file")
    try:
        # Unbuffered: what was written is the system's, and survives the process.
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise ConfigError(f"cannot open the journal {path}: {error.strerror or error}") from error
    with file, path.open("rb", buffering=_READ_BYTES) as reader:
        if lock(file) is False:
            raise ConfigError(f"the journal {path} is being written by another run")
        offsets, batches, version = _read(file, reader, path)
        journal = Journal(path, file, reader, offsets, batches, version)
        try:
            yield journal
        finally:
            journal.sync()


@contextmanager
def open_scratch() -> Generator[Journal]:
    """A journal that nobody else sees and that is gone when the block ends: a place for answers outside of memory.

    Raises ConfigError when there is no room for temporary files.
    """
    with ExitStack() as files:
        try:
            # Without a name as soon as it is open twice, where the system allows that: a kill leaves no answers behind.
            loses_its_name = os.name == "posix"
            file = files.enter_context(NamedTemporaryFile(prefix="llmring-", buffering=0, delete=not loses_its_name))
            reader = files.enter_context(open(file.name, "rb", buffering=_READ_BYTES))
            if loses_its_name:
                os.unlink(file.name)
        except OSError as error:
            raise ConfigError(f"cannot make a temporary file: {error.strerror or error}") from error
        yield Journal(Path(file.name), file, reader, Places(), {})


def _read(file: Any, reader: BinaryIO, path: Path) -> tuple[Places, dict[str, OpenBatch], int]:
    """Where the answers are, by key; the open batches; the version. A torn end is cut off, a new file gets its head."""
    offsets = Places()
    batches: dict[str, OpenBatch] = {}
    offset, version = 0, VERSION
    for number, line in enumerate(reader, 1):
        if number == 1 and _is_torn_head(line):
            break
        if number > 1 and not line.endswith(b"\n"):
            break
        try:
            if number == 1:
                version = _version(line, path)
            else:
                settled = _SETTLED.decode(line)
                if settled.batch is not None:
                    taken_in(batches, settled.batch)
                elif settled.key is None:
                    raise ValueError("neither a row nor a batch")
                elif settled.error is None:
                    offsets.put(settled.key, offset)
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigError(f"{path}, line {number}: not a line of a journal: {error}") from error
        offset += len(line)
    # What a killed process had begun: of an empty file's head, or of a row that is asked again.
    file.truncate(offset)
    if offset == 0:
        file.write(_HEADS[version])
    # Relative to the end, for that empties the buffer: what has just been cut off may be in it.
    reader.seek(0, os.SEEK_END)
    return offsets, batches, version


class JournalRow(msgspec.Struct, frozen=True):
    """A settled row as it is in a journal: answered or failed. Neither: its answer cannot be read by this llmring, and
    is asked for again."""

    key: str
    response: ChatResponse | None = None
    error_type: str | None = None
    error_message: str | None = None


def read_journal(path: Path) -> Generator[JournalRow | BatchLine]:
    """The rows of a journal in the order they were settled; of one key the last answer counts, else the last failure.
    Between them stands what became of batches.

    Changes nothing and takes no lock: a run may be writing it meanwhile, and a torn last line is not there yet.
    Raises ConfigError as `open_journal` does, and when there is no such file.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"cannot open the journal {path}: it is no regular file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot open the journal {path}: {error.strerror or error}") from error
    with file:
        for number, line in enumerate(file, 1):
            if number == 1 and not _is_torn_head(line):
                _version(line, path)
            elif not line.endswith(b"\n"):
                return
            else:
                yield _journal_row(line, number, path)


def is_being_written(path: Path) -> bool | None:
    """Whether a run has the journal open; None where system or file system have no such locks. Raises ConfigError."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        with path.open("rb") as file:
            # A run that starts in this moment would find it locked: it is given back at once.
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return None
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)
            return False
    except OSError as error:
        raise ConfigError(f"cannot open the journal {path}: {error.strerror or error}") from error


def _journal_row(line: bytes, number: int, path: Path) -> JournalRow | BatchLine:
    try:
        try:
            read = _LINES.decode(line)
        except msgspec.ValidationError:
            settled = _SETTLED.decode(line)
            if settled.batch is not None:
                taken_in({}, settled.batch)
                return settled.batch
            if settled.key is None:
                raise
            # As a run would find it: the answer is of another llmring.
            return JournalRow(settled.key)
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}, line {number}: not a line of a journal: {error}") from error
    if read.error is None:
        return JournalRow(read.key, read.response)
    return JournalRow(read.key, None, read.error.type, read.error.message)


def _is_torn_head(line: bytes) -> bool:
    return any(head.startswith(line) and line != head for head in _HEADS.values())


def _version(line: bytes, path: Path) -> int:
    """Of the journal with this first line. Raises ConfigError."""
    try:
        head = msgspec.json.decode(line, type=_Head)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not a journal of llmring: it was not touched") from error
    if head.llmring_journal not in _VERSIONS:
        raise ConfigError(f"{path} is a journal of version {head.llmring_journal}; this llmring writes {VERSION}")
    return head.llmring_journal


def _without_errors(response: ChatResponse) -> ChatResponse:
    """Errors are no data; what they said is in the attempts' outcomes."""
    attempts = tuple(msgspec.structs.replace(attempt, error=None) for attempt in response.attempts)
    return msgspec.structs.replace(response, attempts=attempts)
