"""Charts as HTML: bars and lines over days, ranked bars, and the table behind each. Pure; text comes out escaped.

Shapes are SVG that stretches with the page, all text is HTML around it: so it is legible at any width, can be selected
and is read aloud. No script: what a shape says when it is pointed at is its title. A charting library would bring some
megabytes of JavaScript into a file of forty kilobytes, or draw text that does not follow the reader's fonts and theme.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

import msgspec

from llmring.reports import wording

_HEIGHT = 100
_GAP = 0.12
_MARK_HEIGHT = 1.6
_LEAST_HEIGHT = 0.6
_LEAST_PLACES = 7
_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class Point(msgspec.Struct, frozen=True):
    """One day, or week, of a series: None where there is nothing to show. `said` is told of it; `marked` puts a mark
    under it."""

    day: str
    amounts: tuple[float | None, ...]
    said: str
    marked: bool = False


class Series(msgspec.Struct, frozen=True):
    """How a series is called, and the class of its colour in the page's style."""

    name: str
    colour: str


class Ranked(msgspec.Struct, frozen=True):
    label: str
    amount: float
    text: str
    said: str


def ceiling(most: float) -> float:
    """The end of an axis: the next round number."""
    if most <= 0:
        return 1.0
    size: float = 10.0 ** math.floor(math.log10(most))
    return next((step * size for step in _STEPS if step * size >= most * 0.999999), 10 * size)


def day_bars(
    points: Sequence[Point], series: Sequence[Series], spelled: Callable[[float], str], label: str
) -> Iterator[str]:
    """Bars, side by side where there are several series."""
    top = ceiling(max((amount for point in points for amount in point.amounts if amount is not None), default=0.0))
    shapes = "".join(_bars(place, point, series, top) for place, point in enumerate(points))
    yield from _plot(points, shapes, top, spelled, label)


def _bars(place: int, point: Point, series: Sequence[Series], top: float) -> str:
    shapes, width = [], (1 - 2 * _GAP) / len(series)
    for number, (amount, one) in enumerate(zip(point.amounts, series, strict=True)):
        if amount:
            # What is there is seen, be it small.
            height = max(_HEIGHT * amount / top, _LEAST_HEIGHT)
            shapes.append(_rectangle(one.colour, place + _GAP + number * width, _HEIGHT - height, width, height))
    if point.marked:
        shapes.append(_rectangle("mark", place + _GAP, _HEIGHT - _MARK_HEIGHT, 1 - 2 * _GAP, _MARK_HEIGHT))
    return f"<g><title>{escape(point.said)}</title>{_rectangle('hit', place, 0, 1, _HEIGHT)}{''.join(shapes)}</g>"


def day_lines(
    points: Sequence[Point], series: Sequence[Series], spelled: Callable[[float], str], label: str
) -> Iterator[str]:
    """A line for each series, broken where a day has nothing."""
    top = ceiling(max((amount for point in points for amount in point.amounts if amount is not None), default=0.0))
    lines = "".join(
        _line(
            [
                (place + 0.5, _HEIGHT - _HEIGHT * amount / top) if amount is not None else None
                for place, amount in enumerate(point.amounts[number] for point in points)
            ],
            one.colour,
        )
        for number, one in enumerate(series)
    )
    hits = "".join(
        f"<g><title>{escape(point.said)}</title>{_rectangle('hit', place, 0, 1, _HEIGHT)}</g>"
        for place, point in enumerate(points)
    )
    yield from _plot(points, lines + hits, top, spelled, label)


def _line(places: Sequence[tuple[float, float] | None], colour: str) -> str:
    """What stands beside one another is joined; what stands alone is a point: a line without length, but with ends."""
    paths: dict[str, list[str]] = {"line": [], "point": []}
    run: list[str] = []
    for place in (*places, None):
        if place is not None:
            run.append(f"{place[0]:g},{place[1]:.2f}")
        elif run:
            paths["line" if len(run) > 1 else "point"].append("M" + "L".join(run if len(run) > 1 else run * 2))
            run = []
    return "".join(f'<path class="{kind} {colour}" d="{"".join(found)}"/>' for kind, found in paths.items() if found)


def _rectangle(colour: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{colour}" x="{x:g}" y="{y:.2f}" width="{width:g}" height="{height:.2f}"/>'


def _plot(
    points: Sequence[Point], shapes: str, top: float, spelled: Callable[[float], str], label: str
) -> Iterator[str]:
    # A single day is not drawn as wide as a week.
    room = max(len(points), _LEAST_PLACES)
    beside = (room - len(points)) / 2
    grid = "".join(f'<path class="grid" d="M{-beside:g},{y}h{room}"/>' for y in (0, 50, 100))
    ticks = "".join(f"<span>{escape(spelled(top * share))}</span>" for share in (1.0, 0.5, 0.0))
    yield '<div class="plot">'
    yield f'<div class="ticks" aria-hidden="true">{ticks}</div>'
    yield f'<svg role="img" aria-label="{escape(label)}" viewBox="{-beside:g} 0 {room} {_HEIGHT}" '
    yield f'preserveAspectRatio="none">{grid}{shapes}</svg>'
    dates = "".join(_dates([point.day for point in points]))
    yield f'<div class="days" aria-hidden="true" style="margin:0 {100 * beside / room:.2f}%">{dates}</div></div>'


def _dates(days: Sequence[str]) -> Iterator[str]:
    """The first, the middle and the last one."""
    shown = dict.fromkeys((0, len(days) // 2, len(days) - 1)) if len(days) > 2 else range(len(days))
    for place in shown:
        yield f"<span>{escape(wording.day(days[place]))}</span>"


def legend(series: Iterable[Series]) -> str:
    keys = "".join(f'<li><i class="{one.colour}"></i>{escape(one.name)}</li>' for one in series)
    return f'<ul class="legend">{keys}</ul>'


def ranked_bars(rows: Sequence[Ranked]) -> Iterator[str]:
    """A bar for each, in their order; read aloud as a list."""
    most = max((row.amount for row in rows), default=0.0)
    yield '<ul class="ranked">'
    for row in rows:
        share = 100 * row.amount / most if most > 0 else 0.0
        yield f'<li title="{escape(row.said)}"><span class="name">{escape(row.label)}</span>'
        yield f'<span class="track"><span class="bar" style="width:{share:.2f}%"></span></span>'
        yield f'<span class="amount">{escape(row.text)}</span></li>'
    yield "</ul>"


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """What a chart shows, in figures, behind a line that opens it. The first column names the row."""
    yield f'<details><summary>Show as a table</summary><div class="scroll"><table><caption>{escape(caption)}</caption>'
    yield "<thead><tr>" + "".join(f'<th scope="col">{escape(head)}</th>' for head in heads) + "</tr></thead><tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table></div></details>"
