"""No file of a command is two of them: what one part of it writes, another one would read, replace or write into."""

import os
import stat
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from llmring.errors import ConfigError


def check_apart(read: Mapping[str, Path | None], written: Mapping[str, Path | None]) -> None:
    """Hold the files of a command against each other, by what they are called in it. Links and other spellings of a
    name are the same file; devices and pipes are no files, and None is not there.

    Raises ConfigError when something that is written is also another one.
    """
    named = [(name, path, _identity(path)) for name, path in {**written, **read}.items() if path is not None]
    for (name, path, identity), (other, _, same) in combinations(named, 2):
        if identity is not None and identity == same and not {name, other} <= read.keys():
            raise ConfigError(f"{name} and {other} are one file, {path}: give each a file of its own")


def _identity(path: Path) -> object:
    """Equal for names of one file; None for what is no regular one."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
