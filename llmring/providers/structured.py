"""JSON by a schema, from any model: asked for in the best way that the model has, read and checked in one way. Pure.

A model without a field for schemas is given a tool that it must call, whose arguments are the answer; without that,
JSON mode or the prompt. Whatever the way, the answer is checked against the caller's schema here. An answer that does
not fit is still the answer: it was paid for, and a note says what is wrong with it.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, JSONMode, JSONSchema, Message, NamedTool, Note, Tool, ToolChoice
from llmring.codecs.capabilities import Capabilities, SchemaSupport
from llmring.codecs.schemas.dialects import without_added_nulls
from llmring.errors import InvalidRequest

ANSWER_TOOL = "respond_with_structure"
"""The tool whose arguments are the answer."""

_IN_JSON = "Answer with one JSON value and nothing else: no explanation, no code fence."


def support(request: ChatRequest, capabilities: Capabilities, parameters: frozenset[str]) -> SchemaSupport:
    """How this request's response format is had from the model."""
    if "response_format" not in parameters or "response_format" in capabilities.refused:
        needs_schema = isinstance(request.response_format, JSONSchema)
        return "tool" if needs_schema and capabilities.schema == "tool" else "prompt"
    if isinstance(request.response_format, JSONMode):
        return "native" if capabilities.json_mode and capabilities.schema in ("native", "json") else "prompt"
    if request.tools and not capabilities.schema_with_tools:
        return "tool"
    return capabilities.schema


def ask(request: ChatRequest, way: SchemaSupport, *, object_roots: bool = False) -> ChatRequest:
    """The request as it asks for its response format in this way. Tools' arguments are objects always."""
    wanted = request.response_format
    if wanted is None:
        return request
    if isinstance(wanted, JSONSchema) and (way == "tool" or (way == "native" and object_roots)):
        wanted = wrapped(wanted)
        request = msgspec.structs.replace(request, response_format=wanted)
    match way:
        case "native":
            return _naming_json(request) if isinstance(wanted, JSONMode) else request
        case "tool" if isinstance(wanted, JSONSchema):
            return _with_tool(request, wanted)
        case "json":
            return _instructed(request, wanted, JSONMode())
        case _:
            return _instructed(request, wanted, None)


def _naming_json(request: ChatRequest) -> ChatRequest:
    """OpenAI refuses JSON mode when no message holds the word."""
    if any("json" in message.text.lower() for message in request.messages):
        return request
    return _instructed(request, JSONMode(), JSONMode())


def _with_tool(request: ChatRequest, wanted: JSONSchema) -> ChatRequest:
    description = wanted.description or "Give the answer."
    tool = Tool(name=ANSWER_TOOL, description=description, parameters=wanted.schema)
    return msgspec.structs.replace(
        request,
        tools=(*request.tools, tool),
        tool_choice=_choice(request),
        response_format=None,
    )


def _choice(request: ChatRequest) -> ToolChoice:
    """The caller's own tools may be called first, unless the caller forbade that."""
    if isinstance(request.tool_choice, NamedTool):
        return request.tool_choice
    return "required" if request.tools and request.tool_choice != "none" else NamedTool(name=ANSWER_TOOL)


def _instructed(request: ChatRequest, wanted: JSONMode | JSONSchema, mode: JSONMode | None) -> ChatRequest:
    text = _IN_JSON
    if isinstance(wanted, JSONSchema):
        schema = msgspec.json.encode(wanted.schema).decode()
        text = f"{_IN_JSON} It must fit this JSON schema:\n{schema}"
    first = len(list(takewhile(lambda message: message.role == "system", request.messages)))
    system = Message(role="system", content=text)
    messages = (*request.messages[:first], system, *request.messages[first:])
    return msgspec.structs.replace(request, messages=messages, response_format=mode)


WRAPPER = "answer"

MOST_LEVELS = 64
"""An answer that is nested deeper is not checked, but called invalid: checking is recursive."""


def wrapped(wanted: JSONSchema) -> JSONSchema:
    """The schema of an object that holds what `wanted` describes, where that is no object itself.

    Definitions stay at the root, where references look for them; a schema that refers to its own root stays as it is.
    """
    schema = wanted.schema
    if schema.get("type") == "object" or "properties" in schema or '"#"' in msgspec.json.encode(schema).decode():
        return wanted
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    inner = {name: value for name, value in schema.items() if name not in definitions}
    root = {"type": "object", "properties": {WRAPPER: inner}, "required": [WRAPPER], "additionalProperties": False}
    return msgspec.structs.replace(wanted, schema=root | definitions)


def _unwrapped(value: Any, wanted: JSONSchema) -> Any:
    """What a wrapper holds; `value` itself where it is none."""
    is_wrapper = isinstance(value, dict) and value.keys() == {WRAPPER} and wrapped(wanted) is not wanted
    return value[WRAPPER] if is_wrapper else value


