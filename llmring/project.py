"""The Python package that is developed in a directory, and how its build tool is told to ship a data file.

Reads pyproject.toml and looks for the package's directory; runs nothing.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from llmring.errors import ConfigError

MARKS = ("pyproject.toml", "setup.py", "setup.cfg")


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """`root` holds the build file, `package` the package's modules. `advice`: lines for whoever builds it."""

    root: Path
    package: Path
    advice: tuple[str, ...]


def find_project(directory: Path) -> Project | None:
    """The nearest project at or above `directory` that has a package; None where there is none.

    Raises ConfigError for a pyproject.toml that cannot be read, or where several packages could be meant.
    """
    for root in (directory, *directory.parents):
        if any((root / mark).is_file() for mark in MARKS):
            table = _read(root / "pyproject.toml")
            package = _package(root, table)
            return (
                None if package is None else Project(root=root, package=package, advice=_advice(root, package, table))
            )
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _package(root: Path, table: dict[str, Any]) -> Path | None:
    """src/<name> or <name>, by the project's name; else the only package there."""
    project = table.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    bases = [base for base in (root / "src", root) if base.is_dir()]
    if isinstance(name, str):
        module = re.sub(r"[-.]+", "_", name)
        for base in bases:
            for spelled in (module, module.lower()):
                if (base / spelled / "__init__.py").is_file():
                    return base / spelled
    for base in bases:
        found = sorted(path.parent for path in base.glob("*/__init__.py") if path.parent.name not in ("tests", "docs"))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise ConfigError(f"{base} holds several packages ({names}): name the lockfile with --file")
    return None


def _advice(root: Path, package: Path, table: dict[str, Any]) -> tuple[str, ...]:
    inside = package.relative_to(root).as_posix()
    system = table.get("build-system")
    backend = system.get("build-backend", "") if isinstance(system, dict) else ""
    use = f"A program finds it as Path({package.name}.__file__).parent / 'llmring.lock'."
    if str(backend).startswith("hatchling"):
        lines: tuple[str, ...] = (
            "hatchling ships every file of the package that git does not ignore. With a list of your own:",
            "  # pyproject.toml",
            "  [tool.hatch.build]",
            f'  include = ["{inside}/**/*.py", "{inside}/**/*.lock"]',
        )
    elif str(backend).startswith(("flit_core", "poetry", "pdm", "uv_build")):
        lines = (f"{str(backend).partition('.')[0]} ships every file of the package: nothing is needed.",)
    else:
        lines = (
            "  # pyproject.toml",
            "  [tool.setuptools.package-data]",
            f'  {package.name} = ["*.lock"]',
            "or, in MANIFEST.in:",
            f"  include {inside}/*.lock",
        )
    return (*lines, use)
