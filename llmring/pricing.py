"""What an answer cost: token counters times prices, in Decimal dollars. Pure; knows no model and no registry.

The counters of `Usage` are disjoint, so each token is billed at one rate and the total is the sum of the parts. Which
tokens a tier is for, and what a batch takes off, is the provider's rule: billing.py.

Long context, where nothing else is known: a request whose whole input (uncached, cache reads and cache writes) is above
the threshold is billed at the long rates from its first token to its last, output included, and the cache rates rise in
proportion to the input rate.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from llmring.billing import USUAL, USUAL_TIERS, BillingRule, Surcharge, rule_of
from llmring.refs import ModelRef
from llmring.usage import Cost, CostBreakdown, Usage

_ZERO = Decimal(0)


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


class RuledPrices(Prices, frozen=True, kw_only=True):
    """The prices of a model with the rule that its provider bills them by; of others the usual rule holds."""

    rule: BillingRule


def ruled(prices: Prices, ref: ModelRef) -> RuledPrices:
    """The prices of `ref` under its provider's rule, with what that publishes as multiples of them where the list is
    silent."""
    rule = rule_of(ref.provider)
    surcharge = rule.surcharge(ref.model)
    given = RuledPrices(**msgspec.structs.asdict(prices), rule=rule)
    return given if surcharge is None else _raised(given, surcharge)


def _raised(prices: RuledPrices, surcharge: Surcharge) -> RuledPrices:
    added: dict[str, Decimal | int | None] = {}
    if prices.long_context_threshold_tokens is None and prices.input_long_context is None:
        added["long_context_threshold_tokens"] = surcharge.threshold_tokens
        added["input_long_context"] = _times(prices.input, surcharge.long_input)
        added["output_long_context"] = _times(prices.output, surcharge.long_output)
    if prices.cache_write_5m is None:
        added["cache_write_5m"] = _times(prices.input, surcharge.cache_write)
    return msgspec.structs.replace(prices, **added)


def price(usage: Usage, prices: Prices) -> CostBreakdown | None:
    """What `usage`, of one request, costs; None when the input or the output price is unknown.

    A cache rate that is not given falls back: a read to cached_input, then input; a 5-minute write to input; a 1-hour
    write to the 5-minute rate; another write likewise. Reasoning is output unless it has a price of its own, which has
    no long-context tier.
    """
    if prices.input is None or prices.output is None:
        return None
    rule, above = _rule(prices), _above(usage, prices)
    long_rate = _first(prices.input_long_context, prices.input)
    whole = above > 0 and rule.long_bills == "request"
    input_rate = long_rate if whole else prices.input
    output_rate = _first(prices.output_long_context, prices.output) if whole else prices.output
    write_5m = _first(prices.cache_write_5m, prices.input)

    def cached(tokens: int, rate: Decimal) -> Decimal:
        return _dollars(tokens, _in_proportion(rate, prices.input, input_rate) if rule.long_scales_cache else rate)

    long_tokens = usage.input_tokens if whole else min(usage.input_tokens, above)
    long_input = _dollars(long_tokens, long_rate)
    return CostBreakdown(
        input=_dollars(usage.input_tokens - long_tokens, prices.input) + long_input,
        cache_read=cached(usage.cache_read_tokens, _first(prices.cache_read, prices.cached_input, prices.input)),
        cache_write_5m=cached(usage.cache_write_5m_tokens, write_5m),
        cache_write_1h=cached(usage.cache_write_1h_tokens, _first(prices.cache_write_1h, write_5m)),
        cache_write_other=cached(usage.cache_write_other_tokens, write_5m),
        output=_dollars(usage.output_tokens, output_rate),
        reasoning=_dollars(usage.reasoning_tokens, _first(prices.output_thinking, output_rate)),
        long_context_input=long_input if prices.input_long_context is not None else _ZERO,
    )


def storage_usd(tokens: int, hours: Decimal, usd_per_million_hour: Decimal) -> Decimal:
    """What it costs to keep `tokens` in a cache that is paid for by the hour, besides what filling it costs."""
    return _dollars(tokens, usd_per_million_hour * hours)


def cost_of(usages: Sequence[Usage], prices: Prices | None, *, known: bool, service_tier: str | None = None) -> Cost:
    """The cost of requests with the reason when there is none. `known`: the model is in the registry.

    Each is priced by itself, for whether a request is long is a matter of that request. `service_tier` is the one that
    the provider says has answered.
    """
    if not usages:
        return Cost(status="no_usage")
    if not known:
        return Cost(status="model_not_in_registry")
    parts = [price(usage, prices) for usage in usages] if prices is not None else []
    priced = [part for part in parts if part is not None]
    if prices is None or len(priced) < len(parts):
        return Cost(status="no_pricing_in_registry")
    share = tier_share(prices, service_tier)
    if share is None:
        return Cost(status="no_pricing_of_service_tier")
    # Flex is billed at the rates of a batch.
    breakdown = _shared(sum(priced[1:], priced[0]), share, cache_reads=_rule(prices).batch_cuts_cache_reads)
    return Cost(status="priced", usd=breakdown.total, breakdown=breakdown)


def tier_share(prices: Prices, service_tier: str | None) -> Decimal | None:
    """What a service tier costs of these prices; None: it has prices of its own, which are not known."""
    tiers = _rule(prices).tiers
    if service_tier is None or tiers is None:
        return Decimal(1)
    return tiers.get(service_tier.lower())


def least_tier(prices: Prices | None, *tiers: str | None) -> str | None:
    """The first of `tiers` that has a known share, to price what broke off; None, which is the list price, where none
    has: what is known of the others is that they cost more."""
    if prices is None:
        return None
    return next((tier for tier in tiers if tier is not None and tier_share(prices, tier) is not None), None)


def is_dearer(prices: Prices, service_tier: str | None) -> bool:
    """Whether a request for this service tier may cost more than these prices say, as it may where nobody knows."""
    if service_tier is None or service_tier.lower() in USUAL_TIERS:
        return False
    share = (_rule(prices).tiers or {}).get(service_tier.lower())
    return share is None or share > 1


def for_texts(prices: Prices | None) -> Prices | None:
    """The prices of vectors: of their input alone, so that a list need not say what output costs."""
    if prices is None or prices.output is not None:
        return prices
    return msgspec.structs.replace(prices, output=Decimal(0))


def in_a_batch(cost: Cost, rule: BillingRule = USUAL) -> Cost:
    """What came from a provider's batch API, by what it would have cost online."""
    if cost.breakdown is None:
        return cost
    breakdown = _shared(cost.breakdown, rule.batch_share, cache_reads=rule.batch_cuts_cache_reads)
    return msgspec.structs.replace(cost, usd=breakdown.total, breakdown=breakdown)


def _rule(prices: Prices) -> BillingRule:
    return prices.rule if isinstance(prices, RuledPrices) else USUAL


def _above(usage: Usage, prices: Prices) -> int:
    """How many tokens of input are above the threshold; 0 where there is no tier."""
    if prices.long_context_threshold_tokens is None:
        return 0
    counted = usage.total_input_tokens if _rule(prices).long_counts_cached else usage.input_tokens
    return max(0, counted - prices.long_context_threshold_tokens)


def _shared(breakdown: CostBreakdown, share: Decimal, *, cache_reads: bool = True) -> CostBreakdown:
    if share == 1:
        return breakdown
    parts = msgspec.structs.asdict(breakdown)
    kept = () if cache_reads else ("cache_read",)
    return CostBreakdown(**{name: usd if name in kept else usd * share for name, usd in parts.items()})


def _times(rate: Decimal | None, factor: Decimal | None) -> Decimal | None:
    return None if rate is None or factor is None else rate * factor


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
