"""One entry of a published list, field by field: what can be read becomes ModelFacts, what cannot a Fault. Pure.

A field of the wrong type or with an impossible value is left out and the entry stands; an entry without a usable name,
or of another provider, is left out as a whole. What is not modelled goes into `ModelFacts.fields` as it is; only nulls
are dropped, for null says nothing.

The fields are those of the real lists up to August 2026 (54, https://llmring.github.io/registry/, openai version 7,
anthropic version 9, google version 5).
"""

from datetime import date
from decimal import Decimal

import msgspec

from llmring.pricing import Prices
from llmring.refs import ModelRef
from llmring.registry.anomalies import PLACEHOLDER, is_preview, why_not_chat
from llmring.registry.catalog import CAPABILITIES, Json, ModelFacts, Source
from llmring.registry.faults import Fault, FaultKind

DOLLARS = "dollars_per_million_tokens_"
PRICE_KEYS = {
    "input": f"{DOLLARS}input",
    "output": f"{DOLLARS}output",
    "cached_input": f"{DOLLARS}cached_input",
    "cache_read": f"{DOLLARS}cache_read",
    "cache_write_5m": f"{DOLLARS}cache_write_5m",
    "cache_write_1h": f"{DOLLARS}cache_write_1h",
    "input_long_context": f"{DOLLARS}input_long_context",
    "output_long_context": f"{DOLLARS}output_long_context",
    "output_thinking": f"{DOLLARS}output_thinking",
}
"""Our names of prices, those of `Prices`, and the registry's."""

REQUIRED = (
    "model_name",
    "display_name",
    "max_input_tokens",
    "max_output_tokens",
    f"{DOLLARS}input",
    f"{DOLLARS}output",
    "supports_vision",
    "supports_function_calling",
    "supports_json_mode",
    "is_active",
)
"""Keys that every entry has in the registry's specification; null is a value."""

# Far above any real price or limit. Beyond these a number is a mistake, and writing out 1e999999 would be one too.
_DEAREST = Decimal(1_000_000)
_FINEST = -15
_LARGEST = 10**12
_EXPONENT = 30
_BIGGEST = 10**30
_DEEPEST = 30
_DAY = len("2026-08-18")


TWICE = "stands twice; the first is taken"


class Repeated(dict[str, Json]):
    """A JSON object in which `keys` stood more than once; the first of each was kept."""

    repeated: tuple[str, ...] = ()


def read_entry(key: str | None, entry: Json, source: Source) -> tuple[ModelFacts | None, tuple[Fault, ...]]:
    """The facts of one entry, None where it is left out, and what was wrong. `key`: its own in an object of entries."""
    if not isinstance(entry, dict):
        return None, (Fault(model=key, kind="wrong_type", what=f"expected an object, not {shown(entry)}"),)
    reader = _Reader(entry)
    ref = reader.ref(key, source.provider)
    if ref is None:
        return None, tuple(reader.faults)
    facts = _facts(reader, ref, source)
    return facts, tuple(reader.faults)


