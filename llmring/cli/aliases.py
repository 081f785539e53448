"""`llmring aliases`: what the lockfile binds."""

import click

from llmring.cli.lockfiles import (
    chosen_profile,
    failing,
    file_option,
    json_option,
    open_own,
    print_json,
    profile_option,
    shown_chain,
)
from llmring.lockfile import Binding


@click.command("aliases")
@profile_option
@file_option
@click.option("-v", "--verbose", is_flag=True, help="One line an alias, with its constraints.")
@json_option
def command(profile: str | None, file: str | None, *, verbose: bool, as_json: bool) -> None:
    """List the aliases of a profile, and those of the packages that the lockfile extends."""
    lockfile, _ = failing(open_own, file)
    name, _by = chosen_profile(profile, lockfile)
    bindings = dict(failing(lockfile.profile, name).bindings)
    for package, one in lockfile.extended.items():
        theirs = one.lockfile
        for alias in () if theirs is None else dict.fromkeys(a for p in theirs.profiles.values() for a in p.bindings):
            full = f"{package}:{alias}"
            if full not in bindings:
                bindings[full] = failing(lockfile.binding, full, name)
    if as_json:
        print_json({"profile": name, "aliases": {alias: _json(binding) for alias, binding in bindings.items()}})
    elif verbose:
        for alias, binding in bindings.items():
            click.echo(f"{alias} → {shown_chain(binding.models)}{_constraints(binding)}")
    elif not bindings:
        click.echo(f"No aliases configured in profile '{name}'")
    else:
        click.echo(f"\nAliases in profile '{name}':")
        for alias, binding in bindings.items():
            first, *others = binding.models
            click.echo(f"  {alias} → {first}")
            if others:
                click.echo(f"      alternatives: {', '.join(map(str, others))}")


def _constraints(binding: Binding) -> str:
    given = binding.constraints
    return f" [{', '.join(f'{name} = {value}' for name, value in given.items())}]" if given else ""


def _json(binding: Binding) -> dict[str, object]:
    return {"models": [str(ref) for ref in binding.models], "constraints": dict(binding.constraints)}
