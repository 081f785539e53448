"""Catalogs on disk: the bundled snapshot of the registry, and the form in which it is kept.

Reads files that came with the package, never the network. The form holds facts only, one file a provider and one line
a model; `scripts/snapshot` writes it.
"""

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec

from llmring.errors import RegistryError
from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source

BUNDLED = Path(__file__).parent / "snapshot"

CAPABILITIES = {
    "vision": "supports_vision",
    "pdf": "supports_pdf_input",
    "tools": "supports_function_calling",
    "parallel_tools": "supports_parallel_tool_calls",
    "json": "supports_json_mode",
    "json_schema": "supports_json_schema",
    "streaming": "supports_streaming",
    "temperature": "supports_temperature",
    "system": "supports_system_message",
    "reasoning": "is_reasoning_model",
    "thinking": "supports_thinking",
    "tool_choice": "supports_tool_choice",
}
"""Our names of capabilities, and the registry's flags that affirm them."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model in a snapshot file. Prices are in dollars per million tokens, as in `Prices`."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    max_input: int | None = None
    max_output: int | None = None
    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    input_long: Decimal | None = None
    output_long: Decimal | None = None
    output_thinking: Decimal | None = None
    long_above: int | None = None
    active: bool = True
    released: date | None = None
    deprecated: date | None = None
    endpoint: str | None = None
    can: tuple[str, ...] = ()
    reasoning_tokens: int | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's file."""

    provider: str
    version: int
    published: date
    models: tuple[Row, ...]


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
        snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except OSError as error:
        raise RegistryError(path, str(error.strerror or error).lower()) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise RegistryError(path, f"damaged: {error}") from error
    for row in snapshot.models:
        # msgspec takes "NaN" and negative numbers for Decimals.
        if any(isinstance(v, Decimal) and not (v.is_finite() and v >= 0) for v in msgspec.structs.astuple(row)):
            raise RegistryError(path, f"damaged: {row.name} has a price that is no price")
    return snapshot


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The bytes of a snapshot file: one line a model, so that a change of a price is a change of a line."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    head = encode({"provider": snapshot.provider, "version": snapshot.version, "published": snapshot.published})
    rows = b",\n".join(encode(row) for row in snapshot.models)
    return head[:-1] + b',"models":[\n' + rows + b"\n]}\n"


def _facts(row: Row, source: Source) -> ModelFacts:
    return ModelFacts(
        ref=ModelRef(source.provider, row.name),
        display_name=row.title,
        model_aliases=row.aliases,
        max_input_tokens=row.max_input,
        max_output_tokens=row.max_output,
        prices=_prices(row),
        is_active=row.active,
        release_date=row.released,
        deprecated_date=row.deprecated,
        endpoint=row.endpoint,
        capabilities=frozenset(row.can),
        recommended_reasoning_tokens=row.reasoning_tokens,
        source=source,
    )


def _prices(row: Row) -> Prices | None:
    if row.input is None and row.output is None:
        return None
    return Prices(
        input=row.input,
        output=row.output,
        cached_input=row.cached_input,
        cache_read=row.cache_read,
        cache_write_5m=row.cache_write_5m,
        cache_write_1h=row.cache_write_1h,
        input_long_context=row.input_long,
        output_long_context=row.output_long,
        output_thinking=row.output_thinking,
        long_context_threshold_tokens=row.long_above,
    )
