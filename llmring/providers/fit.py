"""Fit a request to one model: what the model or its format does not take is dropped or changed, with a note. Pure.

What the caller did not set stays unset. With `strict_params` nothing is dropped: the request is refused instead, and
the next model of the chain may take it as it is.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Effort, Message, Note
from llmring.codecs.capabilities import EFFORT_TOKENS, Capabilities, Control, Model
from llmring.errors import Unsupported
from llmring.refs import ModelRef

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
)
"""What models refuse that reason, all together."""

OPTIONAL = (
    *SAMPLING,
    "stop",
    "seed",
    "n",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "reasoning_tokens",
    "show_reasoning",
    "cache",
    "service_tier",
    "metadata",
    "user",
)
"""The fields that a request is the same request without. `response_format` is not: see structured.py."""

HINTS = frozenset({"cache", "user", "show_reasoning"})
"""Dropped without a note: the answer is the same."""

USUAL_TEMPERATURE = 1.0
"""What models that take no temperature have: leaving it out changes nothing."""

ROUNDED = 1.025
"""A model's bound may be a rounded one, by registries that write 4,000 for 4,096 and 64,000 for 65,536."""

EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

ABSENT = ChatRequest(model="", messages=())


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A request as one model takes it, and what was not done as asked."""

    request: ChatRequest
    notes: tuple[Note, ...] = ()


def fit(
    request: ChatRequest,
    ref: ModelRef,
    model: Model,
    parameters: frozenset[str],
    form: str,
    *,
    stream: bool = False,
) -> Fitted:
    """Fit `request` to `model`, which is `ref`, and to a codec's `parameters` and its format `form`.

    Raises Unsupported under `strict_params`, naming the first field that is not taken.
    """
    capabilities = model.capabilities
    changes: dict[str, Any] = {}
    notes = [*_reason(request, capabilities, parameters, changes)]
    # What is not asked for after all costs nothing.
    active = reasons(msgspec.structs.replace(request, **changes), capabilities)
    for name, why in _not_taken(request, capabilities, parameters, active):
        if _is_set(request, changes, name):
            changes[name] = getattr(ABSENT, name)
            if name not in HINTS and not (name == "temperature" and request.temperature == USUAL_TEMPERATURE):
                notes.append(Note(parameter=name, action="dropped", why=why))
    if stream and (request.n or 1) > 1 and "n" not in changes:
        changes["n"] = None
        notes.append(Note(parameter="n", action="dropped", why="a stream carries one answer"))
    notes += _bound(request, capabilities, changes, active)
    if request.strict_params and notes:
        raise Unsupported(f"{ref.model} takes no such request, and strict_params is set: {notes[0]}")
    messages = tuple(own(message, ref, form) for message in request.messages)
    return Fitted(request=msgspec.structs.replace(request, messages=messages, **changes), notes=tuple(notes))


def own(message: Message, ref: ModelRef, form: str) -> Message:
    """A turn without what another model spelled: signatures and encrypted reasoning hold for one model alone."""
    native = message.native
    if native is None or (native.origin == ref and native.format == form):
        return message
    return _in_our_spelling(message)


def _in_our_spelling(message: Message) -> Message:
    content = "" if message.content is None and not message.tool_calls else message.content
    return msgspec.structs.replace(message, native=None, content=content)


def without_native(request: ChatRequest) -> ChatRequest:
    """The request in our own spelling alone, where a provider does not take its own back."""
    messages = tuple(_in_our_spelling(m) if m.native is not None else m for m in request.messages)
    return msgspec.structs.replace(request, messages=messages)


def _is_set(request: ChatRequest, changes: Mapping[str, Any], name: str) -> bool:
    value = changes.get(name, getattr(request, name))
    return bool(value != getattr(ABSENT, name))


def _not_taken(
    request: ChatRequest, capabilities: Capabilities, parameters: frozenset[str], active: bool
) -> Iterator[tuple[str, str]]:
    """The fields that cannot be sent, and why."""
    no_sampling = capabilities.sampling == "refused" or (capabilities.sampling == "taken without reasoning" and active)
    for name in OPTIONAL:
        if getattr(request, name) == getattr(ABSENT, name):
            continue
        if name not in parameters:
            yield name, "the provider's format has no such parameter"
        elif name in capabilities.refused:
            yield name, "the model does not take it"
        elif name in SAMPLING and no_sampling:
            yield name, "the model does not take it" + (" while it reasons" if active else "")
        elif name == "show_reasoning" and capabilities.reasoning == "never":
            yield name, "the model does not reason"
        elif name in ("tool_choice", "parallel_tool_calls") and not request.tools:
            yield name, "the request has no tools"


# Reasoning.


def reasons(request: ChatRequest, capabilities: Capabilities) -> bool:
    """Whether the model will reason over this request, as far as is known."""
    asked, off = _asked(request)
    match capabilities.reasoning:
        case "always":
            return True
        case "default":
            return not off
        case "never":
            return False
        case "optional" | "unknown":
            return asked


def _asked(request: ChatRequest) -> tuple[bool, bool]:
    """Whether reasoning is asked for, and whether it is asked not to."""
    effort, tokens = request.reasoning_effort, request.reasoning_tokens
    asked = effort not in (None, "none") or bool(tokens)
    return asked, not asked and (effort == "none" or tokens == 0)


def _reason(
    request: ChatRequest, capabilities: Capabilities, parameters: frozenset[str], changes: dict[str, Any]
) -> Iterator[Note]:
    """Spell the reasoning that is asked for as the model takes it: by a word or by a budget."""
    asked, off = _asked(request)
    if not asked and not off:
        return
    changes |= {"reasoning_effort": None, "reasoning_tokens": None}
    if off and capabilities.reasoning in ("never", "optional") and "none" not in capabilities.efforts:
        return
    effort, tokens = request.reasoning_effort, request.reasoning_tokens
    taken = (parameters & _CONTROLS.keys()) - capabilities.refused
    controls = capabilities.controls & {_CONTROLS[name] for name in taken}
    if capabilities.reasoning == "never" or not controls:
        yield Note(parameter="reasoning_effort", action="dropped", why="the model takes no such parameter")
    elif "effort" in controls and (effort is not None or "budget" not in controls):
        yield from _effort(effort or effort_of(tokens or 0), capabilities, changes)
        if "budget" in controls:
            changes["reasoning_tokens"] = tokens
    else:
        yield from _budget(tokens if tokens is not None else EFFORT_TOKENS[effort or "none"], capabilities, changes)


_CONTROLS: Mapping[str, Control] = {"reasoning_effort": "effort", "reasoning_tokens": "budget"}


def _effort(wanted: Effort, capabilities: Capabilities, changes: dict[str, Any]) -> Iterator[Note]:
    taken = changes["reasoning_effort"] = nearest_effort(wanted, capabilities.efforts)
    if taken != wanted:
        yield Note(parameter="reasoning_effort", action="changed", why=f"the model takes {taken!r}, not {wanted!r}")


def _budget(tokens: int, capabilities: Capabilities, changes: dict[str, Any]) -> Iterator[Note]:
    least = capabilities.least_reasoning_tokens
    changes["reasoning_tokens"] = tokens
    if tokens < least and (tokens > 0 or capabilities.reasoning == "always"):
        changes["reasoning_tokens"] = least
        yield Note(parameter="reasoning_tokens", action="changed", why=f"the model takes at least {least}")


def effort_of(tokens: int) -> Effort:
    """The effort whose budget is nearest to `tokens` from above."""
    for effort in EFFORTS:
        if tokens <= EFFORT_TOKENS[effort]:
            return effort
    return "max"


def nearest_effort(wanted: Effort, taken: Sequence[Effort]) -> Effort:
    """`wanted`, or the nearest that is taken; of two equally near, the lesser. Never "none" for more than none."""
    candidates: list[Effort] = [effort for effort in taken if effort != "none" or wanted == "none"]
    if wanted in candidates or not candidates:
        return wanted
    place = EFFORTS.index(wanted)

    def distance(effort: Effort) -> tuple[int, int]:
        return abs(EFFORTS.index(effort) - place), EFFORTS.index(effort)

    return min(candidates, key=distance)


def _bound(request: ChatRequest, capabilities: Capabilities, changes: dict[str, Any], active: bool) -> Iterator[Note]:
    """`max_tokens` is of the answer: what the model may use for reasoning goes on top, up to what it can give."""
    bound = request.max_tokens
    if bound is None:
        return
    most = _given(bound, capabilities)
    if most is not None and bound > most:
        yield Note(parameter="max_tokens", action="changed", why=f"the model gives at most {most} tokens")
    if active:
        bound += capabilities.allowance(request.reasoning_effort, request.reasoning_tokens)
    changes["max_tokens"] = bound if most is None else min(bound, most)


def _given(bound: int, capabilities: Capabilities) -> int | None:
    """The most that a model may be asked to give where the caller allows `bound`; None where nobody knows."""
    most = capabilities.max_output_tokens
    return most if most is None or bound > most * ROUNDED else max(most, bound)


def most_output_tokens(request: ChatRequest, capabilities: Capabilities) -> int | None:
    """The longest answer that `request` may have from a model, reasoning included; None where nothing bounds it."""
    bound = request.max_tokens
    if bound is None:
        listed = capabilities.max_output_tokens
        return None if listed is None else math.floor(listed * ROUNDED)
    most = _given(bound, capabilities)
    # That it should not reason cannot be said to every model that does so by itself.
    if reasons(request, capabilities) or capabilities.reasoning == "default":
        bound += capabilities.allowance(request.reasoning_effort, request.reasoning_tokens)
    return bound if most is None else min(bound, most)


# What a provider's refusal teaches.

_FIELDS: Mapping[str, str] = {
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
    "random_seed": "seed",
    "candidate_count": "n",
    "reasoning": "reasoning_effort",
    "effort": "reasoning_effort",
    "think": "reasoning_effort",
    "thinking": "reasoning_tokens",
    "thinking_level": "reasoning_effort",
    "thinking_config": "reasoning_effort",
    "budget_tokens": "reasoning_tokens",
    "thinking_budget": "reasoning_tokens",
    "include_thoughts": "show_reasoning",
    "summary": "show_reasoning",
    "display": "show_reasoning",
    "response_logprobs": "logprobs",
    "response_json_schema": "response_format",
    "response_schema": "response_format",
    "response_mime_type": "response_format",
    "output_format": "response_format",
    "format": "response_format",
    "json_schema": "response_format",
    "prompt_cache_key": "cache",
    "cache_control": "cache",
    "cached_content": "cache",
    "keep_alive": "cache",
    "safety_identifier": "user",
    "user_id": "user",
    "disable_parallel_tool_use": "parallel_tool_calls",
}
"""Names on the wire, in snake case, and the fields of ChatRequest behind them."""

_AS_THEY_ARE = frozenset(OPTIONAL) | {
    "response_format",
    "native",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
    "include",
}


def field_of(parameter: str) -> str | None:
    """What a provider's name of a parameter means in a request; None when nothing can be left out for it.

    The last known step of a path counts: "reasoning.effort", "generationConfig.topK".
    """
    for step in reversed(parameter.split(".")):
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in step).strip("_")
        field = _FIELDS.get(name, name if name in _AS_THEY_ARE else None)
        if field is not None:
            return field
    return None


def can_go_without(request: ChatRequest, name: str) -> bool:
    """Whether leaving `name` out changes what is sent. `name` is a field, or one of the wire names above."""
    if name in ("max_tokens", "max_completion_tokens"):
        return request.max_tokens is not None
    if name == "native":
        return any(message.native is not None for message in request.messages)
    if name in ("stream_options", "include"):
        return True
    return bool(getattr(request, name) != getattr(ABSENT, name)) or (
        name == "reasoning_tokens" and request.reasoning_effort is not None
    )
