"""Takes out of a reply the nulls that stand for properties the model left out. Pure.

OpenAI's strict schemas know no optional properties: they are sent as nullable ones (see `dialects`).
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from llmring.chat import JSONObject
from llmring.codecs.schemas.nodes import FALSE, is_of, same, types_of
from llmring.codecs.schemas.reading import Document

_MAX_DEPTH = 200
_MAX_READINGS = 200_000

# How wrong a value is for a branch of a union: kinds outweigh literals, literals names, names bounds.
_KIND, _LITERAL, _NAME, _BOUND = 1_000_000, 10_000, 100, 1


def without_added_nulls(value: Any, schema: JSONObject) -> Any:
    """`value` without nulls at properties that `schema`, the caller's own, neither requires nor lets be null.

    `value` is what the model answered by `fit_openai(schema)`. In a union it is read by the branch it fits best. What
    is nested deeper than some 50 levels stays as it is. Raises InvalidRequest for what is no schema.
    """
    reading = _Reading(Document(schema))
    return reading.read(value, reading.doc.root)[1]


def _is_multiple(value: Any, step: Any) -> bool:
    try:
        return Decimal(str(value)) % Decimal(str(step)) == 0
    except InvalidOperation:
        # Too far apart to tell, or a step of 0.
        return True


def _matches(value: str, pattern: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


_BOUNDS: Mapping[str, tuple[type | tuple[type, ...], Callable[[Any, Any], bool]]] = {
    "minimum": ((int, float), lambda value, bound: value >= bound),
    "maximum": ((int, float), lambda value, bound: value <= bound),
    "exclusiveMinimum": ((int, float), lambda value, bound: value > bound),
    "exclusiveMaximum": ((int, float), lambda value, bound: value < bound),
    "multipleOf": ((int, float), _is_multiple),
    "minLength": (str, lambda value, bound: len(value) >= bound),
    "maxLength": (str, lambda value, bound: len(value) <= bound),
    "pattern": (str, _matches),
    "minItems": (list, lambda value, bound: len(value) >= bound),
    "maxItems": (list, lambda value, bound: len(value) <= bound),
}


class _Reading:
    def __init__(self, doc: Document) -> None:
        self.doc = doc
        self._depth = 0
        # By identity: a value and a node of a view may not live as long as this does, so both are held here.
        self._known: dict[tuple[int, int], tuple[int, Any, object, object]] = {}

    def read(self, value: Any, node: object) -> tuple[int, Any]:
        """How far `value` is from what `node` allows, and what is left of it without the nulls."""
        key = (id(value), id(node))
        if key not in self._known:
            if self._depth > _MAX_DEPTH or len(self._known) > _MAX_READINGS:
                return 0, value
            # Met again below itself: a reference that leads back without a step down.
            self._known[key] = (_KIND, value, value, node)
            self._depth += 1
            self._known[key] = (*self._read(value, node), value, node)
            self._depth -= 1
        return self._known[key][:2]

    def _read(self, value: Any, node: object) -> tuple[int, Any]:
        seen = self.doc.view(node, "$")
        if "$ref" in seen:
            return self.read(value, self.doc.follow(seen["$ref"], "$")[1])
        if seen == FALSE:
            return _KIND, value
        if "allOf" not in seen and seen.keys() & {"anyOf", "oneOf"}:
            return min((self.read(value, branch) for branch in self.doc.branches(seen)[1]), key=lambda found: found[0])
        wrong = _wrong(value, seen)
        if isinstance(value, dict) and wrong < _KIND:
            more, value = self._object(value, seen)
            return wrong + more, value
        if isinstance(value, list) and wrong < _KIND:
            more, value = self._array(value, seen)
            return wrong + more, value
        return wrong, value

    def _object(self, value: JSONObject, seen: JSONObject) -> tuple[int, JSONObject]:
        properties: JSONObject = seen.get("properties", {})
        required = set(seen.get("required", ()))
        wrong = _NAME * len(required - value.keys())
        if isinstance(seen.get("additionalProperties", False), bool):
            wrong += _NAME * len(value.keys() - properties.keys())
        out: JSONObject = {}
        for name, child in value.items():
            off, read = self.read(child, properties[name]) if name in properties else (0, child)
            if child is None and off and name not in required:
                continue
            wrong += off
            out[name] = read
        return wrong, out

    def _array(self, value: list[Any], seen: JSONObject) -> tuple[int, list[Any]]:
        nodes = [*seen.get("prefixItems", ())][: len(value)]
        nodes += [seen.get("items", True)] * (len(value) - len(nodes))
        read = [self.read(child, node) for child, node in zip(value, nodes, strict=True)]
        return sum(off for off, _ in read), [child for _, child in read]


def _wrong(value: Any, seen: JSONObject) -> int:
    types = types_of(seen)
    if types and not is_of(value, types):
        return _KIND
    literals = [seen["const"]] if "const" in seen else seen.get("enum")
    wrong = 0 if literals is None or any(same(value, literal) for literal in literals) else _LITERAL
    for keyword, (kind, holds) in _BOUNDS.items():
        if keyword in seen and isinstance(value, kind) and not isinstance(value, bool):
            wrong += 0 if holds(value, seen[keyword]) else _BOUND
    return wrong
