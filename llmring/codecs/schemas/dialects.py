"""Fits a caller's JSON schema to what each provider takes, and says what it then does not enforce. Pure.

Structured output and tools' parameters alike. The input may be of any draft, or OpenAPI's; it is never changed. A
schema that nobody can be sent raises InvalidRequest. Sources: the SDKs' own transformations and the providers'
documentation, as of 2026-11.
"""

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import msgspec

from llmring.chat import JSONObject
from llmring.codecs.schemas.fitting import Dialect, Fitting, Size, Test
from llmring.codecs.schemas.nodes import invalid, types_of, words
from llmring.codecs.schemas.nulls import without_added_nulls
from llmring.codecs.schemas.reading import Overgrown

__all__ = [
    "FittedSchema",
    "fit_anthropic",
    "fit_google",
    "fit_google_openapi",
    "fit_ollama",
    "fit_openai",
    "without_added_nulls",
]


class FittedSchema(msgspec.Struct, frozen=True, kw_only=True):
    """`schema` is what to send; `dropped` says in words what the provider does not enforce, with the place ("minLength
    at $.name: moved to the description"); `strict` is whether the provider may be asked for strict."""

    schema: JSONObject
    dropped: tuple[str, ...] = ()
    strict: bool = True


def _always(value: Any, node: JSONObject) -> bool:
    return True


def _is_primitive(value: Any, node: JSONObject) -> bool:
    return not isinstance(value, dict | list)


def _are_primitive(value: Any, node: JSONObject) -> bool:
    return all(_is_primitive(v, node) for v in value)


def _one_of(values: frozenset[str]) -> Test:
    return lambda value, node: value in values


def _all(keywords: str, test: Test = _always) -> dict[str, Test]:
    return dict.fromkeys(keywords.split(), test)


_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_FORMATS = words("date-time time date duration email hostname ipv4 ipv6 uuid")

_OPENAI = Dialect(
    keeps=_all("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems")
    | {
        "enum": _are_primitive,
        "const": _is_primitive,
        "pattern": lambda value, node: not _LOOK_AROUND.search(value),
        "format": _one_of(_FORMATS),
    },
    closed=True,
    complete=True,
    typed=True,
    unions="structures",
    literals="const",
    tuples=True,
)
# https://platform.openai.com/docs/guides/structured-outputs
_OPENAI_MOST = {"properties": 5000, "levels": 10, "literals": 1000, "characters": 120_000}

_ANTHROPIC = Dialect(
    keeps=_all("title")
    | {
        "enum": _are_primitive,
        "const": _is_primitive,
        "format": _one_of(_FORMATS | {"uri"}),
        "minItems": lambda value, node: value in (0, 1),
    },
    closed=True,
    typed=True,
    refs="merge",
    unions="all",
    literals="bare",
)
# Of a whole request, so no schema may exceed them alone.
_ANTHROPIC_MOST = {"optional": 24, "unions": 16}


def _are_text(value: Any, node: JSONObject) -> bool:
    return all(isinstance(v, str) for v in value)


_GOOGLE = Dialect(
    keeps=_all("additionalProperties format minItems maxItems minimum maximum propertyOrdering")
    | {"enum": lambda value, node: all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in value)},
    tuples=True,
    loose=True,
)

_OPENAPI_FORMATS = {
    "string": words("enum date-time"),
    "number": words("float double"),
    "integer": words("int32 int64"),
}
_GOOGLE_OPENAPI = Dialect(
    keeps=_all("minItems maxItems minimum maximum minLength maxLength pattern minProperties maxProperties")
    | _all("propertyOrdering")
    | {
        "enum": _are_text,
        "format": lambda value, node: value in _OPENAPI_FORMATS.get(str(node.get("type")), ()),
    },
    refs="inline all",
    unions="all",
    nullable=True,
)


