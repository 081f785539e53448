"""Where another package's lockfile lies, without importing that package.

Importing it would run its code for a look at a data file. So the import system is only asked where the package would
come from, and the metadata of what is installed where the name is a distribution's ("my-library") and not a module's.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

LOCKFILE_NAME = "llmring.lock"

# https://peps.python.org/pep-0508/#names
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def check_package(name: str) -> str:
    """Return `name`, or raise ValueError when no package can be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"Invalid package name: {name!r}. Package names must follow PEP 508: letters, digits, '.', '_', '-'"
        )
    return name


def find_package_lockfile(package: str) -> Path | None:
    """The `llmring.lock` that was installed with `package`, by its name as a module or as a distribution."""
    for directory in _directories(package):
        path = directory / LOCKFILE_NAME
        if path.is_file():
            return path
    return _in_distribution(package)


def _directories(package: str) -> Iterator[Path]:
    """Where the module would be loaded from. Only its first part is looked up: the rest would import that."""
    first, *rest = package.replace("-", "_").split(".")
    if not first.isidentifier():
        return
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        # A module that is running without a spec, such as __main__.
        return
    for location in (spec.submodule_search_locations if spec is not None else None) or ():
        yield Path(location, *rest)


def _in_distribution(name: str) -> Path | None:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == LOCKFILE_NAME:
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    return None
