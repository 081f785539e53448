"""Values that satisfy a schema."""

import jsonschema
import msgspec
import pytest

from llmring.sim.instances import least_value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "texttt"),
        ({"type": ["number", "null"]}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"const": 7}, 7),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "number", "minimum": 0.1, "maximum": 0.5}, 0.5),
        ({"type": "STRING", "nullable": True}, "text"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "default": "d"}, "d"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        (
            {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]},
            {"a": "text", "b": "text"},
        ),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"const": 0}, "minItems": 2}, [1, 0]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"enum": ["x", "y"]}}}, "x"),
        ({"properties": {"a": {"type": "object"}}, "required": ["a"]}, {"a": {}}),
    ],
)
def test_the_least_value_satisfies_its_schema(schema: dict[str, object], value: object) -> None:
    assert least_value(schema) == value


def test_a_schema_that_requires_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert isinstance(least_value(node), dict)


def test_a_circle_is_left_by_the_way_out_of_it() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": {**node, "required": ["next"]}}}
    assert least_value(schema) == {"next": None}


def test_every_field_is_given_where_that_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"]}
    assert least_value(schema) == {"b": "text"}
    assert least_value(schema, every_field=True) == {"b": "text", "a": 1}


_ADDRESS = {
    "type": "object",
    "properties": {"street": {"type": "string", "minLength": 1}, "zip": {"type": ["string", "null"]}},
    "required": ["street", "zip"],
    "additionalProperties": False,
}
_TREE = {
    "type": "object",
    "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["kids"],
}


@pytest.mark.parametrize(
    "schema",
    [
        _ADDRESS,
        {"type": "array", "items": {"$ref": "#/$defs/address"}, "minItems": 2, "$defs": {"address": _ADDRESS}},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "number", "exclusiveMinimum": 7.5},
        {"type": "number", "exclusiveMaximum": -2},
        {"type": "number", "multipleOf": 0.5, "minimum": 1.2},
        {"type": "integer", "minimum": 3, "exclusiveMaximum": 4},
        {"type": "integer", "exclusiveMinimum": 9, "multipleOf": 4},
        {"type": "string", "minLength": 3, "maxLength": 3},
        {"type": "string", "format": "uuid"},
        {"oneOf": [{"type": "integer", "minimum": 2}, {"type": "string"}]},
        {"allOf": [_ADDRESS | {"additionalProperties": True}, {"properties": {"n": {"const": 1}}, "required": ["n"]}]},
        {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "flag": {"type": "boolean"}},
         "required": ["kind", "flag"]},
        {"$ref": "#/$defs/tree", "$defs": {"tree": _TREE}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("every_field", [False, True])
def test_a_checker_of_schemas_agrees(schema: dict[str, object], every_field: bool) -> None:
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    value = msgspec.json.encode(least_value(schema, every_field=every_field))
    assert checker.is_valid(msgspec.json.decode(value))
