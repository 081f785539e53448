"""How long a simulated provider takes to answer: the distributions, and one draw from them. Pure.

A latency is the time to the first byte of a reply, in seconds. The pace of a stream after its first byte is
not here: it is `seconds_per_token` of the provider's configuration.
"""

import math
import random
from typing import Annotated, assert_never

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Fixed(msgspec.Struct, tag_field="kind", tag="fixed", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Always the same."""

    seconds: Seconds = 0.0


class Uniform(msgspec.Struct, tag_field="kind", tag="uniform", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Anything between low and high, equally likely."""

    low: Seconds
    high: Seconds

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


class Lognormal(
    msgspec.Struct, tag_field="kind", tag="lognormal", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Half of the draws are below the median; sigma is the deviation of the logarithm (0.5: p99 is 3.2
    medians).
    """

    median: Annotated[float, msgspec.Meta(gt=0)]
    sigma: Seconds = 0.5


Latency = Fixed | Uniform | Lognormal


def draw(latency: Latency, chance: random.Random) -> float:
    """Seconds until the first byte of one reply."""
    match latency:
        case Fixed(seconds=seconds):
            return seconds
        case Uniform(low=low, high=high):
            return chance.uniform(low, high)
        case Lognormal(median=median, sigma=sigma):
            return chance.lognormvariate(math.log(median), sigma)
        case _:
            assert_never(latency)
