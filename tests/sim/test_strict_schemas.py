"""What OpenAI's strict mode refuses."""

import pytest

from llmring.sim.strict_schemas import strict_complaint


def _closed(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, 'type: "object"'),
        ({"type": "object", "properties": {}}, "'additionalProperties' is required to be supplied and to be false"),
        ({**_closed(a={"type": "string"}), "required": []}, "Missing 'a'"),
        ({**_closed(), "required": ["a"]}, "Extra required key 'a'"),
        (_closed(a={"type": "object"}), "In context=('properties', 'a')"),
        (_closed(a={"type": "array"}), "array schema missing items"),
        (_closed(a={"oneOf": []}), "'oneOf' is not permitted"),
        (_closed(a={"$ref": "#", "description": "d"}), "$ref cannot have keywords"),
    ],
)
def test_a_schema_that_is_not_strict_is_complained_about(schema: dict[str, object], said: str) -> None:
    complaint = strict_complaint(schema)
    assert complaint is not None and said in complaint


def test_a_strict_schema_is_not() -> None:
    inner = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}
    schema = {**_closed(a=inner, b={"type": "array", "items": {"type": "string"}}), "$defs": {"a": _closed()}}
    assert strict_complaint(schema) is None
