"""`llmring providers`: which providers there are, and for which of them a key is set."""

from pathlib import Path

import click

from llmring.cli.lockfiles import failing, file_option, json_option, print_json
from llmring.config import find_lockfile, read_base_url, read_settings
from llmring.keys import keys_in_use, missing_key
from llmring.lockfile import Lockfile, read_lockfile
from llmring.providers.endpoint import Endpoint, endpoint
from llmring.providers.known import PROVIDERS


@click.command("providers")
@file_option
@json_option
def command(file: str | None, *, as_json: bool) -> None:
    """List the providers, where their keys come from, and whether one is set. Keys are never shown."""
    lockfile = failing(lambda: read_lockfile(find_lockfile(file, read_settings(), Path.cwd())))
    missing = missing_key(lockfile)
    found = {name: _endpoint(name, lockfile) for name in dict.fromkeys((*PROVIDERS, *lockfile.providers))}
    ready = {name: about is not None and missing(name) is None for name, about in found.items()}
    if as_json:
        print_json(
            {
                name: {
                    "ready": ready[name],
                    "key_variables": list(about.key_variables) if about is not None else [],
                    "keys_set": list(keys_in_use(about)) if about is not None else [],
                    "needs_key": about is not None and about.needs_key and bool(about.key_variables),
                    "kind": about.kind if about is not None else PROVIDERS[name].kind,
                    "base_url": about.base_url if about is not None else None,
                }
                for name, about in found.items()
            }
        )
        return
    click.echo("Configured Providers:\n" + "-" * 40)
    for name, about in found.items():
        click.echo(f"{'✓' if ready[name] else '✗'} {name:<12} {_about(about)}")


def _endpoint(name: str, lockfile: Lockfile) -> Endpoint | None:
    """None for one that needs an address of one's own and has none."""
    settings = lockfile.providers.get(name)
    known = PROVIDERS.get(name)
    if known is not None and known.base_url is None and (settings is None or settings.base_url is None):
        return None
    return failing(lambda: endpoint(name, settings, read_base_url(name)))


def _about(about: Endpoint | None) -> str:
    if about is None:
        return "(needs base_url in the lockfile)"
    if about.many_keys:
        return f"{', '.join(about.key_variables)} ({len(keys_in_use(about))} of {len(about.key_variables)} used)"
    keys = " or ".join(about.key_variables)
    return keys if keys and about.needs_key else "(not required)"
