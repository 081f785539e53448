"""One node of a JSON schema, of any draft and of OpenAPI: one spelling for it, two made one, idle words dropped. Pure.

Nothing here follows a reference or knows a provider. A node that cannot be a schema raises InvalidRequest.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from llmring.chat import JSONObject
from llmring.errors import InvalidRequest

FALSE: JSONObject = {"not": {}}
"""The view of a schema that nothing satisfies."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KINDS: Mapping[str, frozenset[str]] = {
    "object": words(
        "properties required additionalProperties patternProperties propertyNames minProperties maxProperties"
        " dependentRequired dependentSchemas dependencies unevaluatedProperties"
    ),
    "array": words("items prefixItems minItems maxItems uniqueItems contains minContains maxContains unevaluatedItems"),
    "string": words("minLength maxLength pattern"),
    "number": words("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"),
}
"""The keywords that say something of one type only, in the order in which they tell the type where it is missing."""

CONSTRAINTS = frozenset[str]().union(*_KINDS.values()) | words(
    "type enum const format $ref $dynamicRef $recursiveRef allOf anyOf oneOf not if then else"
)
"""Every keyword that can make a value invalid. All others are remarks."""

SILENT = words(
    "title $schema $id id $anchor $dynamicAnchor $vocabulary $comment examples example deprecated readOnly writeOnly"
    " discriminator propertyOrdering xml externalDocs"
)
"""Remarks that tell the model nothing it needs. Other remarks, and constraints, go into the description."""

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
PRIMITIVES = frozenset({"string", "number", "integer", "boolean", "null"})


class Conflict(Exception):
    """Two schemas of an `allOf` cannot be written as one."""


def invalid(place: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"the JSON schema cannot be used: {problem} at {place}")


def below(place: str, name: str) -> str:
    """The place of a property."""
    return f"{place}.{name}" if re.fullmatch(r"\w+", name) else f"{place}[{to_text(name)}]"


def to_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: object, other: object) -> bool:
    """Equality of JSON: 1 is 1.0 and is not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def type_of(value: object) -> str:
    """The narrowest JSON type."""
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    return names.get(type(value), "null")


def is_of(value: object, types: list[str]) -> bool:
    found = type_of(value)
    return found in types or (found == "integer" and "number" in types)


def types_of(node: JSONObject) -> list[str]:
    """The types a view names; none is any."""
    found = node.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def as_type(types: list[str]) -> str | list[str]:
    return types[0] if len(types) == 1 else types


def _is_schema(value: object) -> bool:
    return isinstance(value, dict | bool)


_SHAPES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("minimum maximum multipleOf minLength maxLength minContains maxContains", "a number", is_number),
    ("minItems maxItems minProperties maxProperties", "a number", is_number),
    ("exclusiveMinimum exclusiveMaximum", "a number", lambda v: is_number(v) or isinstance(v, bool)),
    ("$ref pattern format description", "text", lambda v: isinstance(v, str)),
    ("nullable uniqueItems", "true or false", lambda v: isinstance(v, bool)),
    ("properties $defs definitions patternProperties", "an object", lambda v: isinstance(v, dict)),
    ("additionalProperties additionalItems not if then else contains propertyNames", "a schema", _is_schema),
    ("items", "a schema or a list of schemas", lambda v: _is_schema(v) or isinstance(v, list)),
    ("enum prefixItems", "a list", lambda v: isinstance(v, list)),
    ("anyOf oneOf allOf", "a list of schemas", lambda v: isinstance(v, list) and len(v) > 0),
    ("required", "a list of names", lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v)),
)
_SHAPE: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    keyword: (what, check) for keywords, what, check in _SHAPES for keyword in keywords.split()
}


def _check_shapes(node: JSONObject, place: str) -> None:
    for keyword, value in node.items():
        what, check = _SHAPE.get(keyword, ("", None))
        if check is not None and not check(value):
            raise invalid(place, f"`{keyword}` is not {what}")


def spell(node: object, place: str) -> JSONObject:
    """A copy of a node with one spelling for what drafts and OpenAPI write differently."""
    if isinstance(node, bool):
        return {} if node else dict(FALSE)
    if not isinstance(node, dict):
        raise invalid(place, "a schema must be an object")
    # Serializers write absent keywords as null, and null as the default of what is optional; only here it is a value.
    out = {k: v for k, v in node.items() if v is not None or k == "const"}
    _check_shapes(out, place)
    for keyword in ("$defs", "definitions"):
        out.pop(keyword, None)
    if "type" in out:
        out["type"] = _spell_type(out["type"], place)
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in out:
            out["items"] = out["additionalItems"]
    out.pop("additionalItems", None)
    if out.get("additionalProperties") in ({}, FALSE):
        out["additionalProperties"] = out["additionalProperties"] == {}
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(out.get(bound), bool):
            exclusive = out.pop(bound)
            if exclusive and limit in out:
                out[bound] = out.pop(limit)
    return _with_null(out) if out.pop("nullable", False) else out


def _spell_type(value: object, place: str) -> str | list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise invalid(place, "`type` is neither a name nor a list of names")
    # Gemini's own spelling is in capitals.
    types = [name.lower() for name in names if isinstance(name, str)]
    if len(types) < len(names) or not _TYPES.issuperset(types):
        raise invalid(place, f"`type` is not one that JSON schemas have, {to_text(value)[:100]},")
    return as_type(list(dict.fromkeys(types)))


def _with_null(node: JSONObject) -> JSONObject:
    """OpenAPI's `nullable`."""
    types = types_of(node)
    if types and PRIMITIVES.issuperset(types) and not node.keys() & {"allOf", "anyOf", "oneOf", "$ref", "const", "not"}:
        nulls = {"enum": [*node["enum"], None]} if "enum" in node and None not in node["enum"] else {}
        return {**node, "type": as_type(list(dict.fromkeys([*types, "null"]))), **nulls}
    constraints = {k: v for k, v in node.items() if k in CONSTRAINTS}
    if not constraints:
        return node
    remarks = {k: v for k, v in node.items() if k not in CONSTRAINTS}
    return {**remarks, "anyOf": [constraints, {"type": "null"}]}


