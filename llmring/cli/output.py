"""Where the rows of a map go: a file that appears when it is whole, or standard output.

Rows are written to `<name>.part` beside the file and handed to the system one by one, so that a killed run loses none
of the answers it had paid for; the file gets its name at the end. Neither an existing file nor an existing `.part` is
overwritten unasked: what lies in a `.part` was paid for.
"""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from llmring.cli.running import note
from llmring.errors import ConfigError


class FileOutput:
    """A context manager; the file gets its name when the block ends well."""

    def __init__(self, path: Path, *, force: bool) -> None:
        self._path = path
        self._part = path.parent / f"{path.name}.part"
        self._force = force
        self._file: BinaryIO
        self.rows = 0

    def __enter__(self) -> Self:
        """Open. Raises ConfigError that says what is in the way."""
        if self._path.is_dir():
            raise ConfigError(f"{self._path} is a directory: name a file to write to")
        if self._path.exists() and not self._force:
            raise ConfigError(f"{self._path} exists already: choose another name, or --force to replace it")
        try:
            self._file = self._part.open("xb")
        except FileExistsError as error:
            raise ConfigError(
                f"{self._part} holds answers of a run that did not end: move it away first, they were paid for"
            ) from error
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error
        return self

    def write(self, line: bytes) -> None:
        """Write one row, and hand it to the system."""
        self._file.write(line)
        self._file.flush()
        self.rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        elif self.rows == 0:
            self._part.unlink()
        else:
            note(f"{self.rows} rows that were finished are in {self._part}")


class StandardOutput:
    """Rows go to standard output as they come."""

    def __enter__(self) -> Self:
        return self

    def write(self, line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def __exit__(self, *exc: object) -> None:
        pass


Output = FileOutput | StandardOutput


def open_output(path: Path | None, *, force: bool) -> Output:
    """The output that `-o` names; None or `-` is standard output."""
    if path is None or str(path) == "-":
        return StandardOutput()
    return FileOutput(path, force=force)
