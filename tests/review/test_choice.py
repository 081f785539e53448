"""Patterns into models: in order, the same everywhere, and every choice with its reason."""

from decimal import Decimal

import pytest

from llmring.errors import InvalidRequest
from llmring.lockfile.constraints import Requirements
from llmring.review.choice import choose, is_pattern
from tests.review.models import CATALOG, TODAY

ANY = Requirements()


def taken(*patterns: str, required: Requirements = ANY, most: int = 10) -> list[str]:
    return [str(one.ref) for one in choose(CATALOG, patterns, required, TODAY, most) if one.taken]


def left(*patterns: str, required: Requirements = ANY, most: int = 10) -> dict[str, str]:
    return {str(one.ref): one.why for one in choose(CATALOG, patterns, required, TODAY, most) if not one.taken}


def test_the_newest_of_each_tier_come_first_then_the_later_generation_then_the_dearer() -> None:
    assert taken("openai:*") == ["openai:alpha-3", "openai:beta-mini-3", "openai:priceless-3", "openai:alpha-2"]


def test_what_nobody_should_bind_is_left_with_its_reason() -> None:
    assert left("openai:*") == {
        "openai:old-1": "is not active",
        "openai:gone-1": "is deprecated since 2026-05-01",
        "openai:going-1": "is deprecated as of 2026-06-20",
        "openai:embed-3": "is not a chat model",
        "openai:alpha-4-preview": "is a preview",
    }


def test_a_preview_is_taken_by_a_pattern_that_says_so() -> None:
    assert taken("openai:*-preview") == ["openai:alpha-4-preview"]


def test_requirements_hold_for_every_model_and_what_is_unknown_does_not_hold() -> None:
    required = Requirements(min_context=100_000, max_cost=Decimal(7), supports=("tools",))
    assert taken("openai:*", "anthropic:*", required=required) == [
        "openai:beta-mini-3",
        "anthropic:gamma-5",
        "openai:alpha-2",
    ]
    why = left("openai:*", "anthropic:*", required=required)
    assert why["openai:alpha-3"] == "costs $8 per million tokens, more than max_cost 7"
    assert why["openai:priceless-3"] == "the registry has no price of it (max_cost 7)"
    assert why["anthropic:delta-5"] == "the registry does not say how much input it takes (min_context 100,000)"
    vision = left("openai:alpha-3*", required=Requirements(supports=("vision", "tools")))
    assert vision == {"openai:alpha-3": "does not support vision"}
    assert left("openai:alpha-3*", required=Requirements(min_context=200_000)) == {
        "openai:alpha-3": "takes 100,000 tokens of input, less than min_context 200,000"
    }


def test_several_patterns_take_turns_so_that_a_fallback_is_of_another() -> None:
    assert taken("openai:*", "anthropic:*", most=3) == ["openai:alpha-3", "anthropic:gamma-5", "openai:beta-mini-3"]
    assert taken("openai:*", "anthropic:*", most=1) == ["openai:alpha-3", "anthropic:gamma-5"]


def test_what_is_behind_the_first_says_so() -> None:
    assert left("anthropic:*", most=1) == {"anthropic:delta-5": "behind the first 1 ($2 per million tokens)"}


def test_a_model_that_is_named_is_taken_as_it_is_named() -> None:
    assert taken("openai:alpha", "elsewhere:any", "anthropic:*") == [
        "openai:alpha",
        "elsewhere:any",
        "anthropic:gamma-5",
        "anthropic:delta-5",
    ]


def test_a_named_model_that_does_not_hold_the_constraints_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="openai:alpha-3 does not hold the constraints: costs"):
        taken("openai:alpha-3", "anthropic:*", required=Requirements(max_cost=Decimal(1)))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("openai:zzz*", "no model in the registry matches 'openai:zzz*': it knows the providers anthropic, openai"),
        ("nobody:*", "no model in the registry matches 'nobody:*'"),
        (":*", "'' is not a provider name"),
    ],
)
def test_a_pattern_without_a_match_is_an_error(pattern: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        taken(pattern)
    assert problem in str(caught.value)


def test_a_pattern_has_a_wildcard_in_the_models_name() -> None:
    assert is_pattern("openai:*")
    assert is_pattern("openai:gpt-[45]?")
    assert not is_pattern("openai:gpt-5")
    assert not is_pattern("*")
