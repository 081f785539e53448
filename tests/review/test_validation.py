"""Every model of every binding is judged, with a reason and the nearest name."""

from llmring.review.validation import stale, validate
from tests.review.models import CATALOG, TODAY, keys, lockfile


def said(models: str, constraints: str = "", *providers: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    text = f'[[profiles.default.bindings]]\nalias = "x"\nmodels = [{models}]\n{constraints}'
    ready = keys(*(providers or ("openai", "anthropic")))
    verdicts = validate(lockfile(text), CATALOG, ready, TODAY)
    return [(str(verdict.ref), verdict.problems, verdict.warnings) for verdict in verdicts]


def test_all_models_are_checked_and_not_the_first_alone() -> None:
    assert said('"openai:alpha-3", "openai:alpah-3", "anthropic:gamma-5"') == [
        ("openai:alpha-3", (), ()),
        ("openai:alpah-3", ("is not in the registry: did you mean openai:alpha-3?",), ()),
        ("anthropic:gamma-5", (), ()),
    ]


def test_a_name_of_another_model_stands_for_that_model() -> None:
    text = '[[profiles.default.bindings]]\nalias = "x"\nmodels = "openai:alpha"'
    (verdict,) = validate(lockfile(text), CATALOG, keys("openai"), TODAY)
    assert (str(verdict.stands_for), verdict.problems) == ("openai:alpha-3", ())


def test_what_is_out_of_use_is_a_problem_and_what_will_be_a_warning() -> None:
    assert said('"openai:old-1", "openai:gone-1", "openai:going-1", "openai:embed-3"') == [
        ("openai:old-1", ("is not active any more",), ()),
        ("openai:gone-1", ("was retired on 2026-05-01",), ()),
        ("openai:going-1", (), ("will be retired on 2026-06-20, soon",)),
        ("openai:embed-3", ("is not a chat model",), ()),
    ]


def test_a_provider_that_the_registry_does_not_know_cannot_be_checked() -> None:
    assert said('"ollama:any"', "", "ollama") == [
        ("ollama:any", (), ("the registry knows no models of ollama: not checked",))
    ]


def test_a_missing_key_and_a_constraint_that_does_not_hold_are_problems() -> None:
    assert said('"openai:alpha-3", "anthropic:delta-5"', "constraints = { max_cost = 3 }", "openai") == [
        ("openai:alpha-3", ("costs $8 per million tokens, more than max_cost 3",), ()),
        ("anthropic:delta-5", ("no key: set ANTHROPIC_API_KEY",), ()),
    ]


def from_patterns(models: str, patterns: str) -> str:
    return f'[[profiles.default.bindings]]\nalias = "x"\nmodels = [{models}]\nmodels_from = [{patterns}]'


def test_a_binding_from_patterns_is_stale_when_they_stand_for_other_models_today() -> None:
    fresh = from_patterns('"anthropic:gamma-5", "anthropic:delta-5"', '"anthropic:*"')
    assert stale(lockfile(fresh), CATALOG, TODAY) == ()
    (one,) = stale(lockfile(from_patterns('"openai:alpha-2"', '"openai:*"')), CATALOG, TODAY)
    assert ([str(ref) for ref in one.today], one.why) == (["openai:alpha-3"], None)


def test_a_binding_from_a_pattern_that_matches_nothing_any_more_says_so() -> None:
    (one,) = stale(lockfile(from_patterns('"openai:alpha-2"', '"openai:omega*"')), CATALOG, TODAY)
    assert one.today == ()
    assert one.why is not None
    assert one.why.startswith("no model in the registry matches 'openai:omega*'")
