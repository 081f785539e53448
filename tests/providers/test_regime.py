"""Regimes: what each provider is reserved for, and what it took in the end."""

from typing import get_args

import pytest

from llmring.errors import Dimension
from llmring.lockfile import Kind
from llmring.lockfile.providers import Charges
from llmring.providers.known import CHARGES, REGIMES, regime
from llmring.providers.regime import Estimate, Regime, Rule, at_least, charge, settled
from llmring.usage import Usage

ESTIMATE = Estimate(input_tokens=1000.0, output_tokens=200.0, max_output_tokens=4096.0)
USAGE = Usage(input_tokens=300, cache_read_tokens=600, cache_write_5m_tokens=50, output_tokens=70, reasoning_tokens=30)

# Bedrock and Azure charge so: the bound is reserved, what was used is settled.
BY_BOUND: Regime = {"tokens": Rule(input=True, max_output=True)}

Levels = dict[Dimension, float]


@pytest.mark.parametrize(
    ("kind", "reserved"),
    [
        ("openai", {"tokens": 1000.0, "input": 1000.0, "output": 200.0}),
        ("openai-compatible", {"tokens": 1200.0, "input": 1000.0, "output": 200.0}),
        ("azure", {"tokens": 5096.0, "input": 1000.0, "output": 4096.0}),
        ("anthropic", {"tokens": 1200.0, "input": 1000.0, "output": 200.0}),
    ],
)
def test_each_provider_is_reserved_what_it_charges_at_admission(kind: Kind, reserved: Levels) -> None:
    assert charge(regime(kind), ESTIMATE) == {"requests": 1.0, "day": 1.0, **reserved}


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        # The estimate at admission is kept; of output none was.
        ("openai", {"tokens": 1000.0, "input": 1000.0, "output": 100.0}),
        # 300 + 600 + 50 + 70 + 30
        ("openai-compatible", {"tokens": 1050.0, "input": 950.0, "output": 100.0}),
        # What is cached is free.
        ("groq", {"tokens": 450.0, "input": 350.0, "output": 100.0}),
        ("azure", {"tokens": 5096.0, "input": 1000.0, "output": 4096.0}),
        # Cache reads are free, writes are not.
        ("anthropic", {"tokens": 450.0, "input": 350.0, "output": 100.0}),
    ],
)
def test_each_provider_settles_what_it_charges_in_the_end(kind: Kind, used: Levels) -> None:
    rules = regime(kind)
    assert settled(rules, charge(rules, ESTIMATE), USAGE) == {"requests": 1.0, "day": 1.0, **used}


@pytest.mark.parametrize(
    ("seen", "least"),
    [
        (Usage(), {"tokens": 1200.0, "input": 1000.0, "output": 200.0}),
        (Usage(input_tokens=10, output_tokens=5), {"tokens": 1200.0, "input": 1000.0, "output": 200.0}),
        (Usage(input_tokens=1500, output_tokens=5), {"tokens": 1505.0, "input": 1500.0, "output": 200.0}),
        (Usage(input_tokens=10, output_tokens=900), {"tokens": 1200.0, "input": 1000.0, "output": 900.0}),
    ],
)
def test_a_cut_stream_took_no_less_than_was_seen_nor_than_was_reserved(seen: Usage, least: Levels) -> None:
    regime = REGIMES["anthropic"]
    assert at_least(regime, charge(regime, ESTIMATE), seen) == {"requests": 1.0, "day": 1.0, **least}


def test_a_cut_stream_changes_nothing_where_the_estimate_is_kept() -> None:
    regime = REGIMES["openai"]
    reserved = charge(regime, ESTIMATE)
    assert at_least(regime, reserved, Usage(input_tokens=9000)) == reserved


def test_a_bound_that_is_charged_is_reserved_whole_and_settled_to_what_was_used() -> None:
    reserved = charge(BY_BOUND, ESTIMATE)
    assert reserved == {"requests": 1.0, "day": 1.0, "tokens": 5096.0}
    assert settled(BY_BOUND, reserved, USAGE) == {"requests": 1.0, "day": 1.0, "tokens": 1050.0}


@pytest.mark.parametrize(
    ("charges", "reserved", "used"),
    [
        (
            "input",
            {"tokens": 1000.0, "input": 1000.0, "output": 200.0},
            {"tokens": 950.0, "input": 950.0, "output": 100.0},
        ),
        (
            "input at admission",
            {"tokens": 1000.0, "input": 1000.0, "output": 200.0},
            {"tokens": 1000.0, "input": 1000.0, "output": 100.0},
        ),
        (
            "input+output",
            {"tokens": 1200.0, "input": 1000.0, "output": 200.0},
            {"tokens": 1050.0, "input": 950.0, "output": 100.0},
        ),
        # Bedrock: the bound is reserved, and what was used is settled.
        (
            "input+max_tokens",
            {"tokens": 5096.0, "input": 1000.0, "output": 4096.0},
            {"tokens": 1050.0, "input": 950.0, "output": 100.0},
        ),
        (
            "input+max_tokens at admission",
            {"tokens": 5096.0, "input": 1000.0, "output": 4096.0},
            {"tokens": 5096.0, "input": 1000.0, "output": 4096.0},
        ),
    ],
)
def test_the_lockfile_says_otherwise_than_what_is_known_of_a_kind(
    charges: Charges, reserved: Levels, used: Levels
) -> None:
    rules = regime("openai-compatible", charges)
    assert charge(rules, ESTIMATE) == {"requests": 1.0, "day": 1.0, **reserved}
    assert settled(rules, charge(rules, ESTIMATE), USAGE) == {"requests": 1.0, "day": 1.0, **used}


def test_every_word_of_the_lockfile_is_a_rule() -> None:
    assert tuple(CHARGES) == get_args(Charges)


@pytest.mark.parametrize("kind", ["openai-compatible", "anthropic", "groq"])
@pytest.mark.parametrize("charges", [None, "input+output"])
def test_whether_cached_input_counts_is_the_lockfiles_to_say_and_else_the_kinds(
    kind: Kind, charges: Charges | None
) -> None:
    def used(counts: bool | None) -> float:
        rules = regime(kind, charges, counts)
        return settled(rules, charge(rules, ESTIMATE), USAGE)["input"]

    assert (used(True), used(False)) == (950.0, 350.0)
    assert used(None) == (950.0 if kind == "openai-compatible" else 350.0)


@pytest.mark.parametrize("regime", [*REGIMES.values(), BY_BOUND])
def test_settling_keeps_the_dimensions_of_the_reservation_and_leaves_it_as_it_was(regime: Regime) -> None:
    reserved = charge(regime, ESTIMATE)
    before = dict(reserved)
    assert settled(regime, reserved, USAGE).keys() == at_least(regime, reserved, USAGE).keys() == reserved.keys()
    assert reserved == before
