"""`llmring cost`: what so many tokens cost, at a model or at each model of an alias."""

import click

from llmring.cli.catalogs import current_catalog
from llmring.cli.info import find
from llmring.cli.lockfiles import print_json
from llmring.cli.names import complete_either
from llmring.cli.spelling import cost_json
from llmring.cli.tables import print_table
from llmring.pricing import cost_of
from llmring.usage import Cost, Usage

_tokens = click.IntRange(min=0)


@click.command("cost")
@click.option("-m", "--model", required=True, shell_complete=complete_either, help="provider:model, or an alias.")
@click.option("--in", "input_tokens", type=_tokens, default=0, help="Tokens of input, cached ones included.")
@click.option("--out", "output_tokens", type=_tokens, default=0, help="Tokens of output, reasoning included.")
@click.option("--cached", "cached_tokens", type=_tokens, default=0, help="Of the input, those read from a cache.")
@click.option("--profile", help="A profile of the lockfile. Default: LLMRING_PROFILE, then the lockfile's.")
@click.option("--lockfile", metavar="FILE", help="Default: LLMRING_LOCKFILE_PATH, then ./llmring.lock.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: money is a string, as it is exact.")
def command(
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int,
    profile: str | None,
    lockfile: str | None,
    *,
    as_json: bool,
) -> int:
    """Show what so many tokens cost, by the registry. Needs no key and no network.

    Exit code 1 where no price is known: unknown is not free.
    """
    if cached_tokens > input_tokens:
        raise click.UsageError(f"--cached counts tokens of --in: {cached_tokens} of {input_tokens} cannot be")
    catalog = current_catalog()
    usage = Usage(
        input_tokens=input_tokens - cached_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens
    )
    costs = {
        str(ref): cost_of([usage], catalog.prices(ref), known=facts is not None)
        for ref, facts in find(model, catalog, profile, lockfile).models.items()
    }
    if as_json:
        print_json({name: cost_json(cost) for name, cost in costs.items()})
    else:
        heads = ("model", "input", "cached", "output", "total")
        print_table("What it costs", heads, [_row(name, cost) for name, cost in costs.items()])
    return 0 if any(cost.usd is not None for cost in costs.values()) else 1


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    parts = cost.breakdown
    if parts is None or cost.usd is None:
        return name, "-", "-", "-", cost.status.replace("_", " ")
    return name, *(f"${part.normalize():f}" for part in (parts.input, parts.cache_read, parts.output, cost.usd))
