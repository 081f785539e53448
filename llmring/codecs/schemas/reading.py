"""A whole JSON schema: what its references mean, and a plain view of each of its nodes. Pure.

Nothing here knows a provider. A schema that no provider can read raises InvalidRequest with the place.
"""

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from llmring.chat import JSONObject
from llmring.codecs.schemas.nodes import (
    CONSTRAINTS,
    FALSE,
    SILENT,
    Conflict,
    invalid,
    meet,
    spell,
    tidy,
    with_remarks,
)

# A level of a schema is two of JSON: an object and its `properties`.
_MAX_DEPTH = 200
MAX_STEPS = 100


class Overgrown(Exception):
    """Written out, the schema is too large. `place` is where that was seen."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class Document:
    """A schema with what its references mean. Holds a copy: the caller's own is never touched."""

    def __init__(self, schema: object) -> None:
        self.root: JSONObject = _copy(schema)
        # By pointer. Names that need no change keep their owners; others must not take them.
        self._names: dict[tuple[str, ...], str] = {}
        self._recursive: dict[str, bool] = {}
        for keyword in ("$defs", "definitions"):
            definitions = self.root.get(keyword)
            for name in definitions if isinstance(definitions, dict) else ():
                if name == _clean_name(name) and name not in self._names.values():
                    self._names[keyword, name] = name

    def view(self, node: object, place: str) -> JSONObject:
        """A node as a `$ref` with remarks; or a union, perhaps with constraints beside it; or one of its types.

        `allOf` is there only where it cannot be merged. FALSE is what nothing satisfies.
        """
        return tidy(self._merged(node, place, ()))

    def is_false(self, node: object, place: str) -> bool:
        return self.view(node, place) == FALSE

    def _merged(self, node: object, place: str, chain: tuple[str, ...]) -> JSONObject:
        own = spell(node, place)
        parts: list[object] = list(own.pop("allOf", ()))
        for union in ("anyOf", "oneOf"):
            if len(own.get(union, ())) == 1:
                parts += own.pop(union)
        if not parts and (own.keys() & CONSTRAINTS in ({"$ref"}, set())):
            return own
        if "$ref" in own:
            parts.insert(0, {"$ref": own.pop("$ref")})
        out = own
        try:
            for part in parts:
                out = self._meet(out, self._merged(part, place, chain), place, chain)
        except Conflict:
            return {**own, "allOf": parts}
        return out

    def _meet(self, one: JSONObject, other: JSONObject, place: str, chain: tuple[str, ...]) -> JSONObject:
        refs = {node["$ref"] for node in (one, other) if "$ref" in node}
        if len(refs) == 1 and not (one.keys() | other.keys()) & CONSTRAINTS - {"$ref"}:
            return with_remarks(other, one)
        return meet(self._expanded(one, place, chain), self._expanded(other, place, chain))

    def _expanded(self, seen: JSONObject, place: str, chain: tuple[str, ...]) -> JSONObject:
        """What a reference stands for, with the remarks beside it."""
        if "$ref" not in seen:
            return seen
        name, target = self.follow(seen["$ref"], place)
        if name in chain:
            raise invalid(place, f"`$ref` {name!r} stands for itself")
        if len(chain) >= MAX_STEPS:
            raise Overgrown(place)
        remarks = {k: v for k, v in seen.items() if k != "$ref"}
        chain = (*chain, name)
        return with_remarks(self._expanded(self._merged(target, place, chain), place, chain), remarks)

    def expanded(self, seen: JSONObject, place: str) -> JSONObject:
        """A view that is no `$ref`."""
        return tidy(self._expanded(seen, place, ()))

    def branches(self, seen: JSONObject) -> tuple[JSONObject, list[JSONObject]]:
        """The remarks on a union, and its branches with the constraints that stood beside it."""
        union = "anyOf" if "anyOf" in seen else "oneOf"
        beside = {k: v for k, v in seen.items() if k in CONSTRAINTS and k != union}
        remarks = {k: v for k, v in seen.items() if k not in CONSTRAINTS}
        return remarks, [{"allOf": [beside, node]} if beside else node for node in seen[union]]

    def follow(self, ref: str, place: str) -> tuple[str, object]:
        """The name and the schema that a `$ref` leads to; through references that say nothing else."""
        trail: list[tuple[str, ...]] = []
        found: tuple[tuple[str, ...], object] | None = None
        while True:
            pointer, target = self._resolve(ref, place)
            if pointer in trail:
                raise invalid(place, f"`$ref` {ref!r} stands for itself")
            trail.append(pointer)
            next_ref = alias(target)
            if found is None and (next_ref is None or _says_more(target)):
                found = pointer, target
            if next_ref is None:
                pointer, target = found or (pointer, target)
                return self._name(pointer), target
            ref = next_ref

    def _resolve(self, ref: str, place: str) -> tuple[tuple[str, ...], object]:
        if ref != "#" and not ref.startswith("#/"):
            raise invalid(place, f"`$ref` {ref!r} does not point into the schema itself")
        pointer = tuple(unquote(token).replace("~1", "/").replace("~0", "~") for token in ref.split("/")[1:])
        node: Any = self.root
        for token in pointer:
            if isinstance(node, dict) and token in node:
                node = node[token]
            elif isinstance(node, list) and re.fullmatch(r"[0-9]{1,9}", token) and int(token) < len(node):
                node = node[int(token)]
            else:
                raise invalid(place, f"`$ref` {ref!r} leads nowhere")
        return pointer, node

    def _name(self, pointer: tuple[str, ...]) -> str:
        if pointer not in self._names:
            is_definition = len(pointer) == 2 and pointer[0] in ("$defs", "definitions")
            name = _clean_name(pointer[1] if is_definition else "_".join(pointer) or "root")
            while name in self._names.values():
                name += "_"
            self._names[pointer] = name
        return self._names[pointer]

    def is_recursive(self, ref: str, place: str) -> bool:
        """Whether what a `$ref` leads to leads back to it."""
        name, target = self.follow(ref, place)
        if name not in self._recursive:
            self._recursive[name] = self._leads_back(name, target, place)
        return self._recursive[name]

    def _leads_back(self, name: str, target: object, place: str) -> bool:
        seen: set[str] = set()
        nodes = [target]
        while nodes:
            node = nodes.pop()
            if isinstance(node, dict) and isinstance(node.get("$ref"), str):
                found, target = self.follow(node["$ref"], place)
                if found == name:
                    return True
                if found not in seen:
                    seen.add(found)
                    nodes.append(target)
            nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return False