def _is_plain_pattern(value: str, node: JSONObject) -> bool:
    return value.startswith("^") and value.endswith("$") and not re.search(r"\\[A-Za-z0-9]|\(\?", value)


def _is_integer(value: Any, node: JSONObject) -> bool:
    return types_of(node) == ["integer"]


_OLLAMA = Dialect(
    keeps=_all("additionalProperties enum minItems maxItems minLength maxLength")
    | _all("minimum maximum exclusiveMinimum exclusiveMaximum", _is_integer)
    | {"pattern": _is_plain_pattern, "format": _one_of(words("date time date-time uuid"))},
    refs="inline",
    tuples=True,
)


def _remembered(fit: Callable[[JSONObject], FittedSchema]) -> Callable[[JSONObject], FittedSchema]:
    """`fit` with its last results: fitting takes up to milliseconds, and a batch sends one schema a million times.

    What it gives is shared, so it must not be changed.
    """

    @lru_cache(maxsize=128)
    def by_text(text: bytes) -> FittedSchema:
        return fit(msgspec.json.decode(text))

    @wraps(fit)
    def fitted(schema: JSONObject) -> FittedSchema:
        try:
            text = msgspec.json.encode(schema)
        except (TypeError, ValueError, OverflowError, RecursionError):
            # Not JSON: let it say what it makes of that.
            return fit(schema)
        return by_text(text)

    return fitted


@_remembered
def fit_openai(schema: JSONObject) -> FittedSchema:
    """For `strict`, where that can be; else the schema as it was given, with what stood in the way.

    Optional properties become required and nullable: see `without_added_nulls`.
    """
    fitting = Fitting(schema, _OPENAI)
    return _strict(fitting, _OPENAI_MOST, needs_object=True)


@_remembered
def fit_anthropic(schema: JSONObject) -> FittedSchema:
    """For `output_config.format` and strict tools, where that can be; else the schema as it was given.

    What is not strict only a tool's `input_schema` takes.
    """
    return _strict(Fitting(schema, _ANTHROPIC), _ANTHROPIC_MOST)


@_remembered
def fit_google(schema: JSONObject) -> FittedSchema:
    """For `responseJsonSchema` and `parametersJsonSchema`."""
    return _strict(Fitting(schema, _GOOGLE))


@_remembered
def fit_google_openapi(schema: JSONObject) -> FittedSchema:
    """For the older `responseSchema` and `parameters`. Recursive references raise InvalidRequest."""
    fitting = Fitting(schema, _GOOGLE_OPENAPI)
    try:
        fitted = fitting.fitted()
    except Overgrown as error:
        raise invalid(error.place, "it is too large without references,") from None
    return FittedSchema(schema=fitted, dropped=tuple(dict.fromkeys(fitting.dropped)))


@_remembered
def fit_ollama(schema: JSONObject) -> FittedSchema:
    """For `format`; of tools' parameters the server drops more by itself, and enforces none."""
    return _strict(Fitting(schema, _OLLAMA))


def _strict(fitting: Fitting, most: dict[str, int] | None = None, *, needs_object: bool = False) -> FittedSchema:
    try:
        fitted = fitting.fitted()
        blocked = [*fitting.blocked, *_too_large(fitting.size, most or {})]
        if needs_object and fitted.get("type") != "object":
            blocked.append("type at $: not one object")
    except Overgrown as error:
        fitted, blocked = {}, [f"size at {error.place}: too large when written out"]
    if blocked:
        given = fitting.doc.root
        reasons = [f"{problem}, so nothing is enforced" for problem in dict.fromkeys(blocked)]
        return FittedSchema(schema=given, dropped=tuple(reasons), strict=False)
    return FittedSchema(schema=fitted, dropped=tuple(dict.fromkeys(fitting.dropped)))


def _too_large(size: Size, most: dict[str, int]) -> list[str]:
    found = {name: getattr(size, name) for name in most}
    return [f"size at $: {n} {name}, at most {most[name]}" for name, n in found.items() if n > most[name]]
