"""Answers in OpenAI's chat completions format, whole or in chunks, as OpenAI and compatible servers send them. Pure.

Every field may be absent or null, and unknown ones are ignored: that is how the format is spoken in the wild. Reasoning
comes as `reasoning_content` (DeepSeek, xAI, older vLLM), `reasoning` (Groq, Ollama, OpenRouter, newer vLLM), as
`reasoning_details` (OpenRouter) or as parts of type "thinking" (Mistral). Text between <think> tags is text.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmring.chat import Choice, Completion, FinishReason, JSONObject, TokenLogprob, ToolCall
from llmring.codecs.codec import HttpReply
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.codecs.openai.faults import classify
from llmring.codecs.openai.messages import assistant
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id, to_json_text
from llmring.errors import BadReply, ProviderError
from llmring.usage import Usage

# eos: Together. end_turn: servers in front of Claude. model_length: Mistral. insufficient_system_resource: DeepSeek.
# abort: vLLM. error: OpenRouter, Mistral.
FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "error",
    "insufficient_system_resource": "error",
}

_Number = int | float | None


class _InputDetails(msgspec.Struct):
    cached_tokens: _Number = None
    cache_write_tokens: _Number = None
    audio_tokens: _Number = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: _Number = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Number = None
    completion_tokens: _Number = None
    total_tokens: _Number = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    # Where others than OpenAI put what is in prompt_tokens_details: DeepSeek; Mistral; Together and Moonshot.
    prompt_cache_hit_tokens: _Number = None
    num_cached_tokens: _Number = None
    cached_tokens: _Number = None


class Part(msgspec.Struct):
    """Mistral sends content as a list of these when the model thinks aloud."""

    type: str | None = None
    text: str | None = None
    thinking: Any = None


class Function(msgspec.Struct):
    """`arguments` is JSON text; older vLLM and llama.cpp send the object itself."""

    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Turn(msgspec.Struct):
    """A `message`, or the `delta` of one."""

    content: str | list[Part | str] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    # Of any type: an answer is worth more than its reasoning.
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None


class ReplyChoice(msgspec.Struct):
    index: int | None = None
    message: Turn | None = None
    delta: Turn | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class Reply(msgspec.Struct):
    """A whole reply, or one chunk of a stream."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[ReplyChoice] | None = None
    service_tier: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    x_groq: _Groq | None = None


REPLY = msgspec.json.Decoder(Reply)
_USAGE = msgspec.json.Decoder(_Usage)


def decode(reply: HttpReply, dialect: Dialect = OPENAI) -> Completion:
    """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
    found = read_json(REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
    try:
        return _read(found, reply, dialect)
    except ProviderError as error:
        # Used and billed, whatever it came to.
        error.usage, error.service_tier = read_usage(found.usage), text_or_none(found.service_tier)
        raise


def _read(found: Reply, reply: HttpReply, dialect: Dialect) -> Completion:
    raise_reported(found, reply, dialect)
    choices = found.choices or []
    choice = first_choice(choices)
    if choice is None or (choice.message is None and not choice.finish_reason):
        raise BadReply("the reply holds no choices", status=reply.status, request_id=request_id(reply.headers))
    # Azure leaves the message out where its filter struck.
    message = choice.message or Turn()
    answer = _answer(choice)
    details = message.reasoning_details if isinstance(message.reasoning_details, list) else []
    reasoning = reasoning_of(message)
    return Completion(
        content=answer.content,
        finish_reason=answer.finish_reason,
        raw_finish_reason=choice.finish_reason,
        tool_calls=answer.tool_calls,
        refusal=answer.refusal,
        reasoning=reasoning or None,
        native=to_native(dialect, answer.content, answer.tool_calls, reasoning, details),
        logprobs=read_logprobs(choice.logprobs),
        choices=tuple(answer if other is choice else _answer(other) for other in sorted(choices, key=_place))
        if len(choices) > 1
        else (),
        usage=read_usage(found.usage) or read_usage(found.x_groq.usage if found.x_groq else msgspec.Raw()),
        service_tier=text_or_none(found.service_tier),
        served_model=found.model or None,
        response_id=found.id or None,
        request_id=request_id(reply.headers),
    )


def _place(choice: ReplyChoice) -> int:
    return choice.index or 0


def _answer(choice: ReplyChoice) -> Choice:
    message = choice.message or Turn()
    calls = tuple(to_tool_call(call) for call in message.tool_calls or () if call.function is not None)
    return Choice(
        content=text_of(message),
        finish_reason=finish_reason(choice.finish_reason, bool(calls)),
        tool_calls=calls,
        refusal=message.refusal or None,
    )


def raise_reported(found: Reply, reply: HttpReply, dialect: Dialect) -> None:
    """Raise the error that a 200 reports: at the top, in its choice (OpenRouter) or instead of both (older vLLM)."""
    if is_set(found.error) or found.object == "error":
        raise classify(reply, dialect)
    for choice in found.choices or ():
        if is_set(choice.error):
            body = b'{"error":' + bytes(choice.error) + b"}"
            raise classify(HttpReply(status=reply.status, headers=reply.headers, body=body), dialect)


def first_choice(choices: list[ReplyChoice]) -> ReplyChoice | None:
    """The one that is the answer when there are several."""
    return next((choice for choice in choices if not choice.index), choices[0] if choices else None)


def text_of(turn: Turn) -> str:
    """Its text, without thinking."""
    content = turn.content
    if isinstance(content, list):
        return "".join(_text_of_part(part) for part in content)
    return content or ""


def _text_of_part(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    return part.text or "" if part.type in ("text", None) else ""


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def reasoning_of(turn: Turn) -> str:
    """The text of its reasoning, from the first place that has some."""
    text = text_or_none(turn.reasoning_content) or text_or_none(turn.reasoning)
    if text is not None:
        return text
    if isinstance(turn.reasoning_details, list):
        return "".join(map(_text_of_detail, turn.reasoning_details))
    if isinstance(turn.content, list):
        return "".join(_text_of_thinking(part) for part in turn.content)
    return ""


def _text_of_detail(detail: Any) -> str:
    if not isinstance(detail, dict):
        return ""
    return text_or_none(detail.get("text")) or text_or_none(detail.get("summary")) or ""


def _text_of_thinking(part: Part | str) -> str:
    """Mistral's: `thinking` is a list of text parts."""
    if isinstance(part, str) or part.type != "thinking":
        return ""
    thoughts = part.thinking if isinstance(part.thinking, list) else [{"text": part.thinking}]
    return "".join(map(_text_of_detail, thoughts))


