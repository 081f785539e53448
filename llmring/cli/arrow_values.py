"""How the values of an Arrow column are spelled in JSON, decided by the column's type. Pure.

Texts, numbers and booleans stay what they are. Dates, times and durations are ISO 8601 text, to the microsecond;
decimals and UUIDs are text, as they are exact. Lists are arrays; structs and maps are objects, without what is null.
A number that JSON does not have (NaN, infinity) is null. Bytes have no spelling: whether they are text, a picture or a
hash, the file does not say.
"""

import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Spell = Callable[[Any], Any]
"""From a value as pyarrow hands it out, never None, to what msgspec writes as JSON."""


def microseconds(arrow: Any, kind: Any) -> Any:
    """The same type without nanoseconds, which Python's dates do not have, and without a dictionary around it."""
    types = arrow.types
    if types.is_dictionary(kind):
        return microseconds(arrow, kind.value_type)
    if types.is_timestamp(kind) and kind.unit == "ns":
        return arrow.timestamp("us", tz=kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return arrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return arrow.duration("us")
    if types.is_struct(kind):
        return arrow.struct([field.with_type(microseconds(arrow, field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(kind.key_type, microseconds(arrow, kind.item_type), keys_sorted=kind.keys_sorted)
    if types.is_list(kind):
        return arrow.list_(microseconds(arrow, kind.value_type))
    if types.is_large_list(kind):
        return arrow.large_list(microseconds(arrow, kind.value_type))
    if types.is_fixed_size_list(kind):
        return arrow.list_(microseconds(arrow, kind.value_type), kind.list_size)
    return kind


def speller(arrow: Any, kind: Any) -> Spell:
    """How values of this type are spelled. Raises ValueError with the name of a type that has no spelling."""
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        # pyarrow makes a UUID of bytes; of others it hands out what they are stored as.
        return _as_it_is if kind.extension_name == "arrow.uuid" else speller(arrow, kind.storage_type)
    if types.is_dictionary(kind):
        return speller(arrow, kind.value_type)
    if types.is_floating(kind):
        return _FLOATS.get(str(kind), _finite)
    if types.is_decimal(kind):
        return _plainly
    if types.is_map(kind):
        return _map(arrow, kind)
    if types.is_struct(kind):
        return _struct({field.name: speller(arrow, field.type) for field in kind})
    if any(is_list(kind) for is_list in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        return _list(speller(arrow, kind.value_type))
    plain = (types.is_null, types.is_boolean, types.is_integer, types.is_temporal)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if any(is_one(kind) for is_one in (*plain, *texts)):
        return _as_it_is
    raise ValueError(str(kind))


def _as_it_is(value: Any) -> Any:
    return value


def _plainly(value: Decimal) -> str:
    """Never `0E-9`."""
    return f"{value:f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shortest(form: str) -> Spell:
    """The shortest number that is stored as the same few bytes: 0.1, where a double would show 0.10000000149011612."""

    def spell(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        stored = struct.pack(form, value)
        short = (float(f"{value:.{digits}g}") for digits in range(3, 10))
        return next((one for one in short if _packs_to(form, one, stored)), value)

    return spell


def _packs_to(form: str, value: float, stored: bytes) -> bool:
    try:
        return struct.pack(form, value) == stored
    except OverflowError:
        # The largest number of a type, rounded up.
        return False


_FLOATS = {"float": _shortest("<f"), "halffloat": _shortest("<e")}


def _list(spell: Spell) -> Spell:
    return lambda values: [None if value is None else spell(value) for value in values]


def _struct(spells: dict[str, Spell]) -> Spell:
    return lambda value: {name: spells[name](one) for name, one in value.items() if one is not None}


def _map(arrow: Any, kind: Any) -> Spell:
    key = arrow.types
    if not any(is_one(kind.key_type) for is_one in (key.is_string, key.is_large_string, key.is_integer)):
        raise ValueError(str(kind))
    spell = speller(arrow, kind.item_type)
    return lambda pairs: {str(name): spell(one) for name, one in pairs if one is not None}
