"""Catalogs on disk: the bundled snapshot of the registry, and the form in which it is kept.

Reads files that came with the package, never the network. The form holds facts only, no texts: one file a provider and
one line a model; `scripts/snapshot` writes it.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from llmring.errors import RegistryError
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import CAPABILITIES, Catalog, Json, ModelFacts, Source
from llmring.registry.published import PublishedList

BUNDLED = Path(__file__).parent / "snapshot"

PRICES = {
    "input": "input",
    "output": "output",
    "cached_input": "cached_input",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "input_long": "input_long_context",
    "output_long": "output_long_context",
    "output_thinking": "output_thinking",
    "long_above": "long_context_threshold_tokens",
}
"""Columns of a row, and the fields of `Prices` that they hold."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model in a snapshot file. Prices are in dollars per million tokens, as in `Prices`.

    `can` and `unsaid`: capabilities that are affirmed, and those on which the registry is silent; `more`: ModelFacts'
    `fields` without texts.
    """

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    family: str | None = None
    max_input: int | None = None
    max_output: int | None = None
    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cache_storage: Decimal | None = None
    input_long: Decimal | None = None
    output_long: Decimal | None = None
    output_thinking: Decimal | None = None
    long_above: int | None = None
    active: bool = True
    chat: bool = True
    preview: bool = False
    released: date | None = None
    added: date | None = None
    deprecated: date | None = None
    endpoint: str | None = None
    can: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    reasoning_tokens: int | None = None
    more: dict[str, Any] = msgspec.field(default_factory=dict)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's file."""

    provider: str
    version: int
    published: date | None
    models: tuple[Row, ...]


# Fractions are Decimals in `more` too, as they were published.
_DECODER = msgspec.json.Decoder(Snapshot, float_hook=Decimal)
_NO_PRICES = Prices()


@cache
def read_bundled() -> Catalog:
    """The catalog that came with this package. Read once; raises RegistryError when a file is damaged."""
    return read_snapshots(BUNDLED)


def read_snapshots(directory: Path) -> Catalog:
    """The catalog of the snapshot files in `directory`. Raises RegistryError that names the file."""
    paths = sorted(directory.glob("*.json"))
    if not paths:
        raise RegistryError(directory, "holds no snapshot: the installation is not complete")
    models: list[ModelFacts] = []
    sources: list[Source] = []
    for path in paths:
        snapshot = _read_snapshot(path)
        source = Source(provider=snapshot.provider, version=snapshot.version, published=snapshot.published)
        sources.append(source)
        models.extend(_facts(row, source) for row in snapshot.models)
    return Catalog(models, sources)


def _read_snapshot(path: Path) -> Snapshot:
    try:
        snapshot = _DECODER.decode(path.read_bytes())
    except OSError as error:
        raise RegistryError(path, str(error.strerror or error).lower()) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise RegistryError(path, f"damaged: {error}") from error
    for row in snapshot.models:
        # msgspec takes "NaN" and negative numbers for Decimals.
        if any(isinstance(v, Decimal) and not (v.is_finite() and v >= 0) for v in msgspec.structs.astuple(row)):
            raise RegistryError(path, f"damaged: {row.name} has a price that is no price")
    return snapshot


def snapshot_of(published: PublishedList) -> Snapshot:
    """What is kept of a published list: every fact, no text. The same list gives the same bytes."""
    rows = sorted((_row(facts) for facts in published.models), key=lambda row: row.name)
    return Snapshot(
        provider=published.provider, version=published.version, published=published.published, models=tuple(rows)
    )


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The bytes of a snapshot file: one line a model, so that a change of a price is a change of a line."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    head = encode({"provider": snapshot.provider, "version": snapshot.version, "published": snapshot.published})
    rows = b",\n".join(encode(row) for row in snapshot.models)
    return head[:-1] + b',"models":[\n' + rows + b"\n]}\n"


def without_texts(fields: Mapping[str, Json]) -> dict[str, Json]:
    """Of a model's further fields those that state a fact: numbers, flags, and words that stand for one."""
    return {name: value for name, value in sorted(fields.items()) if name not in _TEXTS and not isinstance(value, dict)}


_TEXTS = frozenset({"description", "recommended_use_cases"})


def _row(facts: ModelFacts) -> Row:
    prices = facts.prices if facts.prices is not None else _NO_PRICES
    return Row(
        name=facts.ref.model,
        title=facts.display_name,
        aliases=facts.model_aliases,
        family=facts.family,
        max_input=facts.max_input_tokens,
        max_output=facts.max_output_tokens,
        cache_storage=facts.cache_storage_usd,
        active=facts.is_active,
        chat=facts.is_chat,
        preview=facts.is_preview,
        released=facts.release_date,
        added=facts.added_date,
        deprecated=facts.deprecated_date,
        endpoint=facts.endpoint,
        can=tuple(name for name in CAPABILITIES if name in facts.capabilities),
        unsaid=tuple(name for name in CAPABILITIES if name in facts.unstated),
        reasoning_tokens=facts.recommended_reasoning_tokens,
        more=without_texts(facts.fields),
        **{column: getattr(prices, field) for column, field in PRICES.items()},
    )


def _facts(row: Row, source: Source) -> ModelFacts:
    prices = Prices(**{field: getattr(row, column) for column, field in PRICES.items()})
    return ModelFacts(
        ref=ModelRef(source.provider, row.name),
        display_name=row.title,
        model_aliases=row.aliases,
        family=row.family,
        max_input_tokens=row.max_input,
        max_output_tokens=row.max_output,
        prices=prices if prices != _NO_PRICES else None,
        cache_storage_usd=row.cache_storage,
        is_active=row.active,
        is_chat=row.chat,
        is_preview=row.preview,
        release_date=row.released,
        added_date=row.added,
        deprecated_date=row.deprecated,
        endpoint=row.endpoint,
        capabilities=frozenset(row.can),
        unstated=frozenset(row.unsaid),
        recommended_reasoning_tokens=row.reasoning_tokens,
        fields=row.more,
        source=source,
    )
