"""Where the rows of a map go: a file that appears when it is whole, or standard output.

Rows are written to `<name>.part` beside the file and handed to the system one by one, so that a killed run loses none
of the answers it had paid for; the file gets its name at the end. Neither an existing file nor an existing `.part` is
overwritten unasked: what lies in a `.part` was paid for. It is made anew only by a run whose journal has every answer
that is in it. One run at a time has a `.part`, and gives the name to no file but its own.

A `.part` holds JSON lines, whatever the file is to be. A table is made of it at the end, as `<name>.part.new`, and only
when that has got its name is the `.part` deleted.
"""

import errno
import os
import shutil
import stat
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import BinaryIO, Self

from llmring.cli.output_forms import Convert, convert_for
from llmring.cli.part_rows import missing_answers
from llmring.cli.running import note
from llmring.errors import ConfigError, LLMRingError
from llmring.router.map.file_lock import lock


class FileOutput:
    """A context manager; the file gets its name when the block ends well. `journal`: what the rows are kept in, too."""

    def __init__(self, path: Path, *, force: bool, journal: Path | None = None, convert: Convert | None = None) -> None:
        self._path = replaced_by(path)
        self._part = part_of(path)
        self._force = force
        self._journal = journal
        self._convert = convert
        self._file: FileIO
        self._begun = False
        self._size = 0
        self.rows = 0

    def __enter__(self) -> Self:
        """Open. Raises ConfigError that says what is in the way."""
        self._check_name()
        try:
            self._file = self._taken()
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error
        try:
            # Once more: whoever had the `.part` until now may have finished.
            self._check_name()
            self._check_part()
        except BaseException:
            self._leave_nothing()
            self._file.close()
            raise
        return self

    def _check_name(self) -> None:
        if self._path.is_dir():
            raise ConfigError(f"{self._path} is a directory: name a file to write to")
        if self._path.exists() and not self._force:
            raise ConfigError(f"{self._path} exists already: choose another name, or --force to replace it")

    def _taken(self) -> FileIO:
        """The `.part`, with what is in it, for this run alone. Raises OSError, and ConfigError when it has a run."""
        while True:
            # Unbuffered: what was written is the system's, and closing has nothing left to fail with.
            file = FileIO(self._part, "r+b", opener=_opened)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.close()
                raise ConfigError(f"{self._part} is no regular file: move it away first")
            if lock(file) is False:
                file.close()
                other = "wait for its end, or choose another name"
                raise ConfigError(f"{self._part} is being written by another run: {other}")
            if _is_named(file, self._part):
                return file
            # It was finished between the two.
            file.close()

    def _check_part(self) -> None:
        """Raises ConfigError for answers that are nowhere else."""
        if os.fstat(self._file.fileno()).st_size == 0:
            return
        if self._journal is None:
            raise ConfigError(
                f"{self._part} holds answers of a run that did not end: move it away first, they were paid for"
            )
        with self._reader() as part:
            missing = missing_answers(part, self._journal)
        if missing:
            raise ConfigError(
                f"{self._part} holds {missing:,} rows that the journal {self._journal} does not have: name the journal "
                "of the run that wrote it, or move it away first, they were paid for"
            )

    def write(self, line: bytes) -> None:
        """Hand one row to the system, whole or not at all. Raises LLMRingError, such as for a full disk."""
        try:
            self._begin()
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise LLMRingError(f"cannot write {self._part}: {error.strerror or error}") from error
        self._size += len(line)
        self.rows += 1

    def _begin(self) -> None:
        """A run that hands out nothing leaves what an earlier one has written."""
        if not self._begun:
            self._file.truncate(0)
            # Whoever has read it has moved on in it.
            self._file.seek(0)
            self._begun = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._finish()
            elif self.rows:
                self._note_part()
            else:
                self._leave_nothing()

    def _leave_nothing(self) -> None:
        if os.fstat(self._file.fileno()).st_size == 0 and _is_named(self._file, self._part):
            self._part.unlink()

    def _finish(self) -> None:
        try:
            self._begin()
            os.fsync(self._file.fileno())
            self._check_is_own()
            if self._convert is not None:
                self._make_table(self._convert)
                return
            if os.name == "nt":
                # There no open file can be renamed.
                self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            what = f"cannot finish {self._path}: {error.strerror or error}"
            raise LLMRingError(f"{what}; all {self.rows} rows are in {self._kept()}") from error
        except BaseException:
            # Ctrl-C above all: a large table takes its time.
            self._note_part()
            raise

    def _check_is_own(self) -> None:
        """Raises OSError when a rename would take somebody else's file, or replace one."""
        if not _is_named(self._file, self._part):
            raise FileNotFoundError(errno.ENOENT, f"{self._part} was moved away or deleted meanwhile")
        if self._path.exists() and not self._force:
            raise FileExistsError(errno.EEXIST, "somebody else has made it meanwhile")

    def _make_table(self, convert: Convert) -> None:
        new = self._part.parent / f"{self._part.name}.new"
        try:
            with self._reader() as lines, new.open("wb") as table:
                convert(lines, table)
                table.flush()
                os.fsync(table.fileno())
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)
        # Not before the table's name is on disk, too.
        _sync_directory(self._path.parent)
        self._part.unlink()

    def _reader(self) -> BinaryIO:
        """The rows from their start, whatever the file is called by now."""
        reader = open(os.dup(self._file.fileno()), "rb")  # noqa: SIM115 - closed by whoever reads
        reader.seek(0)
        return reader

    def _note_part(self) -> None:
        form = "" if self._convert is None else ", as JSON lines"
        note(f"{self.rows} rows that were finished are in {self._kept()}{form}")

    def _kept(self) -> str:
        """Which file has the rows: the `.part`, or a copy where somebody has moved or deleted that."""
        if self._file.closed or _is_named(self._file, self._part):
            return str(self._part)
        try:
            beside = NamedTemporaryFile(  # noqa: SIM115 - closed below
                prefix=f"{self._path.name}.", suffix=".part", dir=self._path.parent, delete=False
            )
            with beside, self._reader() as rows:
                shutil.copyfileobj(rows, beside)
        except OSError as error:
            return f"what {self._part} was, and no copy could be made of it: {error.strerror or error}"
        return str(self._path.parent / Path(beside.name).name)


