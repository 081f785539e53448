"""`llmring receipts reconcile`: a provider's usage export against the receipts of its requests."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from llmring.cli.amounts import dollars
from llmring.cli.ledgers import failures, ledger_option
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.spans import Span, rows_of
from llmring.cli.tables import print_table, printable
from llmring.errors import ConfigError
from llmring.reports import wording
from llmring.reports.attempts import Detailed, Missing, detailed
from llmring.reports.billed import Reading, read_export
from llmring.reports.exports import EXPORTS, MAPPED, Role
from llmring.reports.period import bound, day_in
from llmring.reports.reconcile import Bill, Line, Reconciled, Side, Status, reconcile
from llmring.zones import zone

DIFFERS = 1
STATUSES: dict[Status, str] = {
    "differs": "differ",
    "not in the ledger": "not in the ledger",
    "not in the file": "not in the file",
}
MOST_SHOWN = 100
NUMBERS = ("file", "ledger", "difference")
MARGIN = timedelta(days=1)
"""A request is billed when it begins, and its receipt is of when it ended: both sides of midnight are read."""


@click.command(
    "reconcile",
    epilog=f"""\b
    Known: {"; ".join(one.name for one in EXPORTS[:4])};
    {"; ".join(one.name for one in EXPORTS[4:])}.

    \b
    Examples:
      llmring receipts reconcile openai-cost.csv --until 2026-08-31
      llmring receipts reconcile bill.csv --provider groq --map day=Date --map model=Model --map cost=Total
    """,
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", metavar="NAME", help="Whose receipts.  [default: by the file]")
@click.option(
    "--map",
    "named",
    multiple=True,
    metavar="WHAT=COLUMN",
    help=f"What a column of the file is: one of {', '.join(MAPPED)}.",
)
@click.option(
    "--tolerance", default="0.01", show_default=True, metavar="USD", help="What may differ, a line and in all."
)
@click.option("--since", metavar="DATE", help="Leave out days before this one.")
@click.option("--until", metavar="DATE", help="Leave out days after this one.")
@click.option("--timezone", metavar="ZONE", help="Whose days the file's are.  [default: the provider's, mostly UTC]")
@ledger_option
@json_option
def command(
    file: Path,
    provider: str | None,
    named: Sequence[str],
    tolerance: str,
    since: str | None,
    until: str | None,
    timezone: str | None,
    ledger: str | None,
    *,
    as_json: bool,
) -> int:
    """Hold a provider's usage export (CSV) against the receipts. Ends with 1 when they differ, or an attempt has no
    price."""
    allowed = dollars(tolerance)
    with failures():
        low, high = _day(since), _day(until)
        if low is not None and high is not None and low > high:
            raise ConfigError(f"--since {since} is not before --until {until}: there is no day between the two")
        given = _roles(named)
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                reading = read_export(lines, str(file), given, lambda own: zone(timezone or own))
                bill = Bill(reading, str(file), since=low, until=high)
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
        whose = provider or reading.provider
        if whose is None:
            raise ConfigError(f"{file} does not say whose it is: name the provider with --provider")
        where = zone(timezone or (reading.export.days_in if reading.export is not None else None))
        span = _around(bill, where)
        with rows_of(ledger, span) as rows:
            result = reconcile(bill, _of(whose, detailed(rows)), day_in(where), allowed)
    if as_json:
        print_json(_told(result, reading, whose, span))
    else:
        _print(result, reading, whose, span)
    return DIFFERS if result.exceeds else 0


def _roles(named: Sequence[str]) -> dict[Role, str]:
    """Raises BadParameter."""
    found: dict[Role, str] = {}
    for one in named:
        what, equals, column = one.partition("=")
        if what not in MAPPED or not equals or not column:
            raise click.BadParameter(f"{one!r} is not WHAT=COLUMN, with one of {', '.join(MAPPED)}", param_hint="--map")
        found[what] = column
    return found


def _day(text: str | None) -> str | None:
    """Raises ConfigError for what is no day."""
    if text is None:
        return None
    bound(text, UTC, datetime.now(UTC), ends=False)
    if "T" in text or "-" not in text:
        raise ConfigError(f"{text!r} is no day: a bill is of whole days, such as 2026-08-31")
    return text


def _around(bill: Bill, where: Any) -> Span:
    """The time of the file's days, and where requests are told apart a day around it."""
    if not bill.first:
        return Span(since=None, until=None, where=where)
    margin = MARGIN if bill.by_request else timedelta()
    first, last = (datetime.fromisoformat(day) for day in (bill.first, bill.last))
    low, high = (f"{moment:%Y-%m-%d}" for moment in (first - margin, last + margin))
    now = datetime.now(UTC)
    return Span(since=bound(low, where, now, ends=False), until=bound(high, where, now, ends=True), where=where)


def _of(provider: str, entries: Iterator[Detailed | Missing]) -> Iterator[Detailed]:
    return (one for one in entries if isinstance(one, Detailed) and one.provider == provider)


