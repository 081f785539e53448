"""Values that satisfy a JSON schema: what the simulated model gives tools as arguments and structured output as
text. Pure and deterministic.

Covers what tools and structured output use: types (lower or upper case, lists of them, nullable), properties and
required, enum, const, default, items, prefixItems, $ref, anyOf, oneOf, allOf, bounds and formats. A `pattern` is
not solved. Required fields only, so the value is the least one; `every_field` gives the optional ones too.
"""

import math
from collections.abc import Callable, Mapping

from llmring.sim.wire import Schema

#: How far inside an exclusive bound a number lies that may be a fraction.
_HAIR = 0.25

_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class _Endless(Exception):
    """The schema needs itself, so no finite value satisfies this branch of it."""


def least_value(schema: Schema, *, every_field: bool = False) -> object:
    """The smallest value that satisfies a schema; None where it requires itself without end."""
    try:
        return _Builder(schema, every_field=every_field, endless=False).value(schema, ())
    except _Endless:
        return _Builder(schema, every_field=every_field, endless=True).value(schema, ())


class _Builder:
    """One schema, with the references inside it. `path` is what is being expanded, to notice a circle."""

    def __init__(self, root: Schema, *, every_field: bool, endless: bool) -> None:
        self._root = root
        self._every_field = every_field
        #: Answer a circle with None instead of giving the branch up.
        self._endless = endless

    def value(self, schema: object, path: tuple[str, ...]) -> object:
        if not isinstance(schema, Mapping):
            return None
        for choice in ("const", "default"):
            if choice in schema:
                return schema[choice]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return options[0]
        if isinstance(reference := schema.get("$ref"), str):
            return self._referred(reference, path)
        for choices in ("anyOf", "oneOf"):
            options = schema.get(choices)
            if isinstance(options, list) and options:
                return self._first_finite(options, path)
        parts = schema.get("allOf")
        if isinstance(parts, list) and parts:
            return self._all(schema, parts, path)
        return self._of_type(schema, path)

    def _referred(self, reference: str, path: tuple[str, ...]) -> object:
        if reference in path or (reference == "#" and path):
            if self._endless:
                return None
            raise _Endless
        return self.value(resolved(reference, self._root), (*path, reference))

    def _first_finite(self, options: list[object], path: tuple[str, ...]) -> object:
        for option in options[:-1]:
            try:
                return self.value(option, path)
            except _Endless:
                continue
        return self.value(options[-1], path)

    def _all(self, schema: Mapping[str, object], parts: list[object], path: tuple[str, ...]) -> object:
        """Of objects the fields of every part; of anything else the first part's value."""
        own = {name: value for name, value in schema.items() if name != "allOf"}
        values = [self.value(part, path) for part in (*parts, *([own] if "properties" in own else []))]
        objects = [value for value in values if isinstance(value, dict)]
        if not objects:
            return values[0]
        return {name: value for one in objects for name, value in one.items()}

    def _of_type(self, schema: Mapping[str, object], path: tuple[str, ...]) -> object:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0] if kind else "string"
        match str(kind).lower():
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "integer":
                return _number(schema, 1)
            case "number":
                return _number(schema, None)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _text(schema)

    def _object(self, schema: Mapping[str, object], path: tuple[str, ...]) -> dict[str, object]:
        properties, required = schema.get("properties"), schema.get("required")
        known = properties if isinstance(properties, Mapping) else {}
        names = list(required) if isinstance(required, list) else []
        if self._every_field:
            names += [name for name in known if name not in names]
        # Below the root, "#" is a circle.
        return {name: self.value(known.get(name, {}), path or ("",)) for name in names}

    def _array(self, schema: Mapping[str, object], path: tuple[str, ...]) -> list[object]:
        prefix = schema.get("prefixItems")
        values = [self.value(item, path or ("",)) for item in prefix] if isinstance(prefix, list) else []
        missing = _whole(schema.get("minItems"), 0) - len(values)
        if missing > 0:
            values += [self.value(schema.get("items", {}), path or ("",))] * missing
        return values


def _number(schema: Mapping[str, object], step: int | None) -> object:
    """1, or the number nearest to it that the bounds allow."""
    apart = _float(schema.get("multipleOf")) or step
    nudge = apart or _HAIR
    low = _bound(max, schema.get("minimum"), schema.get("exclusiveMinimum"), nudge)
    high = _bound(min, schema.get("maximum"), schema.get("exclusiveMaximum"), -nudge)
    wanted = min(max(1.0, low), high)
    if apart is not None:
        up = math.ceil(wanted / apart) * apart
        wanted = up if up <= high else math.floor(wanted / apart) * apart
    return int(wanted) if wanted == int(wanted) else wanted


def _bound(tighter: Callable[[float, float], float], inclusive: object, exclusive: object, nudge: float) -> float:
    loose = -math.inf if nudge > 0 else math.inf
    own, open_end = _float(inclusive), _float(exclusive)
    return tighter(loose if own is None else own, loose if open_end is None else open_end + nudge)


def _float(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object, otherwise: int) -> int:
    """Counts may come as text: Gemini's own schemas write int64 so."""
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else otherwise


def _text(schema: Mapping[str, object]) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    least, most = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), 4)
    return "text".ljust(least, "t")[: max(least, most)]


def resolved(reference: str, root: Schema) -> object:
    """What a `$ref` points at; None when nothing is there."""
    found: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