def replaced_by(path: Path) -> Path:
    """Which file `-o` stands for. A link stays a link: what it points at is replaced."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def part_of(path: Path) -> Path:
    """Where the rows of `-o` are until it is whole."""
    path = replaced_by(path)
    return path.parent / f"{path.name}.part"


def _opened(path: str, flags: int) -> int:
    """Made where it is not there, not emptied, and not through a link."""
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_named(file: FileIO, path: Path) -> bool:
    """Whether the open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    """A file system that cannot do that has done what it can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class StreamOutput:
    """Rows go to standard output, a pipe or a device as they come: there is nothing to replace."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO

    def __enter__(self) -> Self:
        """Open. Raises ConfigError."""
        try:
            self._file = sys.stdout.buffer if self._path is None else self._path.open("wb")
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error
        return self

    def write(self, line: bytes) -> None:
        """Raises BrokenPipeError when the reader has gone, LLMRingError for other reasons."""
        try:
            self._file.write(line)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            where = self._path or "standard output"
            raise LLMRingError(f"cannot write {where}: {error.strerror or error}") from error

    def __exit__(self, *exc: object) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._file.close()


Output = FileOutput | StreamOutput


def open_output(path: Path | None, *, force: bool, journal: Path | None = None) -> Output:
    """The output that `-o` names; None or `-` is standard output. `journal` is what its rows are kept in, too.

    Raises ConfigError where a name asks for a table that cannot be made.
    """
    if path is None or str(path) == "-":
        return StreamOutput(None)
    convert = convert_for(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        if convert is not None:
            raise ConfigError(f"{path} is no regular file: JSON lines can go there as they come, a table cannot")
        # A rename would put a file in the place of the device.
        return StreamOutput(path)
    return FileOutput(path, force=force, journal=journal, convert=convert)
