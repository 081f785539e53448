"""billing.py: a provider's rule says what its prices are for; and the breakdown is spelled as it is documented."""

from decimal import Decimal as D

import msgspec
import pytest

from llmring.billing import RULES, USUAL, BillingRule, rule_of
from llmring.pricing import Prices, RuledPrices, cost_of, in_a_batch, is_dearer, price, ruled, storage_usd, tier_share
from llmring.refs import ModelRef
from llmring.registry.store import read_bundled
from llmring.usage import CostBreakdown, Usage

SAMPLE = {
    "input": D("0.00033"),
    "cache_read": D("0.00006"),
    "cache_write_5m": D("0.00018"),
    "cache_write_1h": D(0),
    "long_context_input": D("0.00026"),
    "output": D("0.00026"),
    "reasoning": D("0.00400"),
}
"""A `cost_breakdown` as it was documented, beside a `cost` of 0.00483."""


def test_the_documented_sample_adds_up_as_long_as_long_context_is_part_of_the_input() -> None:
    breakdown = CostBreakdown(**SAMPLE)
    assert breakdown.total == D("0.00483")
    assert breakdown.to_dict() == SAMPLE
    assert list(breakdown.to_dict()) == list(SAMPLE)


def test_a_rule_that_bills_the_excess_alone_makes_the_documented_sample() -> None:
    """Not what any provider publishes: the tokens above the threshold at the long rate, cached ones not counted, and
    everything else as it is."""
    rule = BillingRule(long_counts_cached=False, long_bills="excess", long_scales_cache=False)
    prices = RuledPrices(
        input=D("0.05"),
        input_long_context=D("0.325"),
        long_context_threshold_tokens=1400,
        cache_read=D("0.02"),
        cache_write_5m=D("0.15"),
        output=D("0.325"),
        output_long_context=D(1000),
        output_thinking=D(1),
        rule=rule,
    )
    # 5,200 tokens of prompt, of which 3,000 are read from the cache; 800 of output beside 4,000 of reasoning.
    usage = Usage(
        input_tokens=2200,
        cache_read_tokens=3000,
        cache_write_5m_tokens=1200,
        output_tokens=800,
        reasoning_tokens=4000,
    )
    breakdown = price(usage, prices)
    assert breakdown is not None
    assert breakdown.to_dict() == SAMPLE


def test_what_is_rare_is_spelled_when_it_is_there() -> None:
    plain = CostBreakdown(input=D(1), output=D(2)).to_dict()
    assert list(plain) == ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"]
    assert CostBreakdown(cache_write_other=D(3)).to_dict()["cache_write_other"] == D(3)


@pytest.mark.parametrize(
    ("model", "has"),
    [
        ("gpt-5.4", "tier"),
        ("gpt-5.4-2026-03-05", "tier"),
        ("gpt-5.4-pro", "tier"),
        ("gpt-5.4-mini", ""),
        ("gpt-5.4-nano", ""),
        ("gpt-5.5", "tier"),
        ("gpt-5.5-pro", "tier"),
        ("gpt-5.6", "tier and writes"),
        ("gpt-5.6-sol", "tier and writes"),
        ("gpt-6-luna", "tier and writes"),
        ("gpt-5", ""),
        ("gpt-5.2", ""),
        ("gpt-4.1", ""),
        ("gpt-4o", ""),
    ],
)
def test_models_of_openai_whose_long_prompts_or_cache_writes_cost_more(model: str, has: str) -> None:
    prices = ruled(Prices(input=D(2), output=D(8), cached_input=D("0.2")), ModelRef("openai", model))
    tier = (prices.input_long_context, prices.output_long_context, prices.long_context_threshold_tokens)
    assert tier == ((D(4), D(12), 272_000) if "tier" in has else (None, None, None))
    assert prices.cache_write_5m == (D("2.5") if "writes" in has else None)


def test_what_the_registry_says_stands_over_what_is_known_of_a_provider() -> None:
    said = Prices(
        input=D(2),
        output=D(8),
        cache_write_5m=D(3),
        input_long_context=D(5),
        output_long_context=D(9),
        long_context_threshold_tokens=100,
    )
    prices = ruled(said, ModelRef("openai", "gpt-5.6-sol"))
    assert (prices.input_long_context, prices.output_long_context, prices.long_context_threshold_tokens) == (
        D(5),
        D(9),
        100,
    )
    assert prices.cache_write_5m == D(3)


