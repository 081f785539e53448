"""`llmring cost`: what so many tokens cost, at a model or at each model of an alias."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import click
import msgspec

from llmring.billing import rule_of
from llmring.cli.amounts import FiniteRange
from llmring.cli.catalogs import current_catalog
from llmring.cli.info import find
from llmring.cli.lockfiles import print_json
from llmring.cli.names import complete_either
from llmring.cli.running import Failed
from llmring.cli.spelling import cost_json, error_json
from llmring.cli.tables import print_table
from llmring.pricing import cost_of, in_a_batch, storage_usd
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.usage import Cost, CostBreakdown, Usage

_tokens = click.IntRange(min=0)
_MOST_HOURS = 876_600
"""A century."""


_HOURS = FiniteRange(min=0, max=_MOST_HOURS)

_COLUMNS: dict[str, Callable[[CostBreakdown], Decimal]] = {
    "input": lambda parts: parts.input,
    "cached": lambda parts: parts.cache_read,
    "5m writes": lambda parts: parts.cache_write_5m,
    "1h writes": lambda parts: parts.cache_write_1h,
    "output": lambda parts: parts.output,
    "reasoning": lambda parts: parts.reasoning,
}
_ALWAYS = ("input", "cached", "output")


class _Priced(msgspec.Struct, frozen=True, kw_only=True):
    """`storage_usd`: None where nothing is stored. `why` says what is unknown."""

    cost: Cost
    storage_usd: Decimal | None = None
    why: str | None = None

    @property
    def total(self) -> Decimal | None:
        return None if self.why is not None or self.cost.usd is None else self.cost.usd + (self.storage_usd or 0)


@click.command(
    "cost",
    epilog="""\b
    Examples:
      llmring cost -m anthropic:claude-sonnet-4-5 --in 250000 --out 2000 --cached 200000 --batch
      llmring cost -m google:gemini-2.5-pro --in 100000 --cached 90000 --out 500 --store 90000 --hours 2
    """,
)
@click.option("-m", "--model", required=True, shell_complete=complete_either, help="provider:model, or an alias.")
@click.option("--in", "input_tokens", type=_tokens, default=0, help="Tokens of input, cached ones included.")
@click.option("--out", "output_tokens", type=_tokens, default=0, help="Tokens of output, reasoning included.")
@click.option("--cached", "cached", type=_tokens, default=0, help="Of the input, those read from a cache.")
@click.option("--cache-write-5m", "write_5m", type=_tokens, default=0, help="Of the input, those kept for 5 minutes.")
@click.option("--cache-write-1h", "write_1h", type=_tokens, default=0, help="Of the input, those kept for an hour.")
@click.option("--reasoning", type=_tokens, default=0, help="Of the output, those the model thought with.")
@click.option("--store", type=_tokens, default=0, help="Tokens in a cache that is paid for by the hour (Gemini).")
@click.option("--hours", type=_HOURS, default=1.0, show_default=True, help="How long they are stored.")
@click.option("--batch", is_flag=True, help="Through the provider's batch API.")
@click.option("--profile", help="A profile of the lockfile. Default: LLMRING_PROFILE, then the lockfile's.")
@click.option("--lockfile", metavar="FILE", help="Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: money is a string, as it is exact.")
def command(
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached: int,
    write_5m: int,
    write_1h: int,
    reasoning: int,
    store: int,
    hours: float,
    profile: str | None,
    lockfile: str | None,
    *,
    batch: bool,
    as_json: bool,
) -> int:
    """Show what so many tokens of one request cost, by the registry and the provider's rule. Needs no key and no
    network.

    Exit code 1 where no price is known: unknown is not free.
    """
    _check(input_tokens, {"--cached": cached, "--cache-write-5m": write_5m, "--cache-write-1h": write_1h}, "--in")
    _check(output_tokens, {"--reasoning": reasoning}, "--out")
    usage = Usage(
        input_tokens=input_tokens - cached - write_5m - write_1h,
        cache_read_tokens=cached,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        output_tokens=output_tokens - reasoning,
        reasoning_tokens=reasoning,
    )
    catalog = current_catalog()
    try:
        models = find(model, catalog, profile, lockfile).models
    except Failed as failed:
        if as_json:
            print_json({"error": error_json(failed.error)})
        raise
    found = {
        str(ref): _price(catalog, ref, facts, usage, batch=batch, stored=(store, Decimal(str(hours))))
        for ref, facts in models.items()
    }
    if as_json:
        print_json({name: _json(priced) for name, priced in found.items()})
    else:
        _print(found)
    return 0 if any(priced.total is not None for priced in found.values()) else 1


def _check(total: int, parts: dict[str, int], of: str) -> None:
    asked = {name: tokens for name, tokens in parts.items() if tokens}
    if sum(asked.values()) > total:
        names, tokens = " and ".join(asked), sum(asked.values())
        raise click.UsageError(
            f"{names} {'counts' if len(asked) == 1 else 'count'} tokens of {of}: {tokens} of {total} cannot be"
        )


def _price(
    catalog: Catalog,
    ref: ModelRef,
    facts: ModelFacts | None,
    usage: Usage,
    *,
    batch: bool,
    stored: tuple[int, Decimal],
) -> _Priced:
    cost = cost_of([usage], catalog.prices(ref), known=facts is not None)
    if batch:
        cost = in_a_batch(cost, rule_of(ref.provider))
    tokens, hours = stored
    rate = facts.cache_storage_usd if facts is not None else None
    if not tokens or cost.usd is None:
        return _Priced(cost=cost, why=cost.why_unknown)
    if rate is None:
        return _Priced(cost=cost, why="the registry has no price of cache storage for the model")
    return _Priced(cost=cost, storage_usd=storage_usd(tokens, hours, rate))


def _json(priced: _Priced) -> dict[str, Any]:
    spelled = cost_json(priced.cost)
    if priced.storage_usd is not None:
        spelled["cache_storage_usd"] = f"{priced.storage_usd:f}"
    spelled["total_usd"] = None if priced.total is None else f"{priced.total:f}"
    return spelled if priced.why is None else spelled | {"why_unknown": priced.why}


def _print(found: dict[str, _Priced]) -> None:
    breakdowns = [priced.cost.breakdown for priced in found.values() if priced.cost.breakdown is not None]
    used = {name: part for name, part in _COLUMNS.items() if name in _ALWAYS or any(map(part, breakdowns))}
    storage = ("storage",) if any(priced.storage_usd is not None for priced in found.values()) else ()
    rows = [(name, *_cells(priced, used, storage=bool(storage))) for name, priced in found.items()]
    print_table("What it costs", ("model", *used, *storage, "total"), rows)
    parts = {name: priced.cost.breakdown for name, priced in found.items()}
    long = [name for name, part in parts.items() if part is not None and part.long_context_input]
    if long:
        click.echo(f"At the long-context rates: {', '.join(long)}.")


def _cells(priced: _Priced, used: dict[str, Callable[[CostBreakdown], Decimal]], *, storage: bool) -> tuple[str, ...]:
    parts = priced.cost.breakdown
    cells = [_usd(part(parts)) if parts is not None else "-" for part in used.values()]
    if storage:
        cells.append(_usd(priced.storage_usd) if priced.storage_usd is not None else "-")
    return *cells, _usd(priced.total) if priced.total is not None else f"unknown: {priced.why}"


def _usd(usd: Decimal) -> str:
    return f"${usd.normalize():f}"
