"""How each provider bills what its price list prices: rules as data, with their sources and the day of reading. Pure.

A price list says what a million tokens of a kind cost; a rule says which tokens are of that kind, when a tier applies
and to what, and what a batch or another service tier takes off. The registry has the first, and nothing of the second.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

import msgspec

_HALF = Decimal("0.5")


class Surcharge(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider publishes as multiples of a model's own rates, and the registry therefore does not have.

    `models` is a pattern for whole names. `long_input` and `long_output` multiply above `threshold_tokens`;
    `cache_write` multiplies the input rate.
    """

    models: re.Pattern[str]
    threshold_tokens: int | None = None
    long_input: Decimal | None = None
    long_output: Decimal | None = None
    cache_write: Decimal | None = None


class BillingRule(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's rule. `read_on` is the day on which `sources` said so.

    `long_counts_cached`: cached tokens, read and written, count towards the threshold of the long-context tier.
    `long_bills`: what the tier's rates are for, every token of the request or only the input above the threshold.
    `long_scales_cache`: cache rates rise with the input rate. `batch_share` is what a batch costs of the same request
    online; `batch_cuts_cache_reads`: cache reads are cheaper there, too. `tiers`: what
    a service tier costs of the list price, by the provider's name for it, None where every one costs the same; one that
    is not here has prices of its own.
    """

    sources: tuple[str, ...] = ()
    read_on: date | None = None
    long_counts_cached: bool = True
    long_bills: Literal["request", "excess"] = "request"
    long_scales_cache: bool = True
    surcharges: tuple[Surcharge, ...] = ()
    batch_share: Decimal = _HALF
    batch_cuts_cache_reads: bool = True
    tiers: Mapping[str, Decimal] | None = None

    def surcharge(self, model: str) -> Surcharge | None:
        """What is published of a model, by the provider's name for it, as multiples of its rates."""
        return next((one for one in self.surcharges if one.models.fullmatch(model)), None)


USUAL = BillingRule()
"""For providers whose rule is not known: what those that are known have in common; service tiers all cost the same."""

USUAL_TIERS = frozenset({"auto", "default", "flex", "on_demand", "standard", "standard_only"})
"""Service tiers by which nobody bills more than the list price: any other one may be dearer, unless a rule has it."""

_IN_A_BATCH = MappingProxyType({"batch": Decimal(1)})
"""Some providers name a tier so in the answers of a batch, whose share is taken off apart."""

RULES: Mapping[str, BillingRule] = MappingProxyType(
    {
        # GPT-5.4 and later: "prompts with >272K input tokens are priced at 2x input and 1.5x output for the full
        # session", cached input included; the small models (mini, nano) have no such tier. GPT-5.6 and later bill cache
        # writes at 1.25x input, earlier ones nothing beyond input. "priority" has prices of its own, 1.75 to 2.5x.
        "openai": BillingRule(
            sources=(
                "https://developers.openai.com/api/docs/pricing",
                "https://developers.openai.com/api/docs/models/gpt-5.6-sol",
                "https://developers.openai.com/api/docs/guides/prompt-caching",
                "https://developers.openai.com/api/docs/guides/flex-processing",
            ),
            read_on=date(2026, 11, 21),
            surcharges=(
                Surcharge(
                    models=re.compile(r"gpt-5\.[45](?:-pro)?(?:-\d{4}-\d\d-\d\d)?"),
                    threshold_tokens=272_000,
                    long_input=Decimal(2),
                    long_output=Decimal("1.5"),
                ),
                Surcharge(
                    models=re.compile(r"gpt-(?:5\.6|6)(?:-.+)?"),
                    threshold_tokens=272_000,
                    long_input=Decimal(2),
                    long_output=Decimal("1.5"),
                    cache_write=Decimal("1.25"),
                ),
            ),
            tiers=MappingProxyType({"default": Decimal(1), "auto": Decimal(1), "flex": _HALF, **_IN_A_BATCH}),
        ),
        # Sonnet 4 and 4.5 alone have a tier, above 200K of input_tokens + cache_read + cache_creation; "all tokens" of
        # the request are then at it, and cache multipliers apply on top. Thinking is output. A batch halves all usage.
        # "priority" is bought in advance: tokens have no price of their own.
        "anthropic": BillingRule(
            sources=(
                "https://platform.claude.com/docs/en/about-claude/pricing",
                "https://platform.claude.com/docs/en/build-with-claude/batch-processing",
            ),
            read_on=date(2026, 11, 21),
            tiers=MappingProxyType({"standard": Decimal(1), **_IN_A_BATCH}),
        ),
        # "prompts > 200k tokens" of promptTokenCount, in which cached tokens are; the price of output "including
        # thinking tokens", and both cached input and output have a rate for long prompts. Batches: half, but the price
        # of cached input stands in their column as it does online (less for a few models: then this is too much).
        # "priority" costs 1.75 to 2x, by model.
        "google": BillingRule(
            sources=(
                "https://ai.google.dev/gemini-api/docs/pricing",
                "https://ai.google.dev/gemini-api/docs/batch-api",
                "https://ai.google.dev/gemini-api/docs/optimization",
            ),
            read_on=date(2026, 11, 21),
            batch_cuts_cache_reads=False,
            tiers=MappingProxyType({"standard": Decimal(1), "flex": _HALF, **_IN_A_BATCH}),
        ),
    }
)


def rule_of(provider: str) -> BillingRule:
    """The rule of a provider, by its name in references."""
    return RULES.get(provider, USUAL)
