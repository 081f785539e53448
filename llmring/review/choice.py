"""Which models a pattern stands for: "anthropic:*" and what is required of it, into a list in order. Pure.

Chat models that are active, not previews unless the pattern says so, and that hold the requirements. First those that
are the newest of their tier, then the later generation by name (release dates are known of too few), then the dearer:
what a price buys is the only sign of quality that the registry has of every model.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import zip_longest

import msgspec

from llmring.errors import InvalidRequest
from llmring.lockfile.constraints import Requirements
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, blended_usd
from llmring.registry.generations import generation, newest
from llmring.review.requirements import failings

MOST = 3
"""How many models a pattern is written as, unless more are asked for: a longer chain is hardly ever walked."""


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a pattern matched, and why it was taken or left."""

    ref: ModelRef
    taken: bool
    why: str


def choose(
    catalog: Catalog, patterns: Sequence[str], required: Requirements, today: date, most: int = MOST
) -> tuple[Considered, ...]:
    """Every model that the patterns match, those taken first and in order: the best of each pattern, then the second of
    each, so that a fallback is of another pattern; at most `most`, or one of each. Raises InvalidRequest for a pattern
    that matches nothing.
    """
    queues: list[list[Considered]] = []
    left: list[Considered] = []
    seen: set[ModelRef] = set()
    for pattern in patterns:
        if not is_pattern(pattern):
            queues.append([_named(catalog, pattern, required)])
            continue
        new = [facts for facts in _matched(catalog, pattern) if facts.ref not in seen]
        seen.update(facts.ref for facts in new)
        fit = [facts for facts in new if not against(facts, pattern, required, today)]
        current = {facts.ref for provider in {f.ref.provider for f in fit} for facts in newest(catalog, provider)}
        fit.sort(key=lambda facts: (facts.ref in current, *_rank(facts)), reverse=True)
        queues.append([_for(facts) for facts in fit])
        left += [_left(facts, against(facts, pattern, required, today)) for facts in new if facts not in fit]
    in_order = list({one.ref: one for turn in zip_longest(*queues) for one in turn if one is not None}.values())
    bound = max(most, len(patterns))
    beyond = [
        Considered(ref=one.ref, taken=False, why=f"behind the first {bound} ({one.why})") for one in in_order[bound:]
    ]
    return (*in_order[:bound], *beyond, *left)


def is_pattern(text: str) -> bool:
    """Whether a model's name is meant as a pattern of several."""
    return any(c in text.partition(":")[2] for c in "*?[")


def _named(catalog: Catalog, text: str, required: Requirements) -> Considered:
    """A model that is named outright is taken, unless what is known of it speaks against a requirement."""
    try:
        ref = ModelRef.parse(text)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    facts = catalog.get(ref)
    against = failings(facts, required) if facts is not None else ()
    if against:
        raise InvalidRequest(f"{ref} does not hold the constraints: {'; '.join(against)}")
    return Considered(ref=ref, taken=True, why="named" if facts is not None else "named; not in the registry")


def _matched(catalog: Catalog, pattern: str) -> Sequence[ModelFacts]:
    try:
        found = catalog.matching(pattern)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    if not found:
        known = ", ".join(catalog.providers())
        raise InvalidRequest(f"no model in the registry matches {pattern!r}: it knows the providers {known}")
    return found


def _left(facts: ModelFacts, why: Sequence[str]) -> Considered:
    return Considered(ref=facts.ref, taken=False, why="; ".join(why))


def against(facts: ModelFacts, pattern: str, required: Requirements, today: date) -> tuple[str, ...]:
    """What speaks against taking a model for a pattern; empty when nothing does."""
    if not facts.is_chat:
        return ("is not a chat model",)
    if not facts.is_active:
        return ("is not active",)
    if facts.deprecated_date is not None:
        gone = "since" if facts.deprecated_date <= today else "as of"
        return (f"is deprecated {gone} {facts.deprecated_date}",)
    if facts.is_preview and "preview" not in pattern:
        return ("is a preview",)
    return failings(facts, required)


def _rank(facts: ModelFacts) -> tuple[tuple[int, ...], Decimal, str]:
    # The name last, so that the order is the same on every machine.
    return generation(facts.ref.model).number, blended_usd(facts) or Decimal(0), facts.ref.model


def _for(facts: ModelFacts) -> Considered:
    words = [f"released {facts.release_date}"] if facts.release_date is not None else []
    cost = blended_usd(facts)
    if cost is not None:
        words.append(f"${cost.normalize():f} per million tokens")
    if facts.max_input_tokens is not None:
        words.append(f"{facts.max_input_tokens:,} tokens of input")
    return Considered(ref=facts.ref, taken=True, why=", ".join(words))
