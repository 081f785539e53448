"""How fast can rows go, and which limit binds? Pure arithmetic on limits and means; nothing is measured here.

A route's pace is that of its tightest dimension, or of its connections; the routes of a chain add up. With one binding
limit each, the least possible time for n rows is latency + (n - rows that may go at once) / rows a second.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from llmring.errors import Dimension
from llmring.providers.bucket import Bucket

_WEIGHT = 0.05
_LONGEST_SECONDS = 1e9
_BISECTIONS = 50


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """`at_once` rows may go now, `rows_per_second` after that; `binding` names what holds it there."""

    at_once: float
    rows_per_second: float
    binding: str


class Means:
    """Running means of what one request takes: of each dimension, and of time on the wire (seconds)."""

    __slots__ = ("charge", "count", "took_seconds")

    def __init__(self) -> None:
        self.charge: dict[Dimension, float] = {}
        self.took_seconds = 0.0
        self.count = 0

    def add(self, charge: Mapping[Dimension, float], took_seconds: float) -> None:
        self.count += 1
        weight = max(_WEIGHT, 1.0 / self.count)
        for dimension, amount in charge.items():
            mean = self.charge.get(dimension, 0.0)
            self.charge[dimension] = mean + weight * (amount - mean)
        self.took_seconds += weight * (took_seconds - self.took_seconds)


def pace(buckets: Iterable[Bucket], means: Means, connections: int) -> Pace:
    """The pace of one route: its tightest bucket, or its connections when these are slower."""
    slowest = Pace(at_once=math.inf, rows_per_second=math.inf, binding="nothing")
    if means.took_seconds > 0.0:
        each = connections / means.took_seconds
        slowest = Pace(at_once=float(connections), rows_per_second=each, binding="connections")
    for bucket in buckets:
        charge = means.charge.get(bucket.limit.dimension, 0.0)
        if charge > 0.0 and bucket.rate / charge < slowest.rows_per_second:
            slowest = Pace(
                at_once=max(0.0, bucket.level / charge),
                rows_per_second=bucket.rate / charge,
                binding=f"{bucket.limit.dimension} limit",
            )
    return slowest


def ceilings(buckets: Iterable[Bucket], means: Means, connections: int) -> tuple[Pace, ...]:
    """What each limit of a route, beginning full, and its connections would allow by themselves. Empty before the first
    answer."""
    found = [
        Pace(
            at_once=bucket.capacity / charge,
            rows_per_second=bucket.rate / charge,
            binding=f"{bucket.limit.dimension} limit",
        )
        for bucket in buckets
        if (charge := means.charge.get(bucket.limit.dimension, 0.0)) > 0.0
    ]
    if means.took_seconds > 0.0:
        each = connections / means.took_seconds
        found.append(Pace(at_once=float(connections), rows_per_second=each, binding="connections"))
    return tuple(found)


def bound_seconds(rows: float, groups: Sequence[Sequence[Sequence[Pace]]], latency_seconds: float) -> float | None:
    """The least possible time for `rows` from full limits on, by bisection; None where nothing bounds it.

    A group has the ceilings of routes that share their limits, and goes as fast as the fastest of them; groups add up.
    """
    known = [[route for route in group if route] for group in groups]

    def allowed(seconds: float) -> float:
        fastest = (
            max((min(c.at_once + c.rows_per_second * seconds for c in route) for route in group), default=0.0)
            for group in known
        )
        return sum(fastest)

    if not any(known):
        return None
    low, high = 0.0, 1.0
    while allowed(high) < rows:
        low, high = high, 2.0 * high
        if high > _LONGEST_SECONDS:
            return None
    for _ in range(_BISECTIONS if allowed(low) < rows else 0):
        middle = (low + high) / 2.0
        low, high = (low, middle) if allowed(middle) >= rows else (middle, high)
    return latency_seconds + (high if allowed(low) < rows else 0.0)


def least_seconds(rows: float, paces: Sequence[Pace], latency_seconds: float) -> float:
    """The least possible time for `rows` over all routes together."""
    at_once = sum(each.at_once for each in paces)
    rate = sum(each.rows_per_second for each in paces)
    waiting = max(0.0, rows - at_once)
    return latency_seconds + (waiting / rate if waiting else 0.0)
