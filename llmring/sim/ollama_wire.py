"""Ollama's /api/chat, the provider's side: requests read, replies and streams written; errors are in
ollama_dialect.py.

Shapes follow the official documentation, Ollama's source and recorded traffic. Must not share code with the
router's codec: whoever misreads the format on one side must be contradicted by the other.
"""

import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from llmring.sim import ollama_dialect
from llmring.sim.reply import SMALL_OBJECT
from llmring.sim.wire import Answer, Ask, Call, Problem, Rejected, Schema, Script, Tool, pieces, tokens_in

_encode = msgspec.json.encode


class _Function(msgspec.Struct):
    name: str = ""
    parameters: dict[str, object] | None = None
    #: Of a call: an object, never text.
    arguments: dict[str, object] = {}


class _Callable(msgspec.Struct):
    """A tool, or a call of one."""

    function: _Function


class _Message(msgspec.Struct):
    role: str
    content: str = ""
    thinking: str = ""
    tool_calls: list[_Callable] | None = None
    images: list[str] | None = None


class _Options(msgspec.Struct):
    num_predict: int | None = None
    stop: list[str] | str | None = None


class _Request(msgspec.Struct):
    model: str = ""
    messages: list[_Message] | None = None
    tools: list[_Callable] | None = None
    format: dict[str, object] | str | None = None
    options: _Options | None = None
    think: bool | str | None = None
    stream: bool | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(_headers: Mapping[bytes, bytes], body: bytes, _target: str = "") -> Ask:
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=f"invalid character: {error}")) from error
    if not request.model:
        raise Rejected(Problem(kind="missing_field", detail="model"))
    for message in request.messages or ():
        if any(image.startswith(("data:", "http")) for image in message.images or ()):
            raise Rejected(Problem(kind="bad_field", detail="illegal base64 data at input byte 4"))
    return _ask(request)


def _ask(request: _Request) -> Ask:
    messages, options = request.messages or [], request.options or _Options()
    tools = tuple(Tool(name=one.function.name, schema=one.function.parameters or {}) for one in request.tools or ())
    chars = sum(len(message.content) for message in messages)
    declared = len(_encode([tool.schema for tool in tools])) if tools else 0
    # Negative: until it ends by itself.
    limit, stop = options.num_predict, options.stop
    return Ask(
        model=request.model,
        input_tokens=tokens_in(chars + declared),
        prompt=next((message.content for message in reversed(messages) if message.role == "user"), ""),
        after_tool_result=bool(messages) and messages[-1].role == "tool",
        tools=tools,
        tool_choice="auto",
        named_tool="",
        parallel_tools=True,
        max_tokens=limit if limit is not None and limit > 0 else None,
        stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        reply_schema=_reply_schema(request.format),
        stream=request.stream is not False,
        stream_usage=True,
        thinking="shown" if request.think else "off",
    )


def _reply_schema(wanted: dict[str, object] | str | None) -> Schema | None:
    if isinstance(wanted, str):
        if wanted not in ("", "json"):
            raise Rejected(Problem(kind="bad_field", detail=f'invalid format: "{wanted}"; expected "json" or a schema'))
        return SMALL_OBJECT if wanted else None
    return wanted


def whole(ask: Ask, answer: Answer, *, finished: bool = True) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": answer.text}
    if answer.thinking:
        message["thinking"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = [_call(at, call) for at, call in enumerate(answer.calls)]
    return _encode({**_line(ask, message), **(_done(ask, answer) if finished else {"done": False})})


def script(ask: Ask, answer: Answer) -> Script:
    chunks = tuple(_encode({**_line(ask, message), "done": False}) + b"\n" for message in _fragments(answer))
    last = {**_line(ask, {"role": "assistant", "content": ""}), **_done(ask, answer)}
    return Script(
        opening=b"",
        chunks=chunks,
        ending=_encode(last) + b"\n",
        terminator=b"",
        failure=ollama_dialect.failure(Problem(kind="server_error")).body + b"\n",
        broken=b'{"model":"broken","message":{"role":"assistant","con\n',
        content_type=b"application/x-ndjson",
    )


def _fragments(answer: Answer) -> Iterator[dict[str, object]]:
    """Thinking and text in pieces; each call whole in one line."""
    if answer.thinking:
        for piece in pieces(answer.thinking):
            yield {"role": "assistant", "content": "", "thinking": piece}
    for at, call in enumerate(answer.calls):
        yield {"role": "assistant", "content": "", "tool_calls": [_call(at, call)]}
    if not answer.calls:
        for piece in pieces(answer.text):
            yield {"role": "assistant", "content": piece}


def _call(at: int, call: Call) -> dict[str, object]:
    function = {"index": at, "name": call.name, "arguments": msgspec.json.decode(call.arguments)}
    return {"id": f"call_{secrets.token_hex(4)}", "function": function}


def _line(ask: Ask, message: dict[str, object]) -> dict[str, object]:
    return {"model": ask.model, "created_at": _now(), "message": message}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _done(ask: Ask, answer: Answer) -> dict[str, object]:
    """Durations in nanoseconds; made up, at 10 ms a token. eval_count includes thinking."""
    read_ns, said_ns = ask.input_tokens * 100_000, answer.output_tokens * 10_000_000
    return {
        "done": True,
        "done_reason": "length" if answer.finish == "length" else "stop",
        "total_duration": 1_000_000 + read_ns + said_ns,
        "load_duration": 1_000_000,
        "prompt_eval_count": ask.input_tokens,
        "prompt_eval_duration": read_ns,
        "eval_count": answer.output_tokens,
        "eval_duration": said_ns,
    }
