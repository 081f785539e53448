"""Answers in Gemini's generateContent format, whole or as the pieces of a stream. Pure.

A piece of a stream has the form of a whole reply. Every field may be absent or null: counts of 0 are left out, a bound
that is spent on thinking leaves no parts, a blocked prompt no candidates. Parts of unknown kinds are kept for the
replay, and otherwise ignored.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import TypeVar

import msgspec

from llmring.chat import Choice, Completion, FinishReason, JSONObject, TokenLogprob, ToolCall
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.google.faults import classify
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id
from llmring.errors import BadReply, ProviderError
from llmring.usage import Usage

T = TypeVar("T")

# https://ai.google.dev/api/generate-content#FinishReason, and of google-genai 3.4: CONTINUATION, MODEL_ARMOR.
FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "CONTINUATION": "pause",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
    "NO_IMAGE": "error",
    "OTHER": "error",
}

_Number = int | float | None


class UsageIn(msgspec.Struct, rename="camel"):
    """Usage as it is sent; later pieces of a stream count all before them, but may leave fields out."""

    prompt_token_count: _Number = None
    tool_use_prompt_token_count: _Number = None
    cached_content_token_count: _Number = None
    candidates_token_count: _Number = None
    thoughts_token_count: _Number = None
    service_tier: str | None = None

    def updated(self, older: "UsageIn | None") -> "UsageIn":
        """This, with what only `older` says."""
        if older is not None:
            for name in self.__struct_fields__:
                if getattr(self, name) is None:
                    setattr(self, name, getattr(older, name))
        return self


class _FunctionCall(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    """Parts are kept as they came, for the replay."""

    parts: list[msgspec.Raw] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    logprobs_result: msgspec.Raw = msgspec.Raw()


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class Reply(msgspec.Struct, rename="camel"):
    """A whole reply, or one piece of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Token(msgspec.Struct, rename="camel"):
    token: str | None = None
    log_probability: float | None = None


class _Step(msgspec.Struct):
    candidates: list[_Token] | None = None


class _Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Step] | None = None


REPLY = msgspec.json.Decoder(Reply)
_PART = msgspec.json.Decoder(_Part | None)
_ITEM = msgspec.json.Decoder(JSONObject)
_USAGE = msgspec.json.Decoder(UsageIn)
_LOGPROBS = msgspec.json.Decoder(_Logprobs)


def decode(reply: HttpReply) -> Completion:
    """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
    found = read_json(REPLY, reply.body, status=reply.status, request_id=request_id(reply.headers))
    usage = read_usage(found.usage_metadata)
    try:
        return _read(found, usage, reply)
    except ProviderError as error:
        # Used and billed, whatever it came to.
        if usage is not None:
            error.usage, error.service_tier = to_usage(usage), usage.service_tier
        raise


def _read(found: Reply, usage: UsageIn | None, reply: HttpReply) -> Completion:
    if is_set(found.error):
        raise classify(reply)
    candidates = sorted(found.candidates or (), key=lambda candidate: candidate.index or 0)
    first = candidates[0] if candidates else Candidate()
    ending = Ending(first.finish_reason, first.finish_message, found.prompt_feedback)
    if not candidates and not ending.is_told:
        raise BadReply("the reply holds no candidates", status=reply.status, request_id=request_id(reply.headers))
    turn = Turn()
    turn.add(first)
    completion = to_completion(turn, turn.calls(), ending, usage, reply.headers)
    return msgspec.structs.replace(
        completion,
        native=turn.native(),
        logprobs=read_logprobs(first.logprobs_result),
        choices=tuple(map(_choice, candidates)) if len(candidates) > 1 else (),
        served_model=found.model_version or None,
        response_id=found.response_id or None,
    )


def _choice(candidate: Candidate) -> Choice:
    turn = Turn()
    turn.add(candidate)
    calls = turn.calls()
    ending = Ending(candidate.finish_reason, candidate.finish_message)
    return Choice(
        content=turn.content(),
        finish_reason=ending.reason(bool(calls)),
        tool_calls=calls,
        refusal=ending.refusal,
    )


class Ending(msgspec.Struct, frozen=True):
    """Why an answer ended: by its candidate's word, or because the prompt was blocked, for which there is none."""

    finish: str | None = None
    message: str | None = None
    feedback: Feedback | None = None

    @property
    def blocked(self) -> str | None:
        """Why the prompt was blocked, in the provider's word."""
        return (self.feedback.block_reason or None) if self.feedback is not None and not self.finish else None

    @property
    def is_told(self) -> bool:
        return bool(self.finish or self.blocked)

    @property
    def refusal(self) -> str | None:
        if self.feedback is not None and self.blocked:
            return self.feedback.block_reason_message or f"the prompt was blocked: {self.blocked}"
        return (self.message or None) if FINISH_REASONS.get(self.finish or "") == "content_filter" else None

    def reason(self, has_calls: bool) -> FinishReason:
        """Ours for theirs. An answer of function calls ends in STOP, too."""
        if self.blocked:
            return "content_filter"
        reason = FINISH_REASONS.get(self.finish or "", "other")
        return "tool_calls" if has_calls and (reason == "stop" or not self.finish) else reason


