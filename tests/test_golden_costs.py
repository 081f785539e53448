"""golden_costs.toml: bills worked out by hand are what pricing.py says, from the table's prices and the registry's."""

import tomllib
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.billing import RULES, rule_of
from llmring.pricing import Prices, cost_of, in_a_batch, ruled
from llmring.refs import ModelRef
from llmring.registry.store import read_bundled
from llmring.usage import Cost, Usage

TABLE: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("golden_costs.toml").read_text())["models"]
COUNTERS = {
    "in": "input_tokens",
    "read": "cache_read_tokens",
    "w5": "cache_write_5m_tokens",
    "w1": "cache_write_1h_tokens",
    "wo": "cache_write_other_tokens",
    "out": "output_tokens",
    "think": "reasoning_tokens",
}
BILLS = [
    pytest.param(model, bill, id=f"{model['model']} {bill['what']}".replace(" ", "-"))
    for model in TABLE
    for bill in model["bills"]
]
bills = pytest.mark.parametrize(("model", "bill"), BILLS)


def priced(bill: dict[str, Any], prices: Prices, ref: ModelRef) -> Cost:
    usage = Usage(**{COUNTERS[name]: tokens for name, tokens in bill.items() if name in COUNTERS})
    cost = cost_of([usage], prices, known=True, service_tier=bill.get("tier"))
    return in_a_batch(cost, rule_of(ref.provider)) if bill.get("batch") else cost


@bills
def test_the_arithmetic_of_a_bill_comes_to_its_dollars(model: dict[str, Any], bill: dict[str, Any]) -> None:
    terms = [term.split("*") for term in bill["sum"].split(" + ")]
    assert sum(int(tokens) * D(rate) for tokens, rate in terms) == D(bill["usd"]) * 1_000_000
    # Every token once.
    assert sum(int(tokens) for tokens, _ in terms) == sum(bill.get(name, 0) for name in COUNTERS)


@bills
def test_a_bill_is_what_its_prices_say(model: dict[str, Any], bill: dict[str, Any]) -> None:
    ref = ModelRef.parse(model["model"])
    threshold = "long_context_threshold_tokens"
    written = {name: value if name == threshold else D(value) for name, value in model["prices"].items()}
    prices = msgspec.structs.replace(Prices(), **written)
    cost = priced(bill, ruled(prices, ref), ref)
    assert (cost.status, cost.usd) == ("priced", D(bill["usd"]))
    assert cost.breakdown is not None
    parts = cost.breakdown.to_dict()
    parts.pop("long_context_input", None)
    assert sum(parts.values()) == cost.usd


@bills
def test_a_bill_is_what_the_bundled_registry_says(model: dict[str, Any], bill: dict[str, Any]) -> None:
    ref = ModelRef.parse(model["model"])
    prices = read_bundled().prices(ref)
    assert prices is not None, f"{ref} has left the registry: leave its bills in the table, and skip them here"
    assert priced(bill, prices, ref).usd == D(bill["usd"])


def test_the_table_has_every_kind_of_token_and_every_provider_whose_rule_is_known() -> None:
    every = [bill for model in TABLE for bill in model["bills"]]
    assert len(every) >= 40
    assert all(any(bill.get(name) for bill in every) for name in (*COUNTERS, "batch", "tier"))
    assert {model["model"].split(":")[0] for model in TABLE} == set(RULES)


def test_every_price_and_every_rule_has_its_source_and_its_day() -> None:
    for model in TABLE:
        assert model["page"].startswith("https://")
        assert isinstance(model["seen"], date)
        assert model["as"]
    for rule in RULES.values():
        assert all(source.startswith("https://") for source in rule.sources)
        assert rule.sources
        assert rule.read_on is not None
