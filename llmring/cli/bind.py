"""`llmring bind` and `llmring unbind`."""

from typing import Any

import click

from llmring import lock
from llmring.cli.catalogs import current_catalog
from llmring.cli.lockfiles import failing, file_option, json_option, print_json, profile_option
from llmring.cli.names import complete_alias, complete_model
from llmring.cli.running import note
from llmring.lockfile.profiles import ORDERS, Order
from llmring.review.choice import MOST


@click.command("bind")
@click.argument("alias", shell_complete=complete_alias)
@click.argument("models", shell_complete=complete_model)
@profile_option
@file_option
@click.option("--min-context", type=click.IntRange(1), metavar="TOKENS", help="Models must take so much input.")
@click.option(
    "--max-cost", type=click.FloatRange(0), metavar="DOLLARS", help="Per million tokens, 3 parts input and 1 output."
)
@click.option("--supports", multiple=True, metavar="WHAT", help="vision, tools, json_schema, ...; commas or repeated.")
@click.option("--temperature", type=float, help="For requests that set none.")
@click.option("--max-tokens", type=click.IntRange(1), help="For requests that set none.")
@click.option("--order", type=click.Choice(ORDERS), help="Which model is asked first. Default: as they are written.")
@click.option("--top", type=click.IntRange(1), default=MOST, show_default=True, help="How many models a pattern gives.")
@click.option("--pin", is_flag=True, help="Pin what the registry says of each model, for `lock drift`.")
@json_option
def command(
    alias: str,
    models: str,
    profile: str | None,
    file: str | None,
    top: int,
    order: Order | None,
    *,
    pin: bool,
    as_json: bool,
    **constraints: Any,
) -> None:
    """Bind ALIAS to MODELS: provider:model, several with commas, or a pattern such as "anthropic:*".

    \b
      llmring bind summarizer anthropic:claude-haiku-4-5,openai:gpt-5-mini
      llmring bind smart "anthropic:*" --min-context 100000 --max-cost 10
    """
    bound = failing(
        lock.bind,
        alias,
        models,
        profile=profile,
        lockfile=file,
        constraints=_given(constraints),
        order=order,
        most=top,
        pin=pin,
        catalog=current_catalog(),
    )
    if as_json:
        print_json(_json(bound))
    else:
        _print(bound)


def _given(options: dict[str, Any]) -> dict[str, Any] | None:
    """The constraints that were given; None for none, so that those of the binding stay."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "supports" in given:
        given["supports"] = [word.strip() for words in given["supports"] for word in words.split(",") if word.strip()]
    return given or None


def _print(bound: lock.Bound) -> None:
    if bound.created:
        click.echo(f"No lockfile found at {bound.path}\nCreating a new lockfile...")
    for one in bound.considered:
        click.echo(f"  {'✓' if one.taken else '✗'} {one.ref}: {one.why}")
    first, *others = bound.models
    if others:
        click.echo(f"✅ Bound '{bound.alias}' → {first} in profile '{bound.profile}'")
        click.echo(f"   Fallbacks: {', '.join(map(str, others))}")
    else:
        click.echo(f"✅ Bound '{bound.alias}' → '{first}' in profile '{bound.profile}'")
    for ref in bound.unknown:
        near = current_catalog().nearest(ref)
        note(f"⚠️  {ref} is not in the registry" + (f": did you mean {near}?" if near is not None else ""))


def _json(bound: lock.Bound) -> dict[str, Any]:
    return {
        "lockfile": str(bound.path),
        "created": bound.created,
        "profile": bound.profile,
        "alias": bound.alias,
        "models": [str(ref) for ref in bound.models],
        "considered": [{"model": str(one.ref), "taken": one.taken, "why": one.why} for one in bound.considered],
        "unknown": [str(ref) for ref in bound.unknown],
    }


@click.command("unbind")
@click.argument("alias", shell_complete=complete_alias)
@profile_option
@file_option
@json_option
def unbind(alias: str, profile: str | None, file: str | None, *, as_json: bool) -> None:
    """Take ALIAS out of a profile."""
    edited = failing(lock.unbind, alias, profile=profile, lockfile=file)
    if as_json:
        print_json({"lockfile": str(edited.path), "alias": alias})
    else:
        click.echo(f"✅ Removed '{alias}' from {edited.path}")
