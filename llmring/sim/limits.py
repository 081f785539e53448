"""Whether a key may send one more request, and what its rate-limit headers say.

The decision is aiolimiter's, one AsyncLimiter per dimension: that it was not written for this project is the
point of it. A refused request consumes nothing. Must not wait: a provider refuses, it does not queue. Needs a
running asyncio loop, whose clock is the limiters' clock.
"""

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
from aiolimiter import AsyncLimiter

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens"]

_PERIOD_SECONDS = 60.0


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One dimension of one key at the moment of a decision."""

    limit: int
    #: Below zero while output that was generated beyond the limit is being paid back.
    remaining: float
    #: Until the whole limit is there again, not until the next request may be sent.
    full_in_seconds: float


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not admitted: of the dimensions that said no, the one that takes longest."""

    dimension: Dimension
    limit: int
    used: int
    requested: int
    #: Until this request would fit; None when it never can, being larger than the limit.
    wait_seconds: float | None


class _Gauge(AsyncLimiter):
    """An AsyncLimiter whose level can be read, and charged after the fact.

    aiolimiter 1.3 has no public "remaining", which every rate-limit header needs, and `acquire` would wait
    where output already generated has to be charged at once. Both need the level, hence this one subclass; no
    decision is made here. `has_capacity(0)` lets the bucket leak up to now, so that the level read is not an
    old one.
    """

    __slots__ = ()

    def remaining(self) -> float:
        self.has_capacity(0)
        return self.max_rate - self._level

    def charge_spent(self, amount: int) -> None:
        self.has_capacity(0)
        self._level += amount


class KeyLimits:
    """The limits of one key at one provider."""

    def __init__(self, per_minute: Mapping[Dimension, int]) -> None:
        self._gauges: dict[Dimension, _Gauge] = {
            dimension: _Gauge(limit, _PERIOD_SECONDS) for dimension, limit in per_minute.items()
        }

    async def admit(self, input_tokens: int) -> Refused | None:
        """Charge one request of this size, or say what refuses it. Never suspends: what it acquires is known
        to fit.
        """
        wanted: dict[Dimension, int] = {
            "requests": 1,
            "tokens": input_tokens,
            "input_tokens": input_tokens,
            # Only looked at: something must be left. What is generated is charged after the reply.
            "output_tokens": 1,
        }
        refused = [
            _refused(dimension, gauge, wanted[dimension])
            for dimension, gauge in self._gauges.items()
            if not gauge.has_capacity(wanted[dimension])
        ]
        if refused:
            return max(refused, key=lambda one: math.inf if one.wait_seconds is None else one.wait_seconds)
        for dimension, gauge in self._gauges.items():
            if dimension != "output_tokens":
                await gauge.acquire(wanted[dimension])
        return None

    def charge_output(self, output_tokens: int) -> None:
        """Charge what a reply generated, even beyond the limit."""
        gauge = self._gauges.get("output_tokens")
        if gauge is not None:
            gauge.charge_spent(output_tokens)

    def levels(self) -> dict[Dimension, Level]:
        return {dimension: _level(gauge) for dimension, gauge in self._gauges.items()}


def _refused(dimension: Dimension, gauge: _Gauge, requested: int) -> Refused:
    limit, remaining = int(gauge.max_rate), gauge.remaining()
    fits = requested <= limit
    return Refused(
        dimension=dimension,
        limit=limit,
        used=math.ceil(limit - remaining),
        requested=requested,
        wait_seconds=(requested - remaining) * _PERIOD_SECONDS / limit if fits else None,
    )


def _level(gauge: _Gauge) -> Level:
    limit, remaining = int(gauge.max_rate), gauge.remaining()
    return Level(limit=limit, remaining=remaining, full_in_seconds=(limit - remaining) * _PERIOD_SECONDS / limit)
