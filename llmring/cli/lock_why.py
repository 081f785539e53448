"""`llmring lock why ALIAS`: from the name to the models, step by step."""

from pathlib import Path
from typing import Any

import click

from llmring.cli.catalogs import current_catalog
from llmring.cli.lockfiles import chosen_profile, failing, file_option, json_option, print_json, profile_option, today
from llmring.cli.names import complete_alias
from llmring.config import Located, locate_lockfile, read_settings
from llmring.keys import missing_key
from llmring.lockfile import read_lockfile
from llmring.lockfile.digest import lock_digest
from llmring.review.why import Candidate, Explanation, explain


@click.command("why")
@click.argument("alias", shell_complete=complete_alias)
@profile_option
@file_option
@json_option
def command(alias: str, profile: str | None, file: str | None, *, as_json: bool) -> None:
    """Explain how ALIAS is resolved: file, form, profile, package, and each model with its state."""
    explanation = failing(_explain, alias, profile, file)
    if as_json:
        print_json(_json(explanation))
    else:
        _print(explanation)


def _explain(alias: str, profile: str | None, file: str | None) -> Explanation:
    located: Located = locate_lockfile(file, read_settings(), Path.cwd())
    lockfile = read_lockfile(located.path)
    chosen, profile_by = chosen_profile(profile, lockfile)
    return explain(
        lockfile,
        alias,
        chosen,
        current_catalog(),
        missing_key(lockfile),
        today(),
        found_by=located.found_by,
        profile_by=profile_by,
        digest=lock_digest(lockfile),
    )


def _print(why: Explanation) -> None:
    click.echo(f"{why.alias}")
    rows = [
        ("file", f"{why.file} (by {why.found_by})"),
        ("form", ", ".join(why.forms)),
        ("digest", why.digest),
        ("profile", f"{why.profile} (by {why.profile_by})" if why.profile is not None else None),
        ("package", _package(why)),
        ("bound in", str(why.bound_in) if why.bound_in is not None else "itself: provider:model needs no binding"),
        ("from", ", ".join(why.binding.models_from) or None),
        ("with", ", ".join(f"{name} = {value}" for name, value in why.binding.constraints.items()) or None),
    ]
    for name, text in rows:
        if text is not None:
            click.echo(f"  {name + ':':<10} {text}")
    click.echo("  models:")
    for number, one in enumerate(why.candidates, 1):
        click.echo(f"  {number:>3}. {_candidate(one)}")


def _package(why: Explanation) -> str | None:
    if why.package is None:
        return None
    return f"{why.package}, bound anew by this lockfile" if why.overrides else why.package


def _candidate(one: Candidate) -> str:
    stands = f" (stands for {one.stands_for})" if one.stands_for is not None else ""
    state = "asked first" if one.is_first else "a fallback" if one.has_key else "left out"
    said = "; ".join((*one.problems, *one.warnings))
    return f"{one.ref}{stands}: {state}" + (f"; {said}" if said else "")


def _json(why: Explanation) -> dict[str, Any]:
    return {
        "alias": why.alias,
        "file": str(why.file),
        "found_by": why.found_by,
        "forms": list(why.forms),
        "digest": why.digest,
        "profile": why.profile,
        "profile_by": why.profile_by,
        "package": why.package,
        "overrides": why.overrides,
        "bound_in": None if why.bound_in is None else str(why.bound_in),
        "models_from": list(why.binding.models_from),
        "constraints": dict(why.binding.constraints),
        "models": [
            {
                "model": str(one.ref),
                "stands_for": None if one.stands_for is None else str(one.stands_for),
                "has_key": one.has_key,
                "asked_first": one.is_first,
                "problems": list(one.problems),
                "warnings": list(one.warnings),
            }
            for one in why.candidates
        ],
    }
