"""Writes a JSON schema in the dialect that a provider takes, by a table of what that dialect knows. Pure.

What the dialect cannot say goes into the description, where the model may follow it, and is reported. Where that would
send something else than was meant, the schema is given up as blocked. Providers' tables are in `dialects`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from llmring.chat import JSONObject
from llmring.codecs.schemas.nodes import (
    CONSTRAINTS,
    FALSE,
    PRIMITIVES,
    SILENT,
    below,
    invalid,
    to_text,
    types_of,
    with_remarks,
    words,
)
from llmring.codecs.schemas.reading import MAX_STEPS, Document, Overgrown, alias

Test = Callable[[Any, JSONObject], bool]
"""Whether a dialect takes this value of a keyword, in this node."""

_MAX_NODES = 20_000
_STRUCTURE = words("type properties required additionalProperties items prefixItems description")
_REPLACING = words("if then else dependentSchemas dependencies patternProperties unevaluatedProperties allOf")
"""Constraints that may allow what a closed object does not."""


_EXCLUSIVE = (("exclusiveMinimum", "minimum", 1, max), ("exclusiveMaximum", "maximum", -1, min))


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider takes.

    `keeps`: keywords that are sent, each if its test holds. `closed`: objects allow no other properties, and what would
    blocks. `complete`: every property is required, so optional ones become nullable. `typed`: a node must have a type.
    `refs`: what happens to references and the remarks beside them. `unions`: type lists that become unions.
    `literals`: `const` is kept, or written as an enum; "bare" literals have no type. `tuples`: `prefixItems` is known.
    `nullable`: null is written as OpenAPI does. `loose`: what is recursive must not be required.
    """

    keeps: Mapping[str, Test]
    closed: bool = False
    complete: bool = False
    typed: bool = False
    refs: Literal["wrap", "merge", "inline", "inline all"] = "wrap"
    unions: Literal["none", "structures", "all"] = "none"
    literals: Literal["const", "bare", "enum"] = "enum"
    tuples: bool = False
    nullable: bool = False
    loose: bool = False


class Size(msgspec.Struct):
    """How large the fitted schema is. `levels` counts objects and arrays within one another, `characters` names and
    literals, `optional` properties that may be left out."""

    properties: int = 0
    optional: int = 0
    unions: int = 0
    levels: int = 0
    literals: int = 0
    characters: int = 0


