"""`llmring lock check`: the packages that the lockfile extends.

exit code   when
0           all are there
1           a package, or its lockfile, is missing
2           a lockfile cannot be read
"""

from typing import Any

import click

from llmring.cli.lockfiles import failing, file_option, json_option, open_own, print_json
from llmring.lockfile import Extended, Lockfile


@click.command("check")
@file_option
@json_option
def command(file: str | None, *, as_json: bool) -> int:
    """Check that every package that the lockfile extends is installed and has a lockfile that loads."""
    lockfile, _ = failing(open_own, file)
    extended = tuple(lockfile.extended.values())
    if as_json:
        print_json(_json(lockfile, extended))
    else:
        _print(lockfile, extended)
    if all(one.lockfile is not None for one in extended):
        return 0
    return 2 if any(one.lockfile is None and one.path is not None for one in extended) else 1


def _print(lockfile: Lockfile, extended: tuple[Extended, ...]) -> None:
    click.echo(f"Checking lockfile: {lockfile.path}\n\n[extends]")
    for one in extended:
        if one.lockfile is None:
            click.echo(f"  ✗ {one.package}: {one.problem}")
        else:
            click.echo(f"  ✓ {one.package}: found llmring.lock\n    Aliases: {', '.join(_aliases(one)) or '(none)'}")
    if not extended:
        click.echo("  (no packages configured)")
    shared = _shared(extended)
    if shared:
        click.echo("\nWarnings:")
        for alias, packages in shared.items():
            where = " and ".join(packages) if len(packages) == 2 else f"multiple packages: {', '.join(packages)}"
            use = " or ".join(f"{package}:{alias}" for package in packages)
            click.echo(f"  ⚠ '{alias}' defined in {'both ' if len(packages) == 2 else ''}{where}")
            click.echo(f"    Use {use} to disambiguate")
    local = _local(lockfile)
    click.echo("\nLocal aliases:" if local else "\nLocal aliases: (none)")
    for alias, model in local.items():
        click.echo(f"  {alias} → {model}")
    found = [one for one in extended if one.lockfile is not None]
    aliases = sum(len(_aliases(one)) for one in found)
    click.echo(
        f"\nSummary: {len(found)}/{len(extended)} packages OK, {aliases} extended aliases, {len(local)} local aliases"
    )


def _aliases(one: Extended) -> list[str]:
    """What `package:alias` finds there: the aliases of all profiles."""
    theirs = one.lockfile
    profiles = theirs.profiles.values() if theirs is not None else ()
    return list(dict.fromkeys(alias for profile in profiles for alias in profile.bindings))


def _local(lockfile: Lockfile) -> dict[str, str]:
    profile = lockfile.profiles.get(lockfile.default_profile)
    bindings = profile.bindings if profile is not None else {}
    return {alias: str(binding.models[0]) for alias, binding in bindings.items()}


def _shared(extended: tuple[Extended, ...]) -> dict[str, list[str]]:
    """The aliases of several packages."""
    owners: dict[str, list[str]] = {}
    for one in extended:
        for alias in _aliases(one):
            owners.setdefault(alias, []).append(one.package)
    return {alias: packages for alias, packages in owners.items() if len(packages) > 1}


def _json(lockfile: Lockfile, extended: tuple[Extended, ...]) -> dict[str, Any]:
    return {
        "lockfile": str(lockfile.path),
        "packages": [
            {
                "package": one.package,
                "path": None if one.path is None else str(one.path),
                "aliases": _aliases(one),
                "problem": one.problem,
            }
            for one in extended
        ],
        "ambiguous": _shared(extended),
        "local": _local(lockfile),
    }
