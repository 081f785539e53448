"""Shell completion of aliases and models. Whatever is wrong with the files, completion just has nothing to offer."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from llmring.cli.catalogs import current_catalog
from llmring.cli.running import Failed
from llmring.config import find_lockfile, read_settings
from llmring.errors import ConfigError
from llmring.lockfile import Lockfile, read_lockfile


def complete_alias(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The aliases of the lockfile that the command would read, those of packages included."""
    lockfile = _lockfile(ctx)
    if lockfile is None:
        return []
    own = [alias for profile in lockfile.profiles.values() for alias in profile.bindings]
    theirs = [
        f"{one.package}:{alias}"
        for one in lockfile.extended.values()
        if one.lockfile is not None
        for profile in one.lockfile.profiles.values()
        for alias in profile.bindings
    ]
    return [CompletionItem(alias) for alias in dict.fromkeys((*own, *theirs)) if alias.startswith(incomplete)]


def complete_model(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models that the registry knows, behind the last comma of a list."""
    before, comma, last = incomplete.rpartition(",")
    try:
        catalog = current_catalog()
    except Failed:
        return []
    names = (str(facts.ref) for facts in catalog.models if facts.is_active)
    return [CompletionItem(f"{before}{comma}{name}") for name in sorted(names) if name.startswith(last)]


def complete_either(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return complete_alias(ctx, parameter, incomplete) + complete_model(ctx, parameter, incomplete)


def _lockfile(ctx: click.Context) -> Lockfile | None:
    named = ctx.params.get("file") or ctx.params.get("lockfile")
    try:
        return read_lockfile(find_lockfile(named, read_settings(), Path.cwd()))
    except ConfigError:
        return None