class Fitting:
    """One schema on its way into one dialect. `dropped` and `blocked` fill as `fitted` runs."""

    def __init__(self, schema: object, dialect: Dialect) -> None:
        self.doc = Document(schema)
        self.dropped: list[str] = []
        self.blocked: list[str] = []
        self.size = Size()
        self._dialect = dialect
        self._nodes = 0
        self._wanted: dict[str, str] = {}
        self._in_recursion = False

    def fitted(self) -> JSONObject:
        """The whole schema with the definitions it needs. Raises Overgrown."""
        root = self.doc.expanded(self.doc.view(self.doc.root, "$"), "$")
        out = self._node(root, "$", ())
        definitions: JSONObject = {}
        while left := self._wanted.keys() - definitions.keys():
            name = next(name for name in self._wanted if name in left)
            ref = self._wanted[name]
            self._in_recursion = self.doc.is_recursive(ref, "$")
            definitions[name] = self._node(self.doc.follow(ref, "$")[1], f"$defs.{name}", ())
        for name in definitions:
            _check_grounded(name, definitions)
        return {**out, "$defs": definitions} if definitions else out

    def _node(self, node: object, place: str, steps: tuple[str, ...]) -> JSONObject:
        """`steps` are the kinds of the nodes above."""
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(steps) > MAX_STEPS:
            raise Overgrown(place)
        seen = self.doc.view(node, place)
        if place == "$":
            seen = self._only_required(seen, place)
        if "$ref" in seen:
            return self._reference(seen, place, steps)
        if "allOf" not in seen and seen.keys() & {"anyOf", "oneOf"}:
            return self._union(seen, place, steps)
        types = types_of(seen)
        if len(types) > 1 and self._splits(types, seen):
            beside = {k: v for k, v in seen.items() if k in CONSTRAINTS}
            remarks = {k: v for k, v in seen.items() if k not in CONSTRAINTS}
            split = {**remarks, "anyOf": [{**beside, "type": t} for t in types]}
            return self._union(split, place, steps)
        return self._single(seen, place, steps)

    def _splits(self, types: list[str], seen: JSONObject) -> bool:
        literals = seen.get("enum", [])
        if None in literals and not self._dialect.keeps["enum"](literals, seen):
            return True
        return self._dialect.unions == "all" or (
            self._dialect.unions == "structures" and not PRIMITIVES.issuperset(types)
        )

    def _only_required(self, seen: JSONObject, place: str) -> JSONObject:
        """The root stays one object where the union beside it only says which properties go together."""
        for union in ("anyOf", "oneOf"):
            if seen.get("type") == "object" and union in seen:
                views = [self.doc.view(node, place) for node in seen[union]]
                if all(view.keys() & CONSTRAINTS == {"required", "type"} for view in views):
                    self._report(union, place)
                    text = _described(seen.get("description"), {union: seen[union]})
                    return {**{k: v for k, v in seen.items() if k != union}, "description": text}
        return seen

    def _report(self, keyword: str, place: str) -> None:
        self.dropped.append(f"{keyword} at {place}: moved to the description")

    # References

    def _reference(self, seen: JSONObject, place: str, steps: tuple[str, ...]) -> JSONObject:
        ref = seen["$ref"]
        recursive = self.doc.is_recursive(ref, place)
        refs = self._dialect.refs
        if refs == "inline all" and recursive:
            raise invalid(place, f"this provider takes no recursive references, {ref!r},")
        if refs == "merge" and recursive:
            self.blocked.append(f"$ref at {place}: recursive")
        remarks = self._remarks(seen, place)
        if (refs in ("inline", "inline all") or (refs == "merge" and remarks)) and not recursive:
            return self._node(self.doc.expanded(seen, place), place, (*steps, "$ref"))
        name, _ = self.doc.follow(ref, place)
        self._wanted.setdefault(name, ref)
        return _remarked({"$ref": f"#/$defs/{name}"}, remarks)

    def _remarks(self, seen: JSONObject, place: str) -> JSONObject:
        """What is sent of the remarks, on a node that takes nothing else."""
        kept = {k: v for k, v in seen.items() if k in self._dialect.keeps and k not in CONSTRAINTS}
        told = {k: v for k, v in seen.items() if k not in CONSTRAINTS | SILENT | kept.keys() | {"description"}}
        told = {k: v for k, v in told.items() if not k.startswith("x-")}
        text = _described(seen.get("description"), told)
        return {**kept, "description": text} if text else kept

    # Unions

    def _union(self, seen: JSONObject, place: str, steps: tuple[str, ...]) -> JSONObject:
        if "anyOf" not in seen and not self._is_disjoint(seen, place):
            self.dropped.append(f"oneOf at {place}: sent as anyOf, so several may match")
        remarks_seen, nodes = self.doc.branches(seen)
        remarks = self._remarks(remarks_seen, place)
        branches: list[JSONObject] = []
        for index, node in enumerate(nodes):
            here = f"{place}.anyOf[{index}]"
            if self.doc.is_false(node, here):
                continue
            branch = self._node(node, here, (*steps, "union"))
            branches += [b for b in _flat(branch) if b not in branches]
        return self._joined(branches, remarks, place)

    def _is_disjoint(self, seen: JSONObject, place: str) -> bool:
        if "discriminator" in seen:
            return True
        types = [t for node in seen["oneOf"] for t in types_of(self.doc.view(node, place)) or ["object", "object"]]
        return len(set(types)) == len(types) and not {"integer", "number"} <= set(types)

    def _joined(self, branches: list[JSONObject], remarks: JSONObject, place: str) -> JSONObject:
        nulls: JSONObject = {}
        if self._dialect.nullable:
            rest = [_without_null(b) for b in branches if b != {"type": "null"}]
            if rest and rest != branches:
                branches = [b for i, b in enumerate(rest) if b not in rest[:i]]
                # What takes anything takes null.
                nulls = {"nullable": True} if len(branches) > 1 or branches[0].keys() & CONSTRAINTS else {}
        if not branches:
            return self._impossible(remarks, place)
        if len(branches) > 1:
            self.size.unions += 1
            return {"anyOf": branches, **nulls, **remarks}
        return {**_remarked(branches[0], remarks), **nulls}

    def _impossible(self, remarks: JSONObject, place: str) -> JSONObject:
        if self._dialect.closed:
            self.blocked.append(f"false at {place}: nothing satisfies it")
        self._report("not", place)
        return {**remarks, "description": _described(remarks.get("description"), FALSE)}

    # One type

    def _single(self, seen: JSONObject, place: str, steps: tuple[str, ...]) -> JSONObject:
        if seen.keys() & CONSTRAINTS == {"not"} and seen["not"] == {}:
            return self._impossible(self._remarks(seen, place), place)
        if self._dialect.typed and "type" not in seen:
            self.blocked.append(f"type at {place}: missing")
        seen = self._written(seen)
        types = types_of(seen)
        steps = (*steps, types[0] if len(types) == 1 else "any")
        self.size.levels = max(self.size.levels, sum(step in ("object", "array") for step in steps))
        out: JSONObject = {"type": seen["type"]} if "type" in seen else {}
        told: JSONObject = {}
        if "object" in types:
            out |= self._object(seen, place, steps, told)
        if "array" in types:
            out |= self._array(seen, place, steps, told)
        for keyword, value in seen.items():
            self._keyword(keyword, value, seen, place, out, told)
        return self._finished(out, seen.get("description"), told)

    def _keyword(
        self, keyword: str, value: Any, seen: JSONObject, place: str, out: JSONObject, told: JSONObject
    ) -> None:
        test = self._dialect.keeps.get(keyword)
        if keyword in _STRUCTURE or keyword.startswith("x-"):
            return
        if test is not None and test(value, seen):
            out[keyword] = value
        elif keyword not in SILENT:
            told[keyword] = value
            if keyword in CONSTRAINTS:
                self._report(keyword, place)
            if keyword in _REPLACING and self._dialect.closed:
                self.blocked.append(f"{keyword} at {place}: not supported")

    def _written(self, seen: JSONObject) -> JSONObject:
        """A view in the dialect's own words where they mean as much."""
        out = dict(seen)
        if "const" in out and self._dialect.literals == "enum":
            out["enum"] = [out.pop("const")]
        length = len(out.get("prefixItems", ()))
        capped = self._dialect.tuples and self._dialect.typed and "items" not in out
        if length and capped and out.get("minItems", 0) <= length:
            out["maxItems"] = min(out.get("maxItems", length), length)
        for bound, limit, step, closest in _EXCLUSIVE:
            if bound in out and bound not in self._dialect.keeps and limit in self._dialect.keeps:
                edge = math.floor(out[bound] * step) * step + step if types_of(out) == ["integer"] else out[bound]
                out[limit] = closest(out.get(limit, edge), edge)
                if types_of(out) == ["integer"]:
                    del out[bound]
        return out

    def _finished(self, out: JSONObject, description: str | None, told: JSONObject) -> JSONObject:
        text = _described(description, told)
        literals = [out["const"]] if "const" in out else out.get("enum", [])
        if literals and self._dialect.literals == "bare":
            del out["type"]
        self.size.literals += len(literals)
        self.size.characters += sum(len(v) for v in literals if isinstance(v, str))
        return {**out, "description": text} if text else out

    def _object(self, seen: JSONObject, place: str, steps: tuple[str, ...], told: JSONObject) -> JSONObject:
        given: JSONObject = seen.get("properties", {})
        required: list[str] = seen.get("required", [])
        extra = seen.get("additionalProperties")
        if self._dialect.closed and (extra not in (None, False) or (extra is None and "properties" not in seen)):
            self.blocked.append(f"additionalProperties at {place}: other properties cannot be allowed")
        properties = {name: self._property(name, node, seen, place, steps) for name, node in given.items()}
        properties = {name: node for name, node in properties.items() if node is not None}
        self.size.properties += len(properties)
        self.size.characters += sum(len(name) for name in properties)
        self.size.optional += len(properties.keys() - required)
        out: JSONObject = {"properties": properties} if "properties" in seen or self._dialect.closed else {}
        self._required(out, required, place, told)
        if self._dialect.closed:
            out["additionalProperties"] = False
        elif "additionalProperties" in self._dialect.keeps:
            if extra is not None:
                out["additionalProperties"] = extra if isinstance(extra, bool) else self._others(extra, place, steps)
        elif isinstance(extra, dict):
            told["additionalProperties"] = extra
            self._report("additionalProperties", place)
        return out

    def _others(self, extra: object, place: str, steps: tuple[str, ...]) -> bool | JSONObject:
        return self._node(extra, f"{place}.*", steps) or True

    def _property(
        self, name: str, node: object, seen: JSONObject, place: str, steps: tuple[str, ...]
    ) -> JSONObject | None:
        here = below(place, name)
        required = name in seen.get("required", ())
        if not required and self.doc.is_false(node, here):
            if seen.get("additionalProperties") is not False and not self._dialect.closed:
                self.dropped.append(f"false at {here}: left out")
            return None
        fitted = self._node(node, here, steps)
        return _or_null(fitted) if self._dialect.complete and not required else fitted

    def _required(self, out: JSONObject, required: list[str], place: str, told: JSONObject) -> None:
        known: JSONObject = out.get("properties", {})
        unknown = [name for name in required if name not in known]
        if unknown and self._dialect.closed:
            self.blocked.append(f"required at {place}: {to_text(unknown[0])} is no property")
        elif unknown:
            told["required"] = unknown
            self._report("required", place)
        names = [name for name in dict.fromkeys(required) if name in known]
        if self._dialect.loose and self._in_recursion:
            free = [name for name in names if self._refers_back(known[name])]
            self.dropped += [f"required at {below(place, name)}: not where it is recursive" for name in free]
            names = [name for name in names if name not in free]
        if self._dialect.complete:
            out["required"] = list(known)
        elif names:
            out["required"] = names

    def _refers_back(self, node: Any) -> bool:
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            name = node["$ref"].removeprefix("#/$defs/")
            return name in self._wanted and self.doc.is_recursive(self._wanted[name], "$")
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return any(self._refers_back(child) for child in children)

    def _array(self, seen: JSONObject, place: str, steps: tuple[str, ...], told: JSONObject) -> JSONObject:
        nodes: list[object] = seen.get("prefixItems", [])
        items: list[object] = [seen["items"]] if "items" in seen else []
        if nodes and not self._dialect.tuples:
            told["prefixItems"] = nodes
            self._report("prefixItems", place)
            nodes, items = [], [{"anyOf": [*nodes, *items]}]
        if self._dialect.tuples and self._dialect.typed and not items and seen.get("maxItems", math.inf) > len(nodes):
            self.blocked.append(f"items at {place}: missing")
        prefix = [self._node(node, f"{place}[{index}]", steps) for index, node in enumerate(nodes)]
        out: JSONObject = {"prefixItems": prefix} if prefix else {}
        rest = self._node(items[0], f"{place}[]", steps) if items else {}
        return {**out, "items": rest} if rest else out


