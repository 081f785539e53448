"""Anthropic Messages, the provider's side: requests read, replies, streams, errors and limit headers written.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import math
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim.limits import Dimension, Level, Refused
from llmring.sim.wire import (
    Answer,
    Ask,
    Call,
    Failure,
    Headers,
    Problem,
    ProblemKind,
    Rejected,
    Script,
    Tool,
    ToolChoice,
    pieces,
    tokens_in,
)


class _Inner(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Block(msgspec.Struct):
    type: str = "text"
    text: str = ""
    #: Of a tool_result.
    content: str | list[_Inner] | None = None

    def said(self) -> str:
        if isinstance(self.content, str):
            return self.text + self.content
        return self.text + "".join(inner.text for inner in self.content or ())


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block]

    def text(self) -> str:
        return _text(self.content)

    def holds_tool_result(self) -> bool:
        return not isinstance(self.content, str) and any(block.type == "tool_result" for block in self.content)


class _Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, object] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class _Format(msgspec.Struct):
    schema: dict[str, object] = {}


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class _Request(msgspec.Struct):
    model: str | None = None
    max_tokens: int | None = None
    messages: list[_Message] | None = None
    system: str | list[_Block] | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _OutputConfig | None = None
    stream: bool | None = None


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.encode


def key(headers: Mapping[bytes, bytes]) -> str:
    """`x-api-key` wins over a bearer token, as at the real one."""
    own = headers.get(b"x-api-key", b"").decode("latin-1").strip()
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return own or (value.strip() if scheme.lower() == "bearer" else "")


def read(headers: Mapping[bytes, bytes], body: bytes) -> Ask:
    if b"anthropic-version" not in headers:
        raise Rejected(Problem(kind="missing_version"))
    request = _parsed(body)
    for field in ("model", "max_tokens", "messages"):
        if getattr(request, field) is None:
            raise Rejected(Problem(kind="missing_field", detail=field))
    if not request.messages:
        raise Rejected(Problem(kind="bad_field", detail="messages: at least one message is required"))
    if request.max_tokens is not None and request.max_tokens < 1:
        raise Rejected(Problem(kind="bad_field", detail="max_tokens: Input should be greater than or equal to 1"))
    return _ask(request, request.messages)


def _parsed(body: bytes) -> _Request:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


_CHOICES: dict[str, ToolChoice] = {"any": "required", "tool": "named", "none": "none"}


def _ask(request: _Request, messages: list[_Message]) -> Ask:
    choice = request.tool_choice or _Choice(type="auto")
    output = request.output_config
    chars = len(_text(request.system)) + sum(len(message.text()) for message in messages)
    return Ask(
        model=request.model or "",
        input_tokens=tokens_in(chars),
        prompt=next((message.text() for message in reversed(messages) if message.role == "user"), ""),
        after_tool_result=messages[-1].holds_tool_result(),
        tools=tuple(Tool(name=tool.name, schema=tool.input_schema or {}) for tool in request.tools or ()),
        tool_choice=_CHOICES.get(choice.type, "auto"),
        named_tool=choice.name,
        parallel_tools=not choice.disable_parallel_tool_use,
        max_tokens=request.max_tokens,
        stops=tuple(request.stop_sequences or ()),
        reply_schema=output.format.schema if output is not None and output.format is not None else None,
        stream=bool(request.stream),
        stream_usage=True,
    )


def _text(content: str | list[_Block] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.said() for block in content or ())


def identify() -> Headers:
    return [(b"request-id", _request_id().encode())]


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    content = [_tool_use(call, msgspec.json.decode(call.arguments)) for call in answer.calls]
    return _encode(
        {
            **_message(ask),
            "content": content or [{"type": "text", "text": answer.text}],
            **(_stopped(answer) if finished else _NOT_STOPPED),
            "usage": _usage(ask, answer.output_tokens),
        }
    )


def script(ask: Ask, answer: Answer) -> Script:
    start = {**_message(ask), "content": [], **_NOT_STOPPED, "usage": _usage(ask, 1)}
    blocks = [_call_block(call) for call in answer.calls] or [({"type": "text", "text": ""}, _text_deltas(answer.text))]
    chunks: list[bytes] = []
    # Between blocks nothing is content: the end of one and the start of the next travel with the chunk that
    # follows.
    between = b""
    opening = _event({"type": "message_start", "message": start})
    for index, (block, deltas) in enumerate(blocks):
        between += _event({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            opening, between = opening + between + _event({"type": "ping"}), b""
        for delta in deltas:
            chunks.append(between + _event({"type": "content_block_delta", "index": index, "delta": delta}))
            between = b""
        between = _event({"type": "content_block_stop", "index": index})
    usage = {name: count for name, count in _usage(ask, answer.output_tokens).items() if name in _DELTA_USAGE}
    ending = between + _event({"type": "message_delta", "delta": _stopped(answer), "usage": usage})
    return Script(
        opening=opening,
        chunks=tuple(chunks),
        ending=ending + _event({"type": "message_stop"}),
        terminator=b"",
    )


def _call_block(call: Call) -> tuple[dict[str, object], Iterator[dict[str, object]]]:
    return _tool_use(call, {}), _call_deltas(call)


def _call_deltas(call: Call) -> Iterator[dict[str, object]]:
    return ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(call.arguments)))


def _text_deltas(text: str) -> Iterator[dict[str, object]]:
    return ({"type": "text_delta", "text": piece} for piece in pieces(text))


def _event(value: dict[str, object]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + _encode(value) + b"\n\n"


def _message(ask: Ask) -> dict[str, object]:
    return {"model": ask.model, "id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant"}


def _tool_use(call: Call, arguments: object) -> dict[str, object]:
    return {
        "type": "tool_use",
        "id": f"toolu_{secrets.token_hex(12)}",
        "name": call.name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


_NOT_STOPPED: dict[str, object] = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
_STOPPED = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
}


def _stopped(answer: Answer) -> dict[str, object]:
    return {
        "stop_reason": _STOPPED[answer.finish],
        "stop_sequence": answer.stop_sequence,
        "stop_details": None,
    }


_DELTA_USAGE = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def _usage(ask: Ask, output_tokens: int) -> dict[str, object]:
    return {
        "input_tokens": ask.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


_INVALID = "invalid_request_error"

#: kind -> status, type, message
_ERRORS: dict[ProblemKind, tuple[int, str, str]] = {
    "no_key": (401, "authentication_error", "x-api-key header is required"),
    "bad_key": (401, "authentication_error", "invalid x-api-key"),
    "bad_json": (400, _INVALID, "The request body is not valid JSON: {detail}"),
    "missing_field": (400, _INVALID, "{detail}: Field required"),
    "bad_field": (400, _INVALID, "{detail}"),
    "missing_version": (400, _INVALID, "anthropic-version: header is required"),
    "too_large_body": (413, "request_too_large", "Request exceeds the maximum size"),
    "unknown_path": (404, "not_found_error", "Not Found"),
    "unknown_model": (404, "not_found_error", "model: {model}"),
    "rate_limited": (
        429,
        "rate_limit_error",
        (
            "This request would exceed your organization's rate limit of {limit:,} {dimension} per minute. For "
            "details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for "
            "current usage. Please reduce the prompt length or the maximum tokens requested, or try again later."
        ),
    ),
    "insufficient_quota": (
        400,
        _INVALID,
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
            "or purchase credits."
        ),
    ),
    "context": (400, _INVALID, "prompt is too long: {requested_tokens} tokens > {context} maximum"),
    "server_error": (500, "api_error", "Internal server error"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
}
_ERRORS["never_fits"] = _ERRORS["rate_limited"]


def failure(problem: Problem) -> Failure:
    status, kind, message = _ERRORS[problem.kind]
    refused = problem.refused or Refused(dimension="requests", limit=0, used=0, requested=1, wait_seconds=None)
    text = message.format(
        detail=problem.detail,
        model=problem.model,
        limit=refused.limit,
        dimension=refused.dimension.replace("_", " "),
        requested_tokens=problem.requested_tokens,
        # The largest window below the prompt, so that the sentence is true of any prompt.
        context=max(problem.requested_tokens - 1, 0),
    )
    status = problem.status or status
    headers: Headers = [(b"x-should-retry", b"false")] if status in (400, 401) else []
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(problem.retry_after)))
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": _request_id()}
    return Failure(status=status, headers=headers, body=_encode(body))


def failure_event() -> bytes:
    return _event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def broken_event() -> bytes:
    return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"ty\n\n'


def limit_headers(levels: Mapping[Dimension, Level]) -> Headers:
    """`anthropic-ratelimit-*`. "tokens" is the sum of input and output, as recorded, unless it has a limit of
    its own.
    """
    shown = dict(levels)
    if "tokens" not in shown and "input_tokens" in shown and "output_tokens" in shown:
        shown["tokens"] = _sum(shown["input_tokens"], shown["output_tokens"])
    now = datetime.now(UTC)
    headers: Headers = []
    for dimension, level in shown.items():
        name = b"anthropic-ratelimit-" + dimension.replace("_", "-").encode()
        full_at = now + timedelta(seconds=math.ceil(level.full_in_seconds))
        headers += [
            (name + b"-limit", b"%d" % level.limit),
            (name + b"-remaining", b"%d" % _shown_remaining(dimension, level)),
            (name + b"-reset", full_at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
        ]
    return headers


def _sum(one: Level, other: Level) -> Level:
    return Level(
        limit=one.limit + other.limit,
        remaining=one.remaining + other.remaining,
        full_in_seconds=max(one.full_in_seconds, other.full_in_seconds),
    )


def _shown_remaining(dimension: Dimension, level: Level) -> int:
    """Whole requests; tokens to the nearest thousand, never beyond the limit."""
    if dimension == "requests":
        return max(math.floor(level.remaining), 0)
    return min(max(round(level.remaining / 1000) * 1000, 0), level.limit)
