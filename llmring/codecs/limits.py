"""What the headers of a reply say of limits, by tables of names; and which of several limits of one dimension binds.
Pure.

A codec owns its table. `reset` is never read here: its unit differs between providers and versions.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from llmring.codecs.codec import LimitUpdate
from llmring.codecs.replies import header_number
from llmring.errors import Dimension

SHORT_SECONDS = 300.0
"""Limits by so long a period or less are paced; what is left of one by the hour or the day may be used up at once."""


class LimitHeader(msgspec.Struct, frozen=True):
    """The names of the headers that tell one limit. `period` is in seconds, and told by the header `period_name` where
    a reply has that; `rounding` is the step in which what remains is told."""

    dimension: Dimension
    limit: str
    remaining: str
    period: float = 60.0
    rounding: float = 1.0
    period_name: str = ""


LimitHeaders = tuple[LimitHeader, ...]


def read_limits(headers: Mapping[str, str], table: LimitHeaders) -> tuple[LimitUpdate, ...]:
    """What the headers say, row by row."""
    updates = []
    for row in table:
        # A limit of 0 would lock the route for ever; those who send it mean "not told".
        limit = header_number(headers, row.limit) or None
        remaining = header_number(headers, row.remaining)
        if limit is not None or remaining is not None:
            period = (row.period_name and header_number(headers, row.period_name)) or row.period
            updates.append(
                LimitUpdate(
                    dimension=row.dimension, limit=limit, remaining=remaining, period=period, rounding=row.rounding
                )
            )
    return tuple(updates)


def used_up(updates: Iterable[LimitUpdate]) -> tuple[Dimension, ...]:
    """The dimensions of which nothing remains, by any of their limits."""
    return tuple(dict.fromkeys(update.dimension for update in updates if update.remaining == 0))


def binding(updates: Iterable[LimitUpdate]) -> tuple[LimitUpdate, ...]:
    """One limit for each dimension, such that who keeps to it keeps to all of them.

    A key may be bound by its project's limit and its organization's, or by the minute's and the day's. Together they
    make one: the smallest of the amounts, the slowest of the rates, the least of what remains. A long one counts from
    when less of it remains than of the short ones: until then it lets everything go, and its rate is no pace.
    """
    found: dict[Dimension, list[LimitUpdate]] = {}
    for update in updates:
        found.setdefault(update.dimension, []).append(update)
    return tuple(each[0] if len(each) == 1 else _binding(each) for each in found.values())


def _binding(updates: list[LimitUpdate]) -> LimitUpdate:
    short = [update for update in updates if update.period <= SHORT_SECONDS]
    long = [update for update in updates if update.period > SHORT_SECONDS]
    if not short:
        return min(long, key=_left)
    least = min(map(_left, short))
    return _together([*short, *(update for update in long if _left(update) < least)])


def _left(update: LimitUpdate) -> float:
    return update.remaining if update.remaining is not None else math.inf


def _together(updates: list[LimitUpdate]) -> LimitUpdate:
    limits = [(update.limit, update.period) for update in updates if update.limit is not None]
    least = min(map(_left, updates))
    amount = min((limit for limit, _ in limits), default=None)
    period = updates[0].period
    if amount is not None:
        # Not divided and multiplied where all periods are one: that need not come back to it.
        periods = {each for _, each in limits}
        period = max(amount / limit * each for limit, each in limits) if len(periods) > 1 else periods.pop()
    return LimitUpdate(
        dimension=updates[0].dimension,
        limit=amount,
        remaining=least if math.isfinite(least) else None,
        period=period,
        rounding=max(update.rounding for update in updates),
    )
