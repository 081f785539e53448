"""A file that is there whole or not at all: written beside its name, forced to disk, then renamed.

What is written so can be made again at any time, so nothing is left of a command that failed. What was paid for goes
through output.py.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llmring.errors import ConfigError, LLMRingError

_READABLE = 0o666


@contextmanager
def replacing(path: Path, *, force: bool) -> Generator[BinaryIO]:
    """The new content of `path`, which gets its name when the block ends well. A device is written to as it is.

    Raises ConfigError for what is in the way, LLMRingError when the disk does not take it.
    """
    # A link stays a link: what it points at is replaced.
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.is_dir():
        raise ConfigError(f"{path} is a directory: name a file to write to")
    if path.is_file() and not force:
        raise ConfigError(f"{path} exists already: choose another name, or --force to replace it")
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                yield device
            return
        with _beside(path) as (file, name):
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(name, path)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LLMRingError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


@contextmanager
def _beside(path: Path) -> Generator[tuple[BinaryIO, str]]:
    """A file in the same directory, gone at the end where it has not been renamed."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    try:
        with open(handle, "wb") as file:
            os.chmod(name, _READABLE & ~_umask())
            yield file, name
    finally:
        if os.path.exists(name):
            os.unlink(name)


def _umask() -> int:
    """The one way to ask is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
