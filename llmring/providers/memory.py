"""What is kept of a model for the next process, and what it is worth when it has grown old. Pure; ages in seconds.

    told limits      as they are, until a reply says otherwise
    learned rates    whole for an hour; then less, half after a day more, never under a quarter, and grown from there
    levels           never fuller than they were and what has come in since
    running means    whole for an hour; then newer answers count for more

After 30 days all of it is forgotten. Nothing here is of a prompt, an answer or a key.
"""

import math
from typing import Annotated

import msgspec

from llmring.errors import Dimension

TRUSTED_SECONDS = 3600.0
HALF_LIFE_SECONDS = 86_400.0
FORGOTTEN_SECONDS = 30 * 86_400.0

LEAST_SHARE = 0.25
"""Of a learned rate: it grows by 5 % every 5 seconds, so the whole is there in two and a half minutes. From nothing it
would take longer than to learn it anew."""

MOST_COUNTED = 40
"""Answers that a running mean is made of: as many as it remembers while it runs."""

_Positive = Annotated[float, msgspec.Meta(gt=0.0)]
_Natural = Annotated[float, msgspec.Meta(ge=0.0)]


class KeptLimit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit: `amount` per `period` seconds, of which `level` were there. `learned`: from refusals, not told by
    replies; `sure` as in Learned. `age_seconds` is how old a learned rate was already when it was kept."""

    dimension: Dimension
    amount: _Positive
    period: _Positive = 60.0
    level: float
    learned: bool = False
    sure: bool = False
    age_seconds: _Natural = 0.0


class KeptOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many answers the mean is, and how far they scatter, in tokens."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    mean: _Natural
    variance: _Natural


class KeptSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to the first text and for each token after that; None where that has not been seen."""

    first: _Natural | None
    per_token: _Natural | None


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model has taught."""

    limits: tuple[KeptLimit, ...] = ()
    output: KeptOutput | None = None
    speed: KeptSpeed | None = None


def weight(age_seconds: float) -> float:
    """What a value of this age counts, of a fresh one's 1."""
    return min(1.0, math.exp2((TRUSTED_SECONDS - age_seconds) / HALF_LIFE_SECONDS))


def share(age_seconds: float) -> float:
    """What part of a learned rate of this age is begun with."""
    return max(LEAST_SHARE, weight(age_seconds))
