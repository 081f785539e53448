"""Answers in OpenAI's Responses format, whole; and what whole and streamed ones share: items, usage, endings. Pure.

Every field may be absent or null, and unknown items are kept to be given back. Compatible servers (xAI, Azure,
OpenRouter) speak it too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from llmring.chat import Completion, FinishReason, JSONObject, TokenLogprob, ToolCall
from llmring.codecs.codec import HttpReply
from llmring.codecs.openai.faults import classify
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id, to_json_text
from llmring.errors import BadReply, ProviderError
from llmring.usage import Usage

INCOMPLETE: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}

_Number = int | float | None


class _InputDetails(msgspec.Struct):
    cached_tokens: _Number = None
    cache_write_tokens: _Number = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: _Number = None


class _Usage(msgspec.Struct):
    input_tokens: _Number = None
    output_tokens: _Number = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class Candidate(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0


class Token(Candidate):
    top_logprobs: list[Candidate] | None = None


class Part(msgspec.Struct):
    """A part of a message, or of a reasoning item: `output_text`, `refusal`, `summary_text`, `reasoning_text`."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: list[Token] | None = None


class Item(msgspec.Struct):
    """An output item. `arguments` is JSON text; `input` is a custom tool's, which is any text."""

    type: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    content: list[Part] | None = None
    summary: list[Part] | None = None
    phase: str | None = None
    encrypted_content: str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """A whole reply; also the `response` that the events of a stream begin and end with."""

    id: str | None = None
    object: str | None = None
    status: str | None = None
    model: str | None = None
    output: list[msgspec.Raw] | None = None
    incomplete_details: _Incomplete | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


RESPONSE = msgspec.json.Decoder(Response)
_USAGE = msgspec.json.Decoder(_Usage)
_ITEM = msgspec.json.Decoder(Item)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def decode(reply: HttpReply) -> Completion:
    """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
    asked = request_id(reply.headers)
    found = read_json(RESPONSE, reply.body, status=reply.status, request_id=asked)
    try:
        return _read_answer(found, reply, asked)
    except ProviderError as error:
        # Used and billed, whatever it came to.
        error.usage, error.service_tier = read_usage(found.usage), found.service_tier
        raise


def _read_answer(found: Response, reply: HttpReply, asked: str | None) -> Completion:
    raise_reported(found, reply.headers)
    if found.output is None and found.status is None:
        raise BadReply("the reply holds no output", status=reply.status, request_id=asked)
    return to_completion(found, found.output or [], asked)


def raise_reported(found: Response, headers: Mapping[str, str]) -> None:
    """Raise the error that a 200 reports."""
    if is_set(found.error) or found.status == "failed":
        raise reported(found.error, headers)


def reported(error: msgspec.Raw, headers: Mapping[str, str]) -> ProviderError:
    """The error that stands in a reply with status 200."""
    body = b'{"error":' + (bytes(error) if is_set(error) else b'{"code":"server_error"}') + b"}"
    return classify(HttpReply(status=200, headers=headers, body=body))


def to_completion(found: Response, raw_items: Sequence[msgspec.Raw], asked: str | None) -> Completion:
    """The answer that these items make."""
    items = [read_json(_ITEM, bytes(raw), request_id=asked) for raw in raw_items]
    parts = [part for item in items if item.type == "message" for part in item.content or ()]
    calls = tuple(call for item in items if (call := to_tool_call(item)) is not None)
    refusal = "".join(part.refusal or "" for part in parts if part.type == "refusal") or None
    reason = found.incomplete_details.reason if found.incomplete_details is not None else None
    return Completion(
        content="".join(part.text or "" for part in parts if part.type == "output_text"),
        finish_reason=finish_reason(found.status, reason, has_calls=bool(calls), is_refused=refusal is not None),
        raw_finish_reason=reason or found.status,
        tool_calls=calls,
        refusal=refusal,
        reasoning=reasoning_of(items) or None,
        native=native(items, raw_items),
        logprobs=tuple(to_logprob(token) for part in parts for token in part.logprobs or ()),
        usage=read_usage(found.usage),
        service_tier=found.service_tier,
        served_model=found.model or None,
        response_id=found.id or None,
        request_id=asked,
    )


def to_tool_call(item: Item) -> ToolCall | None:
    """The call that an item is; None for another item. Raises BadReply when it names no tool."""
    match item.type:
        case "function_call":
            given = item.arguments
            arguments = given if isinstance(given, str) else "" if given is None else to_json_text(given)
        case "custom_tool_call":
            # Its input is plain text, ours is JSON text.
            arguments = to_json_text(item.input)
        case _:
            return None
    if not item.name:
        raise BadReply("the reply holds a tool call without a name")
    return ToolCall(id=item.call_id or new_tool_call_id(), name=item.name, arguments=arguments.strip() or "{}")


def finish_reason(status: str | None, reason: str | None, *, has_calls: bool, is_refused: bool) -> FinishReason:
    """Ours for theirs."""
    match status:
        case "incomplete":
            return INCOMPLETE.get(reason or "", "other")
        case "completed" | None:
            return "tool_calls" if has_calls else "content_filter" if is_refused else "stop"
        case "cancelled" | "failed":
            return "error"
        case _:
            return "other"


def reasoning_of(items: Iterable[Item]) -> str:
    """The text of the reasoning: its summary, or the reasoning itself where a server shows it."""
    texts = [
        part.text
        for item in items
        if item.type == "reasoning"
        for part in item.summary or item.content or ()
        if part.text
    ]
    return "\n\n".join(texts)


def native(items: Sequence[Item], raw_items: Sequence[msgspec.Raw]) -> tuple[JSONObject, ...]:
    """The items as they came, where ours lose something of them; else nothing.

    Reasoning that came without its encrypted content cannot be given back to a provider that kept no copy.
    """
    kept = [
        (item, raw)
        for item, raw in zip(items, raw_items, strict=True)
        if item.type != "reasoning" or item.encrypted_content
    ]
    if all(item.type in ("message", "function_call") and item.phase is None for item, _ in kept):
        return ()
    return tuple(_OBJECT.decode(bytes(raw)) for _, raw in kept)


def to_logprob(token: Token) -> TokenLogprob:
    top = tuple((other.token, other.logprob) for other in token.top_logprobs or ())
    return TokenLogprob(token=token.token, logprob=token.logprob, top=top)


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """The usage in disjoint counters; None where there is none or it cannot be read, for an answer is worth more.

    Cached, written and reasoning tokens are parts of the two totals; a part that exceeds its total is cut to it.
    """
    if not is_set(raw):
        return None
    try:
        usage = _USAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    details, output_details = usage.input_tokens_details or _InputDetails(), usage.output_tokens_details
    total_in, total_out = count(usage.input_tokens), count(usage.output_tokens)
    read = min(total_in, count(details.cached_tokens))
    written = min(total_in - read, count(details.cache_write_tokens))
    reasoning = min(total_out, count(output_details.reasoning_tokens if output_details is not None else None))
    return Usage(
        input_tokens=total_in - read - written,
        cache_read_tokens=read,
        cache_write_other_tokens=written,
        output_tokens=total_out - reasoning,
        reasoning_tokens=reasoning,
    )