def test_a_price_that_is_not_known_is_not_multiplied() -> None:
    prices = ruled(Prices(output=D(8)), ModelRef("openai", "gpt-5.6-sol"))
    assert (prices.input_long_context, prices.cache_write_5m) == (None, None)
    assert price(Usage(input_tokens=1), prices) is None


def test_the_catalog_prices_by_the_rule_and_leaves_the_facts_as_they_are() -> None:
    catalog, ref = read_bundled(), ModelRef("openai", "gpt-5.4")
    facts, prices = catalog.get(ref), catalog.prices(ref)
    assert facts is not None
    assert facts.prices is not None
    assert prices is not None
    assert (facts.prices.input_long_context, prices.input_long_context) == (None, D(5))
    assert prices.rule is RULES["openai"]
    assert catalog.prices(ref) is prices


def test_of_a_provider_that_nothing_is_known_of_the_usual_holds() -> None:
    assert rule_of("acme") is USUAL
    prices = ruled(Prices(input=D(1), output=D(1)), ModelRef("acme", "gpt-5.4"))
    assert prices.input_long_context is None
    assert tier_share(prices, "priority") == 1


@pytest.mark.parametrize(
    ("provider", "tier", "share"),
    [
        ("openai", None, "1"),
        ("openai", "default", "1"),
        ("openai", "flex", "0.5"),
        ("openai", "priority", None),
        ("openai", "scale", None),
        ("anthropic", "standard", "1"),
        ("anthropic", "priority", None),
        ("google", "STANDARD", "1"),
        ("google", "flex", "0.5"),
        ("google", "priority", None),
        # In the answers of a batch; the share of the batch is taken off by itself.
        ("anthropic", "batch", "1"),
        ("openai", "batch", "1"),
    ],
)
def test_a_service_tier_costs_a_share_or_is_not_priced(provider: str, tier: str | None, share: str | None) -> None:
    prices = ruled(Prices(input=D(2), output=D(8)), ModelRef(provider, "model"))
    cost = cost_of([Usage(input_tokens=1_000_000)], prices, known=True, service_tier=tier)
    if share is None:
        assert (cost.status, cost.usd, cost.breakdown) == ("no_pricing_of_service_tier", None, None)
    else:
        assert (cost.status, cost.usd) == ("priced", D(2) * D(share))


@pytest.mark.parametrize(("provider", "read"), [("openai", "0.5"), ("anthropic", "0.5"), ("google", "1")])
def test_a_batch_halves_all_but_what_gemini_has_cached(provider: str, read: str) -> None:
    usage = Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000, output_tokens=1_000_000)
    online = cost_of([usage], Prices(input=D(2), cache_read=D(1), output=D(8)), known=True)
    batch = in_a_batch(online, rule_of(provider))
    assert batch.breakdown is not None
    assert (batch.breakdown.input, batch.breakdown.cache_read, batch.breakdown.output) == (D(1), D(read), D(4))
    assert batch.usd == batch.breakdown.total


@pytest.mark.parametrize(
    ("provider", "tier", "dearer"),
    [
        ("openai", None, False),
        ("openai", "flex", False),
        ("openai", "priority", True),
        ("openai", "scale", True),
        ("anthropic", "standard_only", False),
        ("google", "priority", True),
        ("acme", "AUTO", False),
        ("acme", "priority", True),
    ],
)
def test_a_service_tier_may_cost_more_unless_somebody_says_that_it_does_not(
    provider: str, tier: str | None, dearer: bool
) -> None:
    assert is_dearer(ruled(Prices(input=D(2), output=D(8)), ModelRef(provider, "model")), tier) is dearer


def test_every_status_but_priced_says_why() -> None:
    tiered = ruled(Prices(input=D(1), output=D(1)), ModelRef("openai", "x"))
    costs = [
        cost_of([], None, known=True),
        cost_of([Usage()], None, known=False),
        cost_of([Usage()], None, known=True),
        cost_of([Usage()], tiered, known=True, service_tier="?"),
    ]
    assert all(cost.why_unknown for cost in costs)
    assert len({cost.status for cost in costs}) == 4
    assert cost_of([Usage()], Prices(input=D(1), output=D(1)), known=True).why_unknown is None


def test_unknown_is_no_lower_bound() -> None:
    assert not cost_of([], None, known=True).at_least().is_lower_bound
    known = cost_of([Usage()], Prices(input=D(1), output=D(1)), known=True)
    assert known.at_least() == msgspec.structs.replace(known, is_lower_bound=True)


def test_a_cache_by_the_hour() -> None:
    assert storage_usd(90_000, D(2), D("4.5")) == D("0.81")
    assert storage_usd(0, D(2), D("4.5")) == 0