def shown(value: Json) -> str:
    """A value as a message shows it: short."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    text = text.removeprefix("Decimal('").removesuffix("')") if isinstance(value, Decimal) else text
    return text if len(text) <= 40 else f"{text[:37]}..."


def _facts(reader: "_Reader", ref: ModelRef, source: Source) -> ModelFacts:
    flags = {name: reader.flag(flag) for name, flag in CAPABILITIES.items()}
    endpoint = reader.text("api_endpoint")
    why = why_not_chat(ref, endpoint)
    if why is not None and endpoint in ("chat", "responses"):
        reader.fault("api_endpoint", "not_chat", f"marked {endpoint!r}, but it {why}")
    if PLACEHOLDER.search(ref.model):
        reader.fault(None, "placeholder", "stands for models that are gone; no provider knows this name")
    title = reader.text("display_name")
    active = reader.flag("is_active")
    return ModelFacts(
        ref=ref,
        display_name=title if title is not None else ref.model,
        model_aliases=reader.aliases("model_aliases"),
        family=reader.text("model_family"),
        max_input_tokens=reader.tokens("max_input_tokens"),
        max_output_tokens=reader.tokens("max_output_tokens"),
        prices=_prices(reader),
        cache_storage_usd=reader.price("cache_storage_cost_per_million_tokens_per_hour"),
        is_active=active if active is not None else True,
        is_chat=why is None,
        is_preview=is_preview(ref.model),
        release_date=reader.day("release_date"),
        added_date=reader.day("added_date"),
        deprecated_date=reader.day("deprecated_date"),
        endpoint=endpoint,
        capabilities=frozenset(name for name, flag in flags.items() if flag),
        unstated=frozenset(name for name, flag in flags.items() if flag is None),
        recommended_reasoning_tokens=reader.tokens("min_recommended_reasoning_tokens"),
        source=source,
        fields=reader.rest(),
    )


def _prices(reader: "_Reader") -> Prices | None:
    prices = Prices(
        **{name: reader.price(key) for name, key in PRICE_KEYS.items()},
        long_context_threshold_tokens=reader.tokens("long_context_threshold_tokens"),
    )
    return None if prices == Prices() else prices


class _Reader:
    """Takes fields out of an entry, each once, and keeps a list of what was wrong."""

    def __init__(self, entry: dict[str, Json]) -> None:
        self._left = dict(entry)
        self._name: str | None = None
        self.faults: list[Fault] = []
        repeated = entry.repeated if isinstance(entry, Repeated) else ()
        # Known before the name is.
        self._early = [Fault(field=key, kind="duplicate", what=TWICE) for key in repeated]
        self._early += [Fault(field=key, kind="missing_key", what="is missing") for key in REQUIRED if key not in entry]

    def fault(self, field: str | None, kind: FaultKind, what: str) -> None:
        self.faults.append(Fault(model=self._name, field=field, kind=kind, what=what))

    def ref(self, key: str | None, provider: str) -> ModelRef | None:
        """The model's reference; None, with a fault, where there is none."""
        self._name = key
        name = self._left.pop("model_name", None)
        if name is None:
            name = (key or "").removeprefix(f"{provider}:")
        self._name = name if name and isinstance(name, str) else key
        self.faults += [msgspec.structs.replace(fault, model=self._name) for fault in self._early]
        said = self.text("provider")
        if said is not None and said != provider:
            self.fault("provider", "wrong_provider", f"is {shown(said)} in the list of {provider}; left out")
            return None
        if key is not None and isinstance(name, str) and key != f"{provider}:{name}":
            self.fault(None, "wrong_key", f"stands under {shown(key)}, not under '{provider}:{name}'")
        if not isinstance(name, str) or not _is_name(name):
            self.fault("model_name", "wrong_value", f"{shown(name)} is no name of a model; left out")
            return None
        return ModelRef(provider, name)

    def text(self, field: str) -> str | None:
        value = self._left.pop(field, None)
        if value is None:
            return None
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value
        kind: FaultKind = "wrong_value" if isinstance(value, str) else "wrong_type"
        self.fault(field, kind, f"expected a line of text, not {shown(value)}")
        return None

    def flag(self, field: str) -> bool | None:
        value = self._left.pop(field, None)
        if value is None or isinstance(value, bool):
            return value
        self.fault(field, "wrong_type", f"expected true or false, not {shown(value)}")
        return None

    def tokens(self, field: str) -> int | None:
        """A count of tokens. 0 is the registry's other word for "unknown"."""
        value = self._left.pop(field, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault(field, "wrong_type", f"expected a whole number of tokens, not {shown(value)}")
        elif value == 0:
            self.fault(field, "unknown_limit", "is 0, read as unknown")
        elif not 0 < value < _LARGEST:
            self.fault(field, "wrong_value", f"{shown(value)} is no number of tokens")
        else:
            return value
        return None

    def price(self, field: str) -> Decimal | None:
        value = self._left.pop(field, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.fault(field, "wrong_type", f"expected dollars as a number, not {shown(value)}")
            return None
        price = Decimal(value)
        if not _is_price(price):
            self.fault(field, "wrong_value", f"{shown(value)} is no price")
            return None
        return price.copy_abs()

    def day(self, field: str) -> date | None:
        value = self._left.pop(field, None)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault(field, "wrong_type", f"expected a date as text, not {shown(value)}")
            return None
        day = parse_day(value)
        if day is None:
            self.fault(field, "wrong_value", f"{shown(value)} is no date, such as '2026-08-18'")
        return day

    def aliases(self, field: str) -> tuple[str, ...]:
        value = self._left.pop(field, None)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fault(field, "wrong_type", f"expected a list of names, not {shown(value)}")
            return ()
        names = []
        for name in value:
            if isinstance(name, str) and _is_name(name):
                names.append(name)
            else:
                self.fault(field, "wrong_value", f"{shown(name)} is no name; left out of the aliases")
        return tuple(dict.fromkeys(names))

    def rest(self) -> dict[str, Json]:
        """What nobody took and is not null."""
        kept: dict[str, Json] = {}
        for field, value in self._left.items():
            if not (_is_sound(field) and _is_sound(value)):
                self.fault(
                    field,
                    "wrong_value",
                    f"{shown(value)} cannot be kept: no JSON, too large a number, or nested too deep",
                )
            elif value is not None:
                kept[field] = value
        return kept


def parse_day(text: str) -> date | None:
    """The day of a date or of a time, in whatever zone that is; None for what is neither."""
    if len(text) > _DAY and text[_DAY] not in "T ":
        return None
    try:
        return date.fromisoformat(text[:_DAY])
    except ValueError:
        return None


def _is_price(price: Decimal) -> bool:
    if not price.is_finite() or (price.is_signed() and price != 0):
        return False
    exponent = price.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _FINEST and price <= _DEAREST


def _is_name(name: str) -> bool:
    return bool(name) and not any(c.isspace() or not c.isprintable() for c in name)


def _is_sound(value: Json, depth: int = 0) -> bool:
    """Whether a value can be written as JSON again: no NaN, no half of a UTF-16 pair, nothing without end."""
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) <= _EXPONENT
    if isinstance(value, str):
        return not any("\ud800" <= c <= "\udfff" for c in value) if not value.isascii() else True
    if isinstance(value, int):
        return -_BIGGEST < value < _BIGGEST
    if not isinstance(value, dict | list):
        return True
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return depth < _DEEPEST and all(_is_sound(part, depth + 1) for part in inner)
