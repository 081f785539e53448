"""Reads requests for generateContent as Gemini does. What it refuses about contents and schemas is in
google_rules.py.

Fields come in camelCase or in snake_case, as protobuf's JSON has it. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from llmring.sim.google_rules import Content, check_contents, check_declaration, is_gemini_3, refused
from llmring.sim.reply import SMALL_OBJECT
from llmring.sim.wire import Ask, Problem, Rejected, Schema, Thinking, Tool, ToolChoice, tokens_in

_TARGET = re.compile(r"models/(?P<model>.+):(?P<method>\w+)(?:\?(?P<query>.*))?")


class _Declaration(msgspec.Struct, rename="camel"):
    name: str = ""
    parameters: dict[str, object] | None = None
    parameters_json_schema: dict[str, object] | None = None


class _Tool(msgspec.Struct, rename="camel"):
    function_declarations: list[_Declaration] | None = None


class _CallingConfig(msgspec.Struct, rename="camel"):
    mode: str = "AUTO"
    allowed_function_names: list[str] | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _CallingConfig | None = None


class _ThinkingConfig(msgspec.Struct, rename="camel"):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class _Generation(msgspec.Struct, rename="camel"):
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, object] | None = None
    response_json_schema: dict[str, object] | None = None
    thinking_config: _ThinkingConfig | None = None
    candidate_count: int | None = None


class _Request(msgspec.Struct, rename="camel"):
    contents: list[Content] | None = None
    system_instruction: Content | None = None
    generation_config: _Generation | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None
    cached_content: str | None = None


#: The content of these is the caller's own, whose names are not ours to change.
_VERBATIM = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
        "labels",
        "customMetadata",
    }
)


def camel(value: object) -> object:
    """A request with its field names in camelCase."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), str(name)): inner for name, inner in value.items()}
    return {name: inner if name in _VERBATIM else camel(inner) for name, inner in named.items()}


def decoded(body: bytes) -> object:
    """A body as JSON, with its field names in camelCase. Raises Rejected."""
    try:
        return camel(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def model_of(target: str) -> str:
    found = _TARGET.fullmatch(target)
    return found["model"] if found is not None else ""


def read(_headers: Mapping[bytes, bytes], body: bytes, target: str = "") -> Ask:
    found = _TARGET.fullmatch(target)
    assert found is not None  # the route's own pattern is narrower
    try:
        request = msgspec.convert(decoded(body), _Request)
    except msgspec.ValidationError as error:
        raise refused(f"Invalid value: {error}") from error
    if not request.contents:
        raise Rejected(Problem(kind="missing_field", detail="contents"))
    model = found["model"]
    check_contents(request.contents, model)
    _check_config(request, model)
    streams = found["method"] == "streamGenerateContent"
    return _ask(request, request.contents, model, stream=streams, events="alt=sse" in (found["query"] or ""))


def _check_config(request: _Request, model: str) -> None:
    config = request.generation_config or _Generation()
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        raise refused("max_output_tokens must be positive.")
    thinking = config.thinking_config or _ThinkingConfig()
    if thinking.thinking_level is not None:
        if thinking.thinking_budget is not None:
            raise refused("You can only set only one of thinking budget and thinking level.")
        if model.startswith("gemini-2"):
            raise refused("Thinking level is not supported for this model.")
    if config.response_schema is not None or config.response_json_schema is not None:
        if config.response_mime_type != "application/json":
            raise refused("Function calling config or response schema requires response_mime_type 'application/json'.")
        if request.tools and model.startswith("gemini-2"):
            raise refused("Function calling with a response mime type: 'application/json' is unsupported")
    if config.response_schema is not None:
        check_declaration(config.response_schema, "generation_config.response_schema")
    if request.cached_content and (request.system_instruction or request.tools or request.tool_config):
        raise refused(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
            "tool_config. Proposed fix: move those values to CachedContent from GenerateContent request."
        )


def _ask(request: _Request, contents: list[Content], model: str, *, stream: bool, events: bool) -> Ask:
    config = request.generation_config or _Generation()
    calling = (request.tool_config or _ToolConfig()).function_calling_config or _CallingConfig()
    tools = tuple(_tools(request))
    choice, named, allowed = _chosen(calling)
    instruction = request.system_instruction
    chars = sum(len(content.text()) for content in (*contents, *([instruction] if instruction else ())))
    declared = len(msgspec.json.encode([tool.schema for tool in tools])) if tools else 0
    thinking = _thinking(config.thinking_config)
    return Ask(
        model=model,
        input_tokens=tokens_in(chars + declared),
        prompt=next((text for one in reversed(contents) if one.role != "model" and (text := one.said())), ""),
        after_tool_result=any(part.function_response is not None for part in contents[-1].parts or ()),
        tools=tuple(tool for tool in tools if allowed is None or tool.name in allowed),
        tool_choice=choice,
        named_tool=named,
        parallel_tools=True,
        max_tokens=config.max_output_tokens,
        stops=tuple(config.stop_sequences or ()),
        reply_schema=_reply_schema(config),
        stream=stream,
        stream_usage=True,
        thinking=thinking,
        sealed=thinking != "off" or is_gemini_3(model),
        files=tuple(_files(contents)),
        cached_content=request.cached_content or "",
        choices=config.candidate_count or 1,
        echo={"events": events},
    )


def _tools(request: _Request) -> Iterator[Tool]:
    declarations = [one for tool in request.tools or () for one in tool.function_declarations or ()]
    for at, one in enumerate(declarations):
        where = f"tools[0].function_declarations[{at}]"
        if not re.fullmatch(r"[A-Za-z_][\w.:-]{0,127}", one.name):
            raise refused(f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a letter.")
        if one.parameters is not None:
            check_declaration(one.parameters, f"{where}.parameters")
        yield Tool(name=one.name, schema=one.parameters or one.parameters_json_schema or {})


def _chosen(calling: _CallingConfig) -> tuple[ToolChoice, str, frozenset[str] | None]:
    """The choice, the tool it names, and the tools it allows (None: all of them)."""
    names = calling.allowed_function_names
    match calling.mode.upper():
        case "NONE":
            return "none", "", None
        case "ANY" if names and len(names) == 1:
            return "named", names[0], None
        case "ANY":
            return "required", "", frozenset(names) if names else None
        case _:
            return "auto", "", frozenset(names) if names else None


def _thinking(config: _ThinkingConfig | None) -> Thinking:
    if config is None or config.thinking_budget == 0:
        return "off"
    return "shown" if config.include_thoughts else "hidden"


def _reply_schema(config: _Generation) -> Schema | None:
    if config.response_mime_type != "application/json":
        return None
    return config.response_json_schema or config.response_schema or SMALL_OBJECT


def _files(contents: list[Content]) -> Iterator[str]:
    """Files uploaded here; any other URI is the model's to fetch."""
    for content in contents:
        for part in content.parts or ():
            if part.file_data is not None:
                name = re.search(r"/v1(?:beta)?/files/([\w-]+)$", part.file_data.file_uri)
                if name is not None:
                    yield f"files/{name[1]}"
