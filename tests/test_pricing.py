"""pricing.py: each token is billed once, at the published rate."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.billing import rule_of
from llmring.pricing import Prices, cost_of, in_a_batch, price
from llmring.usage import Cost, CostBreakdown, Usage

GPT_4O = Prices(input=D("2.5"), output=D(10), cached_input=D("1.25"))
SONNET_4_5 = Prices(
    input=D(3),
    output=D(15),
    cache_read=D("0.3"),
    cache_write_5m=D("3.75"),
    cache_write_1h=D(6),
    input_long_context=D(6),
    output_long_context=D("22.5"),
    long_context_threshold_tokens=200_000,
)
GEMINI_2_5_PRO = Prices(
    input=D("1.25"),
    output=D(10),
    cache_read=D("0.125"),
    cached_input=D("0.125"),
    input_long_context=D("2.5"),
    output_long_context=D(15),
    long_context_threshold_tokens=200_000,
)


@pytest.mark.parametrize(
    ("usage", "prices", "usd"),
    [
        # 100 * 2.5 + 900 * 1.25 + 500 * 10
        (Usage(input_tokens=100, cache_read_tokens=900, output_tokens=500), GPT_4O, "0.006375"),
        # 250k * 6 + 100k * 0.6 + 50k * 7.5 + 1k * 22.5
        (
            Usage(
                input_tokens=250_000,
                cache_read_tokens=100_000,
                cache_write_5m_tokens=50_000,
                output_tokens=1_000,
            ),
            SONNET_4_5,
            "1.9575",
        ),
        # 100k * 3 + 50k * 0.3 + 50k * 6 + 1k * 15: at the threshold, not above it
        (
            Usage(
                input_tokens=100_000,
                cache_read_tokens=50_000,
                cache_write_1h_tokens=50_000,
                output_tokens=1_000,
            ),
            SONNET_4_5,
            "0.63",
        ),
        # One token more, read from the cache, and everything is dearer: 100k * 6 + 50,001 * 0.6 + 50k * 12 + 1k * 22.5
        (
            Usage(
                input_tokens=100_000,
                cache_read_tokens=50_001,
                cache_write_1h_tokens=50_000,
                output_tokens=1_000,
            ),
            SONNET_4_5,
            "1.2525006",
        ),
        # 100k * 2.5 + 150k * 0.25 + 2k * 15 + 3k * 15: thoughts are output
        (
            Usage(input_tokens=100_000, cache_read_tokens=150_000, output_tokens=2_000, reasoning_tokens=3_000),
            GEMINI_2_5_PRO,
            "0.3625",
        ),
        (Usage(), GPT_4O, "0"),
    ],
)
def test_hand_computed_bills(usage: Usage, prices: Prices, usd: str) -> None:
    breakdown = price(usage, prices)
    assert breakdown is not None
    assert breakdown.total == D(usd)


IN_OUT = Prices(input=D(3), output=D(15))


@pytest.mark.parametrize(
    ("counter", "prices", "rate"),
    [
        ("input_tokens", IN_OUT, "3"),
        ("cache_read_tokens", IN_OUT, "3"),
        ("cache_read_tokens", Prices(input=D(3), output=D(15), cached_input=D(1)), "1"),
        ("cache_read_tokens", Prices(input=D(3), output=D(15), cached_input=D(1), cache_read=D(2)), "2"),
        ("cache_write_5m_tokens", IN_OUT, "3"),
        ("cache_write_5m_tokens", Prices(input=D(3), output=D(15), cache_write_5m=D(4)), "4"),
        ("cache_write_1h_tokens", IN_OUT, "3"),
        ("cache_write_1h_tokens", Prices(input=D(3), output=D(15), cache_write_5m=D(4)), "4"),
        (
            "cache_write_1h_tokens",
            Prices(input=D(3), output=D(15), cache_write_5m=D(4), cache_write_1h=D(6)),
            "6",
        ),
        ("cache_write_other_tokens", IN_OUT, "3"),
        ("cache_write_other_tokens", Prices(input=D(3), output=D(15), cache_write_5m=D(4)), "4"),
        ("cache_write_other_tokens", Prices(input=D(3), output=D(15), cache_write_1h=D(6)), "3"),
        ("output_tokens", IN_OUT, "15"),
        ("reasoning_tokens", IN_OUT, "15"),
        ("reasoning_tokens", Prices(input=D(3), output=D(15), output_thinking=D(20)), "20"),
        ("cache_read_tokens", Prices(input=D(3), output=D(15), cache_read=D(0)), "0"),
    ],
)
def test_a_counter_is_billed_at_its_own_rate_or_at_the_one_it_falls_back_to(
    counter: str, prices: Prices, rate: str
) -> None:
    breakdown = price(Usage(**{counter: 1_000_000}), prices)
    assert breakdown is not None
    assert breakdown.total == D(rate)
    assert getattr(breakdown, counter.removesuffix("_tokens")) == D(rate)


def test_an_unknown_price_is_not_a_price_of_zero() -> None:
    assert price(Usage(input_tokens=1), Prices(input=D(1))) is None
    assert price(Usage(input_tokens=1), Prices(output=D(1))) is None
    assert price(Usage(input_tokens=1), Prices()) is None


def test_the_long_context_part_is_all_of_the_input_above_the_threshold_and_none_of_it_below() -> None:
    above = price(Usage(input_tokens=200_001), SONNET_4_5)
    below = price(Usage(input_tokens=200_000), SONNET_4_5)
    assert above is not None
    assert below is not None
    assert above.long_context_input == above.input == D("1.200006")
    assert (below.long_context_input, below.input) == (D(0), D("0.6"))


def test_a_threshold_without_long_rates_changes_nothing() -> None:
    prices = Prices(input=D(3), output=D(15), cache_read=D(1), long_context_threshold_tokens=10)
    breakdown = price(Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000, output_tokens=1_000_000), prices)
    assert breakdown is not None
    assert (breakdown.total, breakdown.long_context_input) == (D(19), D(0))


def test_a_free_input_has_no_proportion_by_which_cache_rates_could_rise() -> None:
    prices = Prices(input=D(0), output=D(1), cache_read=D(2), input_long_context=D(4), long_context_threshold_tokens=10)
    breakdown = price(Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000), prices)
    assert breakdown is not None
    assert (breakdown.input, breakdown.cache_read) == (D(4), D(2))


COUNTERS = Usage.__struct_fields__
RATES = st.decimals(0, 1000, places=3)
PRICES = st.builds(
    Prices,
    input=RATES,
    output=RATES,
    **{
        name: st.none() | RATES
        for name in ("cached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output_thinking")
    },
)
USAGES = st.builds(Usage, **{name: st.integers(0, 10**7) for name in COUNTERS})


def total(usage: Usage, prices: Prices) -> D:
    breakdown = price(usage, prices)
    assert breakdown is not None
    return breakdown.total


@given(USAGES, PRICES)
def test_each_token_is_billed_once_whatever_it_is_counted_with(usage: Usage, prices: Prices) -> None:
    alone = [Usage(**{name: getattr(usage, name)}) for name in COUNTERS]
    assert total(usage, prices) == sum(total(part, prices) for part in alone)


@given(USAGES, USAGES, PRICES)
def test_two_answers_cost_what_both_cost(one: Usage, two: Usage, prices: Prices) -> None:
    both = Usage(**{name: getattr(one, name) + getattr(two, name) for name in COUNTERS})
    assert total(both, prices) == total(one, prices) + total(two, prices)


@given(USAGES, PRICES, st.sampled_from([D(1), D("1.5"), D(2)]))
def test_a_long_request_costs_its_short_price_times_the_factor_of_the_tier(
    usage: Usage, prices: Prices, factor: D
) -> None:
    assert prices.input is not None
    assert prices.output is not None
    short = Prices(
        input=prices.input,
        output=prices.output,
        cached_input=prices.cached_input,
        cache_read=prices.cache_read,
        cache_write_5m=prices.cache_write_5m,
        cache_write_1h=prices.cache_write_1h,
    )
    tier = Prices(
        **{name: getattr(short, name) for name in ("input", "output", "cached_input", "cache_read")},
        cache_write_5m=short.cache_write_5m,
        cache_write_1h=short.cache_write_1h,
        input_long_context=prices.input * factor,
        output_long_context=prices.output * factor,
        long_context_threshold_tokens=-1,
    )
    if prices.input:
        assert total(usage, tier) == total(usage, short) * factor


@pytest.mark.parametrize(
    ("usage", "prices", "known", "status"),
    [
        (None, None, False, "no_usage"),
        (None, GPT_4O, True, "no_usage"),
        (Usage(), None, False, "model_not_in_registry"),
        (Usage(), None, True, "no_pricing_in_registry"),
        (Usage(), Prices(input=D(1)), True, "no_pricing_in_registry"),
    ],
)
def test_a_cost_that_is_not_known_says_why_and_is_not_zero(
    usage: Usage | None, prices: Prices | None, known: bool, status: str
) -> None:
    cost = cost_of([] if usage is None else [usage], prices, known=known)
    assert (cost.status, cost.usd, cost.breakdown) == (status, None, None)


def test_a_priced_answer_carries_the_total_and_its_parts() -> None:
    cost = cost_of([Usage(input_tokens=100, cache_read_tokens=900, output_tokens=500)], GPT_4O, known=True)
    assert cost.status == "priced"
    assert cost.usd == D("0.006375")
    assert cost.breakdown is not None
    assert cost.breakdown.total == cost.usd


def test_requests_are_priced_each_by_itself() -> None:
    """Together they would be above the threshold, though neither is."""
    prices = Prices(input=D(1), output=D(1), input_long_context=D(2), long_context_threshold_tokens=1000)
    cost = cost_of([Usage(input_tokens=600), Usage(input_tokens=600)], prices, known=True)
    assert cost.usd == D("0.0012")


def test_a_batch_costs_half_and_cache_reads_where_they_are_discounted_too() -> None:
    parts = CostBreakdown(input=D("0.3"), cache_read=D("0.02"), output=D("0.005"))
    cost = Cost(status="priced", usd=parts.total, breakdown=parts)
    assert in_a_batch(cost).usd == D("0.1625")
    kept = in_a_batch(cost, rule_of("google"))
    assert (kept.usd, kept.breakdown and kept.breakdown.cache_read) == (D("0.1725"), D("0.02"))
    unknown = Cost(status="no_usage")
    assert in_a_batch(unknown) is unknown
