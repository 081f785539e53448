"""Answers in Anthropic's Messages format, whole or as the pieces of a stream. Pure.

Every field may be absent or null, unknown fields are ignored: new ones appear without notice. An answer that holds more
than text and calls (thinking, citations, blocks of tools that run at the provider or that nobody knows yet) is kept as
it came besides, for its model wants it back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmring.chat import Completion, FinishReason, JSONObject, ToolCall
from llmring.codecs.anthropic.faults import classify
from llmring.codecs.codec import HttpReply
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id
from llmring.errors import BadReply, ProviderError
from llmring.usage import Usage

FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
}

_Number = int | float | None


class CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: _Number = None
    ephemeral_1h_input_tokens: _Number = None


class OutputDetails(msgspec.Struct):
    thinking_tokens: _Number = None


class UsageIn(msgspec.Struct):
    """Usage as it is sent. In a stream the message's end sends part of it again, and that part counts."""

    input_tokens: _Number = None
    cache_read_input_tokens: _Number = None
    cache_creation_input_tokens: _Number = None
    cache_creation: CacheCreation | None = None
    output_tokens: _Number = None
    output_tokens_details: OutputDetails | None = None
    service_tier: str | None = None

    def updated(self, newer: "UsageIn") -> "UsageIn":
        """This, with what `newer` says."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(newer, name)) is not None}
        return msgspec.structs.replace(self, **said)


class Caller(msgspec.Struct):
    type: str | None = None


class Block(msgspec.Struct):
    """A content block. `input` is kept as the JSON text that it came as."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()
    caller: Caller | None = None
    toolset_name: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether our own spelling says all of it: text without citations, calls that the model made by itself."""
        if self.type == "text":
            return bytes(self.citations) in (b"", b"null", b"[]")
        called_by = self.caller.type if self.caller is not None else None
        return self.type == "tool_use" and called_by in (None, "direct") and self.toolset_name is None


class StopDetails(msgspec.Struct):
    explanation: str | None = None


class Reply(msgspec.Struct):
    """A whole reply; also the message that a stream starts with."""

    id: str | None = None
    type: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Content(msgspec.Struct):
    content: tuple[dict[str, Any], ...] = ()


_REPLY = msgspec.json.Decoder(Reply)
_USAGE = msgspec.json.Decoder(UsageIn)
_CONTENT = msgspec.json.Decoder(_Content)


def decode(reply: HttpReply) -> Completion:
    """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
    found = read_json(_REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
    usage = read_usage(found.usage)
    try:
        return _read(found, usage, reply)
    except ProviderError as error:
        # Used and billed, whatever it came to.
        if usage is not None:
            error.usage, error.service_tier = to_usage(usage), usage.service_tier
        raise


def _read(found: Reply, usage: UsageIn | None, reply: HttpReply) -> Completion:
    if found.type == "error" or is_set(found.error):
        raise classify(reply)
    if found.content is None and not found.stop_reason:
        raise BadReply("the reply holds no message", status=reply.status, request_id=request_id(reply.headers))
    blocks = found.content or []
    calls = tuple(
        to_tool_call(block.id, block.name, input_text(block.input)) for block in blocks if block.type == "tool_use"
    )
    return Completion(
        content="".join(block.text or "" for block in blocks if block.type == "text"),
        finish_reason=finish_reason(found.stop_reason, bool(calls)),
        raw_finish_reason=found.stop_reason,
        tool_calls=calls,
        refusal=refusal(found.stop_reason, found.stop_details),
        reasoning="".join(block.thinking or "" for block in blocks if block.type == "thinking") or None,
        native=_native(blocks, reply.body),
        usage=to_usage(usage) if usage is not None else None,
        service_tier=usage.service_tier if usage is not None else None,
        served_model=found.model or None,
        response_id=found.id or None,
        request_id=request_id(reply.headers),
    )


def _native(blocks: Sequence[Block], body: bytes) -> tuple[JSONObject, ...]:
    """The blocks as they came, when ours lose something. They are read a second time for that: few answers need it."""
    if all(block.is_plain for block in blocks):
        return ()
    try:
        return _CONTENT.decode(body).content
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def to_tool_call(call_id: str | None, name: str | None, arguments: str) -> ToolCall:
    """A whole call. Raises BadReply when it names no tool."""
    if not name:
        raise BadReply("the reply holds a tool call without a name")
    return ToolCall(id=call_id or new_tool_call_id(), name=name, arguments=arguments.strip() or "{}")


def input_text(raw: msgspec.Raw) -> str:
    """A tool's input as JSON text; "" where there is none."""
    return bytes(raw).decode("utf-8", "replace") if is_set(raw) else ""


def finish_reason(raw: str | None, has_calls: bool) -> FinishReason:
    """Ours for theirs. Compatible servers say "end_turn", or nothing, beside tool calls: the calls win."""
    reason = FINISH_REASONS.get(raw or "", "other")
    return "tool_calls" if has_calls and (reason == "stop" or not raw) else reason


def refusal(stop_reason: str | None, details: StopDetails | None) -> str | None:
    """The provider's explanation of a refusal."""
    return (details.explanation or None) if stop_reason == "refusal" and details is not None else None


def read_usage(raw: msgspec.Raw) -> UsageIn | None:
    """Usage as sent; None where there is none or it cannot be read, for an answer is worth more."""
    if not is_set(raw):
        return None
    try:
        return _USAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def to_usage(usage: UsageIn) -> Usage:
    """The usage in disjoint counters. Anthropic's three input counters are disjoint already; thinking is in the output.

    Cache writes that no lifetime is told of (all of them, before 2025-08) are "other".
    """
    created = usage.cache_creation or CacheCreation()
    details = usage.output_tokens_details or OutputDetails()
    five_minutes, one_hour = (
        count(created.ephemeral_5m_input_tokens),
        count(created.ephemeral_1h_input_tokens),
    )
    output = count(usage.output_tokens)
    reasoning = min(output, count(details.thinking_tokens))
    return Usage(
        input_tokens=count(usage.input_tokens),
        cache_read_tokens=count(usage.cache_read_input_tokens),
        cache_write_5m_tokens=five_minutes,
        cache_write_1h_tokens=one_hour,
        cache_write_other_tokens=max(0, count(usage.cache_creation_input_tokens) - five_minutes - one_hour),
        output_tokens=output - reasoning,
        reasoning_tokens=reasoning,
    )