def _told(result: Reconciled, reading: Reading, provider: str, span: Span) -> dict[str, Any]:
    return {
        "file": reading.name,
        "provider": provider,
        "by": result.by,
        "first": result.first,
        "last": result.last,
        "timezone": span.place,
        "matches": not result.exceeds,
        "same": result.same,
        "differs": result.count("differs"),
        "not_in_the_ledger": result.count("not in the ledger"),
        "not_in_the_file": result.count("not in the file"),
        "left_out": reading.left_out,
        "file_usd": _text(result.theirs_usd),
        "ledger_usd": _text(result.ours_usd),
        "difference_usd": _text(result.difference_usd),
        "allowed_usd": _text(result.allowed_usd),
        "unpriced": result.unpriced,
        "lines": [_line(line) for line in result.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "when": line.when,
        "model": line.model,
        "kind": line.kind,
        "status": line.status,
        "counts": line.counts,
        "difference_usd": _text(line.difference_usd),
        "token_differences": line.token_differences,
        "file": _side(line.theirs),
        "ledger": _side(line.ours),
    }


def _side(side: Side | None) -> dict[str, Any] | None:
    return {**msgspec.structs.asdict(side), "usd": _text(side.usd)} if side is not None else None


def _text(usd: Decimal | None) -> str | None:
    return f"{usd:f}" if usd is not None else None


def _print(result: Reconciled, reading: Reading, provider: str, span: Span) -> None:
    has_costs = result.theirs_usd is not None
    when, noun = ("request", "request") if result.by == "request" else ("day", "line")
    if result.lines:
        _print_lines(result.lines, reading.name, when, has_costs=has_costs)
    counts = [wording.plural(result.same, f"{noun} is the same", f"{noun}s are the same")]
    for status, words in STATUSES.items():
        if number := result.count(status):
            counts.append(f"{number:,} {words}")
    days = f", {result.first} to {result.last} ({span.place})" if result.first else ""
    click.echo(f"{reading.name}, {provider}{days}: {', '.join(counts)}")
    if reading.left_out:
        click.echo(f"{wording.plural(reading.left_out, 'row')} of the file without a day: left out")
    if result.unpriced:
        click.echo(f"{wording.plural(result.unpriced, 'attempt')} of the ledger without a price")
    mark = "❌" if result.exceeds else "✅"
    if result.theirs_usd is None:
        found = "differ" if result.exceeds else "are those of the ledger"
        click.echo(f"{mark} The file has no costs: its tokens {found}")
        return
    sums = f"{mark} The file says {wording.usd(result.theirs_usd)}, the ledger {wording.usd(result.ours_usd)}"
    if result.exceeds and not result.differs_in_all:
        click.echo(f"{sums}, but {' and '.join(_reasons(result))}")
        return
    difference = wording.signed_usd(result.theirs_usd - result.ours_usd)
    click.echo(f"{sums}: {difference}, where {wording.usd(result.allowed_usd)} may differ")


def _reasons(result: Reconciled) -> list[str]:
    """Why the ledger is not the file's, where their sums agree."""
    reasons: list[str] = []
    if result.unpriced:
        them = "it" if result.unpriced == 1 else "them"
        whose = wording.plural(result.unpriced, "attempt has", "attempts have")
        reasons.append(f"{whose} no price in the ledger, so what is billed for {them} cannot be held against it")
    if wrong := sum(line.counts and not line.lacks_prices for line in result.lines):
        reasons.append(wording.plural(wrong, "line differs by more than it may", "lines differ by more than they may"))
    return reasons


def _print_lines(lines: Sequence[Line], title: str, when: str, *, has_costs: bool) -> None:
    cells = [_cells(line, has_costs=has_costs) for line in lines[:MOST_SHOWN]]
    heads = (when, "model", "kind", "status", *NUMBERS)
    # No columns for what the file does not tell apart.
    used = [place for place, head in enumerate(heads) if head in (when, *NUMBERS) or any(row[place] for row in cells)]
    print_table(
        title, [heads[place] for place in used], [[row[place] for place in used] for row in cells], numbers=NUMBERS
    )
    if len(lines) > MOST_SHOWN:
        click.echo(f"and {len(lines) - MOST_SHOWN:,} more: --json has all")
    click.echo()


def _cells(line: Line, *, has_costs: bool) -> list[str]:
    if has_costs:
        amounts = [_cost(line.theirs), _cost(line.ours), wording.signed_usd(line.difference_usd or Decimal(0))]
    else:
        amounts = [_tokens(line.theirs), _tokens(line.ours), _differences(line.token_differences)]
    return [printable(line.when), printable(line.model or ""), line.kind or "", line.status, *amounts]


def _cost(side: Side | None) -> str:
    if side is None:
        return "-"
    if side.unpriced and not side.usd:
        return f"{side.unpriced:,} unpriced"
    return wording.usd(side.usd) + (f" + {side.unpriced:,} unpriced" if side.unpriced else "")


def _tokens(side: Side | None) -> str:
    return f"{side.input_tokens or 0:,} in, {side.output_tokens or 0:,} out" if side is not None else "-"


def _differences(tokens: dict[str, int]) -> str:
    return ", ".join(f"{number:+,} {name.removesuffix('_tokens')}" for name, number in tokens.items())