class Turn:
    """What the model says, part by part."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_FunctionCall] = []
        self._parts: list[bytes] = []
        self._is_native = False

    def add(self, candidate: Candidate) -> StreamDelta | None:
        """Add a candidate's parts; returns the text that they bring. Raises BadReply."""
        if candidate.content is None or not candidate.content.parts:
            return None
        contents, reasonings = len(self._content), len(self._reasoning)
        for raw in candidate.content.parts:
            self._add_part(raw)
        content, reasoning = "".join(self._content[contents:]), "".join(self._reasoning[reasonings:])
        return StreamDelta(content=content, reasoning=reasoning) if content or reasoning else None

    def _add_part(self, raw: msgspec.Raw) -> None:
        part = read_json(_PART, raw)
        if part is None:
            return
        if part.function_call is not None:
            self._calls.append(part.function_call)
        elif part.text:
            (self._reasoning if part.thought else self._content).append(part.text)
        elif part.text is not None and not part.thought_signature:
            # Streams like to end in an empty text; it says nothing, and is refused when it is sent back.
            return
        is_known = part.text is not None or part.function_call is not None
        self._is_native = self._is_native or not is_known or bool(part.thought or part.thought_signature)
        self._parts.append(bytes(raw))

    def content(self) -> str:
        return "".join(self._content)

    def reasoning(self) -> str | None:
        return "".join(self._reasoning) or None

    def native(self) -> tuple[JSONObject, ...]:
        """All parts as they came, if there is one that our types cannot say. Raises BadReply."""
        return tuple(read_json(_ITEM, part) for part in self._parts) if self._is_native else ()

    def calls(self) -> tuple[ToolCall, ...]:
        """The function calls. Raises BadReply when one names no function."""
        if not all(call.name for call in self._calls):
            raise BadReply("the reply holds a function call without a name")
        return self.named_calls()

    def named_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=call.id or new_tool_call_id(), name=call.name, arguments=_arguments(call))
            for call in self._calls
            if call.name
        )

    def characters(self) -> int:
        """Those of the answer, without its thoughts."""
        return sum(map(len, self._content)) + sum(len(bytes(call.args)) for call in self._calls)


def _arguments(call: _FunctionCall) -> str:
    """As JSON text without the line breaks and blanks that Gemini lays its replies out with."""
    if not is_set(call.args):
        return "{}"
    return msgspec.json.format(bytes(call.args), indent=-1).decode("utf-8", "replace")


def to_completion(
    turn: Turn, calls: tuple[ToolCall, ...], ending: Ending, usage: UsageIn | None, headers: Mapping[str, str]
) -> Completion:
    """An answer without what is told once for all of it."""
    return Completion(
        content=turn.content(),
        finish_reason=ending.reason(bool(calls)),
        raw_finish_reason=ending.finish or ending.blocked,
        tool_calls=calls,
        refusal=ending.refusal,
        reasoning=turn.reasoning(),
        usage=to_usage(usage) if usage is not None else None,
        service_tier=(usage.service_tier if usage is not None else None) or headers.get("x-gemini-service-tier"),
        request_id=request_id(headers),
    )


def read_logprobs(raw: msgspec.Raw) -> tuple[TokenLogprob, ...]:
    """The tokens that were chosen, each with the likeliest ones at its place. None when they cannot be read."""
    found = _lenient(_LOGPROBS, raw)
    if found is None:
        return ()
    steps = [step.candidates or [] for step in found.top_candidates or ()]
    return tuple(
        TokenLogprob(token=chosen.token or "", logprob=chosen.log_probability or 0.0, top=tuple(_pairs(top)))
        for chosen, top in zip_longest(found.chosen_candidates or (), steps)
        if chosen is not None
    )


def _pairs(tokens: Iterable[_Token] | None) -> Iterator[tuple[str, float]]:
    return ((token.token or "", token.log_probability or 0.0) for token in tokens or ())


def read_usage(raw: msgspec.Raw) -> UsageIn | None:
    """Usage as sent; None where there is none or it cannot be read."""
    return _lenient(_USAGE, raw)


def _lenient(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    """What stands beside an answer and cannot be read counts as not told, for the answer is worth more."""
    if not is_set(raw):
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def to_usage(usage: UsageIn) -> Usage | None:
    """The usage in disjoint counters; None when no count is told (Vertex tells its kind of traffic alone).

    What was cached is part of the prompt; the thoughts stand beside the candidates, and what tools at Google added to
    the prompt stands beside it.
    """
    told = (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    if all(number is None for number in told):
        return None
    prompt = count(usage.prompt_token_count) + count(usage.tool_use_prompt_token_count)
    read = min(prompt, count(usage.cached_content_token_count))
    return Usage(
        input_tokens=prompt - read,
        cache_read_tokens=read,
        output_tokens=count(usage.candidates_token_count),
        reasoning_tokens=count(usage.thoughts_token_count),
    )
