"""`llmring lock drift` and `llmring lock bump-registry`: the registry as it was pinned against the registry as it is.

exit code of drift --ci   when
0                         nothing has changed and nothing retires soon
3                         something has, or does
"""

from datetime import date
from functools import partial
from typing import Any

import click

from llmring import lock
from llmring.cli.catalogs import current_catalog, keep_pinned, pinned_models
from llmring.cli.lockfiles import failing, file_option, json_option, open_own, print_json, today
from llmring.cli.tables import print_table
from llmring.lockfile import Lockfile
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.drift import Change, retiring
from llmring.review.drift import Drift, lock_drift
from llmring.review.validation import RETIRING_DAYS

EXIT_DRIFT = 3

days_option = click.option(
    "--days", type=click.IntRange(0), default=RETIRING_DAYS, help="How soon a model retires to be named."
)
offline_option = click.option("--offline", is_flag=True, help="Do not fetch pinned versions that are not on disk.")


@click.command("drift")
@file_option
@click.option("--ci", is_flag=True, help="Exit with 3 where anything has changed, or a model retires soon.")
@days_option
@offline_option
@json_option
def drift(file: str | None, days: int, *, ci: bool, offline: bool, as_json: bool) -> int:
    """Show what has changed between the pinned registry and the current one, for the models of this lockfile."""
    lockfile, _ = failing(open_own, file)
    catalog = current_catalog()
    drifts = lock_drift(lockfile, catalog, partial(pinned_models, offline=offline))
    soon = _soon(lockfile, catalog, today(), days)
    if as_json:
        told = [_json(one) for one in drifts]
        print_json({"lockfile": str(lockfile.path), "drift": told, "retiring": _retiring(soon)})
    else:
        _print(drifts, soon)
    changed = any(one.changes for one in drifts) or bool(soon)
    return EXIT_DRIFT if ci and changed else 0


@click.command("bump-registry")
@file_option
@offline_option
@click.option("--dry-run", is_flag=True, help="Show what would be written.")
@json_option
def bump(file: str | None, *, offline: bool, dry_run: bool, as_json: bool) -> None:
    """Pin the current versions of the registry, after showing what that changes."""
    lockfile, _ = failing(open_own, file)
    catalog = current_catalog()
    drifts = lock_drift(lockfile, catalog, partial(pinned_models, offline=offline))
    if not as_json:
        _print(drifts, ())
    bumps = failing(lock.bump_registry, lockfile=lockfile.path, catalog=catalog, write=not dry_run)
    if not dry_run:
        keep_pinned({one.provider for one in bumps})
    if as_json:
        print_json(
            {
                "lockfile": str(lockfile.path),
                "written": not dry_run,
                "drift": [_json(one) for one in drifts],
                "versions": [
                    {"profile": one.profile, "provider": one.provider, "before": one.before, "after": one.after}
                    for one in bumps
                ],
            }
        )
        return
    click.echo("\nUpdating registry versions...")
    for one in bumps:
        name = one.provider if len(lockfile.profiles) == 1 else f"{one.profile}: {one.provider}"
        click.echo(f"  {name}: {_version(one)}")
    click.echo(f"\n{'Would update' if dry_run else '✅ Updated'} {lockfile.path}")


def _version(one: lock.Bump) -> str:
    if one.before == one.after:
        return f"v{one.after} (unchanged)"
    return f"v{one.before} → v{one.after}" if one.before is not None else f"v{one.after} (new)"


def _soon(lockfile: Lockfile, catalog: Catalog, day: date, days: int) -> tuple[ModelFacts, ...]:
    """The models of the lockfile that retire within `days`, each once."""
    refs = [ref for p in lockfile.profiles.values() for binding in p.bindings.values() for ref in binding.models]
    known = {facts.ref: facts for ref in refs if (facts := catalog.get(ref)) is not None}
    return tuple(retiring(tuple(known.values()), day, days))


def _print(drifts: tuple[Drift, ...], soon: tuple[ModelFacts, ...]) -> None:
    for one in drifts:
        click.echo(_head(one))
    rows = [
        (one.profile, str(change.ref), change.what, change.field, change.before or "-", change.after or "-")
        for one in drifts
        for change in one.changes
    ]
    if rows:
        click.echo()
        print_table("What has changed", ("profile", "model", "what", "field", "pinned", "now"), rows)
    elif drifts:
        click.echo("\nNothing has changed for the models of this lockfile.")
    else:
        click.echo("No models of this lockfile are in the registry.")
    for facts in soon:
        click.echo(f"⚠️  {facts.ref} is retired on {facts.deprecated_date}")


def _head(one: Drift) -> str:
    where = f"{one.profile}: {one.provider}"
    if one.pinned is None:
        return f"{where}: no version is pinned (now v{one.current}); `llmring lock bump-registry` pins it"
    versions = f"v{one.pinned} → v{one.current}" if one.pinned != one.current else f"v{one.pinned}"
    if one.at_hand:
        return f"{where}: {versions}, {len(one.changes)} change{'' if len(one.changes) == 1 else 's'}"
    return f"{where}: {versions}; the list of v{one.pinned} is not at hand, only pins are compared"


def _json(one: Drift) -> dict[str, Any]:
    return {
        "profile": one.profile,
        "provider": one.provider,
        "pinned": one.pinned,
        "current": one.current,
        "compared": one.at_hand,
        "changes": [_change(change) for change in one.changes],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "model": str(change.ref),
        "what": change.what,
        "field": change.field,
        "before": change.before,
        "after": change.after,
    }


def _retiring(soon: tuple[ModelFacts, ...]) -> list[dict[str, str]]:
    return [{"model": str(facts.ref), "on": str(facts.deprecated_date)} for facts in soon]
