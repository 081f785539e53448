"""What attempts come to: how many, how they ended, tokens, dollars, latency. Pure.

Every attempt is counted in one group of a grouping, and a call where its first attempt is; so the groups of any
grouping add up to the total. What has no price is counted beside the dollars, never as none of them.
"""

from decimal import Context, Decimal
from typing import Any

import msgspec

from llmring.reports.attempts import Attempt
from llmring.reports.latency import Latency
from llmring.usage import Usage

_ADD = Context(prec=60).add
"""Sums of money are exact, whatever order they are summed in."""

_COUNTERS = Usage.__struct_fields__
MEDIAN, MOST = 0.5, 0.95


class Totals(msgspec.Struct, kw_only=True):
    """`calls` are counted with their first attempt, and `calls_answered`, `failovers` (of another model than the first
    that was asked) and `retried` (of that one, on a later attempt) with the attempt that was answered. `attempts` are
    `answered`, `failed`, `cancelled`, or `left` where a stream was not read to its end.

    `cost_usd` is of what has a price; `unpriced` attempts have none, and `unpriced_answers` of them were answered;
    `lower_bounds` are prices of answers that broke off. `latency` is of answers, from sending to the last byte.
    """

    calls: int = 0
    calls_answered: int = 0
    failovers: int = 0
    retried: int = 0
    attempts: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    left: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_write_other_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    unpriced_answers: int = 0
    lower_bounds: int = 0
    latency: Latency = msgspec.field(default_factory=Latency)

    @property
    def usage(self) -> Usage:
        return Usage(**{name: getattr(self, name) for name in _COUNTERS})

    def add(self, one: Attempt, *, answers: bool, fails_over: bool, retries: bool) -> None:
        """Count an attempt: whether it is the first answer of its call, by another model or by the same once more."""
        self.attempts += 1
        self.calls += one.attempt is None or one.attempt == 1
        self.calls_answered += answers
        self.failovers += fails_over
        self.retried += retries
        if one.is_answered:
            self.answered += 1
            if one.took_milliseconds is not None:
                self.latency.add(one.took_milliseconds)
        elif one.outcome == "cancelled":
            self.cancelled += 1
        elif one.outcome == "left":
            self.left += 1
        else:
            self.failed += 1
        used = one.used
        if used is not None:
            self._use(used)
        self._pay(one)

    def _use(self, used: Usage) -> None:
        self.input_tokens += used.input_tokens
        self.cache_read_tokens += used.cache_read_tokens
        self.cache_write_5m_tokens += used.cache_write_5m_tokens
        self.cache_write_1h_tokens += used.cache_write_1h_tokens
        self.cache_write_other_tokens += used.cache_write_other_tokens
        self.output_tokens += used.output_tokens
        self.reasoning_tokens += used.reasoning_tokens

    def _pay(self, one: Attempt) -> None:
        if one.total_cost is None:
            self.unpriced += 1
            self.unpriced_answers += one.is_answered
        else:
            self.cost_usd = _ADD(self.cost_usd, one.total_cost)
            self.lower_bounds += not one.is_answered

    def merge(self, other: "Totals") -> None:
        """Add what another group comes to."""
        for name in self.__struct_fields__:
            if name == "latency":
                self.latency.merge(other.latency)
            elif name == "cost_usd":
                self.cost_usd = _ADD(self.cost_usd, other.cost_usd)
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: dollars as text, tokens by kind with their sums, latency in seconds or null."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _COUNTERS}
        del plain["latency"]
        used = self.usage
        plain["cost_usd"] = f"{self.cost_usd:f}"
        return plain | {
            "tokens": {
                **{name: getattr(self, name) for name in _COUNTERS},
                "total_input_tokens": used.total_input_tokens,
                "total_output_tokens": used.total_output_tokens,
            },
            "latency": {
                "median_seconds": rounded(self.latency.seconds(MEDIAN)),
                "p95_seconds": rounded(self.latency.seconds(MOST)),
            },
        }


def rounded(seconds: float | None) -> float | None:
    """To three digits: there are no more in it."""
    return float(f"{seconds:.3g}") if seconds is not None else None
