"""`llmring lock init`: a new lockfile for this project, or inside the package that is developed here."""

from pathlib import Path

import click

from llmring import lock
from llmring.cli.catalogs import current_catalog, keep_pinned
from llmring.cli.lockfiles import failing, file_option, json_option, print_json
from llmring.cli.running import Failed
from llmring.config import LOCKFILE_NAME
from llmring.errors import ConfigError
from llmring.lockfile import Lockfile
from llmring.project import Project, find_project


@click.command("init")
@file_option
@click.option("--force", is_flag=True, help="Replace a lockfile that is there.")
@click.option("--package", is_flag=True, help="Inside the package that is developed here, to ship with it.")
@json_option
def command(file: str | None, *, force: bool, package: bool, as_json: bool) -> None:
    """Write a new lockfile with sensible aliases: active chat models of the current generation, for the providers whose
    keys are there, each with a fallback from another provider."""
    if file is not None and package:
        raise click.UsageError("--file and --package name two places: give one of them")
    project = failing(_project) if package else None
    target = project.package / LOCKFILE_NAME if project is not None else file
    try:
        lockfile = failing(lock.init, lockfile=target, force=force, catalog=current_catalog())
    except FileExistsError as error:
        raise Failed(ConfigError(str(error))) from error
    keep_pinned(lockfile.profiles[lockfile.default_profile].registry_versions)
    if as_json:
        print_json(
            {
                "lockfile": str(lockfile.path),
                "aliases": {alias: [str(ref) for ref in refs] for alias, refs in _aliases(lockfile).items()},
                "build": list(project.advice) if project is not None else [],
            }
        )
        return
    _print(lockfile, project)


def _project() -> Project:
    project = find_project(Path.cwd())
    if project is None:
        raise ConfigError(
            "no package is developed here: there is no pyproject.toml with a package beside it, up to the root of the "
            "file system; use --file"
        )
    return project


def _aliases(lockfile: Lockfile) -> dict[str, tuple[object, ...]]:
    profile = lockfile.profiles[lockfile.default_profile]
    return {alias: binding.models for alias, binding in profile.bindings.items()}


def _print(lockfile: Lockfile, project: Project | None) -> None:
    if project is not None:
        click.echo(f"Found package directory: {project.package}")
    click.echo("Creating lockfile with registry-based defaults...")
    click.echo(f"✅ Created lockfile: {lockfile.path}\n\nDefault aliases:")
    for alias, models in _aliases(lockfile).items():
        first, *others = models
        click.echo(f"  {alias} → {first}" + (f" (then {', '.join(map(str, others))})" if others else ""))
    if project is not None:
        click.echo("\n⚠️  To include this lockfile in your package distribution:")
        for line in project.advice:
            click.echo(f"  {line}")
