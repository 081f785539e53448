"""Reads requests for messages as Anthropic does. What it refuses about a conversation is in anthropic_rules.py.

Must not share code with the router's codec: whoever misreads the format on one side must be contradicted by the
other.
"""

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from llmring.sim.anthropic_rules import Block, CacheControl, Message, check_messages, schema_complaint
from llmring.sim.wire import Ask, Lifetime, Prefix, Problem, Rejected, Thinking, Tool, ToolChoice, tokens_in

#: From this version on sampling parameters are unknown fields.
_NO_SAMPLING_VERSION = "2026-10-21"
_FILES_BETA = b"files-api-"
_LEAST_BUDGET = 1024
_MOST_MARKERS = 4


class _Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, object] | None = None
    strict: bool = False
    cache_control: CacheControl | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class _Format(msgspec.Struct):
    schema: dict[str, object] = {}


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Request(msgspec.Struct):
    model: str | None = None
    max_tokens: int | None = None
    messages: list[Message] | None = None
    system: str | list[Block] | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _OutputConfig | None = None
    thinking: _Thinking | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    cache_control: CacheControl | None = None
    stream: bool | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(headers: Mapping[bytes, bytes], body: bytes, target: str = "") -> Ask:
    version = headers.get(b"anthropic-version", b"").decode("latin-1")
    if not version:
        raise Rejected(Problem(kind="missing_version"))
    request = _parsed(body)
    counting = target.startswith("messages/count_tokens")
    for field in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if getattr(request, field) is None:
            raise Rejected(Problem(kind="missing_field", detail=field))
    if not request.messages:
        raise _refused("messages: at least one message is required")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise _refused("max_tokens: Input should be greater than or equal to 1")
    _check(request, version, headers)
    return _ask(request, request.messages)


def _parsed(body: bytes) -> _Request:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _refused(message: str) -> Rejected:
    return Rejected(Problem(kind="bad_field", detail=message))


def _check(request: _Request, version: str, headers: Mapping[bytes, bytes]) -> None:
    for field in ("temperature", "top_p", "top_k"):
        if version >= _NO_SAMPLING_VERSION and getattr(request, field) is not None:
            raise Rejected(Problem(kind="unsupported_parameter", parameter=field))
    _check_thinking(request)
    check_messages(request.messages or [], request.model or "", thoughts=_budgeted(request.thinking))
    if request.output_config is not None and request.output_config.format is not None:
        complaint = schema_complaint(request.output_config.format.schema)
        if complaint is not None:
            raise _refused(f"output_config.format.schema: {complaint}")
    for at, tool in enumerate(request.tools or ()):
        complaint = schema_complaint(tool.input_schema or {}) if tool.strict else None
        if complaint is not None:
            raise _refused(f"tools.{at}.custom: {complaint}")
    if version < _NO_SAMPLING_VERSION and _FILES_BETA not in headers.get(b"anthropic-beta", b""):
        for place, _ in _files(request.messages or []):
            raise _refused(
                f"{place}.source: Input tag 'file' found using 'type' does not match any of the expected tags: "
                "'base64', 'content', 'text', 'url'"
            )


def _budgeted(thinking: _Thinking | None) -> bool:
    return thinking is not None and thinking.type == "enabled"


