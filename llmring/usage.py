"""What an answer used and what that cost: tokens in disjoint counters, dollars by kind of token. Values only."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from llmring.refs import ModelRef


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer, in disjoint counters: each token is in exactly one of them, so each is billed once.

    `input_tokens` are the uncached ones, `output_tokens` those outside of reasoning. The providers' own totals, which
    overlap in different ways, are the properties.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_write_other_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens + self.cache_write_other_tokens

    @property
    def total_input_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_output_tokens(self) -> int:
        return self.output_tokens + self.reasoning_tokens

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.total_output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        counters = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Usage(**dict(zip(self.__struct_fields__, (a + b for a, b in counters), strict=True)))


def total(usages: Sequence[Usage]) -> Usage | None:
    """The sum; None of none."""
    return sum(usages[1:], usages[0]) if usages else None


class CostBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars by kind of token. `long_context_input` is the part of `input` billed at the long-context rate."""

    input: Decimal = Decimal(0)
    cache_read: Decimal = Decimal(0)
    cache_write_5m: Decimal = Decimal(0)
    cache_write_1h: Decimal = Decimal(0)
    cache_write_other: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    reasoning: Decimal = Decimal(0)
    long_context_input: Decimal = Decimal(0)

    def __add__(self, other: "CostBreakdown") -> "CostBreakdown":
        parts = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return CostBreakdown(**dict(zip(self.__struct_fields__, (a + b for a, b in parts), strict=True)))

    @property
    def total(self) -> Decimal:
        return (
            self.input
            + self.cache_read
            + self.cache_write_5m
            + self.cache_write_1h
            + self.cache_write_other
            + self.output
            + self.reasoning
        )

    def to_dict(self) -> dict[str, Decimal]:
        """By kind, as `cost_breakdown`: they add up to the total, but for `long_context_input`, which is in `input`.

        `cache_write_other` and `long_context_input` are there only when they are not zero.
        """
        rare = {"cache_write_other": self.cache_write_other, "long_context_input": self.long_context_input}
        return {
            "input": self.input,
            "cache_read": self.cache_read,
            "cache_write_5m": self.cache_write_5m,
            "cache_write_1h": self.cache_write_1h,
            **{name: usd for name, usd in rare.items() if usd},
            "output": self.output,
            "reasoning": self.reasoning,
        }


CostStatus = Literal[
    "priced", "no_usage", "model_not_in_registry", "no_pricing_in_registry", "no_pricing_of_service_tier"
]


class CostEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a request would cost at one model, in dollars: its input alone (`low_usd`), with answers as long as the last
    ones were there (`likely_usd`), and the most that it can cost (`high_usd`), which is what a budget sets aside.

    None: no price is known; of `high_usd` also, that nothing bounds it: an answer without max_tokens, audio, a document
    at a model of unknown size. `input_tokens` are counted offline; outputs are of all `n` answers together.
    """

    model: ModelRef
    input_tokens: int
    likely_output_tokens: int
    most_output_tokens: int | None
    low_usd: Decimal | None
    likely_usd: Decimal | None
    high_usd: Decimal | None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer cost in dollars. `usd` and `breakdown` are None unless `status` is "priced": unknown, not free.

    `is_lower_bound`: of an answer that broke off, by what was told and seen of it; the bill may be higher.
    """

    status: CostStatus
    usd: Decimal | None = None
    breakdown: CostBreakdown | None = None
    is_lower_bound: bool = False

    def at_least(self) -> "Cost":
        """The same, of an answer that broke off."""
        return msgspec.structs.replace(self, is_lower_bound=True) if self.usd is not None else self

    @property
    def why_unknown(self) -> str | None:
        """The reason why there is no price, in words; None where there is one."""
        return _WHY[self.status]


_WHY: dict[CostStatus, str | None] = {
    "priced": None,
    "no_usage": "the provider told no usage",
    "model_not_in_registry": "the model is not in the registry",
    "no_pricing_in_registry": "the registry has no price of the model",
    "no_pricing_of_service_tier": "the registry has no price of the service tier that answered",
}
