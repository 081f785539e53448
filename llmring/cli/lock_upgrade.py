"""`llmring lock upgrade`: an older form of lockfile into the canonical one, the difference shown first."""

import click

from llmring import lock
from llmring.cli.lockfiles import failing, file_option, json_option, open_own, print_json
from llmring.lockfile.edit import diff


@click.command("upgrade")
@file_option
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@json_option
def command(file: str | None, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Rewrite the lockfile in the canonical form: comments are kept where TOML allows, the meaning is the same."""
    lockfile, _ = failing(open_own, file)
    planned = failing(lock.upgrade, lockfile=lockfile.path, write=False)
    difference = diff(planned.before, planned.after, lockfile.path)
    changes = planned.before != planned.after
    written = changes and not dry_run and (yes or as_json or _agreed(difference))
    if written:
        failing(lock.upgrade, lockfile=lockfile.path)
    if as_json:
        forms = list(lockfile.forms)
        print_json({"lockfile": str(lockfile.path), "forms": forms, "diff": difference, "written": written})
    elif not changes:
        click.echo(f"{lockfile.path} is in the canonical form already")
    elif written:
        if yes:
            click.echo(difference, nl=False)
        click.echo(f"✅ Upgraded {lockfile.path}")
    elif dry_run:
        click.echo(difference, nl=False)
    else:
        click.echo(f"{lockfile.path} was left as it is")
    return 0


def _agreed(difference: str) -> bool:
    click.echo(difference, nl=False)
    return click.confirm("Write this?")
