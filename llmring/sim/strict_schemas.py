"""What OpenAI's strict mode refuses in a schema, of a tool or of structured output. Pure.

Strict: the root is an object, every object closes itself with additionalProperties false and requires all of its
properties, every array says what it holds, and some keywords do not exist.
Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from collections.abc import Iterator, Mapping

from llmring.sim.wire import Schema

_REFUSED = ("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")


def strict_complaint(schema: Schema) -> str | None:
    """The first thing strict mode refuses, in the provider's words; None when nothing is."""
    if schema.get("type") != "object":
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    if "anyOf" in schema:
        return "In context=(), 'anyOf' is not permitted at the root."
    return next(_complaints(schema, ()), None)


def _complaints(schema: object, path: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    where = "(" + ", ".join(f"'{step}'" for step in path) + ("," if len(path) == 1 else "") + ")"
    for keyword in _REFUSED:
        if keyword in schema:
            yield f"In context={where}, '{keyword}' is not permitted."
    if "$ref" in schema and len(schema) > 1 and path:
        yield f"In context={where}, $ref cannot have keywords {sorted(set(schema) - {'$ref'})}."
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds:
        yield from _object_complaints(schema, where)
    if "array" in kinds and "items" not in schema and "prefixItems" not in schema:
        yield f"In context={where}, array schema missing items."
    for step, inner in _inner(schema):
        yield from _complaints(inner, (*path, *step))


def _object_complaints(schema: Mapping[str, object], where: str) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"In context={where}, 'additionalProperties' is required to be supplied and to be false."
    properties, required = schema.get("properties"), schema.get("required")
    names = list(properties) if isinstance(properties, Mapping) else []
    listed = required if isinstance(required, list) else []
    missing = [name for name in names if name not in listed]
    if missing:
        yield (
            f"In context={where}, 'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing '{missing[0]}'."
        )
    if extra := [name for name in listed if name not in names]:
        yield f"In context={where}, 'required' must list keys of properties. Extra required key '{extra[0]}' supplied."


def _inner(schema: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The schemas directly inside this one, with the steps to them."""
    for holder in ("properties", "$defs", "definitions"):
        held = schema.get(holder)
        if isinstance(held, Mapping):
            yield from (((holder, str(name)), inner) for name, inner in held.items())
    for holder in ("anyOf", "prefixItems"):
        listed = schema.get(holder)
        if isinstance(listed, list):
            yield from (((holder, str(at)), inner) for at, inner in enumerate(listed))
    if "items" in schema:
        yield ("items",), schema["items"]
