"""How a provider charges its limits: which tokens count in which dimension, and whether it corrects itself later.

Pure. The rules are data (the rows stand in known.py), because providers change them: Anthropic's rule for output turned
round within a year.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from llmring.errors import Dimension
from llmring.usage import Usage

Charge = Mapping[Dimension, float]
"""What one request takes out of each dimension."""

_COUNTS: tuple[Dimension, ...] = ("requests", "day")
"""The dimensions that count requests; the others count tokens."""

Outcome = Literal["exact", "lower_bound", "unknown", "refused", "not_sent"]
"""How a request ended for the limits: usage known; a stream cut, so at least this much; nothing known, so the whole
reservation stands; refused, so it counted as a request and used no tokens; never sent, so nothing was used."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is expected to use, in tokens, before it is sent. `max_output` is the caller's own bound."""

    input_tokens: float
    output_tokens: float
    max_output_tokens: float


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What one token dimension counts.

    `cache_reads` says whether cached input counts. `settles`: the provider charges what was used in the end, so the
    reservation is corrected to it; otherwise it charges its own estimate at admission and keeps it.
    """

    input: bool = False
    output: bool = False
    max_output: bool = False
    cache_reads: bool = True
    settles: bool = True

    def reserve(self, estimate: Estimate) -> float:
        amount = estimate.input_tokens if self.input else 0.0
        if self.max_output:
            amount += estimate.max_output_tokens
        elif self.output:
            amount += estimate.output_tokens
        return amount

    def used(self, usage: Usage) -> float:
        amount = 0
        if self.input:
            amount += usage.total_input_tokens - (0 if self.cache_reads else usage.cache_read_tokens)
        if self.output or self.max_output:
            amount += usage.total_output_tokens
        return float(amount)


Regime = Mapping[Dimension, Rule]
"""The token dimensions a provider counts in. Requests are counted by every provider and need no rule."""


def complete(regime: Regime) -> Regime:
    """`regime` with a rule for every dimension of tokens. Those it lacks count like `tokens`, which is in it: a limit
    may be configured, or told by a reply, in a dimension that a provider does not have by itself, and none that is
    known goes uncharged."""
    total = regime["tokens"]
    return {
        "tokens": total,
        "input": Rule(input=True, cache_reads=total.cache_reads, settles=total.settles),
        # Where output is no part of the estimate at admission, nobody knows what it would be there.
        "output": Rule(output=True, max_output=total.max_output, settles=total.settles or not total.max_output),
        **regime,
    }


def counting_cached(regime: Regime, counts: bool) -> Regime:
    """`regime` where cached input counts, or where it does not."""
    return {dimension: msgspec.structs.replace(rule, cache_reads=counts) for dimension, rule in regime.items()}


def charge(regime: Regime, estimate: Estimate) -> dict[Dimension, float]:
    """What to reserve for a request."""
    reserved: dict[Dimension, float] = {"requests": 1.0, "day": 1.0}
    for dimension, rule in regime.items():
        reserved[dimension] = rule.reserve(estimate)
    return reserved


def settled(regime: Regime, reserved: Charge, usage: Usage) -> dict[Dimension, float]:
    """What a request took in the end: `reserved`, with the dimensions that settle set to what was used."""
    actual = dict(reserved)
    for dimension, rule in regime.items():
        if rule.settles:
            actual[dimension] = rule.used(usage)
    return actual


def at_least(regime: Regime, reserved: Charge, seen: Usage) -> dict[Dimension, float]:
    """What a cut stream took at the least: never less than what was seen, never less than the reservation."""
    actual = dict(reserved)
    for dimension, rule in regime.items():
        if rule.settles:
            actual[dimension] = max(reserved.get(dimension, 0.0), rule.used(seen))
    return actual


def charged(regime: Regime, outcome: Outcome, reserved: Charge, usage: Usage) -> Charge:
    """What a request that ended so took in the end."""
    match outcome:
        case "exact":
            return settled(regime, reserved, usage)
        case "lower_bound":
            return at_least(regime, reserved, usage)
        case "unknown":
            return reserved
        case "refused":
            return {dimension: reserved[dimension] if dimension in _COUNTS else 0.0 for dimension in reserved}
        case "not_sent":
            return dict.fromkeys(reserved, 0.0)


def add(total: dict[Dimension, float], charge: Charge, share: float = 1.0) -> None:
    """Add that share of `charge` to `total`."""
    if not total and share == 1.0:
        total.update(charge)
        return
    for dimension, amount in charge.items():
        total[dimension] = total.get(dimension, 0.0) + share * amount
