"""Reads requests for chat completions as OpenAI does, and refuses what it refuses: calls without results,
results without calls, schemas that are not strict, parts that do not belong where they are.
"""

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from llmring.sim.prefixes import automatic_prefixes
from llmring.sim.reply import SMALL_OBJECT
from llmring.sim.strict_schemas import strict_complaint
from llmring.sim.wire import Ask, Prefix, Problem, Rejected, Schema, Tool, ToolChoice, tokens_in

_MOST_CHOICES = 128


class _File(msgspec.Struct):
    file_id: str | None = None


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""
    file: _File | None = None
    prompt_cache_breakpoint: dict[str, object] | None = None


class _Call(msgspec.Struct):
    id: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    def parts(self) -> list[_Part]:
        return [_Part(text=self.content)] if isinstance(self.content, str) else self.content or []

    def text(self) -> str:
        return "".join(part.text for part in self.parts())


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Allowed(msgspec.Struct):
    mode: str = "auto"
    tools: list[_Tool] = []


class _Choice(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None
    allowed_tools: _Allowed | None = None


class _JsonSchema(msgspec.Struct):
    name: str = ""
    schema: dict[str, object] = {}
    strict: bool | None = None


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    model: str | None = None
    messages: list[_Message] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(_headers: Mapping[bytes, bytes], body: bytes, _target: str = "") -> Ask:
    request = _parsed(body)
    if not request.model:
        raise Rejected(Problem(kind="missing_field", detail="model"))
    if not request.messages:
        raise Rejected(Problem(kind="missing_field", detail="messages"))
    limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    if limit is not None and limit < 1:
        raise _invalid("", f"Invalid value: max tokens must be at least 1, not {limit}.")
    if not 1 <= (request.n or 1) <= _MOST_CHOICES:
        raise _invalid("n", f"Invalid 'n': expected a value between 1 and {_MOST_CHOICES}, got {request.n}.")
    _check_messages(request.messages)
    return _ask(request, request.model, request.messages, limit)


def _parsed(body: bytes) -> _Request:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=f"Invalid type: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _invalid(parameter: str, message: str) -> Rejected:
    return Rejected(Problem(kind="bad_field", parameter=parameter, detail=message))


def _check_messages(messages: list[_Message]) -> None:
    """Every call is answered by one tool message before anything else is said, and nothing else is answered."""
    waiting: list[str] = []
    for at, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise _invalid(
                    f"messages.[{at}].role",
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                )
            waiting.remove(message.tool_call_id)
            if any(part.type != "text" for part in message.parts()):
                raise _invalid(
                    f"messages[{at}]", "Invalid 'messages': image_url content is only allowed in user messages."
                )
            continue
        _refuse_unanswered(waiting, at)
        waiting = [call.id for call in message.tool_calls or ()]
    _refuse_unanswered(waiting, len(messages))


def _refuse_unanswered(calls: list[str], at: int) -> None:
    if calls:
        raise _invalid(
            f"messages.[{at}].role",
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(calls)}",
        )


def _ask(request: _Request, model: str, messages: list[_Message], limit: int | None) -> Ask:
    stop, options = request.stop, request.stream_options
    choice, named = _chosen(request.tool_choice)
    tools = tuple(_tool(at, tool.function) for at, tool in enumerate(_offered(request)) if tool.function is not None)
    said = "".join(message.text() for message in messages)
    declared = len(msgspec.json.encode([tool.schema for tool in tools])) if tools else 0
    return Ask(
        model=model,
        input_tokens=tokens_in(len(said) + declared),
        prompt=next((message.text() for message in reversed(messages) if message.role == "user"), ""),
        after_tool_result=messages[-1].role == "tool",
        tools=tools,
        tool_choice=choice,
        named_tool=named,
        parallel_tools=request.parallel_tool_calls is not False,
        max_tokens=limit,
        stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        reply_schema=_reply_schema(request.response_format, said),
        stream=bool(request.stream),
        stream_usage=options is not None and options.include_usage,
        thinking="off" if request.reasoning_effort in (None, "none") else "hidden",
        prefixes=tuple(_marked_prefixes(model, messages)) or tuple(automatic_prefixes(model, said)),
        files=tuple(_files(messages)),
        choices=request.n or 1,
    )


def _chosen(choice: str | _Choice | None) -> tuple[ToolChoice, str]:
    if isinstance(choice, _Choice):
        if choice.function is not None:
            return "named", choice.function.name
        choice = choice.allowed_tools.mode if choice.allowed_tools is not None else None
    return ("required" if choice == "required" else "none" if choice == "none" else "auto"), ""


def _offered(request: _Request) -> list[_Tool]:
    """The tools, or those of them that the choice allows."""
    tools, choice = request.tools or [], request.tool_choice
    if not isinstance(choice, _Choice) or choice.allowed_tools is None:
        return tools
    names = {tool.function.name for tool in choice.allowed_tools.tools if tool.function is not None}
    return [tool for tool in tools if tool.function is not None and tool.function.name in names]


def _tool(at: int, function: _Function) -> Tool:
    schema = function.parameters or {}
    complaint = strict_complaint(schema) if function.strict else None
    if complaint is not None:
        raise Rejected(
            Problem(
                kind="bad_field",
                detail=f"Invalid schema for function '{function.name}': {complaint}",
                parameter=f"tools[{at}].function.parameters",
                code="invalid_function_parameters",
            )
        )
    return Tool(name=function.name, schema=schema, every_field=bool(function.strict))


def _reply_schema(wanted: _Format | None, said: str) -> Schema | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.json_schema is None:
        if "json" not in said.lower():
            raise _invalid(
                "messages",
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            )
        return SMALL_OBJECT
    complaint = strict_complaint(wanted.json_schema.schema) if wanted.json_schema.strict else None
    if complaint is not None:
        raise _invalid(
            "response_format",
            f"Invalid schema for response_format '{wanted.json_schema.name}': {complaint}",
        )
    return wanted.json_schema.schema


def _files(messages: list[_Message]) -> Iterator[str]:
    for message in messages:
        for part in message.parts():
            if part.file is not None and part.file.file_id is not None:
                yield part.file.file_id


def _marked_prefixes(model: str, messages: list[_Message]) -> Iterator[Prefix]:
    """Up to each part with an explicit breakpoint, which is kept for 30 minutes."""
    digest, chars = hashlib.sha256(b"marked\0" + model.partition("+")[0].encode()), 0
    for message in messages:
        for part in message.parts():
            digest.update(f"\0{message.role}\0{part.text}".encode("utf-8", "surrogatepass"))
            chars += len(part.text)
            if part.prompt_cache_breakpoint is not None:
                yield Prefix(digest=digest.digest(), tokens=tokens_in(chars), lifetime="30m")
