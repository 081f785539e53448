"""Tools and tool choices as people write them, parsed: OpenAI's form or flat. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from llmring.chat import JSONObject, NamedTool, Tool, ToolChoice
from llmring.errors import InvalidRequest
from llmring.parts import CacheTTL


class _FunctionToolIn(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None


class _ToolIn(msgspec.Struct):
    """OpenAI's form (`type`, `function`) and the flat one: both are read; `input_schema` is Anthropic's word."""

    type: Literal["function"] = "function"
    function: _FunctionToolIn | None = None
    name: str | None = None
    description: str | None = None
    parameters: JSONObject | None = None
    input_schema: JSONObject | None = None
    strict: bool | None = None
    cache: CacheTTL | None = None


def to_tools(tools: Sequence[Tool | Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Parse tools in OpenAI's form or flat. Raises InvalidRequest that names the tool that is wrong and why."""
    return tuple(_to_tool(tool, number) for number, tool in enumerate(tools, 1))


def _to_tool(item: object, number: int) -> Tool:
    if isinstance(item, Tool):
        return item
    try:
        given = msgspec.convert(item, _ToolIn)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"tool {number}: {error}") from error
    source = given.function if given.function is not None else given
    if source.name is None:
        raise InvalidRequest(f"tool {number} has no name")
    return Tool(
        name=source.name,
        description=source.description,
        parameters=source.parameters if source.parameters is not None else given.input_schema,
        strict=source.strict,
        cache=given.cache,
    )


class _NamedToolIn(msgspec.Struct):
    """OpenAI's form: `{"type": "function", "function": {"name": ...}}`, without `type` too; llmring 1's, whose
    `function` is the name itself; or flat."""

    function: NamedTool | str | None = None
    name: str | None = None


def to_tool_choice(choice: ToolChoice | str | Mapping[str, Any] | None) -> ToolChoice | None:
    """Parse a tool choice: auto, none, required (or "any"), or one tool by name. Raises InvalidRequest."""
    match choice:
        case None | NamedTool() | "auto" | "none" | "required":
            return choice
        case "any":
            return "required"
        case Mapping():
            try:
                given = msgspec.convert(choice, _NamedToolIn)
            except msgspec.ValidationError as error:
                raise InvalidRequest(f"tool_choice: {error}") from error
            named = given.function if given.function is not None else given.name
            name = named.name if isinstance(named, NamedTool) else named
            if name is not None:
                return NamedTool(name=name)
    raise InvalidRequest("tool_choice is 'auto', 'none', 'required' or {'function': {'name': ...}}")
