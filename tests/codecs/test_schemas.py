"""JSON schemas in each provider's dialect: what is sent, what is reported, and that replies mean what was asked."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from llmring.chat import JSONObject
from llmring.codecs.schemas.dialects import (
    FittedSchema,
    fit_anthropic,
    fit_google,
    fit_google_openapi,
    fit_ollama,
    fit_openai,
    without_added_nulls,
)
from llmring.errors import InvalidRequest

Fit = Callable[[JSONObject], FittedSchema]


def is_valid(schema: JSONObject, value: Any) -> bool:
    """What the published rules of JSON schema say; a schema that they cannot follow is no example."""
    try:
        return bool(Draft202012Validator(schema, registry=Registry()).is_valid(value))
    except RecursionError:
        return assume(False)
    except BaseException as error:  # noqa: ASYNC103 - of all but one
        # Of the Rust below jsonschema, for a schema that stands for itself.
        if type(error).__name__ != "PanicException":
            raise
        return assume(False)  # noqa: ASYNC104


FITS: dict[str, Fit] = {
    "openai": fit_openai,
    "anthropic": fit_anthropic,
    "google": fit_google,
    "google_openapi": fit_google_openapi,
    "ollama": fit_ollama,
}
ALL = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())


def obj(required: list[str] | None = None, /, **properties: Any) -> JSONObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def of_property(fit: Fit, node: Any) -> tuple[Any, tuple[str, ...]]:
    """What becomes of a required property."""
    fitted = fit(obj(p=node))
    assert fitted.strict, fitted.dropped
    return fitted.schema["properties"]["p"], fitted.dropped


STRING = {"type": "string"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
NULL = {"type": "null"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "additionalProperties": False}


# OpenAI


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (STRING, {"type": ["string", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"enum": ["a", "b"]}, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        ({"const": "a"}, {"anyOf": [{"type": "string", "const": "a"}, NULL]}),
        ({"type": "array", "items": STRING}, {"anyOf": [{"type": "array", "items": STRING}, NULL]}),
        (obj(a=STRING) | {"description": "d"}, {"anyOf": [obj(a=STRING), NULL], "description": "d"}),
        ({"anyOf": [STRING, INTEGER]}, {"anyOf": [STRING, INTEGER, NULL]}),
        ({"anyOf": [STRING, NULL]}, {"anyOf": [STRING, NULL]}),
    ],
)
def test_openai_requires_what_is_optional_and_lets_it_be_null(node: Any, expected: Any) -> None:
    fitted = fit_openai(obj([], p=node))
    assert fitted == FittedSchema(schema=obj(p=expected))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (STRING | {"title": "T", "examples": ["x"], "deprecated": True, "x-order": 1}, STRING),
        ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, obj(a=STRING)),
        ({"properties": {"a": STRING}, "required": ["a"]}, obj(a=STRING)),
        ({"type": ["object", "null"], "properties": {}}, {"anyOf": [obj(), NULL]}),
        ({"enum": [1, 2.5]}, {"type": "number", "enum": [1, 2.5]}),
        ({"type": "string", "enum": ["a", 1]}, {"type": "string", "enum": ["a"]}),
        ({"const": True}, {"type": "boolean", "const": True}),
        ({"const": None}, NULL),
        ({"type": "string", "minimum": 3}, STRING),
        ({"type": "string", "minLength": 0}, STRING),
        ({"type": "integer", "exclusiveMinimum": 1, "multipleOf": 2},) * 2,
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 1}),
        ({"type": "string", "format": "uuid", "pattern": "^a(?:b)$"},) * 2,
        ({"type": "STRING"}, STRING),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (obj(a=STRING) | {"nullable": True, "description": "d"}, {"anyOf": [obj(a=STRING), NULL], "description": "d"}),
        ({"oneOf": [STRING, INTEGER]}, {"anyOf": [STRING, INTEGER]}),
        ({"anyOf": [STRING]}, STRING),
        ({"anyOf": [STRING, False]}, STRING),
        ({"anyOf": [STRING, STRING]}, STRING),
        (
            {"type": "array", "items": [STRING, INTEGER]},
            {"type": "array", "prefixItems": [STRING, INTEGER], "maxItems": 2},
        ),
        (
            {"type": "array", "prefixItems": [STRING], "items": False, "minItems": 1},
            {"type": "array", "prefixItems": [STRING], "minItems": 1, "maxItems": 1},
        ),
        (
            {"type": "array", "items": [STRING], "additionalItems": INTEGER},
            {"type": "array", "prefixItems": [STRING], "items": INTEGER},
        ),
        ({"allOf": [STRING], "description": "d"}, STRING | {"description": "d"}),
        (
            {"allOf": [{"minimum": 1}, {"minimum": 2, "maximum": 9}], "type": "integer"},
            INTEGER | {"minimum": 2, "maximum": 9},
        ),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
                    {"properties": {"b": STRING}},
                ]
            },
            obj(a=STRING, b={"type": ["string", "null"]}),
        ),
        (
            {"properties": {"a": STRING, "b": STRING}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"anyOf": [obj(a=STRING, b={"type": ["string", "null"]}), obj(a={"type": ["string", "null"]}, b=STRING)]},
        ),
        (obj(a=STRING, b=False) | {"required": ["a"]}, obj(a=STRING)),
    ],
)
def test_openai_takes_it_in_its_own_words(node: Any, expected: Any) -> None:
    assert of_property(fit_openai, node) == (expected, ())


@pytest.mark.parametrize(
    ("keyword", "value", "kind"),
    [
        ("minLength", 3, STRING),
        ("maxLength", 3, STRING),
        ("pattern", "(?=a)", STRING),
        ("format", "uri", STRING),
        ("uniqueItems", True, {"type": "array", "items": STRING}),
        ("contains", {"const": "a"}, {"type": "array", "items": STRING}),
        ("minProperties", 1, obj(a=STRING)),
        ("propertyNames", {"minLength": 1}, obj(a=STRING)),
        ("not", {"const": "a"}, STRING),
        ("dependentRequired", {"a": ["b"]}, obj(a=STRING, b=STRING)),
    ],
)
def test_openai_reads_in_the_description_what_it_cannot_enforce(keyword: str, value: Any, kind: JSONObject) -> None:
    node, dropped = of_property(fit_openai, kind | {keyword: value, "description": "Said."})
    text = msgspec.json.encode(value).decode()
    assert node == kind | {"description": f"Said.\n\n{{{keyword}: {text}}}"}
    assert dropped == (f"{keyword} at $.p: moved to the description",)


def test_a_default_is_told_and_not_reported() -> None:
    assert of_property(fit_openai, INTEGER | {"default": 5}) == (INTEGER | {"description": "{default: 5}"}, ())


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": STRING}, "type at $: not one object"),
        ({"anyOf": [obj(a=STRING), obj(b=STRING)]}, "type at $: not one object"),
        ({"type": "object"}, "additionalProperties at $: other properties cannot be allowed"),
        (obj(a={"type": "object"}), "additionalProperties at $.a: other properties cannot be allowed"),
        (obj() | {"additionalProperties": True}, "additionalProperties at $: other properties cannot be allowed"),
        (obj() | {"additionalProperties": STRING}, "additionalProperties at $: other properties cannot be allowed"),
        (obj(a={}), "type at $.a: missing"),
        (obj(a=True), "type at $.a: missing"),
        (obj(a=False), "false at $.a: nothing satisfies it"),
        (obj(a={"type": "array"}), "items at $.a: missing"),
        (obj(a={"type": "array", "items": {}}), "items at $.a: missing"),
        (obj(["b"], a=STRING), 'required at $: "b" is no property'),
        (obj(a=STRING) | {"if": {}, "then": {}}, "if at $: not supported"),
        (obj(**{"odd name": {}}), 'type at $["odd name"]: missing'),
        (
            obj(a={"allOf": [obj(x=STRING), obj(y=STRING)]}),
            "allOf at $.a: not supported",
        ),
        (obj(a={"allOf": [{"pattern": "a"}, {"pattern": "b"}], "type": "string"}), "allOf at $.a: not supported"),
    ],
)
def test_openai_gets_as_it_is_what_cannot_be_strict(schema: JSONObject, reason: str) -> None:
    fitted = fit_openai(schema)
    assert (fitted.schema, fitted.strict) == (schema, False)
    assert f"{reason}, so nothing is enforced" in fitted.dropped


def nested(levels: int) -> JSONObject:
    node: JSONObject = STRING
    for _ in range(levels):
        node = obj(a=node)
    return node


@pytest.mark.parametrize(
    ("small", "large", "reason"),
    [
        (nested(10), nested(11), "11 levels, at most 10"),
        (
            obj(**{f"p{n}": STRING for n in range(5000)}),
            obj(**{f"p{n}": STRING for n in range(5001)}),
            "5001 properties, at most 5000",
        ),
        (obj(a={"enum": [*range(1000)]}), obj(a={"enum": [*range(1001)]}), "1001 literals, at most 1000"),
        (obj(a={"const": "x" * 119_999}), obj(a={"const": "x" * 120_000}), "120001 characters, at most 120000"),
    ],
)
def test_openai_has_limits(small: JSONObject, large: JSONObject, reason: str) -> None:
    assert fit_openai(small).strict
    assert fit_openai(large) == FittedSchema(
        schema=large, dropped=(f"size at $: {reason}, so nothing is enforced",), strict=False
    )


# References


def test_definitions_and_recursion_are_kept_where_they_can_be() -> None:
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE, "Idle": STRING}}
    ref = {"$ref": "#/$defs/Node"}
    strict = obj(next={"anyOf": [ref, NULL]})
    assert fit_openai(schema) == FittedSchema(schema=strict | {"$defs": {"Node": strict}})
    assert fit_google(schema) == FittedSchema(schema=NODE | {"$defs": {"Node": NODE}})
    assert fit_ollama(schema) == FittedSchema(schema=NODE | {"$defs": {"Node": NODE}})
    anthropic = fit_anthropic(schema)
    assert (anthropic.schema, anthropic.strict) == (schema, False)
    assert anthropic.dropped[0] == "$ref at $.next: recursive, so nothing is enforced"
    with pytest.raises(InvalidRequest, match=r"no recursive references, '#/\$defs/Node', at \$\.next"):
        fit_google_openapi(schema)


def test_what_is_beside_a_reference_is_kept() -> None:
    schema = obj(p={"$ref": "#/definitions/A", "description": "here"}) | {
        "definitions": {"A": STRING | {"description": "all"}}
    }
    wrapped = {"anyOf": [{"$ref": "#/$defs/A"}], "description": "here"}
    inlined = STRING | {"description": "here\n\nall"}
    assert {name: fit(schema).schema["properties"]["p"] for name, fit in FITS.items()} == {
        "openai": wrapped,
        "anthropic": inlined,
        "google": wrapped,
        "google_openapi": inlined,
        "ollama": inlined,
    }


def test_constraints_beside_a_reference_are_merged_with_it() -> None:
    schema = obj(p={"$ref": "#/$defs/A", "minimum": 3}) | {"$defs": {"A": {"type": "integer", "maximum": 9}}}
    assert fit_openai(schema).schema == obj(p={"type": "integer", "minimum": 3, "maximum": 9})


def test_references_into_the_schema_become_definitions() -> None:
    schema = obj(a=obj(b=STRING), c={"$ref": "#/properties/a/properties/b"}, d={"$ref": "#/$defs/x~1y%20z"})
    fitted = fit_openai(schema | {"$defs": {"x/y z": INTEGER, "x_y_z": NUMBER}}).schema
    assert fitted["properties"]["c"] == {"$ref": "#/$defs/properties_a_properties_b"}
    assert fitted["properties"]["d"] == {"$ref": "#/$defs/x_y_z_"}
    assert fitted["$defs"] == {"properties_a_properties_b": STRING, "x_y_z_": INTEGER}


def test_a_reference_to_the_root_is_one_to_a_definition() -> None:
    fitted = fit_openai(obj([], next={"$ref": "#"}))
    node = obj(next={"anyOf": [{"$ref": "#/$defs/root"}, NULL]})
    assert fitted == FittedSchema(schema=node | {"$defs": {"root": node}})


def test_google_requires_nothing_that_is_recursive() -> None:
    tree = obj(name=STRING, children={"type": "array", "items": {"$ref": "#/$defs/Tree"}})
    fitted = fit_google({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}})
    assert fitted.schema["$defs"]["Tree"]["required"] == ["name"]
    assert fitted.dropped == ("required at $defs.Tree.children: not where it is recursive",)


@ALL
@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (obj(a={"$ref": "https://example.org/x"}), "does not point into the schema itself at $.a"),
        (obj(a={"$ref": "#/$defs/A"}), "leads nowhere at $.a"),
        (obj(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": {"$ref": "#/$defs/A"}}}, "stands for itself at $.a"),
        (obj(a={"allOf": [{"$ref": "#/properties/a"}]}), "stands for itself"),
        (obj(a=5), "a schema must be an object at $.a"),
        (obj(a={"type": "text"}), 'is not one that JSON schemas have, "text", at $.a'),
        (obj(a={"type": 3}), "`type` is neither a name nor a list of names at $.a"),
        (obj(a={"minLength": "3"}), "`minLength` is not a number at $.a"),
        (obj(a=STRING) | {"required": True}, "`required` is not a list of names at $"),
        (obj(a={"anyOf": []}), "`anyOf` is not a list of schemas at $.a"),
        ({"properties": []}, "`properties` is not an object at $"),
        ({"$defs": [None]}, "`$defs` is not an object at $"),
        (obj(a={"$ref": "#/anyOf/" + "1" * 5000}), "leads nowhere at $.a"),
        (nested(101), "more than 100 levels at #/properties/a"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(fit: Fit, schema: JSONObject, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fit(schema)
    assert message in str(refused.value)


@ALL
@pytest.mark.parametrize("schema", [True, None, [], "x", {"default": object()}])
def test_what_is_no_object_is_refused(fit: Fit, schema: Any) -> None:
    with pytest.raises(InvalidRequest):
        fit(schema)


def doubling(levels: int) -> JSONObject:
    """A schema of 2 to the power of `levels` nodes without references."""
    nodes = {f"D{n}": obj(a={"$ref": f"#/$defs/D{n + 1}"}, b={"$ref": f"#/$defs/D{n + 1}"}) for n in range(levels)}
    return {"$ref": "#/$defs/D0", "$defs": nodes | {f"D{levels}": STRING}}


def test_what_would_grow_without_bound_is_not_written_out() -> None:
    schema = doubling(40)
    with pytest.raises(InvalidRequest, match="too large without references"):
        fit_google_openapi(schema)
    assert fit_ollama(schema).strict is False
    assert fit_openai(schema).strict
    refs = {name: {"$ref": f"#/$defs/{name}"} for name in ("A", "B")}
    nodes = {name: {"type": "object", "properties": {"l": ref, "r": ref}} for name, ref in refs.items()}
    assert fit_openai({"allOf": [*refs.values()], "$defs": nodes}).strict is False


# The others


@pytest.mark.parametrize(
    ("node", "expected", "dropped"),
    [
        (STRING | {"title": "T", "format": "uri"}, STRING | {"title": "T", "format": "uri"}, []),
        ({"type": "string", "enum": ["a"]}, {"enum": ["a"]}, []),
        ({"const": 1}, {"const": 1}, []),
        ({"type": ["string", "null"]}, {"anyOf": [STRING, NULL]}, []),
        (obj([], a=STRING) | {"additionalProperties": None}, obj([], a=STRING), []),
        (
            INTEGER | {"minimum": 1, "maximum": 3},
            INTEGER | {"description": "{minimum: 1, maximum: 3}"},
            ["minimum", "maximum"],
        ),
        ({"type": "array", "items": STRING, "minItems": 1}, {"type": "array", "items": STRING, "minItems": 1}, []),
        (
            {"type": "array", "minItems": 2, "items": STRING},
            {"type": "array", "items": STRING, "description": "{minItems: 2}"},
            ["minItems"],
        ),
        (
            {"type": "array", "prefixItems": [NUMBER, NUMBER]},
            {"type": "array", "items": NUMBER, "description": '{prefixItems: [{"type":"number"},{"type":"number"}]}'},
            ["prefixItems"],
        ),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 1}, {"const": 2}]}, ["oneOf"]),
    ],
)
def test_anthropic(node: Any, expected: Any, dropped: list[str]) -> None:
    fitted, reports = of_property(fit_anthropic, node)
    if not expected.get("required", True):
        del expected["required"]
    assert fitted == expected
    assert [report.split()[0] for report in reports] == dropped


def test_anthropic_gets_as_they_are_maps_and_what_is_too_large() -> None:
    for schema in (
        obj(a={"type": "object", "additionalProperties": INTEGER}),
        obj([], **{f"p{n}": STRING for n in range(25)}),
        obj(**{f"p{n}": {"type": ["string", "null"]} for n in range(17)}),
    ):
        fitted = fit_anthropic(schema)
        assert (fitted.schema, fitted.strict) == (schema, False)
        assert fitted.dropped


@pytest.mark.parametrize(
    ("node", "expected", "dropped"),
    [
        ({"type": ["string", "null"]},) * 2 + ([],),
        ({"type": "object", "additionalProperties": INTEGER},) * 2 + ([],),
        ({"type": "array", "prefixItems": [NUMBER], "minItems": 1},) * 2 + ([],),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}, []),
        ({"const": True}, {"type": "boolean", "description": "{enum: [true]}"}, ["enum"]),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}, []),
        (STRING | {"default": None}, STRING, []),
        (INTEGER | {"exclusiveMinimum": 1.5, "maximum": 9}, INTEGER | {"minimum": 2, "maximum": 9}, []),
        (INTEGER | {"exclusiveMaximum": 3, "maximum": 9}, INTEGER | {"maximum": 2}, []),
        (
            NUMBER | {"exclusiveMinimum": 1},
            NUMBER | {"minimum": 1, "description": "{exclusiveMinimum: 1}"},
            ["exclusiveMinimum"],
        ),
        (STRING | {"pattern": "a"}, STRING | {"description": '{pattern: "a"}'}, ["pattern"]),
        ({}, {}, []),
        (True, {}, []),
        (False, {"description": "{not: {}}"}, ["not"]),
    ],
)
def test_google(node: Any, expected: Any, dropped: list[str]) -> None:
    fitted, reports = of_property(fit_google, node)
    assert (fitted, [report.split()[0] for report in reports]) == (expected, dropped)


@pytest.mark.parametrize(
    ("node", "expected", "dropped"),
    [
        ({"type": ["string", "null"]}, STRING | {"nullable": True}, []),
        ({"anyOf": [STRING, INTEGER, NULL]}, {"anyOf": [STRING, INTEGER], "nullable": True}, []),
        ({"anyOf": [{"type": ["string", "null"]}, INTEGER]}, {"anyOf": [STRING, INTEGER], "nullable": True}, []),
        (obj(a=STRING), {"type": "object", "properties": {"a": STRING}, "required": ["a"]}, []),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}, []),
        ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}, []),
        ({"enum": [1, 2]}, INTEGER | {"description": "{enum: [1,2]}"}, ["enum"]),
        (STRING | {"pattern": "a", "format": "date-time"},) * 2 + ([],),
        (STRING | {"format": "email"}, STRING | {"description": '{format: "email"}'}, ["format"]),
        (
            {"type": "array", "prefixItems": [NUMBER, STRING]},
            {
                "type": "array",
                "items": {"anyOf": [NUMBER, STRING]},
                "description": '{prefixItems: [{"type":"number"},{"type":"string"}]}',
            },
            ["prefixItems"],
        ),
        (
            {"type": "object", "additionalProperties": NUMBER},
            {"type": "object", "description": '{additionalProperties: {"type":"number"}}'},
            ["additionalProperties"],
        ),
    ],
)
def test_google_openapi(node: Any, expected: Any, dropped: list[str]) -> None:
    fitted, reports = of_property(fit_google_openapi, node)
    assert (fitted, [report.split()[0] for report in reports]) == (expected, dropped)


@pytest.mark.parametrize(
    ("node", "expected", "dropped"),
    [
        (STRING | {"minLength": 1, "pattern": "^[a-z]+$", "format": "date"},) * 2 + ([],),
        (STRING | {"pattern": "a"}, STRING | {"description": '{pattern: "a"}'}, ["pattern"]),
        (INTEGER | {"minimum": 1},) * 2 + ([],),
        (NUMBER | {"minimum": 1}, NUMBER | {"description": "{minimum: 1}"}, ["minimum"]),
        ({"const": 1}, INTEGER | {"enum": [1]}, []),
        ({"type": ["string", "null"]},) * 2 + ([],),
    ],
)
def test_ollama(node: Any, expected: Any, dropped: list[str]) -> None:
    fitted, reports = of_property(fit_ollama, node)
    assert (fitted, [report.split()[0] for report in reports]) == (expected, dropped)


@ALL
def test_properties_may_be_named_like_keywords(fit: Fit) -> None:
    names = ["type", "$ref", "properties", "required", "anyOf", "$defs", "not", "title", "const", "items"]
    fitted = fit(obj(**dict.fromkeys(names, INTEGER)))
    assert fitted.schema["properties"] == dict.fromkeys(names, INTEGER)
    assert (fitted.dropped, fitted.strict) == ((), True)


@ALL
def test_the_root_stays_an_object_beside_a_union_of_required_names(fit: Fit) -> None:
    schema = obj([], a=STRING, b=STRING) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    fitted = fit(schema)
    assert fitted.schema["type"] == "object"
    assert fitted.schema["description"] == '{anyOf: [{"required":["a"]},{"required":["b"]}]}'
    assert fitted.dropped == ("anyOf at $: moved to the description",)


# Replies


@pytest.mark.parametrize(
    ("node", "value", "expected"),
    [
        (obj([], a=STRING), {"a": None}, {}),
        (obj([], a={"type": ["string", "null"]}), {"a": None}, {"a": None}),
        (obj([], a={}), {"a": None}, {"a": None}),
        (obj([], a={"enum": ["x", None]}), {"a": None}, {"a": None}),
        (obj([], a={"type": ["string", "null"], "enum": ["x"]}), {"a": None}, {}),
        (obj(a=STRING), {"a": None}, {"a": None}),
        (obj([], a=STRING), {"b": None}, {"b": None}),
        ({"type": "array", "items": obj([], a=STRING)}, [{"a": None}, {"a": "x"}], [{}, {"a": "x"}]),
        ({"type": "array", "prefixItems": [obj([], a=STRING)]}, [{"a": None}, {"a": None}], [{}, {"a": None}]),
        (
            {"anyOf": [obj(["k"], k={"const": 1}, a=NULL), obj(["k"], k={"const": 2}, a=STRING)]},
            {"k": 2, "a": None},
            {"k": 2},
        ),
        (
            {"anyOf": [obj(["k"], k={"const": 1}, a=NULL), obj(["k"], k={"const": 2}, a=STRING)]},
            {"k": 1, "a": None},
            {"k": 1, "a": None},
        ),
        ({"allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}}]}, {"a": None, "b": None}, {}),
        (obj([], a=STRING) | {"nullable": True}, {"a": None}, {}),
        (STRING, 5, 5),
        (NUMBER | {"multipleOf": 1e-300}, 1e300, 1e300),
        (NUMBER | {"multipleOf": 0}, 1, 1),
        (STRING | {"pattern": "("}, "a", "a"),
        (obj([], a=STRING), "no object", "no object"),
        ({"anyOf": [STRING, obj([], a=STRING)]}, {"a": None, "z": 1}, {"z": 1}),
        ({"anyOf": [{"$ref": "#/$defs/v"}, STRING]}, None, None),
    ],
)
def test_nulls_go_where_the_schema_knows_none(node: JSONObject, value: Any, expected: Any) -> None:
    before = copy.deepcopy(value)
    schema = obj(v=node) | {"$defs": {"v": node}}
    assert without_added_nulls({"v": value}, schema) == {"v": expected}
    assert value == before


def test_nulls_go_at_every_level_of_a_recursive_reply() -> None:
    value: Any = {"next": None}
    for _ in range(40):
        value = {"next": value}
    cleaned = without_added_nulls(value, {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}})
    for _ in range(40):
        cleaned = cleaned["next"]
    assert cleaned == {}


def test_a_union_of_itself_ends() -> None:
    loop = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, STRING]}
    assert without_added_nulls({"a": None}, loop) == {"a": None}
    assert without_added_nulls({"a": None}, {"properties": {"a": STRING}, **loop}) == {"a": None}


# What holds of every schema

CHILDREN = {
    "properties": lambda v: v.values(),
    "$defs": lambda v: v.values(),
    "anyOf": iter,
    "prefixItems": iter,
    "items": lambda v: [v],
    "additionalProperties": lambda v: [v] if isinstance(v, dict) else [],
}
COMMON = {"type", "properties", "required", "items", "anyOf", "description", "enum"}
KNOWN = {
    "openai": COMMON
    | {"$defs", "$ref", "additionalProperties", "prefixItems", "const", "pattern", "format", "minimum", "maximum"}
    | {"exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"},
    "anthropic": COMMON | {"$defs", "$ref", "additionalProperties", "title", "const", "format", "minItems"},
    "google": COMMON
    | {"$defs", "$ref", "additionalProperties", "prefixItems", "format", "minItems", "maxItems", "minimum", "maximum"}
    | {"propertyOrdering"},
    "google_openapi": COMMON
    | {"nullable", "format", "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength", "pattern"}
    | {"minProperties", "maxProperties", "propertyOrdering"},
    "ollama": COMMON
    | {"$defs", "$ref", "additionalProperties", "prefixItems", "format", "minItems", "maxItems", "minimum", "maximum"}
    | {"exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"},
}


def nodes_of(schema: JSONObject) -> Iterator[JSONObject]:
    yield schema
    for keyword, value in schema.items():
        for child in CHILDREN[keyword](value) if keyword in CHILDREN else ():
            yield from nodes_of(child)


def assert_in_dialect(provider: str, schema: JSONObject) -> None:
    for node in nodes_of(schema):
        assert node.keys() <= KNOWN[provider], node
        if "$ref" in node:
            assert node.keys() - {"$defs"} == {"$ref"}
        if provider == "openai" and node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        if provider == "openai":
            assert node.keys() & {"type", "anyOf", "$ref"}
        if provider == "anthropic" and node.get("type") == "object":
            assert node["additionalProperties"] is False
        if provider in ("anthropic", "google_openapi"):
            assert isinstance(node.get("type", ""), str)
    if provider == "openai":
        assert schema["type"] == "object"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
WORDS = sorted({*CHILDREN, *(word for words in KNOWN.values() for word in words)})
WORDS += ["allOf", "oneOf", "not", "definitions", "additionalItems", "default", "const", "if", "uniqueItems", "x-y"]
REFS = ["#", "#/properties/a", "#/$defs/a", "#/definitions/a", "#/$defs/b", "#/items", "#/anyOf/0", "http://x"]
ANYTHING = st.recursive(
    SCALARS | st.sampled_from(["object", "array", "string", "null", "integer", *REFS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)


def typed(inner: st.SearchStrategy[Any], extra: st.SearchStrategy[JSONObject]) -> st.SearchStrategy[Any]:
    """Nodes that are well formed, with small numbers and few names so that they often meet."""
    small = st.integers(0, 3)
    names = st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3)
    literal = st.sampled_from([None, True, 0, 1, 2.5, "a", "b", ""])
    either = st.lists(inner, min_size=1, max_size=3)
    kinds = [
        st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": small, "pattern": st.just("a")}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number", ["integer", "null"]])},
            optional={"minimum": small, "exclusiveMaximum": small, "multipleOf": st.integers(1, 2)},
        ),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}]),
        st.fixed_dictionaries(
            {"enum": st.lists(literal, min_size=1, max_size=3)}, optional={"type": st.just("string")}
        ),
        st.fixed_dictionaries({"const": literal}),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner | st.booleans()},
            optional={"minItems": small, "maxItems": small, "prefixItems": st.lists(inner, min_size=1, max_size=2)},
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["object", ["object", "null"]]), "properties": names},
            optional={
                "required": st.lists(st.sampled_from(["a", "b", "type"]), unique=True, max_size=2),
                "additionalProperties": st.booleans(),
                "anyOf": st.just([{"required": ["a"]}, {"required": ["b"]}]),
            },
        ),
        *(st.fixed_dictionaries({union: either}) for union in ("anyOf", "oneOf", "allOf")),
        st.fixed_dictionaries(
            {"$ref": st.sampled_from(["#/$defs/a", "#/$defs/b", "#"])}, optional={"description": st.just("d")}
        ),
        st.booleans(),
        extra,
    ]
    return st.one_of(kinds)


LEAVES: st.SearchStrategy[Any] = st.sampled_from([STRING, INTEGER, NULL, {"const": "a"}, {"type": "boolean"}])
NODES = st.recursive(
    LEAVES,
    lambda inner: typed(inner, st.sampled_from([{"not": NULL}, {"type": "string", "maxLength": 2}])),
    max_leaves=12,
)
SCHEMAS = st.builds(
    lambda properties, required, a, b: {
        "type": "object",
        "properties": properties,
        "required": required,
        "$defs": {"a": a, "b": b},
    },
    st.dictionaries(st.sampled_from(["a", "b", "type"]), NODES, min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=1),
    NODES,
    NODES,
)


@ALL
@given(schema=ANYTHING | SCHEMAS | NODES)
def test_any_schema_fits_or_is_refused(fit: Fit, schema: Any) -> None:
    before = copy.deepcopy(schema)
    try:
        fitted = fit(schema)
    except InvalidRequest:
        assert schema == before
        return
    assert schema == before
    assert fit(schema) == fitted
    again = fit(fitted.schema)
    if fit is fit_ollama:
        # What was recursive in a dropped part alone is no longer, and is written out.
        fitted, again = (again, fit(again.schema)) if fitted.strict else (fitted, again)
    assert again == (FittedSchema(schema=fitted.schema) if fitted.strict else fitted)
    if fitted.strict:
        assert_in_dialect(next(name for name, function in FITS.items() if function is fit), fitted.schema)
    else:
        assert fitted.dropped


@given(schema=ANYTHING | SCHEMAS, value=ANYTHING)
def test_any_reply_can_be_read(schema: Any, value: Any) -> None:
    before = copy.deepcopy((schema, value))
    with contextlib.suppress(InvalidRequest):
        without_added_nulls(value, schema)
    assert (schema, value) == before


def instances(schema: JSONObject, draw: st.DrawFn, root: JSONObject, depth: int = 0) -> Any:
    """Something that `schema`, a fitted one, more or less allows."""
    if "$ref" in schema:
        return instances(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], draw, root, depth + 1)
    if "anyOf" in schema:
        return instances(draw(st.sampled_from(schema["anyOf"])), draw, root, depth + 1)
    if "const" in schema or "enum" in schema:
        return draw(st.sampled_from([schema["const"]] if "const" in schema else list(schema["enum"])))
    types = schema.get("type", ["null", "string", "integer"])
    kind = draw(st.sampled_from([types] if isinstance(types, str) else types))
    if kind == "object":
        optional = [n for n in schema.get("properties", ()) if n not in schema.get("required", ())]
        names = [*schema.get("required", ()), *(n for n in optional if depth < 6 and draw(st.booleans()))]
        return {
            n: instances(schema["properties"][n], draw, root, depth + 1) for n in names if n in schema["properties"]
        }
    if kind == "array":
        prefix = schema.get("prefixItems", [])
        most = min(schema.get("maxItems", 3), 3) if depth < 6 else 0
        length = draw(st.integers(min(schema.get("minItems", 0), most), most))
        each = [*prefix, *[schema.get("items", NULL)] * length][:length]
        return [instances(node, draw, root, depth + 1) for node in each]
    kinds = {"string": st.sampled_from(["", "a", "b", "abcd"]), "boolean": st.booleans(), "null": st.none()}
    return draw(kinds.get(kind, st.integers(-1, 4) | st.sampled_from([0.5, 2.0])))


def without_openapi(node: Any) -> Any:
    """`nullable` as JSON Schema says it."""
    if isinstance(node, list):
        return [without_openapi(child) for child in node]
    if not isinstance(node, dict):
        return node
    out = {k: without_openapi(v) for k, v in node.items() if k != "nullable"}
    return {"anyOf": [out, NULL]} if node.get("nullable") is True else out


@ALL
@settings(max_examples=200)
@given(schema=SCHEMAS, data=st.data())
def test_what_a_provider_enforces_is_what_was_asked(fit: Fit, schema: JSONObject, data: st.DataObject) -> None:
    try:
        fitted = fit(schema)
    except InvalidRequest:
        assume(False)
    assume(fitted.strict and not fitted.dropped)
    sent = fitted.schema if fit is not fit_google_openapi else without_openapi(fitted.schema)
    try:
        value = data.draw(st.composite(lambda draw: instances(fitted.schema, draw, fitted.schema))())
    except RecursionError:
        assume(False)
    assume(is_valid(sent, value))
    reply = without_added_nulls(value, schema) if fit is fit_openai else value
    if fit is fit_google_openapi and not is_valid(schema, reply):
        # It has no way to close an object.
        assume("false" not in msgspec.json.encode(schema).decode())
    assert is_valid(schema, reply), (fitted.schema, reply)


@pytest.mark.parametrize("fit", [fit_google, fit_ollama])
@settings(max_examples=200)
@given(schema=SCHEMAS, data=st.data())
def test_what_was_asked_is_not_forbidden(fit: Fit, schema: JSONObject, data: st.DataObject) -> None:
    try:
        fitted = fit(schema)
    except InvalidRequest:
        assume(False)
    assume(fitted.strict)
    try:
        value = data.draw(st.composite(lambda draw: instances(fitted.schema, draw, fitted.schema))())
    except RecursionError:
        assume(False)
    assume(is_valid(schema, value))
    assert is_valid(fitted.schema, value), (fitted.schema, value)
