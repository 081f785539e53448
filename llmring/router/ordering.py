"""In which order one request goes through the models of its alias: as they are written, cheapest, fastest, or spread.

One pure function each, from what is known of the candidates to their indexes. The first of them that is ready is asked,
so "cheapest" is the cheapest of those that are. A model that can be asked with several keys has one place among the
models, and there its keys stand by the room that they have left.
"""

import math
from collections.abc import Callable, Hashable, Sequence
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


Room = tuple[float, int]
"""The part that is left of a key's scarcest limit, and how many requests are under way with it."""


def by_room(rooms: Sequence[Room]) -> Sequence[int]:
    """The keys of one model: the emptiest last; of equal ones that with the fewest requests under way first."""
    return sorted(range(len(rooms)), key=lambda i: (-rooms[i][0], rooms[i][1], i))


def arrange_keys(
    order: Order,
    models: Sequence[Hashable],
    candidates: Sequence[Candidate],
    rooms: Sequence[Room],
    random: Callable[[], float],
) -> Sequence[int]:
    """Arrange routes of which several are of one model; `models` says which. The key that would be asked stands for
    its model among the others."""
    keys: dict[Hashable, list[int]] = {}
    for index, model in enumerate(models):
        keys.setdefault(model, []).append(index)
    arranged = [[group[place] for place in by_room([rooms[i] for i in group])] for group in keys.values()]
    places = ARRANGE[order]([candidates[group[0]] for group in arranged], random)
    return [index for place in places for index in arranged[place]]


def _or(value: Known | None, other: Known) -> Known:
    return value if value is not None else other
