"""What an answer cost: token counters times prices, in Decimal dollars. Pure; knows no model and no registry.

The counters of `Usage` are disjoint, so each token is billed at one rate and the total is the sum of the parts.

Long context: where a price list has a threshold, a request whose whole input (uncached, cache reads and cache writes)
is above it is billed at the long rates from its first token to its last, output included, and the cache rates rise in
proportion to the input rate. Anthropic: https://platform.claude.com/docs/en/about-claude/pricing, "Long context
pricing" (cache multipliers apply on top). Google: https://ai.google.dev/gemini-api/docs/pricing, "prompts > 200k
tokens" (gemini-2.5-pro: input 1.25 -> 2.50, cached input 0.125 -> 0.25).
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.usage import Cost, CostBreakdown, Usage

_ZERO = Decimal(0)
_HALF = Decimal("0.5")


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars per million tokens. None: the price list does not say, which is not the same as free.

    `cached_input` and `cache_read` are two names in the registry for reading a cached token. The long-context rates
    hold above `long_context_threshold_tokens` of input.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    input_long_context: Decimal | None = None
    output_long_context: Decimal | None = None
    output_thinking: Decimal | None = None
    long_context_threshold_tokens: int | None = None


def price(usage: Usage, prices: Prices) -> CostBreakdown | None:
    """What `usage` costs; None when the input or the output price is unknown.

    A cache rate that is not given falls back: a read to cached_input, then input; a 5-minute write to input; a 1-hour
    write to the 5-minute rate; another write likewise. Reasoning is output unless it has a price of its own, which has
    no long-context tier.
    """
    if prices.input is None or prices.output is None:
        return None
    threshold = prices.long_context_threshold_tokens
    is_long = threshold is not None and usage.total_input_tokens > threshold
    input_rate = _first(prices.input_long_context, prices.input) if is_long else prices.input
    output_rate = _first(prices.output_long_context, prices.output) if is_long else prices.output
    write_5m = _first(prices.cache_write_5m, prices.input)

    def cached(tokens: int, rate: Decimal) -> Decimal:
        return _dollars(tokens, _in_proportion(rate, prices.input, input_rate))

    fresh = _dollars(usage.input_tokens, input_rate)
    return CostBreakdown(
        input=fresh,
        cache_read=cached(usage.cache_read_tokens, _first(prices.cache_read, prices.cached_input, prices.input)),
        cache_write_5m=cached(usage.cache_write_5m_tokens, write_5m),
        cache_write_1h=cached(usage.cache_write_1h_tokens, _first(prices.cache_write_1h, write_5m)),
        cache_write_other=cached(usage.cache_write_other_tokens, write_5m),
        output=_dollars(usage.output_tokens, output_rate),
        reasoning=_dollars(usage.reasoning_tokens, _first(prices.output_thinking, output_rate)),
        long_context_input=fresh if is_long and prices.input_long_context is not None else _ZERO,
    )


def cost_of(usages: Sequence[Usage], prices: Prices | None, *, known: bool) -> Cost:
    """The cost of requests with the reason when there is none. `known`: the model is in the registry.

    Each is priced by itself, for whether a request is long is a matter of that request.
    """
    if not usages:
        return Cost(status="no_usage")
    if not known:
        return Cost(status="model_not_in_registry")
    parts = [price(usage, prices) for usage in usages] if prices is not None else [None]
    priced = [part for part in parts if part is not None]
    if len(priced) < len(parts):
        return Cost(status="no_pricing_in_registry")
    breakdown = sum(priced[1:], priced[0])
    return Cost(status="priced", usd=breakdown.total, breakdown=breakdown)


def in_a_batch(cost: Cost, *, cache_reads: bool = True) -> Cost:
    """What came from a provider's batch API costs half of what it costs online.

    `cache_reads` False: they cost there what they cost online. Half, of everything: OpenAI and Anthropic
    (https://platform.openai.com/docs/pricing, https://docs.claude.com/en/docs/build-with-claude/batch-processing);
    of all but cache reads: Gemini (https://ai.google.dev/gemini-api/docs/batch-api, "Technical details").
    """
    if cost.breakdown is None:
        return cost
    parts = msgspec.structs.asdict(cost.breakdown)
    halved = {name: part if name == "cache_read" and not cache_reads else part * _HALF for name, part in parts.items()}
    breakdown = CostBreakdown(**halved)
    return msgspec.structs.replace(cost, usd=breakdown.total, breakdown=breakdown)


def _first(first: Decimal | None, *others: Decimal | None) -> Decimal:
    """The first rate that is given. Callers end the list with one that is."""
    for rate in (first, *others):
        if rate is not None:
            return rate
    raise AssertionError("no rate is given")


def _in_proportion(rate: Decimal, base: Decimal | None, applied: Decimal) -> Decimal:
    """`rate` raised as the input rate was raised from `base` to `applied`; as it is where there is no tier."""
    if not base or applied == base:
        return rate
    # Multiply before dividing: 3.75 * 6 / 3 is exact where 3.75 * (6 / 3) need not be.
    return rate * applied / base


def _dollars(tokens: int, rate: Decimal) -> Decimal:
    # scaleb shifts the exponent, where a division could round. Zero stays a plain 0, not 0E-7.
    return (tokens * rate).scaleb(-6) if tokens else _ZERO
