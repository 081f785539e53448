"""`llmring cache info|clear|refresh`: the registry's lists on this machine."""

from datetime import UTC, datetime
from functools import partial

import click

from llmring.cli.lockfiles import failing, json_option, print_json
from llmring.cli.running import run_trio
from llmring.config import read_registry_url, read_settings
from llmring.registry.cache import Cache, Entry
from llmring.registry.fetch import fetch_from
from llmring.registry.lists import Lists
from llmring.registry.store import read_bundled


@click.group()
def command() -> None:
    """Look after the registry's lists that are kept on disk."""


@command.command("info")
@json_option
def info(*, as_json: bool) -> None:
    """Show what is kept, how old it is, and where."""
    cache = _cache()
    entries = cache.info()
    bundled = {source.provider: source.version for source in read_bundled().sources}
    if as_json:
        print_json(
            {
                "directory": str(cache.directory) if cache.directory is not None else None,
                "registry": failing(read_registry_url),
                "lists": [
                    {
                        "provider": entry.provider,
                        "fetched_at": entry.fetched_at.isoformat() if entry.fetched_at is not None else None,
                        "versions": list(entry.versions),
                        "bytes": entry.size,
                    }
                    for entry in entries
                ],
                "bundled": bundled,
                "notes": cache.notes,
            }
        )
        return
    click.echo(f"Registry: {failing(read_registry_url)}\nDirectory: {cache.directory or 'none: there is no home'}")
    for entry in entries:
        click.echo(f"  {entry.provider}: {_about(entry)}")
    if not entries:
        click.echo("  (nothing is kept)")
    click.echo("Came with llmring: " + ", ".join(f"{name} v{version}" for name, version in bundled.items()))
    for remark in cache.notes:
        click.echo(f"⚠️  {remark}")


@command.command("clear")
@json_option
def clear(*, as_json: bool) -> None:
    """Delete what is kept. What came with llmring stays."""
    count = _cache().clear()
    if as_json:
        print_json({"deleted": count})
    else:
        click.echo(f"✅ Deleted {count} file{'' if count == 1 else 's'}")


@command.command("refresh")
@json_option
def refresh(*, as_json: bool) -> int:
    """Fetch the newest lists now. The only command of this kind that asks the network."""
    lists = Lists(read_bundled(), _cache(), fetch_from(failing(read_registry_url)))
    lists.load_all()
    for provider in lists.providers():
        run_trio(partial(lists.current, provider, force=True))
    found = {name: held.list.version for name in lists.providers() if (held := lists.at_hand(name)) is not None}
    if as_json:
        print_json({"versions": found, "problems": lists.problems})
    else:
        for provider, version in found.items():
            problem = lists.problems.get(provider)
            click.echo(f"  {provider}: v{version}" + (f" (not renewed: {problem})" if problem is not None else ""))
    return 1 if lists.problems else 0


def _cache() -> Cache:
    return Cache(read_settings().cache_directory)


def _about(entry: Entry) -> str:
    versions = f", versions {', '.join(map(str, entry.versions))}" if entry.versions else ""
    return f"{_age(entry.fetched_at)}, {entry.size:,} bytes{versions}"


def _age(fetched_at: datetime | None) -> str:
    if fetched_at is None:
        return "no current list"
    hours = (datetime.now(UTC) - fetched_at).total_seconds() / 3600
    return f"fetched {hours:.1f} hours ago"
