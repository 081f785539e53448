"""Where the rows of a map go: a file that appears when it is whole, or standard output.

Rows are written to `<name>.part` beside the file and handed to the system one by one, so that a killed run loses none
of the answers it had paid for; the file gets its name at the end. Neither an existing file nor an existing `.part` is
overwritten unasked: what lies in a `.part` was paid for.

A `.part` holds JSON lines, whatever the file is to be. A table is made of it at the end, as `<name>.part.new`, and only
when that has got its name is the `.part` deleted.
"""

import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from llmring.cli.output_forms import Convert, convert_for
from llmring.cli.running import note
from llmring.errors import ConfigError, LLMRingError


class FileOutput:
    """A context manager; the file gets its name when the block ends well."""

    def __init__(self, path: Path, *, force: bool, resumes: bool = False, convert: Convert | None = None) -> None:
        # A link stays a link: what it points at is replaced.
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self._path = path
        self._part = path.parent / f"{path.name}.part"
        self._force = force
        self._resumes = resumes
        self._convert = convert
        self._file: FileIO
        self._size = 0
        self.rows = 0

    def __enter__(self) -> Self:
        """Open. Raises ConfigError that says what is in the way."""
        if self._path.is_dir():
            raise ConfigError(f"{self._path} is a directory: name a file to write to")
        if self._path.exists() and not self._force:
            raise ConfigError(f"{self._path} exists already: choose another name, or --force to replace it")
        try:
            # Unbuffered: what was written is the system's, and closing has nothing left to fail with.
            self._file = FileIO(self._part, "wb" if self._resumes else "xb")
        except FileExistsError as error:
            raise ConfigError(
                f"{self._part} holds answers of a run that did not end: move it away first, they were paid for"
            ) from error
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error
        return self

    def write(self, line: bytes) -> None:
        """Hand one row to the system, whole or not at all. Raises LLMRingError, such as for a full disk."""
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise LLMRingError(f"cannot write {self._part}: {error.strerror or error}") from error
        self._size += len(line)
        self.rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
            return
        self._file.close()
        if self.rows == 0:
            self._part.unlink()
        else:
            self._note_part()

    def _finish(self) -> None:
        try:
            with self._file:
                os.fsync(self._file.fileno())
            if self._convert is None:
                self._part.replace(self._path)
            else:
                self._make_table(self._convert)
        except OSError as error:
            what = f"cannot finish {self._path}: {error.strerror or error}"
            raise LLMRingError(f"{what}; all {self.rows} rows are in {self._part}") from error
        except BaseException:
            # Ctrl-C above all: a large table takes its time.
            self._note_part()
            raise

    def _make_table(self, convert: Convert) -> None:
        new = self._part.parent / f"{self._part.name}.new"
        try:
            with self._part.open("rb") as lines, new.open("wb") as table:
                convert(lines, table)
                table.flush()
                os.fsync(table.fileno())
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)
        # Not before the table's name is on disk, too.
        _sync_directory(self._path.parent)
        self._part.unlink()

    def _note_part(self) -> None:
        form = "" if self._convert is None else ", as JSON lines"
        note(f"{self.rows} rows that were finished are in {self._part}{form}")


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


def open_output(path: Path | None, *, force: bool, resumes: bool = False) -> Output:
    """The output that `-o` names; None or `-` is standard output. `resumes`: a journal holds what a `.part` does.

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
    return FileOutput(path, force=force, resumes=resumes, convert=convert)