def to_native(
    dialect: Dialect, content: str, calls: tuple[ToolCall, ...], reasoning: str, details: list[Any]
) -> tuple[JSONObject, ...]:
    """The turn as the server wants it back, where our own spelling loses reasoning that it wants; else nothing."""
    match dialect.replays:
        case "reasoning_content" if reasoning:
            kept: Any = reasoning
        case "reasoning_details" if details:
            kept = details
        case _:
            return ()
    turn = assistant(None if calls and not content else content, calls, dialect)
    return (turn | {dialect.replays: kept},)


class _Candidate(msgspec.Struct):
    token: str
    logprob: float


class _Token(_Candidate):
    top_logprobs: list[_Candidate] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


_LOGPROBS = msgspec.json.Decoder(_Logprobs)


def read_logprobs(raw: msgspec.Raw) -> tuple[TokenLogprob, ...]:
    """The probabilities of the answer's tokens; none where they cannot be read, for an answer is worth more."""
    if not is_set(raw):
        return ()
    try:
        tokens: Iterable[_Token] = _LOGPROBS.decode(raw).content or ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return tuple(
        TokenLogprob(
            token=token.token,
            logprob=token.logprob,
            top=tuple((other.token, other.logprob) for other in token.top_logprobs or ()),
        )
        for token in tokens
    )


def arguments_text(arguments: Any) -> str:
    """Tool arguments, or a fragment of them, as JSON text."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return to_json_text(arguments)


def to_tool_call(call: Call) -> ToolCall:
    """A whole call. Raises BadReply when it names no function."""
    if call.function is None or not call.function.name:
        raise BadReply("the reply holds a tool call without a name")
    return ToolCall(
        id=call.id or new_tool_call_id(),
        name=call.function.name,
        arguments=arguments_text(call.function.arguments).strip() or "{}",
    )


def finish_reason(raw: str | None, has_calls: bool) -> FinishReason:
    """Ours for theirs. Compatible servers say "stop", or nothing, beside tool calls: the calls win."""
    reason = FINISH_REASONS.get(raw or "", "other")
    return "tool_calls" if has_calls and (reason == "stop" or not raw) else reason


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """The usage in disjoint counters; None where there is none or it cannot be read, for an answer is worth more.

    Cached, written and reasoning tokens are parts of the two totals at OpenAI. Elsewhere a part may exceed its total
    (Azure's grok, OpenRouter's error chunks) and is cut to it. The sum of all tells two exceptions: xAI counts
    reasoning beside the completion, Mistral's audio models count audio beside the prompt.
    """
    if not is_set(raw):
        return None
    try:
        usage = _USAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    return _disjoint(usage)


def _disjoint(usage: _Usage) -> Usage:
    details = usage.prompt_tokens_details or _InputDetails()
    output_details = usage.completion_tokens_details or _OutputDetails()
    prompt, completion, total = (
        count(number) for number in (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    )
    audio, reasoning = count(details.audio_tokens), count(output_details.reasoning_tokens)
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning
    if audio and total == prompt + completion + audio:
        prompt += audio
    reported = (
        details.cached_tokens,
        usage.prompt_cache_hit_tokens,
        usage.num_cached_tokens,
        usage.cached_tokens,
    )
    read = min(prompt, max(count(number) for number in reported))
    written = min(prompt - read, count(details.cache_write_tokens))
    reasoning = min(completion, reasoning)
    return Usage(
        input_tokens=prompt - read - written,
        cache_read_tokens=read,
        cache_write_other_tokens=written,
        output_tokens=completion - reasoning,
        reasoning_tokens=reasoning,
    )
