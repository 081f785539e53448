"""What the registry says of a model, spelled as JSON and as lines for people. Pure but for `print_json`.

In JSON money is a string, as it is exact; what the registry does not say is null or left out.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import click
import msgspec

from llmring.cli.tables import printable
from llmring.pricing import Prices
from llmring.registry.catalog import CAPABILITIES, Json, ModelFacts, blended_usd

_PRICES = {
    "input": "Input Cost",
    "output": "Output Cost",
    "cached_input": "Cached Input Cost",
    "cache_read": "Cache Read Cost",
    "cache_write_5m": "Cache Write Cost (5 minutes)",
    "cache_write_1h": "Cache Write Cost (1 hour)",
    "input_long_context": "Long-Context Input Cost",
    "output_long_context": "Long-Context Output Cost",
    "output_thinking": "Thinking Output Cost",
}
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def facts_json(facts: ModelFacts) -> dict[str, Any]:
    """Every fact of a model."""
    prices = facts.prices if facts.prices is not None else Prices()
    return {
        "model": str(facts.ref),
        "provider": facts.ref.provider,
        "name": facts.ref.model,
        "display_name": facts.display_name,
        "aliases": facts.model_aliases,
        "family": facts.family,
        "is_active": facts.is_active,
        "is_chat": facts.is_chat,
        "is_preview": facts.is_preview,
        "max_input_tokens": facts.max_input_tokens,
        "max_output_tokens": facts.max_output_tokens,
        "recommended_reasoning_tokens": facts.recommended_reasoning_tokens,
        "usd_per_million_tokens": {
            **{name: _exact(getattr(prices, name)) for name in _PRICES},
            "blended": _exact(blended_usd(facts)),
            "cache_storage_per_hour": _exact(facts.cache_storage_usd),
        },
        "long_context_threshold_tokens": prices.long_context_threshold_tokens,
        "capabilities": {name: facts.says(name) for name in CAPABILITIES},
        "endpoint": facts.endpoint,
        "release_date": facts.release_date,
        "added_date": facts.added_date,
        "deprecated_date": facts.deprecated_date,
        "fields": dict(facts.fields),
        "source": {
            "origin": facts.source.origin,
            "provider": facts.source.provider,
            "version": facts.source.version,
            "published": facts.source.published,
        },
    }


def facts_lines(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    """Names and values, for reading. What the registry does not say is left out, but for limits and the two prices."""
    yield "Model", str(facts.ref)
    yield "Provider", facts.ref.provider
    yield "Display Name", facts.display_name
    if facts.family is not None:
        yield "Family", facts.family
    if facts.model_aliases:
        yield "Aliases", ", ".join(facts.model_aliases)
    yield "Active", _yes(facts.is_active)
    yield "Chat", _yes(facts.is_chat)
    if facts.is_preview:
        yield "Preview", "yes"
    yield "Max Input", tokens_text(facts.max_input_tokens)
    yield "Max Output", tokens_text(facts.max_output_tokens)
    yield from _price_lines(facts)
    yield "Supports", ", ".join(name for name in CAPABILITIES if facts.says(name)) or "nothing that is stated"
    if facts.unstated:
        yield "Not Stated", ", ".join(name for name in CAPABILITIES if name in facts.unstated)
    if facts.recommended_reasoning_tokens is not None:
        yield "Reasoning Needs", f"{facts.recommended_reasoning_tokens:,} tokens at least"
    if facts.endpoint is not None:
        yield "Endpoint", facts.endpoint
    days = {"Released": facts.release_date, "Added": facts.added_date, "Deprecated": facts.deprecated_date}
    for name, day in days.items():
        if day is not None:
            yield name, str(day)
    for field, value in facts.fields.items():
        yield printable(field).replace("_", " ").title(), _value(value)
    yield "Source", str(facts.source)


def usd_text(usd: Decimal) -> str:
    """An amount as a price list has it: two decimals, or as many as it needs."""
    return f"{usd:.2f}" if usd == round(usd, 2) else f"{usd.normalize():f}"


def _exact(usd: Decimal | None) -> str | None:
    """An amount without trailing zeros."""
    if usd is None:
        return None
    return f"{usd.normalize():f}" if usd else "0"


def tokens_text(tokens: int | None) -> str:
    return f"{tokens:,} tokens" if tokens is not None else "unknown"


def print_json(value: dict[str, Any]) -> None:
    click.echo(_ENCODER.encode(value))


def _price_lines(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    prices = facts.prices if facts.prices is not None else Prices()
    threshold = prices.long_context_threshold_tokens
    for name, title in _PRICES.items():
        usd: Decimal | None = getattr(prices, name)
        above = f" above {threshold:,} tokens" if name.endswith("long_context") and threshold is not None else ""
        if usd is not None or name in ("input", "output"):
            yield title, f"${usd_text(usd)}/M tokens{above}" if usd is not None else "unknown"
    if facts.cache_storage_usd is not None:
        yield "Cache Storage Cost", f"${usd_text(facts.cache_storage_usd)}/M tokens and hour"
    blended = blended_usd(facts)
    if blended is not None:
        yield "Blended Cost", f"${usd_text(blended)}/M tokens (3 parts input, 1 part output)"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _value(value: Json) -> str:
    if isinstance(value, bool):
        return _yes(value)
    if isinstance(value, str):
        return printable(value)
    return f"{value:f}" if isinstance(value, Decimal) else printable(_ENCODER.encode(value).decode())
