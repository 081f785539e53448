"""Response formats and cache settings as people write them, parsed. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from llmring.chat import Cache, JSONMode, JSONObject, JSONSchema, ResponseFormat
from llmring.errors import InvalidRequest


class _SchemaIn(msgspec.Struct):
    schema: JSONObject
    name: str = "response"
    description: str | None = None
    strict: bool | None = None


class _FormatIn(msgspec.Struct):
    """OpenAI's form; `strict` beside it, and the schema flat, are read too."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _SchemaIn | None = None
    schema: JSONObject | None = None
    name: str = "response"
    strict: bool | None = None


def to_response_format(given: ResponseFormat | str | Mapping[str, Any] | None) -> ResponseFormat | None:
    """Parse a response format: "json", or OpenAI's dictionaries. Raises InvalidRequest."""
    if given is None or isinstance(given, JSONMode | JSONSchema):
        return given
    if isinstance(given, str):
        given = {"type": "json_object" if given == "json" else given}
    try:
        form = msgspec.convert(given, _FormatIn)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"response_format: {error}") from None
    match form.type:
        case "text":
            return None
        case "json_object":
            return JSONMode()
        case "json_schema":
            return _to_schema(form)


def _to_schema(form: _FormatIn) -> JSONSchema:
    source = form.json_schema
    if source is None and form.schema is not None:
        source = _SchemaIn(schema=form.schema, name=form.name)
    if source is None:
        raise InvalidRequest("response_format: json_schema needs {'json_schema': {'name': ..., 'schema': {...}}}")
    strict = source.strict if source.strict is not None else form.strict
    return JSONSchema(
        schema=source.schema,
        name=source.name,
        description=source.description,
        strict=True if strict is None else strict,
    )


def to_cache(given: Cache | bool | str | Mapping[str, Any] | None) -> Cache | None:
    """Parse cache settings: True, "5m", "1h", or a dictionary of Cache's fields. Raises InvalidRequest."""
    if given is None or given is False or isinstance(given, Cache):
        return given or None
    if given is True:
        return Cache(ttl="5m")
    try:
        return msgspec.convert({"ttl": given} if isinstance(given, str) else given, Cache)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"cache: {error}") from None
