"""The least possible time for a run: what an omniscient client would need. Pure.

    min T  with  sum over providers of rows(T) >= n,  rows(T) = min over limits of admitted(T) / mean charge

`admitted(T)` is all that a limit can have given until T: its amount at the start, and what comes in since; a provider
that is down loses what a full bucket cannot hold.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from bench.simulate.provider import Incident, Provider
from bench.simulate.windows import DAY_SECONDS, PERIOD_SECONDS
from llmring.errors import Dimension


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, with the mean charge of a row in each of its limits and the least time that an answer takes."""

    provider: Provider
    charge: Mapping[Dimension, float]
    least_latency: float

    def rows(self, seconds: float) -> float:
        """How many rows may have been answered after so many seconds."""
        until = seconds - self.least_latency
        if until < 0.0:
            return 0.0
        return min(
            _admitted(self.provider, dimension, amount, until) / self.charge[dimension]
            for dimension, amount in self.provider.limits.items()
            if self.charge.get(dimension, 0.0) > 0.0
        )


def least_seconds(rows: float, supplies: Sequence[Supply]) -> float:
    """The least possible time, by bisection."""
    low, high = 0.0, 1.0
    while sum(supply.rows(high) for supply in supplies) < rows:
        low, high = high, 2.0 * high
    while high - low > 1e-3:
        middle = (low + high) / 2.0
        if sum(supply.rows(middle) for supply in supplies) < rows:
            low = middle
        else:
            high = middle
    return high


def _admitted(provider: Provider, dimension: Dimension, amount: float, until: float) -> float:
    if dimension == "day":
        return amount * (1 + until // DAY_SECONDS)
    if provider.counting in ("fixed", "sliding"):
        return amount * (1 + until // PERIOD_SECONDS)
    rate = amount / PERIOD_SECONDS
    given = amount + rate * (math.floor(until) if provider.counting == "steps" else until)
    for incident in provider.incidents:
        given -= _lost(incident, amount, rate, until)
    return given


def _lost(incident: Incident, amount: float, rate: float, until: float) -> float:
    """What an incident takes away of what a limit gives."""
    if until <= incident.at:
        return 0.0
    lasted = min(incident.seconds, until - incident.at)
    match incident.kind:
        case "500" | "529" | "hang":
            # The bucket, empty before, fills meanwhile; only what flows over is lost.
            ended = incident.at + incident.seconds <= until
            return max(0.0, lasted * rate - (amount if ended else 0.0))
        case "foreign":
            return rate * incident.share * lasted
        case "limit":
            return rate * (1.0 - incident.share) * lasted
        case _:
            return 0.0