def _meet_types(one: Any, other: Any) -> str | list[str]:
    ones, others = types_of({"type": one}), types_of({"type": other})
    both = [t for t in ones if t in others or (t == "integer" and "number" in others)]
    both += [t for t in others if t == "integer" and "number" in ones and t not in both]
    return as_type(both)


def _both(one: Any, other: Any) -> Any:
    return one if one == other else {"allOf": [one, other]}


def join_text(one: str, other: str) -> str:
    return one if other in one else f"{one}\n\n{other}"


def with_remarks(node: JSONObject, remarks: JSONObject) -> JSONObject:
    """A node with remarks that go before its own; descriptions are joined."""
    if "description" in node and "description" in remarks:
        remarks = {**remarks, "description": join_text(remarks["description"], node["description"])}
    return {**node, **remarks}


_MEET: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    "type": _meet_types,
    "enum": lambda one, other: [value for value in one if any(same(value, v) for v in other)],
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "properties": lambda one, other: {
        **one,
        **{name: _both(one[name], node) if name in one else node for name, node in other.items()},
    },
    "items": _both,
    "uniqueItems": lambda one, other: one or other,
    "description": join_text,
}


def meet(one: JSONObject, other: JSONObject) -> JSONObject:
    """What satisfies both, neither of them a `$ref`. Raises Conflict where that cannot be written without `allOf`."""
    if one.get("not") in (True, {}) or other.get("not") in (True, {}):
        return dict(FALSE)
    _check_conflicts(one, other)
    out = {**other, **one}
    for keyword in one.keys() & other.keys() & _MEET.keys():
        out[keyword] = _MEET[keyword](one[keyword], other[keyword])
    return dict(FALSE) if out.get("type") == [] or out.get("enum") == [] else out


def _check_conflicts(one: JSONObject, other: JSONObject) -> None:
    for keyword in one.keys() & other.keys() & CONSTRAINTS - _MEET.keys():
        if not same(one[keyword], other[keyword]):
            raise Conflict
    for closed, open_one in ((one, other), (other, one)):
        # Names that only one side knows fall under what the other says of names it does not know.
        unknown = open_one.get("properties", {}).keys() - closed.get("properties", {}).keys()
        if unknown and closed.get("additionalProperties", True) is not True:
            raise Conflict
    # A tuple's tail falls under `items`: a tuple and a list do not merge.
    if ("prefixItems" in one) != ("prefixItems" in other) and ("items" in one or "items" in other):
        raise Conflict


_NEUTRAL: Mapping[str, Any] = {
    "minLength": 0,
    "minItems": 0,
    "minProperties": 0,
    "uniqueItems": False,
    "required": [],
    "prefixItems": [],
}


def tidy(node: JSONObject) -> JSONObject:
    """Without what has no effect, and with the type that the other keywords tell where none is named."""
    if node.get("not") in (True, {}):
        return dict(FALSE)
    out = {k: v for k, v in node.items() if k not in _NEUTRAL or v != _NEUTRAL[k]}
    if out.get("not") in (False, FALSE):
        del out["not"]
    out = _tidy_literals(out)
    types = types_of(out) or _told_types(out)
    if not types:
        return out
    out["type"] = as_type(types)
    if "number" not in types and "integer" in types:
        types = [*types, "number"]
    idle = frozenset().union(*(words for kind, words in _KINDS.items() if kind not in types))
    return _tidy_items({k: v for k, v in out.items() if k not in idle})


def _tidy_literals(node: JSONObject) -> JSONObject:
    """`const` or `enum`, its values of the types named, and no type that none of them has."""
    literals = [node["const"]] if "const" in node else node.get("enum")
    if literals is None:
        return node
    types = types_of(node)
    values = [v for v in literals if not types or is_of(v, types)]
    if "const" in node and "enum" in node:
        values = [v for v in values if any(same(v, allowed) for allowed in node["enum"])]
    if not values:
        return dict(FALSE)
    found = list(dict.fromkeys(type_of(v) for v in values))
    if "number" in found or "number" in types:
        found = list(dict.fromkeys("number" if t == "integer" and "integer" not in types else t for t in found))
    out = {k: v for k, v in node.items() if k != "enum"}
    if found == ["null"]:
        return {**{k: v for k, v in out.items() if k != "const"}, "type": "null"}
    return {**out, "type": as_type(found), **({} if "const" in node else {"enum": values})}


def _told_types(node: JSONObject) -> list[str]:
    if node.keys() & {"anyOf", "oneOf", "allOf", "$ref"}:
        return []
    return [kind for kind, words in _KINDS.items() if words & node.keys()][:1]


def _tidy_items(node: JSONObject) -> JSONObject:
    out = dict(node)
    if out.get("items") in (True, {}):
        del out["items"]
    elif out.get("items") in (False, FALSE):
        del out["items"]
        length = len(out.get("prefixItems", ()))
        out["maxItems"] = min(out.get("maxItems", length), length)
    return out
