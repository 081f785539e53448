"""`llmring list`: the registry's models, by provider."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import click
import msgspec

from llmring.cli.catalogs import current_catalog
from llmring.cli.facts import facts_json, print_json, usd_text
from llmring.cli.running import note
from llmring.cli.tables import show_table
from llmring.errors import nearest
from llmring.registry.catalog import CAPABILITIES, Catalog, ModelFacts, blended_usd

Order = Literal["name", "cost", "context", "date"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which models to show. `max_cost` in blended dollars per million tokens."""

    provider: str | None = None
    supports: tuple[str, ...] = ()
    max_cost: Decimal | None = None
    everything: bool = False


def _abilities(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (given or "").split(",") if name.strip())
    for name in names:
        if name not in CAPABILITIES:
            near = nearest(name, CAPABILITIES)
            hint = f"did you mean {near!r}?" if near is not None else f"known: {', '.join(CAPABILITIES)}"
            raise click.BadParameter(f"{name!r} is not an ability: {hint}")
    return names


def _dollars(_: click.Context, __: click.Parameter, given: str | None) -> Decimal | None:
    if given is None:
        return None
    try:
        usd = Decimal(given.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or usd < 0:
        raise click.BadParameter(f"{given!r} is not an amount of dollars, such as 2.50")
    return usd


@click.command(
    "list",
    epilog="""\b
    Examples:
      llmring list --provider anthropic
      llmring list --supports vision,tools --max-cost 2 --sort cost
    """,
)
@click.option("-p", "--provider", help="Models of this provider only.")
@click.option(
    "--supports",
    metavar="NAMES",
    callback=_abilities,
    help="Models with all of these abilities, separated by commas: " + ", ".join(CAPABILITIES) + ".",
)
@click.option(
    "--max-cost",
    metavar="USD",
    callback=_dollars,
    help="Models up to this price: dollars per million tokens, three parts input and one part output.",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(["name", "cost", "context", "date"]),
    default="name",
    show_default=True,
    help="Cheapest, largest or newest first; unknown last.",
)
@click.option("--all", "everything", is_flag=True, help="Also models that are retired or answer no chat.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every fact of every model.")
def command(order: Order, as_json: bool, **given: Any) -> int:
    """List the registry's models: those that are active and answer a chat.

    Needs no key and no network.
    """
    wanted = Wanted(**given)
    catalog = current_catalog()
    if wanted.provider is not None and wanted.provider not in catalog.providers():
        note(f"(the registry has no list of {wanted.provider!r}; it has {', '.join(catalog.providers())})")
    models = chosen(catalog, wanted, order)
    if as_json:
        print_json({"models": [facts_json(facts) for facts in models]})
    else:
        show(models)
    return 0


def chosen(catalog: Catalog, wanted: Wanted, order: Order) -> list[ModelFacts]:
    """The wanted models, by provider and within one in `order`."""
    found = sorted((facts for facts in catalog.standing(wanted.provider) if fits(facts, wanted)), key=KEYS[order])
    found.sort(key=lambda facts: facts.ref.provider)
    return found


def fits(facts: ModelFacts, wanted: Wanted) -> bool:
    """Whether a model is wanted. An unknown price is not below any limit."""
    if not wanted.everything and not (facts.is_active and facts.is_chat):
        return False
    if not all(facts.says(name) for name in wanted.supports):
        return False
    blended = blended_usd(facts)
    return wanted.max_cost is None or (blended is not None and blended <= wanted.max_cost)


def _by_cost(facts: ModelFacts) -> tuple[bool, Decimal, str]:
    blended = blended_usd(facts)
    return blended is None, blended or Decimal(0), facts.ref.model


def _by_context(facts: ModelFacts) -> tuple[int, str]:
    return -(facts.max_input_tokens or 0), facts.ref.model


def _by_date(facts: ModelFacts) -> tuple[int, str]:
    day = facts.release_date or facts.added_date or date.min
    return -day.toordinal(), facts.ref.model


KEYS: dict[Order, Callable[[ModelFacts], Any]] = {
    "name": lambda facts: facts.ref.model,
    "cost": _by_cost,
    "context": _by_context,
    "date": _by_date,
}


def show(models: list[ModelFacts]) -> None:
    """A table a provider on a terminal, elsewhere names a line."""
    if not models:
        click.echo("No models found.")
        return
    groups: dict[str, list[ModelFacts]] = {}
    for facts in models:
        groups.setdefault(facts.ref.provider, []).append(facts)
    shown = [
        show_table(provider.upper(), _COLUMNS, [_row(f) for f in group], numbers=_COLUMNS[1:5])
        for provider, group in groups.items()
    ]
    if all(shown):
        return
    click.echo("Available Models:")
    click.echo("-" * 40)
    for provider, group in groups.items():
        click.echo(f"\n{provider.upper()}:")
        for facts in group:
            click.echo(f"  - {facts.ref.model}")


_COLUMNS = ("model", "$/M in", "$/M out", "in", "out", "abilities")
_SHOWN = ("vision", "pdf", "audio", "tools", "json_schema", "reasoning")


def _row(facts: ModelFacts) -> tuple[str, ...]:
    prices = facts.prices
    marks = [] if facts.is_active else ["retired"]
    marks += [] if facts.is_chat else ["no chat"]
    return (
        facts.ref.model + (f" ({', '.join(marks)})" if marks else ""),
        usd_text(prices.input) if prices is not None and prices.input is not None else "",
        usd_text(prices.output) if prices is not None and prices.output is not None else "",
        _thousands(facts.max_input_tokens),
        _thousands(facts.max_output_tokens),
        ", ".join(name for name in _SHOWN if facts.says(name)),
    )


def _thousands(tokens: int | None) -> str:
    """Rounded down, so that nobody counts on more than there is."""
    if tokens is None:
        return ""
    return f"{tokens // 1000:,}k" if tokens >= 1000 else str(tokens)
