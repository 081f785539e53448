"""golden_costs.toml: bills worked out by hand are what pricing.py says, from the table's prices and the registry's."""

import tomllib
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmring.billing import RULES, rule_of
from llmring.codecs.anthropic import reply as anthropic
from llmring.codecs.google import reply as google
from llmring.codecs.openai import reply as openai
from llmring.codecs.openai import responses_reply
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
BILLS = [(model, bill) for model in TABLE for bill in model["bills"]]
LISTED = [(model, bill) for model, bill in BILLS if not model.get("retired")]
TOLD = [(model, bill) for model, bill in BILLS if "told" in bill]


def each(found: list[tuple[dict[str, Any], dict[str, Any]]]) -> pytest.MarkDecorator:
    params = [
        pytest.param(model, bill, id=f"{model['model']} {bill['what']}".replace(" ", "-")) for model, bill in found
    ]
    return pytest.mark.parametrize(("model", "bill"), params)


def priced(bill: dict[str, Any], prices: Prices, ref: ModelRef) -> Cost:
    usage = Usage(**{COUNTERS[name]: tokens for name, tokens in bill.items() if name in COUNTERS})
    cost = cost_of([usage], prices, known=True, service_tier=bill.get("tier"))
    return in_a_batch(cost, rule_of(ref.provider)) if bill.get("batch") else cost


def prices_of(model: dict[str, Any]) -> Prices:
    threshold = "long_context_threshold_tokens"
    written = {name: value if name == threshold else D(value) for name, value in model["prices"].items()}
    return msgspec.structs.replace(Prices(), **written)


def terms_of(bill: dict[str, Any]) -> list[list[str]]:
    """Tokens, and the dollars of a million."""
    return [term.split("*") for term in bill["sum"].split(" + ")]


def as_told(provider: str, told: msgspec.Raw) -> Usage | None:
    """As the provider's codec reads it."""
    match provider:
        case "anthropic":
            of_claude = anthropic.read_usage(told)
            return anthropic.to_usage(of_claude) if of_claude is not None else None
        case "google":
            of_gemini = google.read_usage(told)
            return google.to_usage(of_gemini) if of_gemini is not None else None
        case _:
            return responses_reply.read_usage(told) if b'"input_tokens"' in bytes(told) else openai.read_usage(told)


@each(BILLS)
def test_the_arithmetic_of_a_bill_comes_to_its_dollars(model: dict[str, Any], bill: dict[str, Any]) -> None:
    terms = terms_of(bill)
    assert sum(int(tokens) * D(rate) for tokens, rate in terms) == D(bill["usd"]) * 1_000_000
    # Every token once.
    assert sum(int(tokens) for tokens, _ in terms) == sum(bill.get(name, 0) for name in COUNTERS)


@each(BILLS)
def test_a_bill_is_what_its_prices_say(model: dict[str, Any], bill: dict[str, Any]) -> None:
    ref = ModelRef.parse(model["model"])
    cost = priced(bill, ruled(prices_of(model), ref), ref)
    assert (cost.status, cost.usd) == ("priced", D(bill["usd"]))
    assert cost.breakdown is not None
    parts = cost.breakdown.to_dict()
    parts.pop("long_context_input", None)
    assert sum(parts.values()) == cost.usd


@each(LISTED)
def test_a_bill_is_what_the_bundled_registry_says(model: dict[str, Any], bill: dict[str, Any]) -> None:
    ref = ModelRef.parse(model["model"])
    prices = read_bundled().prices(ref)
    assert prices is not None, f"{ref} has left the registry: leave its bills in the table, and skip them here"
    assert priced(bill, prices, ref).usd == D(bill["usd"])


@each(TOLD)
def test_a_usage_as_it_is_told_has_every_token_once(model: dict[str, Any], bill: dict[str, Any]) -> None:
    told = msgspec.Raw(msgspec.json.encode(bill["told"]))
    meant = Usage(**{COUNTERS[name]: tokens for name, tokens in bill.items() if name in COUNTERS})
    assert as_told(model["model"].split(":")[0], told) == meant


@each(TOLD)
def test_what_reasoning_costs_is_told_apart(model: dict[str, Any], bill: dict[str, Any]) -> None:
    ref = ModelRef.parse(model["model"])
    cost = priced(bill, ruled(prices_of(model), ref), ref)
    assert cost.breakdown is not None
    assert cost.breakdown.reasoning == D(bill["thought"])
    of_output = sum(int(tokens) * D(rate) for tokens, rate in terms_of(bill)[-2:]) / 1_000_000
    if bill.get("think"):
        assert cost.breakdown.output + cost.breakdown.reasoning == of_output


def test_the_table_has_every_kind_of_token_and_every_provider_whose_rule_is_known() -> None:
    every = [bill for model in TABLE for bill in model["bills"]]
    assert len(every) >= 40
    assert all(any(bill.get(name) for bill in every) for name in (*COUNTERS, "batch", "tier"))
    assert {model["model"].split(":")[0] for model in TABLE} == set(RULES)
    assert {model["model"].split(":")[0] for model, bill in TOLD if bill.get("think")} == set(RULES)
    assert any("output_thinking" in model["prices"] for model in TABLE)


def test_every_price_and_every_rule_has_its_source_and_its_day() -> None:
    for model in TABLE:
        assert model["page"].startswith("https://")
        assert isinstance(model["seen"], date)
        assert model["as"]
    for rule in RULES.values():
        assert all(source.startswith("https://") for source in rule.sources)
        assert rule.sources
        assert rule.read_on is not None
