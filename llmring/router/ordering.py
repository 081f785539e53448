"""In which order one request goes through the models of its alias: as they are written, cheapest, fastest, or spread.

One pure function each, from what is known of the candidates to their indexes. The first of them that is ready is asked,
so "cheapest" is the cheapest of those that are.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec

from llmring.lockfile import Order

Known = TypeVar("Known")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model as one request sees it: what the request is expected to cost there, and how long to take; None: not
    known. `weight` is above 0."""

    cost_usd: Decimal | None = None
    seconds: float | None = None
    weight: float = 1.0


Arrange = Callable[[Sequence[Candidate], Callable[[], float]], Sequence[int]]
"""Takes candidates in the lockfile's order, and `random()` in [0, 1)."""


def ordered(candidates: Sequence[Candidate], _: Callable[[], float]) -> Sequence[int]:
    """As they are written."""
    return range(len(candidates))


def cheapest(candidates: Sequence[Candidate], _: Callable[[], float]) -> Sequence[int]:
    """By what this request is expected to cost; one without a price comes last, for it could be any."""
    return sorted(range(len(candidates)), key=lambda i: (_or(candidates[i].cost_usd, Decimal("Infinity")), i))


def fastest(candidates: Sequence[Candidate], _: Callable[[], float]) -> Sequence[int]:
    """By how long this request is expected to take; one that has never answered comes first, to be measured."""
    return sorted(range(len(candidates)), key=lambda i: (_or(candidates[i].seconds, 0.0), i))


def spread(candidates: Sequence[Candidate], random: Callable[[], float]) -> Sequence[int]:
    """At random, each as often in the first place as its weight says, and so on for those behind it.

    Weighted sampling without replacement: Efraimidis and Spirakis, https://doi.org/10.1016/j.ipl.2005.11.003. Its keys
    u ** (1 / weight), descending, are -log(u) / weight, ascending.
    """
    draws = [-math.log(1.0 - random()) / candidate.weight for candidate in candidates]
    return sorted(range(len(candidates)), key=lambda i: (draws[i], i))


ARRANGE: dict[Order, Arrange] = {"ordered": ordered, "cheapest": cheapest, "fastest": fastest, "spread": spread}


def _or(value: Known | None, other: Known) -> Known:
    return value if value is not None else other
