"""Ollama's own chat format: the codec.

Sans-IO: requests are spelled here, their messages in `messages`; replies are read in `reply`, streams in
`stream`, errors are judged in `faults`. Format: https://docs.ollama.com/api/chat. A server loads a model
on its first call, which can take minutes before the first byte.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, Effort, JSONMode, JSONObject, JSONSchema, Note, Tool
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpCall, HttpReply, LimitUpdate
from llmring.codecs.ollama import faults as ollama_faults
from llmring.codecs.ollama import reply as ollama_reply
from llmring.codecs.ollama.messages import FORMAT, to_messages
from llmring.codecs.ollama.stream import OllamaAnswer
from llmring.codecs.replies import request_id, to_call
from llmring.codecs.schemas.dialects import fit_ollama
from llmring.codecs.streams import LineReader
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
        "tools",
        "response_format",
        "reasoning_effort",
        "show_reasoning",
        "cache",
    }
)

_THINK: Mapping[Effort, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "max",
}

_NO_PARAMETERS: JSONObject = {"type": "object", "properties": {}}


class OllamaCodec(msgspec.Struct, frozen=True):
    """The codec. The base URL is the host.

    Of `extra_params`, `options` are merged into ours ({"options": {"num_ctx": 32768}}); all others go to the top.
    """

    @property
    def format(self) -> str:
        return FORMAT

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        """For the cloud; a server on this machine ignores it."""
        return (("authorization", f"Bearer {key}"),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        messages = to_messages(request.messages)
        if not messages:
            raise Unsupported("Ollama answers only to messages; the request holds none", parameter="messages")
        notes: list[Note] = []
        body = {
            "model": model.name,
            "messages": messages,
            "stream": stream,
            # A prompt that is too long would lose its beginning without a word.
            "truncate": False,
        } | _set(
            {
                "tools": [_tool(tool, notes) for tool in request.tools] or None,
                "format": _format(request, notes),
                "think": _think(request, model, notes),
                "logprobs": request.logprobs,
                "top_logprobs": request.top_logprobs,
                "keep_alive": request.cache.ttl if request.cache is not None else None,
                "options": _options(request) or None,
            }
        )
        return to_call("/api/chat", _merged(body, request.extra_params), notes=tuple(notes))

    def decode(self, reply: HttpReply) -> Completion:
        return ollama_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return ollama_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        """None: neither a server nor the cloud tells of its limits."""
        return ()

    def open_stream(self, headers: Mapping[str, str]) -> LineReader:
        return LineReader(OllamaAnswer(headers), request_id(headers))


def _set(optional: Mapping[str, Any]) -> JSONObject:
    return {name: value for name, value in optional.items() if value is not None}


def _merged(body: JSONObject, extra: JSONObject) -> JSONObject:
    """`extra` on top; where both hold an object (options), its fields on top of ours."""
    both = {
        name: body[name] | value
        for name, value in extra.items()
        if isinstance(value, dict) and isinstance(body.get(name), dict)
    }
    return body | extra | both


def _options(request: ChatRequest) -> JSONObject:
    return _set(
        {
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        }
    )


def _tool(tool: Tool, notes: list[Note]) -> JSONObject:
    """A function. The server shows the model the schema, without its references, and enforces none of it."""
    if tool.strict:
        notes.append(Note(parameter="tools", action="changed", why=f"{tool.name}: Ollama does not enforce `strict`"))
    parameters = fit_ollama(tool.parameters).schema if tool.parameters is not None else _NO_PARAMETERS
    function = {"name": tool.name} | _set({"description": tool.description, "parameters": parameters})
    return {"type": "function", "function": function}


def _format(request: ChatRequest, notes: list[Note]) -> str | JSONObject | None:
    match request.response_format:
        case JSONSchema(schema=schema):
            fitted = fit_ollama(schema)
            notes += (Note(parameter="response_format", action="changed", why=why) for why in fitted.dropped)
            return fitted.schema
        case JSONMode():
            return "json"
        case None:
            return None


def _think(request: ChatRequest, model: Model, notes: list[Note]) -> bool | str | None:
    """How much to think. Its text comes in any case, so to show it nothing is sent where a model may not think at all:
    one that thinks does so unless it is told not to, and one that cannot refuses `true` (server/routes.go, 2026-08).
    """
    effort = request.reasoning_effort
    if effort is None:
        known = model.capabilities.reasoning not in ("unknown", "never")
        return True if request.show_reasoning and known else None
    word = _THINK[effort]
    if word not in (False, effort):
        notes.append(Note(parameter="reasoning_effort", action="changed", why=f"Ollama takes {word!r}, not {effort!r}"))
    return word
