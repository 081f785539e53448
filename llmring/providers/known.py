"""What we know of providers before any file is read: which codec, which address, which key, which charge rule. Data.

A provider that is not here needs no code: a `[providers.<name>]` table with `kind` and `base_url` in the lockfile.
"""

from collections.abc import Mapping

import msgspec

from llmring.errors import ConfigError, Dimension, UnknownProvider
from llmring.lockfile import Kind, ProviderSettings
from llmring.providers.anthropic import AnthropicCodec
from llmring.providers.budget import Limit
from llmring.providers.codec import Codec
from llmring.providers.openai import OpenAICodec
from llmring.providers.openai_dialect import COMPATIBLE
from llmring.providers.regime import Regime, Rule

DEFAULT_MAX_IN_FLIGHT = 64
"""Connections to one provider where the lockfile does not say."""

CODECS: Mapping[Kind, Codec] = {
    "openai": OpenAICodec(),
    "openai-compatible": OpenAICodec(dialect=COMPATIBLE),
    "anthropic": AnthropicCodec(),
}

REGIMES: Mapping[Kind, Regime] = {
    # OpenAI: the estimate at admission is kept, output is not deducted (735 of 735 recorded replies, 2026-08).
    "openai": {"tokens": Rule(input=True, settles=False)},
    "openai-compatible": {"tokens": Rule(input=True, output=True)},
    # Anthropic: cache reads are free on most models; max_tokens does not reduce the output limit (0 of 83 replies).
    "anthropic": {
        "tokens": Rule(input=True, output=True, cache_reads=False),
        "input": Rule(input=True, cache_reads=False),
        "output": Rule(output=True),
    },
}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A provider by name. `key_variables` are tried in order."""

    kind: Kind
    base_url: str
    key_variables: tuple[str, ...]


PROVIDERS: Mapping[str, Known] = {
    "openai": Known(kind="openai", base_url="https://api.openai.com/v1", key_variables=("OPENAI_API_KEY",)),
    "anthropic": Known(kind="anthropic", base_url="https://api.anthropic.com", key_variables=("ANTHROPIC_API_KEY",)),
}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to know of its provider. No `key_variables`: the server takes no key."""

    name: str
    kind: Kind
    base_url: str
    key_variables: tuple[str, ...]
    limits: tuple[Limit, ...]
    max_in_flight: int
    headers: dict[str, str]

    @property
    def codec(self) -> Codec:
        return CODECS[self.kind]

    @property
    def regime(self) -> Regime:
        return REGIMES[self.kind]


def endpoint(name: str, settings: ProviderSettings | None) -> Endpoint:
    """What is known of provider `name`, under what the lockfile says of it. Raises UnknownProvider or ConfigError."""
    known = PROVIDERS.get(name)
    if known is None and settings is None:
        raise UnknownProvider(name, sorted(PROVIDERS), where="; for another one write a [providers.<name>] table")
    given = settings if settings is not None else ProviderSettings(name=name)
    kind = given.kind or (known.kind if known else None)
    base_url = given.base_url or (known.base_url if known else None)
    if kind is None or base_url is None:
        missing = "kind" if kind is None else "base_url"
        raise ConfigError(f"[providers.{name}] in the lockfile needs {missing}: {name!r} is not a provider we know")
    return Endpoint(
        name=name,
        kind=kind,
        base_url=base_url,
        key_variables=_key_variables(given, known),
        limits=_limits(given),
        max_in_flight=given.max_in_flight or DEFAULT_MAX_IN_FLIGHT,
        headers=given.headers,
    )


def _key_variables(given: ProviderSettings, known: Known | None) -> tuple[str, ...]:
    if given.api_key_env is not None:
        return (given.api_key_env,)
    return known.key_variables if known else ()


def _limits(given: ProviderSettings) -> tuple[Limit, ...]:
    configured: tuple[tuple[Dimension, float | None, float], ...] = (
        ("requests", given.requests_per_minute, 60.0),
        ("tokens", given.tokens_per_minute, 60.0),
        ("input", given.input_tokens_per_minute, 60.0),
        ("output", given.output_tokens_per_minute, 60.0),
        ("day", given.requests_per_day, 86_400.0),
    )
    return tuple(
        Limit(dimension=dimension, amount=amount, period=period)
        for dimension, amount, period in configured
        if amount is not None
    )