def _check_thinking(request: _Request) -> None:
    thinking = request.thinking
    if thinking is None or thinking.type == "disabled":
        return
    if _budgeted(thinking):
        if thinking.budget_tokens is None:
            raise Rejected(Problem(kind="missing_field", detail="thinking.enabled.budget_tokens"))
        if thinking.budget_tokens < _LEAST_BUDGET:
            raise _refused("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if request.max_tokens is not None and request.max_tokens <= thinking.budget_tokens:
            raise _refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if request.tool_choice is not None and request.tool_choice.type in ("any", "tool"):
            raise _refused("Thinking may not be enabled when tool_choice forces tool use.")
    if request.temperature not in (None, 1):
        raise _refused("`temperature` may only be set to 1 when thinking is enabled.")
    if request.top_k is not None:
        raise _refused("`top_k` must be unset when thinking is enabled.")


_CHOICES: dict[str, ToolChoice] = {"any": "required", "tool": "named", "none": "none"}


def _ask(request: _Request, messages: list[Message]) -> Ask:
    choice = request.tool_choice or _Choice(type="auto")
    output = request.output_config
    tools = tuple(Tool(name=tool.name, schema=tool.input_schema or {}) for tool in request.tools or ())
    pieces = list(_pieces(request, messages))
    thinking: Thinking = "off"
    if request.thinking is not None and request.thinking.type != "disabled":
        thinking = "hidden" if request.thinking.display == "omitted" else "shown"
    return Ask(
        model=request.model or "",
        input_tokens=tokens_in(sum(chars for _, chars, _ in pieces)),
        prompt=next((message.text() for message in reversed(messages) if message.role == "user"), ""),
        after_tool_result=messages[-1].holds_tool_result(),
        tools=tools,
        tool_choice=_CHOICES.get(choice.type, "auto"),
        named_tool=choice.name,
        parallel_tools=not choice.disable_parallel_tool_use,
        max_tokens=request.max_tokens,
        stops=tuple(request.stop_sequences or ()),
        reply_schema=output.format.schema if output is not None and output.format is not None else None,
        stream=bool(request.stream),
        stream_usage=True,
        thinking=thinking,
        sealed=thinking != "off",
        prefixes=tuple(_prefixes(request, pieces)),
        files=tuple(file for _, file in _files(messages)),
    )


#: What is hashed, its characters of text, and the marker on it.
_Piece = tuple[msgspec.Struct | str, int, CacheControl | None]


def _pieces(request: _Request, messages: list[Message]) -> Iterator[_Piece]:
    """The prompt in the order in which it is cached: tools, system, messages."""
    for tool in request.tools or ():
        yield tool, len(msgspec.json.encode(tool.input_schema)), tool.cache_control
    for block in _as_blocks(request.system):
        yield block, len(block.said()), block.cache_control
    for message in messages:
        yield message.role, 0, None
        for block in _as_blocks(message.content):
            yield block, len(block.said()), block.cache_control


def _as_blocks(content: str | list[Block] | None) -> list[Block]:
    return [Block(text=content)] if isinstance(content, str) else content or []


_LIFETIMES: dict[str | None, Lifetime] = {None: "5m", "5m": "5m", "1h": "1h"}


def _prefixes(request: _Request, pieces: list[_Piece]) -> Iterator[Prefix]:
    markers: list[CacheControl | None] = [marker for _, _, marker in pieces]
    if request.cache_control is not None and pieces:
        markers[-1] = markers[-1] or request.cache_control
    count = sum(marker is not None for marker in markers)
    if not count:
        return
    if count > _MOST_MARKERS:
        raise _refused(f"A maximum of {_MOST_MARKERS} blocks with cache_control may be provided. Found {count}.")
    digest, chars = hashlib.sha256((request.model or "").partition("+")[0].encode()), 0
    for (what, length, _), marker in zip(pieces, markers, strict=True):
        digest.update(msgspec.json.encode(_unmarked(what)) + b"\0")
        chars += length
        lifetime = _LIFETIMES.get(marker.ttl) if marker is not None else None
        if marker is not None and lifetime is None:
            raise _refused("cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
        # An earlier marker may have been anywhere before these ones.
        yield Prefix(digest=digest.digest(), tokens=tokens_in(chars), lifetime=lifetime)


def _unmarked(what: msgspec.Struct | str) -> msgspec.Struct | str:
    """Where the marker sits is no part of what is cached."""
    return what if isinstance(what, str) else msgspec.structs.replace(what, cache_control=None)


def _files(messages: list[Message]) -> Iterator[tuple[str, str]]:
    """The place and id of every uploaded file that is spoken of."""
    for at, message in enumerate(messages):
        for index, block in enumerate(_as_blocks(message.content)):
            if block.source is not None and block.source.type == "file":
                yield f"messages.{at}.content.{index}.{block.type}", block.source.file_id
