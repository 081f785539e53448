"""Gemini's generateContent format: the codec.

Sans-IO: requests are spelled here, their messages in `parts`; replies are read in `reply`, streams in
`stream`, errors are judged in `faults`. Format: https://ai.google.dev/api/generate-content. The version
is v1beta, because names such as gemini-flash-latest exist nowhere else.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.chat import ChatRequest, Completion, Effort, JSONMode, JSONObject, JSONSchema, NamedTool, Note, Tool
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpCall, HttpReply, LimitUpdate
from llmring.codecs.google import faults as google_faults
from llmring.codecs.google import reply as google_reply
from llmring.codecs.google.parts import FORMAT, is_gemini_3, system_instruction, to_contents
from llmring.codecs.google.stream import GoogleAnswer
from llmring.codecs.replies import request_id, to_call
from llmring.codecs.schemas.dialects import fit_google
from llmring.codecs.streams import StreamReader
from llmring.errors import ProviderError, Unsupported

PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "n",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "reasoning_tokens",
        "show_reasoning",
        "cache",
        "service_tier",
    }
)

_MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

_LEVELS: Mapping[Effort, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_HIGHEST = "XHIGH"


class GoogleCodec(msgspec.Struct, frozen=True):
    """The codec. The base URL is the host."""

    @property
    def format(self) -> str:
        return FORMAT

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("x-goog-api-key", key),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        notes: list[Note] = []
        contents = to_contents(request.messages, model.name)
        if not contents:
            raise Unsupported("Gemini needs a message that is not empty; the request holds none", parameter="messages")
        cached = request.cache.content if request.cache is not None else None
        optional = {
            **(_prefix(request, model.name, notes) if cached is None else _without_prefix(request, notes)),
            "generationConfig": _generation_config(request, notes) or None,
            "serviceTier": request.service_tier,
            "cachedContent": cached,
        }
        body = {"contents": contents} | _set(optional)
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return to_call(model_path(model.name, method), _merged(body, request.extra_params), notes=tuple(notes))

    def decode(self, reply: HttpReply) -> Completion:
        return google_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return google_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        """None: Gemini tells of its limits only when it refuses."""
        return ()

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return google_reply.decode(HttpReply(status=200, headers=headers, body=body))

        return StreamReader(GoogleAnswer(headers), read_whole, request_id(headers))


def model_path(model: str, method: str) -> str:
    """Where a model's method is called."""
    return f"/v1beta/models/{quote(model.removeprefix('models/'), safe='')}:{method}"


def _set(optional: Mapping[str, Any]) -> JSONObject:
    return {name: value for name, value in optional.items() if value is not None}


def _merged(body: JSONObject, extra: JSONObject) -> JSONObject:
    """`extra` on top; where both hold an object (generationConfig), its fields on top of ours."""
    both = {
        name: body[name] | value
        for name, value in extra.items()
        if isinstance(value, dict) and isinstance(body.get(name), dict)
    }
    return body | extra | both


# What stands before the conversation.


def _prefix(request: ChatRequest, model: str, notes: list[Note]) -> JSONObject:
    return {
        "systemInstruction": system_instruction(request.messages),
        "tools": [{"functionDeclarations": [_tool(tool, notes) for tool in request.tools]}] if request.tools else None,
        "toolConfig": _tool_config(request, model, notes),
    }


def _without_prefix(request: ChatRequest, notes: list[Note]) -> JSONObject:
    """Gemini refuses a request that has any of it beside cached content, which holds it already."""
    why = "the cached content stands for it"
    if system_instruction(request.messages) is not None:
        notes.append(Note(parameter="messages", action="changed", why=f"no system message is sent: {why}"))
    if request.tools:
        notes.append(Note(parameter="tools", action="dropped", why=why))
    if request.tool_choice is not None:
        notes.append(Note(parameter="tool_choice", action="dropped", why=why))
    return {}


def _tool(tool: Tool, notes: list[Note]) -> JSONObject:
    schema = None
    if tool.parameters is not None:
        fitted = fit_google(tool.parameters)
        schema = fitted.schema
        notes += (Note(parameter="tools", action="changed", why=f"{tool.name}: {why}") for why in fitted.dropped)
    return {"name": tool.name} | _set({"description": tool.description, "parametersJsonSchema": schema})


def _tool_config(request: ChatRequest, model: str, notes: list[Note]) -> JSONObject | None:
    """How functions are called. Forced calls always fit their schemas; others do so in the mode VALIDATED, which is
    AUTO otherwise, and which Gemini 2 does not have everywhere."""
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice.name]}}
    mode = _MODES[choice] if choice is not None else None
    if mode in (None, "AUTO") and any(tool.strict for tool in request.tools):
        if is_gemini_3(model):
            mode = "VALIDATED"
        else:
            notes.append(Note(parameter="tools", action="changed", why="this model does not enforce `strict`"))
    return {"functionCallingConfig": {"mode": mode}} if mode is not None else None


# How to answer.


def _generation_config(request: ChatRequest, notes: list[Note]) -> JSONObject:
    return _set(
        {
            "temperature": request.temperature,
            "topP": request.top_p,
            "topK": request.top_k,
            "maxOutputTokens": request.max_tokens,
            "stopSequences": list(request.stop) or None,
            "seed": request.seed,
            "presencePenalty": request.presence_penalty,
            "frequencyPenalty": request.frequency_penalty,
            "responseLogprobs": request.logprobs,
            # Refused without the other.
            "logprobs": request.top_logprobs if request.logprobs else None,
            "candidateCount": request.n,
            **_format(request, notes),
            "thinkingConfig": _set(dict(_thinking(request, notes))) or None,
        }
    )


def _format(request: ChatRequest, notes: list[Note]) -> JSONObject:
    match request.response_format:
        case JSONSchema(schema=schema):
            fitted = fit_google(schema)
            notes += (Note(parameter="response_format", action="changed", why=why) for why in fitted.dropped)
            return {"responseMimeType": "application/json", "responseJsonSchema": fitted.schema}
        case JSONMode():
            return {"responseMimeType": "application/json"}
        case None:
            return {}


def _thinking(request: ChatRequest, notes: list[Note]) -> Iterator[tuple[str, Any]]:
    """A level or a budget, never both, which Gemini refuses; nor thoughts to show when there are none."""
    effort, tokens = request.reasoning_effort, request.reasoning_tokens
    off = effort == "none" or (effort is None and tokens == 0)
    if off:
        yield "thinkingBudget", 0
    elif effort is not None:
        yield "thinkingLevel", _LEVELS[effort]
        if effort == "max":
            note = Note(parameter="reasoning_effort", action="changed", why=f"Gemini's highest level is {_HIGHEST}")
            notes.append(note)
        if tokens is not None:
            notes.append(Note(parameter="reasoning_tokens", action="dropped", why="Gemini takes a level or a budget"))
    else:
        yield "thinkingBudget", tokens
    if request.show_reasoning and not off:
        yield "includeThoughts", True
