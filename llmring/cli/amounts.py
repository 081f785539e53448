"""Amounts on the command line: dollars, and lengths of time. Read here, and errors say what was expected.

And what was spent, as it is shown: what has no price is counted beside the dollars, never as none of them.
"""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from llmring.receipts.batch_receipt import Totals

_MOST_DIGITS = 30
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class FiniteRange(click.FloatRange):
    """A FloatRange with both ends, for it takes "nan" too, which is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def dollars(text: str) -> Decimal:
    """`5`, `0.50`, `$5`: to the last digit as it is written. Raises BadParameter."""
    try:
        usd = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal(-1)
    # What is printed to the last digit has no million of them.
    if not usd.is_finite() or usd < 0 or abs(usd.adjusted()) > _MOST_DIGITS:
        raise click.BadParameter(f"{text!r} is no amount of dollars, such as 5 or 0.50")
    return usd


def duration(text: str) -> float:
    """Seconds, of `90`, `90s`, `30m`, `1.5h`. Raises BadParameter."""
    read = _DURATION.fullmatch(text)
    seconds = float(read[1]) * _SECONDS[read[2]] if read is not None else 0.0
    if seconds <= 0.0:
        raise click.BadParameter(f"{text!r} is no length of time, such as 90, 90s, 30m or 2h")
    return seconds


def spent_text(usd: Decimal, unpriced: int, lower_bounds: int = 0) -> str:
    """`$0.012300`, `$0.012300 + 2 unpriced`, `2 unpriced`, `at least $0.012300`."""
    if unpriced and not usd:
        return f"{unpriced:,} unpriced"
    more = f" + {unpriced:,} unpriced" if unpriced else ""
    return f"{'at least ' if lower_bounds else ''}${usd:.6f}{more}"


def certified_text(totals: Totals, lower_bounds: int = 0) -> str:
    """What receipts come to, to the last digit: `$0.0123`, `≥ $0.0123`, `$0.0123 + 2 unpriced`, `2 unpriced`."""
    unpriced = f"{totals.without_cost:,} unpriced"
    if totals.without_cost == totals.receipts:
        return unpriced
    more = f" + {unpriced}" if totals.without_cost else ""
    return f"{'≥ ' if lower_bounds else ''}${totals.total_cost}{more}"
