"""`llmring lock validate`: exit code 1 when any model of any binding cannot do its work."""

from typing import Any

import click

from llmring.cli.catalogs import current_catalog
from llmring.cli.lockfiles import failing, file_option, json_option, open_own, print_json, today
from llmring.keys import missing_key
from llmring.lockfile import Lockfile
from llmring.review.validation import RETIRING_DAYS, Stale, Verdict, stale, validate


@click.command("validate")
@file_option
@click.option("--days", type=click.IntRange(0), default=RETIRING_DAYS, help="Warn of models that retire so soon.")
@click.option("--keys/--no-keys", default=True, help="Whether a missing key is a failure.")
@json_option
def command(file: str | None, days: int, *, keys: bool, as_json: bool) -> int:
    """Check every model of every binding: that it exists, is active, has a key, and holds the constraints.

    The registry that came with llmring, or a newer copy of it on disk, is asked; no network, no key.
    """
    lockfile, _ = failing(open_own, file)
    catalog = current_catalog()
    missing = missing_key(lockfile) if keys else lambda _: None
    verdicts = validate(lockfile, catalog, missing, today(), days)
    outdated = stale(lockfile, catalog, today())
    valid = not outdated and not any(verdict.problems for verdict in verdicts)
    if as_json:
        print_json(_json(lockfile, verdicts, outdated, valid=valid))
    else:
        _print(lockfile, verdicts, outdated, valid=valid)
    return 0 if valid else 1


def _print(lockfile: Lockfile, verdicts: tuple[Verdict, ...], outdated: tuple[Stale, ...], *, valid: bool) -> None:
    click.echo(f"Validating lockfile bindings in {lockfile.path}...")
    for remark in lockfile.notes:
        click.echo(f"  ⚠️  {remark}")
    profile = None
    for verdict in verdicts:
        if verdict.profile != profile:
            profile = verdict.profile
            click.echo(f"\nProfile '{profile}':")
        click.echo(_line(verdict))
    for one in outdated:
        click.echo(f"  ❌ {one.alias} in '{one.profile}' {_stale(one)}")
    click.echo("\n✅ All bindings are valid" if valid else "\n❌ Some bindings are invalid")


def _line(verdict: Verdict) -> str:
    mark = "❌" if verdict.problems else "⚠️ " if verdict.warnings else "✅"
    stands = f" (stands for {verdict.stands_for})" if verdict.stands_for is not None else ""
    said = "; ".join((*verdict.problems, *verdict.warnings))
    return f"  {mark} {verdict.alias} → {verdict.ref}{stands}" + (f": {said}" if said else "")


def _stale(one: Stale) -> str:
    if one.why is not None:
        return f"is bound from patterns: {one.why}"
    today = ", ".join(map(str, one.today)) or "nothing"
    return f"is bound from patterns, which stand for {today} today: bind it again"


def _json(
    lockfile: Lockfile, verdicts: tuple[Verdict, ...], outdated: tuple[Stale, ...], *, valid: bool
) -> dict[str, Any]:
    return {
        "lockfile": str(lockfile.path),
        "valid": valid,
        "notes": list(lockfile.notes),
        "models": [
            {
                "profile": verdict.profile,
                "alias": verdict.alias,
                "model": str(verdict.ref),
                "stands_for": None if verdict.stands_for is None else str(verdict.stands_for),
                "problems": list(verdict.problems),
                "warnings": list(verdict.warnings),
            }
            for verdict in verdicts
        ],
        "outdated": [
            {
                "profile": one.profile,
                "alias": one.alias,
                "bound": [str(ref) for ref in one.bound],
                "today": [str(ref) for ref in one.today],
                "why": one.why,
            }
            for one in outdated
        ],
    }
