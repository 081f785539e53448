"""OpenAI's Responses format: the codec. The base URL ends in the version (`/v1`).

Stateless: nothing is kept at the provider (`store: false`), so what a model needs to go on is asked for encrypted and
given back. Sans-IO: input items are spelled in `responses_items`, replies are read in `responses_reply`, streams in
`responses_stream`; errors are those of chat completions. Format:
https://platform.openai.com/docs/api-reference/responses.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, JSONMode, JSONObject, JSONSchema, NamedTool, Note, Tool
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpCall, HttpReply, LimitUpdate
from llmring.codecs.openai import faults as openai_faults
from llmring.codecs.openai import limits as openai_limits
from llmring.codecs.openai import responses_reply
from llmring.codecs.openai.responses_items import FORMAT, spell
from llmring.codecs.openai.responses_stream import ResponsesAnswer
from llmring.codecs.replies import request_id, to_call
from llmring.codecs.schemas.dialects import fit_openai
from llmring.codecs.streams import StreamReader
from llmring.errors import ProviderError

PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "logprobs",
        "top_logprobs",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "show_reasoning",
        "cache",
        "service_tier",
        "metadata",
        "user",
    }
)

LEAST_OUTPUT_TOKENS = 16
"""The least `max_output_tokens` that OpenAI takes."""

_NO_PARAMETERS: JSONObject = {"type": "object", "properties": {}}


class ResponsesCodec(msgspec.Struct, frozen=True):
    """The codec."""

    @property
    def format(self) -> str:
        return FORMAT

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {key}"),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        notes: list[Note] = []
        body: dict[str, Any] = {"model": model.name, "input": spell(request.messages), "store": False}
        optional = {
            "include": _include(request, model) or None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_output_tokens": _bound(request, notes),
            "top_logprobs": request.top_logprobs,
            "tools": [_tool(tool, notes) for tool in request.tools] or None,
            "tool_choice": _tool_choice(request),
            "parallel_tool_calls": request.parallel_tool_calls,
            "reasoning": _reasoning(request) or None,
            "text": _text(request, notes),
            "prompt_cache_key": request.cache.key if request.cache is not None else None,
            "safety_identifier": request.user,
            "metadata": request.metadata or None,
            "service_tier": request.service_tier,
            "stream": True if stream else None,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        return to_call("/responses", _merged(body, request.extra_params), notes=tuple(notes))

    def decode(self, reply: HttpReply) -> Completion:
        return responses_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return openai_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        return openai_limits.limits(headers)

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return responses_reply.decode(HttpReply(status=200, headers=headers, body=body))

        return StreamReader(ResponsesAnswer(headers), read_whole, request_id(headers))


def _include(request: ChatRequest, model: Model) -> list[str]:
    """What is asked for beside the answer: the encrypted reasoning, without which no tool's result can be answered."""
    capabilities = model.capabilities
    wanted = []
    if capabilities.reasoning != "never" and "include" not in capabilities.refused:
        wanted.append("reasoning.encrypted_content")
    if request.logprobs:
        wanted.append("message.output_text.logprobs")
    return wanted


def _bound(request: ChatRequest, notes: list[Note]) -> int | None:
    bound = request.max_tokens
    if bound is None or bound >= LEAST_OUTPUT_TOKENS:
        return bound
    why = f"the provider takes at least {LEAST_OUTPUT_TOKENS}"
    notes.append(Note(parameter="max_tokens", action="changed", why=why))
    return LEAST_OUTPUT_TOKENS


def _tool(tool: Tool, notes: list[Note]) -> JSONObject:
    """A tool; `strict` is always said, because this format takes it for true."""
    schema, strict = tool.parameters or _NO_PARAMETERS, False
    if tool.strict:
        fitted = fit_openai(schema)
        schema, strict = fitted.schema, fitted.strict
        notes += [Note(parameter="tools", action="changed", why=f"{tool.name}: {what}") for what in fitted.dropped]
    spelled: JSONObject = {"type": "function", "name": tool.name, "parameters": schema, "strict": strict}
    return spelled if tool.description is None else spelled | {"description": tool.description}


def _tool_choice(request: ChatRequest) -> object:
    choice = request.tool_choice
    return {"type": "function", "name": choice.name} if isinstance(choice, NamedTool) else choice


def _reasoning(request: ChatRequest) -> JSONObject:
    spelled: JSONObject = {}
    if request.reasoning_effort is not None:
        spelled["effort"] = request.reasoning_effort
    if request.show_reasoning:
        spelled["summary"] = "auto"
    return spelled


def _text(request: ChatRequest, notes: list[Note]) -> JSONObject | None:
    match request.response_format:
        case None:
            return None
        case JSONMode():
            return {"format": {"type": "json_object"}}
        case JSONSchema() as wanted:
            return {"format": _schema(wanted, notes)}


def _schema(wanted: JSONSchema, notes: list[Note]) -> JSONObject:
    schema, strict = wanted.schema, wanted.strict
    if strict:
        fitted = fit_openai(schema)
        schema, strict = fitted.schema, fitted.strict
        notes += [Note(parameter="response_format", action="changed", why=what) for what in fitted.dropped]
    spelled: JSONObject = {"type": "json_schema", "name": wanted.name, "schema": schema, "strict": strict}
    return spelled if wanted.description is None else spelled | {"description": wanted.description}


def _merged(body: dict[str, Any], extra: JSONObject) -> dict[str, Any]:
    """`extra` over `body`; where both hold an object, field by field."""
    nested = {
        name: body[name] | value
        for name, value in extra.items()
        if isinstance(value, dict) and isinstance(body.get(name), dict)
    }
    return body | extra | nested
