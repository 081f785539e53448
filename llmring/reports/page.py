"""A summary as a page: one HTML file that asks nobody for anything, light and dark, a table behind every chart. Pure.

It holds no script, and its own policy forbids any; names of models, aliases and days are text.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from llmring import __version__
from llmring.reports import wording
from llmring.reports.charts import Point, Ranked, Series, day_bars, day_lines, legend, ranked_bars, table
from llmring.reports.period import days, week_of
from llmring.reports.style import STYLE
from llmring.reports.summary import By, Grouping, Summary
from llmring.reports.totals import MEDIAN, MOST, Totals

MOST_DAYS = 3660
"""Drawn, the last ones; tables have all."""
MOST_BARS = 120
"""Of more days, weeks are drawn: bars that are narrower than a dot of the screen run into one another."""
MOST_RANKED = 12

COST = Series("cost", "a")
UNPRICED = Series("has answers without a price", "mark")
LATENCIES = (Series("median", "a"), Series("95% were faster", "b"))
TROUBLE = (Series("attempts that failed", "c"), Series("answered by another model", "d"))
HEADS = (
    "calls",
    "attempts",
    "answered",
    "failed",
    "cancelled",
    "input",
    "output",
    "cost",
    "median",
    "p95",
    "failovers",
)


def write_page(summary: Summary, now: datetime, place: str) -> Iterator[str]:
    """The page in parts. The summary is grouped by day, alias and model; `place` names the time zone of its days."""
    found = sorted(day for day in summary.groupings["day"].groups if day is not None)
    first, last = (found[0], found[-1]) if found else ("", "")
    when = "no receipts" if not found else first if first == last else f"{first} to {last}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>llmring: {escape(when)}</title><style>{STYLE}</style></head><body><main>"
    yield f'<header><p class="brand">llmring</p><h1>{_title(first, last)}</h1>'
    yield f'<p class="when">Days of {escape(place)}. Made {now:%Y-%m-%d %H:%M} UTC from a ledger of receipts.</p>'
    yield "</header>"
    yield from _tiles(summary.total)
    yield '<section class="notes">'
    yield "".join(f"<p>{escape(line)}</p>" for line in _notes(summary))
    yield "</section>"
    if found:
        yield from _charts(summary, first, last)
    yield f"<footer>llmring {escape(__version__)}. Dollars are by the registry's prices: this is no bill.</footer>"
    yield "</main></body></html>\n"


def _notes(summary: Summary) -> Sequence[str]:
    return wording.sentences(summary.total, summary.missing, summary.unpriced_why)


def _title(first: str, last: str) -> str:
    if not first:
        return "No receipts"
    if first == last:
        return f'<time datetime="{first}">{wording.long_day(first)}</time>'
    return (
        f'<time datetime="{first}">{wording.long_day(first)}</time> to '
        f'<time datetime="{last}">{wording.long_day(last)}</time>'
    )


def _tiles(total: Totals) -> Iterator[str]:
    used = total.usage
    answered = f"{100 * total.calls_answered / total.calls:.1f}% answered" if total.calls else "none asked"
    tiles = (
        ("Cost", f"{'≥ ' if total.lower_bounds else ''}{wording.usd(total.cost_usd)}", _unpriced(total)),
        ("Calls", wording.count(total.calls), answered),
        ("Tokens in", wording.count(used.total_input_tokens), f"{wording.count(used.cache_read_tokens)} from a cache"),
        ("Tokens out", wording.count(used.total_output_tokens), f"{wording.count(used.reasoning_tokens)} reasoning"),
        (
            "Median",
            wording.seconds(total.latency.seconds(MEDIAN)),
            f"95%: {wording.seconds(total.latency.seconds(MOST))}",
        ),
        ("Failovers", wording.count(total.failovers), f"{wording.plural(total.failed, 'failed attempt')}"),
    )
    yield '<dl class="tiles">'
    for name, number, more in tiles:
        yield f"<div><dt>{name}</dt><dd><strong>{escape(number)}</strong><span>{escape(more)}</span></dd></div>"
    yield "</dl>"


def _unpriced(total: Totals) -> str:
    return f"+ {total.unpriced:,} unpriced" if total.unpriced else "every attempt has a price"


def _charts(summary: Summary, first: str, last: str) -> Iterator[str]:
    grouping = summary.groupings["day"]
    # None on a day on which nothing was asked.
    daily = [(day, grouping.groups.get(day)) for day in days(first, last, most=MOST_DAYS)]
    unit = "a day" if len(daily) <= MOST_BARS else "a week"
    label = f"from {daily[0][0]} to {daily[-1][0]}"
    daily = daily if len(daily) <= MOST_BARS else _weekly(daily)
    points = [
        Point(day, (float(totals.cost_usd) if totals else None,), _said(day, totals), _is_marked(totals))
        for day, totals in daily
    ]
    marks = [COST, UNPRICED] if any(point.marked for point in points) else []
    chart = (legend(marks) if marks else "", *day_bars(points, (COST,), wording.tick_usd, f"Cost {unit}, {label}"))
    yield from _figure(f"Cost {unit}", chart, _table(grouping, "Cost a day"), wide=True)
    by: tuple[By, ...] = ("alias", "model")
    for name in by:
        yield from _figure(
            f"Cost by {name}", _ranked(summary.groupings[name]), _table(summary.groupings[name], f"Cost by {name}")
        )
    points = [Point(day, _latencies(totals), _slow(day, totals)) for day, totals in daily]
    chart = (legend(LATENCIES), *day_lines(points, LATENCIES, wording.tick_seconds, f"Latency of answers, {label}"))
    yield from _figure("Latency of answers", chart, _table(grouping, "Latency of answers"))
    points = [
        Point(day, (float(totals.failed), float(totals.failovers)) if totals else (None, None), _trouble(day, totals))
        for day, totals in daily
    ]
    chart = (legend(TROUBLE), *day_bars(points, TROUBLE, wording.tick_count, f"Failures and failovers, {label}"))
    yield from _figure("Failures and failovers", chart, _table(grouping, "Failures and failovers"))


def _weekly(daily: Sequence[tuple[str, Totals | None]]) -> list[tuple[str, Totals | None]]:
    """By the Monday that a week begins with."""
    weeks: dict[str, Totals | None] = {}
    for day, totals in daily:
        monday = week_of(day)
        weeks.setdefault(monday, None)
        if totals is not None:
            week = weeks[monday] = weeks[monday] or Totals()
            week.merge(totals)
    return list(weeks.items())


def _figure(
    title: str, chart: Sequence[str] | Iterator[str], behind: Iterator[str], *, wide: bool = False
) -> Iterator[str]:
    yield f'<figure class="{"wide" if wide else "half"}"><figcaption><h2>{escape(title)}</h2></figcaption>'
    yield from chart
    yield from behind
    yield "</figure>"


def _is_marked(totals: Totals | None) -> bool:
    return totals is not None and totals.unpriced_answers > 0


def _said(day: str, totals: Totals | None) -> str:
    if totals is None:
        return f"{day}: nothing asked"
    return f"{day}: {wording.cost(totals)}, {wording.plural(totals.calls, 'call')}"


def _latencies(totals: Totals | None) -> tuple[float | None, ...]:
    return (None, None) if totals is None else (totals.latency.seconds(MEDIAN), totals.latency.seconds(MOST))


def _slow(day: str, totals: Totals | None) -> str:
    median, most = _latencies(totals)
    if median is None:
        return f"{day}: no answers"
    return f"{day}: half within {wording.seconds(median)}, 95% within {wording.seconds(most)}"


def _trouble(day: str, totals: Totals | None) -> str:
    if totals is None:
        return f"{day}: nothing asked"
    return f"{day}: {totals.failed:,} failed, {wording.plural(totals.failovers, 'failover')}"


def _ranked(grouping: Grouping) -> Iterator[str]:
    ranked = grouping.ranked()
    rows = [_ranked_row(key or "(none)", totals) for key, totals in ranked[:MOST_RANKED]]
    rest = Totals()
    for _, totals in ranked[MOST_RANKED:]:
        rest.merge(totals)
    if grouping.others is not None:
        rest.merge(grouping.others)
    if rest.attempts:
        rows.append(_ranked_row("all others", rest))
    yield from ranked_bars(rows)


def _ranked_row(label: str, totals: Totals) -> Ranked:
    said = f"{label}: {wording.cost(totals)}, {wording.plural(totals.calls, 'call')}"
    return Ranked(label, float(totals.cost_usd), wording.cost(totals), said)


def _table(grouping: Grouping, title: str) -> Iterator[str]:
    rows = [(key or "(none)", *_cells(totals)) for key, totals in grouping.ranked()]
    if grouping.others is not None:
        rows.append(("all others", *_cells(grouping.others)))
    return table(title, (grouping.by, *HEADS), rows)


def _cells(totals: Totals) -> tuple[str, ...]:
    counts = (totals.calls, totals.attempts, totals.answered, totals.failed, totals.cancelled + totals.left)
    used = totals.usage
    return (
        *(f"{number:,}" for number in (*counts, used.total_input_tokens, used.total_output_tokens)),
        wording.cost(totals),
        wording.seconds(totals.latency.seconds(MEDIAN)),
        wording.seconds(totals.latency.seconds(MOST)),
        f"{totals.failovers:,}",
    )
