"""Reads requests to OpenAI's Responses API as it does. What it refuses about the input is in responses_rules.py.

Must not share code with the router's codec: whoever misreads the format on one side must be contradicted by the
other.
"""

import secrets
from collections.abc import Mapping

import msgspec

from llmring.sim.prefixes import automatic_prefixes
from llmring.sim.reply import SMALL_OBJECT
from llmring.sim.responses_rules import Item, check_fields, check_items, invalid
from llmring.sim.strict_schemas import strict_complaint
from llmring.sim.wire import Ask, Problem, Rejected, Schema, Thinking, Tool, ToolChoice, tokens_in

_LEAST_OUTPUT_TOKENS = 16
_ENCRYPTED = "reasoning.encrypted_content"


class _Tool(msgspec.Struct):
    type: str
    name: str = ""
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    mode: str = "auto"
    tools: list[_Tool] = []


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class _Format(msgspec.Struct):
    type: str = "text"
    name: str = ""
    schema: dict[str, object] = {}
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None
    verbosity: str | None = None


class _Request(msgspec.Struct):
    model: str | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    tools: list[dict[str, object]] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    max_output_tokens: int | None = None
    store: bool | None = None
    include: list[str] | None = None
    stream: bool | None = None
    previous_response_id: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    truncation: str | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


def read(_headers: Mapping[bytes, bytes], body: bytes, _target: str = "") -> Ask:
    fields, request = _parsed(body)
    check_fields(fields)
    if not request.model:
        raise Rejected(Problem(kind="missing_field", detail="model"))
    if not request.input and request.previous_response_id is None:
        raise Rejected(Problem(kind="missing_field", detail="input"))
    limit = request.max_output_tokens
    if limit is not None and limit < _LEAST_OUTPUT_TOKENS:
        raise invalid(
            "max_output_tokens",
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {_LEAST_OUTPUT_TOKENS}, "
            f"but got {limit} instead.",
            "integer_below_min_value",
        )
    items = [Item(role="user", content=request.input)] if isinstance(request.input, str) else request.input or []
    check_items(items, request.model, continued=request.previous_response_id is not None)
    return _ask(request, request.model, items)


def _parsed(body: bytes) -> tuple[Mapping[str, object], _Request]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
        return fields, msgspec.convert(fields, _Request)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=f"Invalid type: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _ask(request: _Request, model: str, items: list[Item]) -> Ask:
    offered = [_offered(tool) for tool in request.tools or ()]
    tools = tuple(_tool(at, tool) for at, tool in enumerate(offered) if tool.type == "function")
    choice, named, allowed = _chosen(request.tool_choice)
    said = "".join((request.instructions or "", *(item.text() for item in items)))
    declared = len(msgspec.json.encode([tool.schema for tool in tools])) if tools else 0
    reasoning = request.reasoning or _Reasoning()
    thinking: Thinking = "off"
    if request.reasoning is not None and reasoning.effort != "none":
        thinking = "hidden" if reasoning.summary is None else "shown"
    return Ask(
        model=model,
        input_tokens=tokens_in(len(said) + declared),
        prompt=next((item.text() for item in reversed(items) if item.role == "user"), ""),
        after_tool_result=bool(items) and items[-1].type.endswith("_output"),
        tools=tuple(tool for tool in tools if allowed is None or tool.name in allowed),
        tool_choice=choice,
        named_tool=named,
        parallel_tools=request.parallel_tool_calls is not False,
        max_tokens=request.max_output_tokens,
        stops=(),
        reply_schema=_reply_schema(request, said),
        stream=bool(request.stream),
        stream_usage=True,
        thinking=thinking,
        sealed=_ENCRYPTED in (request.include or ()),
        prefixes=tuple(automatic_prefixes(model, said)),
        files=tuple(part.file_id for item in items for part in item.parts() if part.file_id is not None),
        previous=request.previous_response_id or "",
        needed_replies=tuple(reply for item in items if (reply := item.reply_it_is_in()) is not None),
        reply_id=f"resp_{secrets.token_hex(24)}",
        store=request.store is not False,
        echo=_echo(request, reasoning, offered),
    )


def _offered(tool: Mapping[str, object]) -> _Tool:
    try:
        return msgspec.convert(tool, _Tool)
    except msgspec.ValidationError as error:
        raise invalid("tools", f"Invalid type for 'tools': {error}") from error


def _tool(at: int, tool: _Tool) -> Tool:
    """Strict unless it says no: then every property is given, and asked-for strictness must be kept."""
    if not tool.name:
        raise Rejected(Problem(kind="missing_field", detail=f"tools[{at}].name"))
    schema = tool.parameters or {}
    complaint = strict_complaint(schema) if tool.strict else None
    if complaint is not None:
        raise invalid(
            f"tools[{at}].parameters",
            f"Invalid schema for function '{tool.name}': {complaint}",
            "invalid_function_parameters",
        )
    return Tool(name=tool.name, schema=schema, every_field=tool.strict is not False)


def _chosen(choice: str | _Choice | None) -> tuple[ToolChoice, str, frozenset[str] | None]:
    """The choice, the tool it names, and the tools it allows (None: all of them)."""
    if isinstance(choice, _Choice):
        if choice.type == "function":
            return "named", choice.name, None
        if choice.type == "allowed_tools":
            allowed = frozenset(tool.name for tool in choice.tools)
            return ("required" if choice.mode == "required" else "auto"), "", allowed
        return "auto", "", None
    return ("required" if choice == "required" else "none" if choice == "none" else "auto"), "", None


def _reply_schema(request: _Request, said: str) -> Schema | None:
    wanted = request.text.format if request.text is not None else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        if "json" not in said.lower():
            raise invalid(
                "input",
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'.",
            )
        return SMALL_OBJECT
    if not wanted.name:
        raise Rejected(Problem(kind="missing_field", detail="text.format.name"))
    complaint = strict_complaint(wanted.schema) if wanted.strict else None
    if complaint is not None:
        raise invalid(
            "text.format.schema",
            f"Invalid schema for response_format '{wanted.name}': {complaint}",
            "invalid_json_schema",
        )
    return wanted.schema


def _echo(request: _Request, reasoning: _Reasoning, offered: list[_Tool]) -> dict[str, object]:
    text = request.text or _Text()
    format_told: dict[str, object] = {"type": "text"}
    if text.format is not None and text.format.type == "json_schema":
        wanted = text.format
        format_told = {
            "type": wanted.type,
            "description": None,
            "name": wanted.name,
            "schema": wanted.schema,
            "strict": bool(wanted.strict),
        }
    elif text.format is not None:
        format_told = {"type": text.format.type}
    tools = [
        {**raw, "strict": tool.strict is not False} if tool.type == "function" else raw
        for raw, tool in zip(request.tools or (), offered, strict=True)
    ]
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary},
        "safety_identifier": request.safety_identifier,
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": format_told, "verbosity": text.verbosity or "medium"},
        "tool_choice": _told_choice(request.tool_choice),
        "tools": tools,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "user": request.user,
        "metadata": request.metadata or {},
    }


def _told_choice(choice: str | _Choice | None) -> object:
    if not isinstance(choice, _Choice):
        return choice or "auto"
    if choice.type == "allowed_tools":
        tools = [{"type": tool.type, "name": tool.name} for tool in choice.tools]
        return {"type": choice.type, "mode": choice.mode, "tools": tools}
    return {"type": choice.type, "name": choice.name}
