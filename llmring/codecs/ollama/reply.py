"""Answers in Ollama's /api/chat format, whole or as the lines of a stream. Pure.

A line of a stream has the form of a whole reply. Every field may be absent or null; unknown fields are ignored, but
those of tool calls are kept for the replay.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from llmring.chat import Completion, FinishReason, JSONObject, TokenLogprob, ToolCall
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.ollama.faults import classify
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id
from llmring.errors import BadReply
from llmring.usage import Usage

T = TypeVar("T")

FINISH_REASONS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}

NOT_ANSWERS = frozenset({"load", "unload"})
"""What a server says of a request without messages."""


class MessageIn(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class Reply(msgspec.Struct):
    """A whole reply, or one line of a stream. The last line has the reason and the counts."""

    model: str | None = None
    message: MessageIn | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: msgspec.Raw = msgspec.Raw()
    eval_count: msgspec.Raw = msgspec.Raw()
    logprobs: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Token(msgspec.Struct):
    token: str | None = None
    logprob: float | None = None
    top_logprobs: list["_Token"] | None = None


REPLY = msgspec.json.Decoder(Reply)
_CALL = msgspec.json.Decoder(_Call | None)
_ITEM = msgspec.json.Decoder(JSONObject)
_TEXT = msgspec.json.Decoder(str)
_COUNT = msgspec.json.Decoder(int | float)
_LOGPROBS = msgspec.json.Decoder(list[_Token])

_KNOWN = {"id", "type", "function"}
_KNOWN_OF_FUNCTION = {"index", "name", "arguments"}


def decode(reply: HttpReply) -> Completion:
    """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
    found = read_json(REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
    if is_set(found.error):
        raise classify(reply)
    if found.message is None and not found.done:
        raise BadReply("the reply holds no message", status=reply.status, request_id=request_id(reply.headers))
    turn = Turn()
    turn.add(found.message)
    return to_completion(turn, found, read_usage(found), tuple(read_logprobs(found.logprobs)), reply.headers)


class Turn:
    """What the model says, piece by piece. Tool calls come whole."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[bytes] = []

    def add(self, message: MessageIn | None) -> StreamDelta | None:
        """Add a message's pieces; returns the text that they bring."""
        if message is None:
            return None
        if message.tool_calls:
            self._calls += map(bytes, message.tool_calls)
        content, thinking = message.content or "", message.thinking or ""
        if content:
            self._content.append(content)
        if thinking:
            self._thinking.append(thinking)
        return StreamDelta(content=content, reasoning=thinking) if content or thinking else None

    def content(self) -> str:
        return "".join(self._content)

    def thinking(self) -> str:
        return "".join(self._thinking)

    def native(self) -> tuple[JSONObject, ...]:
        """The turn as one message of Ollama's, if it holds what our types cannot say. Raises BadReply."""
        calls = [read_json(_ITEM, call) for call in self._calls if call != b"null"]
        thinking = self.thinking()
        if not thinking and all(map(_is_known, calls)):
            return ()
        message: JSONObject = {"role": "assistant", "content": self.content()}
        message |= {"thinking": thinking} if thinking else {}
        message |= {"tool_calls": calls} if calls else {}
        return (message,)

    def calls(self) -> tuple[ToolCall, ...]:
        """Raises BadReply when one names no function."""
        found = [call for data in self._calls if (call := read_json(_CALL, data)) is not None]
        if any(call.function is None or not call.function.name for call in found):
            raise BadReply("the reply holds a tool call without a name")
        return tuple(_named(found))

    def named_calls(self) -> tuple[ToolCall, ...]:
        """Those that can be read."""
        return tuple(_named(call for data in self._calls if (call := _lenient(_CALL, data)) is not None))

    def characters(self) -> int:
        """All that the model wrote, thinking included."""
        return sum(map(len, (*self._content, *self._thinking, *self._calls)))


def _is_known(call: JSONObject) -> bool:
    function = call.get("function")
    return call.keys() <= _KNOWN and isinstance(function, dict) and function.keys() <= _KNOWN_OF_FUNCTION


def _named(calls: Iterator[_Call] | list[_Call]) -> Iterator[ToolCall]:
    for call in calls:
        if call.function is not None and call.function.name:
            arguments = _arguments(call.function.arguments)
            yield ToolCall(id=call.id or new_tool_call_id(), name=call.function.name, arguments=arguments)


def _arguments(raw: msgspec.Raw) -> str:
    """An object's text; compatible servers send text that holds an object."""
    if not is_set(raw):
        return "{}"
    held = _lenient(_TEXT, raw)
    text = held if held is not None else bytes(raw).decode("utf-8", "replace")
    return text.strip() or "{}"


def to_completion(
    turn: Turn, end: Reply, usage: Usage | None, logprobs: tuple[TokenLogprob, ...], headers: Mapping[str, str]
) -> Completion:
    """A whole answer. `end` is the whole reply, or the last line. Raises BadReply."""
    if end.done_reason in NOT_ANSWERS:
        raise BadReply(f"the reply is no answer: {end.done_reason}", request_id=request_id(headers))
    calls = turn.calls()
    return Completion(
        content=turn.content(),
        finish_reason=finish_reason(end.done_reason, bool(calls)),
        raw_finish_reason=end.done_reason or None,
        tool_calls=calls,
        reasoning=turn.thinking() or None,
        native=turn.native(),
        logprobs=logprobs,
        usage=usage,
        served_model=end.model or None,
        request_id=request_id(headers),
    )


def finish_reason(raw: str | None, has_calls: bool) -> FinishReason:
    """Ours for theirs. An answer of tool calls ends in "stop", too."""
    reason = FINISH_REASONS.get(raw or "", "other")
    return "tool_calls" if has_calls and (reason == "stop" or not raw) else reason


def read_usage(end: Reply) -> Usage | None:
    """None where no count can be read. A prompt that was in memory whole is not counted, and thinking not apart."""
    read, written = _lenient(_COUNT, end.prompt_eval_count), _lenient(_COUNT, end.eval_count)
    if read is None and written is None:
        return None
    return Usage(input_tokens=count(read), output_tokens=count(written))


def read_logprobs(raw: msgspec.Raw) -> Iterator[TokenLogprob]:
    """The tokens, each with the likeliest ones at its place. None when they cannot be read."""
    for token in _lenient(_LOGPROBS, raw) or ():
        top = tuple((other.token or "", other.logprob or 0.0) for other in token.top_logprobs or ())
        yield TokenLogprob(token=token.token or "", logprob=token.logprob or 0.0, top=top)


def _lenient(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw | bytes) -> T | None:
    """What stands beside an answer and cannot be read counts as not told, for the answer is worth more."""
    if bytes(raw) in (b"", b"null"):
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
