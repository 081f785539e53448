"""OpenAI chat completions, the provider's side: requests read, replies, streams, errors and limit headers
written.

Shapes follow the official documentation and recorded traffic. Must not share code with the router's codec:
whoever misreads the format on one side must be contradicted by the other.
"""

import itertools
import math
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

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
    pieces,
    tokens_in,
)


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Choice(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _JsonSchema(msgspec.Struct):
    schema: dict[str, object] = {}


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
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.encode


def key(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def read(_headers: Mapping[bytes, bytes], body: bytes) -> Ask:
    request = _parsed(body)
    if not request.model:
        raise Rejected(Problem(kind="missing_field", detail="model"))
    if not request.messages:
        raise Rejected(Problem(kind="missing_field", detail="messages"))
    limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    if limit is not None and limit < 1:
        raise Rejected(Problem(kind="bad_field", detail=f"Invalid value: max tokens must be at least 1, not {limit}."))
    return _ask(request, request.model, request.messages, limit)


def _parsed(body: bytes) -> _Request:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=f"Invalid type: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _ask(request: _Request, model: str, messages: list[_Message], limit: int | None) -> Ask:
    stop, options, choice = request.stop, request.stream_options, request.tool_choice
    tools = [tool.function for tool in request.tools or () if tool.function is not None]
    named = choice.function.name if isinstance(choice, _Choice) and choice.function else ""
    return Ask(
        model=model,
        input_tokens=tokens_in(sum(len(message.text()) for message in messages)),
        prompt=next((message.text() for message in reversed(messages) if message.role == "user"), ""),
        after_tool_result=messages[-1].role == "tool",
        tools=tuple(Tool(name=tool.name, schema=tool.parameters or {}) for tool in tools),
        tool_choice="named"
        if named
        else "required"
        if choice == "required"
        else "none"
        if choice == "none"
        else "auto",
        named_tool=named,
        parallel_tools=request.parallel_tool_calls is not False,
        max_tokens=limit,
        stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        reply_schema=_reply_schema(request.response_format),
        stream=bool(request.stream),
        stream_usage=options is not None and options.include_usage,
    )


def _reply_schema(wanted: _Format | None) -> dict[str, object] | None:
    if wanted is None or wanted.type == "text":
        return None
    return {"type": "object"} if wanted.json_schema is None else wanted.json_schema.schema


def identify() -> Headers:
    return [
        (b"openai-version", b"2020-10-01"),
        (b"x-request-id", b"req_" + secrets.token_hex(16).encode()),
    ]


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if answer.calls else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer) if finished else None}
    return _encode({**_head(ask, "chat.completion"), "choices": [choice], "usage": _usage(ask, answer)})


def script(ask: Ask, answer: Answer) -> Script:
    head = _head(ask, "chat.completion.chunk")
    tail: dict[str, object] = {"usage": None} if ask.stream_usage else {}

    def event(delta: dict[str, object], finish: str | None = None) -> bytes:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **tail})

    ending = event({}, _finish(answer))
    if ask.stream_usage:
        ending += _event({**head, "choices": [], "usage": _usage(ask, answer)})
    content = None if answer.calls else ""
    deltas = _call_deltas(answer.calls) if answer.calls else _text_deltas(answer.text)
    return Script(
        opening=event({"role": "assistant", "content": content, "refusal": None}),
        chunks=tuple(event(delta) for delta in deltas),
        ending=ending,
        terminator=b"data: [DONE]\n\n",
    )


def _text_deltas(text: str) -> Iterator[dict[str, object]]:
    return ({"content": piece} for piece in pieces(text))


def _call_deltas(calls: tuple[Call, ...]) -> Iterator[dict[str, object]]:
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": _call_id(), "type": "function", "function": function}]}
        for piece in pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(value: object) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"


