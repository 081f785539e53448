"""What has changed for the models of a lockfile, and for no others."""

from collections.abc import Sequence

import msgspec

from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.digest import facts_digest
from llmring.review.drift import Drift, Version, lock_drift
from tests.review.models import ANTHROPIC, CATALOG, MODELS, OPENAI, facts, lockfile

LOCK = """
[[profiles.default.bindings]]
alias = "x"
models = ["openai:alpha-3", "anthropic:gamma-5", "ollama:any"]
pins = { %s }

[profiles.default.registry_versions]
openai = 6
"""


def old(provider: str, version: int) -> Sequence[ModelFacts] | None:
    """Version 6 of openai: alpha cost 9 and beta cost 2."""
    if (provider, version) != ("openai", 6):
        return None
    return [facts("openai:alpha-3", "9", model_aliases=("alpha",)), facts("openai:beta-mini-3", "2")]


def nothing(_: str, __: int) -> None:
    return None


def drifts(pins: str = "", version: Version = old, catalog: Catalog = CATALOG) -> dict[str, Drift]:
    return {one.provider: one for one in lock_drift(lockfile(LOCK % pins), catalog, version)}


def shown(one: Drift) -> list[tuple[str, str, str, str | None, str | None]]:
    return [(str(c.ref), c.what, c.field, c.before, c.after) for c in one.changes]


def test_the_models_of_the_lockfile_are_compared_with_their_pinned_version() -> None:
    openai = drifts()["openai"]
    assert (openai.pinned, openai.current, openai.at_hand) == (6, 7, True)
    assert shown(openai) == [
        ("openai:alpha-3", "price", "input", "9", "8"),
        ("openai:alpha-3", "price", "output", "9", "8"),
    ]


def test_a_provider_without_a_pin_is_named_and_one_that_the_registry_does_not_know_is_not() -> None:
    found = drifts()
    assert (found["anthropic"].pinned, found["anthropic"].current, found["anthropic"].changes) == (None, 4, ())
    assert "ollama" not in found


def test_without_the_pinned_list_the_digests_still_tell() -> None:
    pinned = facts_digest(MODELS[0])
    same = drifts(f'"openai:alpha-3" = "{pinned}"', nothing)["openai"]
    assert (same.at_hand, same.changes) == (False, ())
    dearer = msgspec.structs.replace(MODELS[0], prices=facts("openai:alpha-3", "10").prices)
    catalog = Catalog((dearer, *MODELS[1:]), (OPENAI, ANTHROPIC))
    changed = drifts(f'"openai:alpha-3" = "{pinned}"', nothing, catalog)["openai"]
    assert shown(changed) == [("openai:alpha-3", "price", "facts", pinned, facts_digest(dearer))]


def test_a_pinned_model_that_is_gone_is_told() -> None:
    found = drifts('"openai:alpha-3" = "abc"', nothing, Catalog(MODELS[1:], (OPENAI, ANTHROPIC)))["openai"]
    assert shown(found) == [("openai:alpha-3", "removed", "model", "abc", None)]