def read(completion: Completion, request: ChatRequest) -> Completion:
    """An answer to `request` with its JSON value, or with a note that says why there is none."""
    wanted = request.response_format
    if wanted is None:
        return completion
    completion = _from_tool(completion)
    if completion.tool_calls or completion.refusal is not None:
        return completion
    try:
        value = _json_of(completion.content)
    except ValueError:
        why = "the answer is not JSON" + (", for it was cut short" if completion.finish_reason == "length" else "")
        return _invalid(completion, why)
    if isinstance(wanted, JSONSchema):
        inner = _unwrapped(value, wanted)
        if inner is not value:
            value, completion = inner, msgspec.structs.replace(completion, content=_text_of(inner))
        problem = next(problems(value, wanted), None)
        if problem is not None:
            # OpenAI's strict schemas make null of what is left out.
            value = _without_nulls(value, wanted)
            if next(problems(value, wanted), None) is not None:
                return _invalid(completion, f"the answer does not fit the schema: {problem}")
    return msgspec.structs.replace(completion, parsed=value)


def _without_nulls(value: Any, wanted: JSONSchema) -> Any:
    try:
        return without_added_nulls(value, wanted.schema)
    except InvalidRequest:
        # A schema that could not be made strict: no nulls were added.
        return value


def _text_of(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _invalid(completion: Completion, why: str) -> Completion:
    note = Note(parameter="response_format", action="invalid", why=why)
    return msgspec.structs.replace(completion, notes=(*completion.notes, note))


def _from_tool(completion: Completion) -> Completion:
    """The answer tool's arguments as the answer."""
    answers = [call for call in completion.tool_calls if call.name == ANSWER_TOOL]
    others = tuple(call for call in completion.tool_calls if call.name != ANSWER_TOOL)
    if not answers or others:
        return msgspec.structs.replace(completion, tool_calls=others) if answers else completion
    return msgspec.structs.replace(
        completion,
        content=answers[0].arguments,
        tool_calls=(),
        finish_reason="stop" if completion.finish_reason == "tool_calls" else completion.finish_reason,
        turn=None,
    )


def _json_of(text: str) -> Any:
    """The JSON value of `text`, which may stand in a code fence. Raises ValueError."""
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") : -3]
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_schema(wanted: JSONSchema) -> None:
    """Refuse what is no JSON schema, before anything is paid for. Raises InvalidRequest."""
    from jsonschema import exceptions

    try:
        _validator(msgspec.json.encode(wanted.schema))
    except Exception as error:  # noqa: BLE001 - a schema may be anything, and then anything is raised
        where = f" at {error.json_path}" if isinstance(error, exceptions.SchemaError) else ""
        raise InvalidRequest(f"response_format: the schema is not valid JSON schema{where}") from None


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Any:
    """The checker of a schema. An empty registry: what a schema refers to elsewhere is never fetched."""
    # On the first use: 90 ms.
    from jsonschema import validators
    from referencing import Registry

    decoded = msgspec.json.decode(schema)
    kind = validators.validator_for(decoded, default=validators.Draft202012Validator)
    kind.check_schema(decoded)
    return kind(decoded, registry=Registry())


def problems(value: object, wanted: JSONSchema) -> Iterator[str]:
    """What in `value` does not fit, place and rule, without quoting the value. Never raises for a schema that was
    checked."""
    if _depth(value) > MOST_LEVELS:
        yield f"nested more than {MOST_LEVELS} levels deep"
        return
    try:
        for error in _validator(msgspec.json.encode(wanted.schema)).iter_errors(value):
            yield f"{error.json_path}: {error.validator} {_shown(error.validator_value)}"
    except Exception as error:  # noqa: BLE001 - jsonschema raises nearly anything for what it cannot make sense of
        yield f"the schema cannot be followed: {type(error).__name__}"
    except BaseException as error:  # noqa: ASYNC103 - of all but one
        # A schema that stands for itself recurses until the Rust below jsonschema (rpds) gives up, and what that
        # raises is no Exception and has no name to import.
        if type(error).__name__ != "PanicException":
            raise
        yield "the schema cannot be followed: it stands for itself"  # noqa: ASYNC104


def _depth(value: object) -> int:
    """How deep lists and objects are nested, counted to one more than MOST_LEVELS."""
    level, inner = 0, [value]
    while inner and level <= MOST_LEVELS:
        inner = [
            item
            for outer in inner
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        level += 1
    return level


def _shown(rule: object) -> str:
    text = json.dumps(rule, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def is_invalid(completion: Completion) -> bool:
    """Whether the answer is not what its response format asked for."""
    return any(note.parameter == "response_format" and note.action == "invalid" for note in completion.notes)


def asked_again(request: ChatRequest, completion: Completion) -> ChatRequest:
    """The request that gives the model its answer back, with what is wrong about it."""
    why = "; ".join(note.why for note in completion.notes if note.action == "invalid")
    answer = Message(role="assistant", content=completion.content or "(no answer)")
    complaint = Message(role="user", content=f"That cannot be used: {why}. {_IN_JSON} Give the corrected answer.")
    return msgspec.structs.replace(request, messages=(*request.messages, answer, complaint))
