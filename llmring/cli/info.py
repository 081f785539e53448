"""`llmring info`: what the registry says of one model, or of each model of an alias."""

from typing import Any

import click
import msgspec

from llmring.cli.catalogs import current_catalog
from llmring.cli.facts import facts_json, facts_lines, print_json
from llmring.cli.names import complete_either
from llmring.cli.running import Failed, check_is_ours, open_lockfile
from llmring.cli.spelling import error_json
from llmring.cli.tables import show_table
from llmring.config import read_settings
from llmring.errors import ConfigError, LLMRingError, UnknownAlias
from llmring.lockfile import Lockfile
from llmring.refs import ModelRef, is_model_ref
from llmring.registry.catalog import Catalog, ModelFacts


class Unknown(Failed):
    """Nobody knows the name: exit code 1 whether it was a model or an alias."""

    @property
    def code(self) -> int:
        return 1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a name stands for. `models`: in the order of the binding; None for one that the registry does not know."""

    alias: str | None = None
    profile: str | None = None
    models: dict[ModelRef, ModelFacts | None]


@click.command(
    "info",
    epilog="""\b
    Examples:
      llmring info anthropic:claude-opus-5
      llmring info summarizer --json
    """,
)
@click.argument("name", metavar="MODEL", shell_complete=complete_either)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the model, or the alias with its models.")
@click.option("--profile", help="A profile of the lockfile. Default: LLMRING_PROFILE, then the lockfile's.")
@click.option("--lockfile", metavar="FILE", help="Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.")
def command(name: str, as_json: bool, profile: str | None, lockfile: str | None) -> int:
    """Show what the registry says of MODEL: provider:model, or an alias of the lockfile.

    Prices, limits, abilities, dates, and the version of the registry that says so. Needs no key and no network.
    """
    try:
        found = find(name, current_catalog(), profile, lockfile)
    except Failed as failed:
        if as_json:
            print_json({"error": error_json(failed.error)})
        raise
    if as_json:
        print_json(_spelled(found))
    else:
        _show(found)
    return 0


def find(name: str, catalog: Catalog, profile: str | None, lockfile: str | None) -> Found:
    """What `name` stands for. Raises Unknown with the nearest name, Failed for a lockfile that is wrong.

    A lockfile is read for what may be an alias of it: a name without a colon, or `package:alias`.
    """
    try:
        ref = ModelRef.parse(name) if is_model_ref(name) else None
    except ValueError as error:
        raise Unknown(LLMRingError(str(error))) from error
    if ref is not None and ref.provider in catalog.providers():
        return Found(models={ref: _facts(catalog, ref)})
    try:
        opened = open_lockfile(lockfile)
        chosen = opened.profile(profile or read_settings().profile or opened.default_profile)
    except LLMRingError as error:
        raise Failed(error) from error
    if ref is not None and name.partition(":")[0] not in opened.packages:
        return Found(models={ref: _facts(catalog, ref)})
    try:
        binding = opened.binding(name, chosen.name)
    except UnknownAlias as error:
        raise Unknown(_no_alias(error, catalog, opened)) from error
    return Found(alias=name, profile=chosen.name, models={each: catalog.get(each) for each in binding.models})


def _no_alias(unknown: UnknownAlias, catalog: Catalog, lockfile: Lockfile) -> LLMRingError:
    """An unknown alias with the best hint there is: the model that has this name, or that there is no lockfile."""
    refs = [ModelRef(provider, unknown.alias) for provider in catalog.providers()]
    meant = " or ".join(repr(str(ref)) for ref in refs if catalog.get(ref) is not None)
    if meant:
        return LLMRingError(f"{unknown.alias!r} is no alias: did you mean {meant}?")
    try:
        check_is_ours(lockfile, unknown.alias)
    except ConfigError as error:
        return error
    return unknown


def _facts(catalog: Catalog, ref: ModelRef) -> ModelFacts:
    facts = catalog.get(ref)
    if facts is None:
        near = catalog.nearest(ref)
        versions = ", ".join(f"{each} version {catalog.version(each)}" for each in catalog.providers())
        hint = f"did you mean '{near}'?" if near is not None else "`llmring list` shows what it knows"
        raise Unknown(LLMRingError(f"the registry ({versions}) does not know '{ref}': {hint}"))
    return facts


def _spelled(found: Found) -> dict[str, Any]:
    models: list[dict[str, Any]] = [
        facts_json(facts) if facts is not None else {"model": str(ref), "provider": ref.provider, "source": None}
        for ref, facts in found.models.items()
    ]
    if found.alias is None:
        return models[0]
    return {"alias": found.alias, "profile": found.profile, "models": models}


def _show(found: Found) -> None:
    if found.alias is not None:
        click.echo(f"Alias {found.alias!r} in profile {found.profile!r}:\n")
    for number, (ref, facts) in enumerate(found.models.items()):
        lines = (
            list(facts_lines(facts)) if facts is not None else [("Model", str(ref)), ("Source", "not in the registry")]
        )
        if not show_table(str(ref), ("", ""), lines):
            click.echo("\n" * (number > 0) + "\n".join(f"{name}: {value}" for name, value in lines))
