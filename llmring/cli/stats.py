"""`llmring stats`: what the receipts of a ledger come to, as a table, bars, JSON or a page."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click

from llmring.cli.ledgers import failures, force_option, ledger_option
from llmring.cli.lockfiles import json_option, print_json
from llmring.cli.replacing import replacing
from llmring.cli.running import note
from llmring.cli.spans import Span, read_span, rows_of, span_options
from llmring.cli.tables import print_table, printable
from llmring.errors import ConfigError
from llmring.reports import wording
from llmring.reports.attempts import attempts
from llmring.reports.bars import MOST_BARS, Bar, bar_lines
from llmring.reports.page import write_page
from llmring.reports.period import day_in, days
from llmring.reports.summary import By, Grouping, Summary, summarize
from llmring.reports.totals import MEDIAN, MOST, Totals

DRAWN: tuple[By, ...] = ("day", "alias", "model")
PAGES = (".html", ".htm")
ALWAYS = ("calls", "attempts", "answered", "input", "output", "cost", "median", "p95")
COLUMNS = (
    *("calls", "attempts", "answered", "failed", "cancelled", "left", "failovers"),
    *("input", "cached", "output", "cost", "unpriced", "median", "p95"),
)
"""Those that are not always there are left out where every row has 0 in them."""
NOT_SHOWN_FIRST = ("left", "cancelled", "answered", "cached", "attempts", "median", "failovers", "p95", "failed")
"""What goes first where a terminal has no room: a number that is cut short is another number."""
BORDER = 3
"""Beside each column."""


@click.command(
    "stats",
    epilog="""\b
    Examples:
      llmring stats --since 7d --by model
      llmring stats --since 2026-08-01 --until 2026-08-31 -o august.html
    """,
)
@click.option("--by", type=click.Choice(get_args(By)), default="alias", show_default=True, help="What to group by.")
@span_options
@ledger_option
@click.option("--plot", is_flag=True, help="Draw the cost by day, alias and model.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write a page with charts: a name in .html.")
@force_option
@json_option
def command(
    by: By,
    since: str | None,
    until: str | None,
    timezone: str | None,
    ledger: str | None,
    output: Path | None,
    *,
    plot: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Sum up the receipts: calls, attempts, tokens, cost, latency, failovers."""
    with failures():
        if output is not None and output.suffix.lower() not in PAGES:
            raise ConfigError(f"{output}: a report is a page, so name it .html; `llmring export` writes tables")
        span = read_span(since, until, timezone)
        groupings = dict.fromkeys((by, *(DRAWN if plot or output is not None else ())))
        with rows_of(ledger, span) as rows:
            summary = summarize(attempts(rows), groupings, day_in(span.where))
        if output is not None:
            with replacing(output, force=force) as file:
                for part in write_page(summary, datetime.now(UTC), span.place):
                    file.write(part.encode())
    if as_json:
        print_json(_told(summary, by, span))
    else:
        _print(summary, by, span, plot=plot)
    if output is not None:
        note(f"wrote {output}")


def _told(summary: Summary, by: By, span: Span) -> dict[str, Any]:
    grouping = summary.groupings[by]
    return {
        "since": span.since,
        "until": span.until,
        "timezone": span.place,
        "first": summary.first,
        "last": summary.last,
        "by": by,
        "groups": [{by: key, **totals.to_dict()} for key, totals in grouping.ranked()],
        "others": grouping.others.to_dict() if grouping.others is not None else None,
        "total": summary.total.to_dict(),
        "unpriced_why": summary.unpriced_why,
        "missing": summary.missing,
    }


def _print(summary: Summary, by: By, span: Span, *, plot: bool) -> None:
    if summary.first is None or summary.last is None:
        click.echo("No receipts in this time." if span.since or span.until else "The ledger holds no receipts.")
        for line in wording.sentences(summary.total, summary.missing, {})[1:]:
            click.echo(line)
        return
    day_of = day_in(span.where)
    first, last = day_of(summary.first), day_of(summary.last)
    rows = [(_named(key), totals) for key, totals in summary.groupings[by].ranked()]
    others = summary.groupings[by].others
    if others is not None:
        rows.append(("(others)", others))
    shown = [name for name in COLUMNS if name in ALWAYS or any(_counted(totals, name) for _, totals in rows)]
    cells = [(label, *(_cell(totals, name) for name in shown)) for label, totals in rows]
    cells.append(("total", *(_cell(summary.total, name) for name in shown)))
    when = first if first == last else f"{first} to {last}"
    fitting = _fitting((by, *shown), cells) if sys.stdout.isatty() else (by, *shown)
    kept = [place for place, name in enumerate((by, *shown)) if name in fitting]
    title = f"Receipts of {when} ({span.place})"
    print_table(title, fitting, [[row[place] for place in kept] for row in cells], numbers=shown)
    if len(fitting) <= len(shown):
        hidden = [name for name in shown if name not in fitting]
        click.echo(f"No room for {', '.join(hidden)}: a wider terminal has it, and --json.")
    click.echo()
    for line in wording.sentences(summary.total, summary.missing, summary.unpriced_why):
        click.echo(line)
    if plot:
        _draw(summary, first, last)


def _fitting(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    """The columns that a terminal has room for, whole."""
    widths = {name: max(len(row[place]) for row in (names, *rows)) for place, name in enumerate(names)}
    room = shutil.get_terminal_size().columns - 1
    for name in NOT_SHOWN_FIRST:
        if sum(width + BORDER for width in widths.values()) <= room:
            break
        widths.pop(name, None)
    return list(widths)


def _counted(totals: Totals, name: str) -> int:
    return totals.cache_read_tokens if name == "cached" else int(getattr(totals, name))


def _cell(totals: Totals, name: str) -> str:
    match name:
        case "input":
            return wording.count(totals.usage.total_input_tokens)
        case "output":
            return wording.count(totals.usage.total_output_tokens)
        case "cost":
            return wording.priced(totals)
        case "median":
            return wording.seconds(totals.latency.seconds(MEDIAN))
        case "p95":
            return wording.seconds(totals.latency.seconds(MOST))
        case _:
            return wording.count(_counted(totals, name))


def _named(key: str | None) -> str:
    return printable(key) if key else "(none)"


def _draw(summary: Summary, first: str, last: str) -> None:
    width = shutil.get_terminal_size().columns
    for by in DRAWN:
        bars = list(_daily(summary.groupings[by], first, last) if by == "day" else _bars(summary.groupings[by]))
        click.echo(f"\nCost by {by}")
        for line in bar_lines(bars[:MOST_BARS], width, blocks=_spells_blocks()):
            click.echo(line)


def _daily(grouping: Grouping, first: str, last: str) -> Iterator[Bar]:
    """A day without receipts is a day without a bar."""
    for day in days(first, last, most=MOST_BARS):
        totals = grouping.groups.get(day)
        yield Bar(day, float(totals.cost_usd), wording.cost(totals)) if totals else Bar(day, 0.0, "")


def _bars(grouping: Grouping) -> Sequence[Bar]:
    return [Bar(_named(key), float(totals.cost_usd), wording.cost(totals)) for key, totals in grouping.ranked()]


def _spells_blocks() -> bool:
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