def alias(node: object) -> str | None:
    """The reference, if a node is nothing else but perhaps remarks."""
    while isinstance(node, dict):
        constraints = sorted(node.keys() & CONSTRAINTS)
        value = node[constraints[0]] if len(constraints) == 1 else None
        if constraints == ["$ref"] and isinstance(value, str):
            return value
        if constraints not in (["allOf"], ["anyOf"], ["oneOf"]) or not isinstance(value, list) or len(value) != 1:
            return None
        node = value[0]
    return None


def _says_more(node: object) -> bool:
    """Whether an alias has remarks of its own."""
    while isinstance(node, dict) and "$ref" not in node:
        if _remarks(node):
            return True
        node = next(node[union][0] for union in ("allOf", "anyOf", "oneOf") if union in node)
    return isinstance(node, dict) and _remarks(node)


def _remarks(node: JSONObject) -> bool:
    idle = CONSTRAINTS | SILENT | {"$defs", "definitions"}
    return any(v is not None and word not in idle and not word.startswith("x-") for word, v in node.items())


def _clean_name(name: str) -> str:
    """A name that needs no escaping in a pointer."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "_"


def _copy(schema: object) -> JSONObject:
    try:
        copy = msgspec.json.decode(msgspec.json.encode(schema))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid("$", f"it is nested too deep, or not JSON ({type(error).__name__}),") from None
    if not isinstance(copy, dict):
        raise invalid("$", "a schema must be an object")
    _check_depth(copy)
    return copy


def _check_depth(schema: JSONObject) -> None:
    nodes: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    while nodes:
        node, path = nodes.pop()
        if len(path) > _MAX_DEPTH:
            raise invalid("#/" + "/".join(path)[:200], f"more than {_MAX_DEPTH // 2} levels")
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        nodes += [(child, (*path, str(key))) for key, child in items]