def _head(ask: Ask, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(datetime.now(UTC).timestamp()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _usage(ask: Ask, answer: Answer) -> dict[str, object]:
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": ask.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(answer: Answer) -> str:
    return "stop" if answer.finish == "stop_sequence" else answer.finish


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


_INVALID = "invalid_request_error"

#: kind -> status, type, code, message
_ERRORS: dict[ProblemKind, tuple[int, str, str | None, str]] = {
    "no_key": (
        401,
        _INVALID,
        None,
        (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        ),
    ),
    "bad_key": (
        401,
        _INVALID,
        "invalid_api_key",
        "Incorrect API key provided: {detail}. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "bad_json": (400, _INVALID, None, "We could not parse the JSON body of your request. ({detail})"),
    "missing_field": (400, _INVALID, "missing_required_parameter", "Missing required parameter: '{detail}'."),
    "bad_field": (400, _INVALID, "invalid_value", "{detail}"),
    "missing_version": (400, _INVALID, None, "{detail}"),
    "too_large_body": (413, _INVALID, None, "Maximum content size limit exceeded."),
    "unknown_path": (404, _INVALID, None, "Invalid URL ({detail})"),
    "unknown_model": (
        404,
        _INVALID,
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "{detail}"),
    "never_fits": (429, "tokens", "rate_limit_exceeded", "{detail}"),
    "insufficient_quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        (
            "You exceeded your current quota, please check your plan and billing details. For more information "
            "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
        ),
    ),
    "context": (
        400,
        _INVALID,
        "context_length_exceeded",
        (
            "This model's maximum context length is {context} tokens. However, your messages resulted in "
            "{requested_tokens} tokens. Please reduce the length of the messages."
        ),
    ),
    "server_error": (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "overloaded": (
        503,
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
}
_PARAMETERS: dict[ProblemKind, str] = {"context": "messages"}
_DIMENSIONS: dict[Dimension, str] = {"requests": "requests per min (RPM)"}
_TOKEN_DIMENSION = "tokens per min (TPM)"


def failure(problem: Problem) -> Failure:
    status, kind, code, message = _ERRORS[problem.kind]
    detail = _rate_message(problem) if problem.kind in ("rate_limited", "never_fits") else problem.detail
    if problem.refused is not None and problem.refused.dimension != "requests":
        kind = "tokens"
    # What "context" says is the largest window below the prompt, so that the sentence is true of any prompt.
    context = max(problem.requested_tokens - 1, 0)
    text = message.format(
        detail=detail, model=problem.model, requested_tokens=problem.requested_tokens, context=context
    )
    parameter = problem.detail if problem.kind == "missing_field" else _PARAMETERS.get(problem.kind)
    headers: Headers = []
    if problem.retry_after is not None:
        headers = [
            (b"retry-after", b"%d" % math.ceil(problem.retry_after)),
            (b"retry-after-ms", b"%d" % math.ceil(problem.retry_after * 1000)),
        ]
    body = _encode({"error": {"message": text, "type": kind, "param": parameter, "code": code}})
    return Failure(status=problem.status or status, headers=headers, body=body)


def _rate_message(problem: Problem) -> str:
    refused = problem.refused or Refused(dimension="requests", limit=0, used=0, requested=1, wait_seconds=None)
    dimension = _DIMENSIONS.get(refused.dimension, _TOKEN_DIMENSION)
    where = f"for {problem.model} in organization org-simulated on {dimension}: Limit {refused.limit}"
    if problem.kind == "never_fits":
        return (
            f"Request too large {where}, Requested {refused.requested}. The input or output tokens must be "
            "reduced in order to run successfully. "
            "Visit https://platform.openai.com/account/rate-limits to learn more."
        )
    again = go_duration(problem.retry_after or 0.0)
    return (
        f"Rate limit reached {where}, Used {refused.used}, Requested {refused.requested}. "
        f"Please try again in {again}. Visit https://platform.openai.com/account/rate-limits to learn more."
    )


def failure_event() -> bytes:
    return b"data: " + failure(Problem(kind="server_error")).body + b"\n\n"


def broken_event() -> bytes:
    return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n'


def limit_headers(levels: Mapping[Dimension, Level]) -> Headers:
    """`x-ratelimit-*` for requests and tokens. Recorded replies always satisfy reset =
    (limit-remaining)*60/limit.
    """
    rows = itertools.chain.from_iterable(
        (
            (b"x-ratelimit-limit-" + name, b"%d" % level.limit),
            (b"x-ratelimit-remaining-" + name, b"%d" % max(math.floor(level.remaining), 0)),
            (b"x-ratelimit-reset-" + name, go_duration(level.full_in_seconds).encode()),
        )
        for name, level in ((b"requests", levels.get("requests")), (b"tokens", levels.get("tokens")))
        if level is not None
    )
    return list(rows)


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond, rounded up: `0s`, `86ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{minutes}m{text}"
        return f"{hours}h{text}" if hours else text
    return text