def _check_grounded(name: str, definitions: JSONObject) -> None:
    """Unions of equal references are references, and those may lead in a circle only now."""
    trail = [name]
    while ref := alias(definitions[name]):
        name = ref.removeprefix("#/$defs/")
        if name in trail:
            raise invalid(f"$defs.{name}", "a `$ref` stands for itself")
        trail.append(name)


def _described(description: str | None, told: JSONObject) -> str | None:
    """A description with what could not be said otherwise, in Anthropic's manner."""
    if not told:
        return description
    text = "{" + ", ".join(f"{keyword}: {to_text(value)}" for keyword, value in told.items()) + "}"
    return f"{description}\n\n{text}" if description else text


def _remarked(node: JSONObject, remarks: JSONObject) -> JSONObject:
    """References take no remarks beside them: those go on a union of one."""
    return {"anyOf": [node], **remarks} if remarks and "$ref" in node else with_remarks(node, remarks)


def _or_null(node: JSONObject) -> JSONObject:
    """A fitted schema that allows null, too."""
    types = types_of(node)
    if "null" in types or any(types_of(branch) == ["null"] for branch in node.get("anyOf", ())):
        return node
    if types and PRIMITIVES.issuperset(types) and "const" not in node:
        return {**node, "type": [*types, "null"], **({"enum": [*node["enum"], None]} if "enum" in node else {})}
    remarks = {k: v for k, v in node.items() if k == "description"}
    if "anyOf" in node:
        return {"anyOf": [*node["anyOf"], {"type": "null"}], **remarks}
    return {"anyOf": [{k: v for k, v in node.items() if k != "description"}, {"type": "null"}], **remarks}


def _flat(branch: JSONObject) -> list[JSONObject]:
    if branch.keys() - {"nullable"} != {"anyOf"}:
        return [branch]
    return [*branch["anyOf"], {"type": "null"}] if "nullable" in branch else branch["anyOf"]


def _without_null(node: JSONObject) -> JSONObject:
    return {k: v for k, v in node.items() if k != "nullable"}
