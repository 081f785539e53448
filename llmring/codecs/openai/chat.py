"""OpenAI's chat completions format: the codec of OpenAI, and of every server that speaks it at another base URL.

Sans-IO: requests are spelled here and, message by message, in `messages`; replies are read in `reply`,
streams in `stream`, errors are judged in `faults`; how servers differ is in `dialect`. Nothing is
sent that the caller did not set, because nearly every optional field is refused by some model. Format:
https://platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.chat import ChatRequest, Completion, JSONMode, JSONObject, JSONSchema, NamedTool, Note, Tool
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import HttpCall, HttpReply, LimitUpdate
from llmring.codecs.openai import faults as openai_faults
from llmring.codecs.openai import limits as openai_limits
from llmring.codecs.openai import reply as openai_reply
from llmring.codecs.openai.dialect import FORMAT, OPENAI, Dialect, MaxTokensField
from llmring.codecs.openai.messages import cache_control, spell
from llmring.codecs.openai.stream import OpenAIAnswer
from llmring.codecs.replies import request_id, to_call
from llmring.codecs.schemas.dialects import FittedSchema, fit_openai
from llmring.codecs.streams import StreamReader
from llmring.errors import ProviderError


class OpenAICodec(msgspec.Struct, frozen=True):
    """The codec. The base URL ends in the version (`/v1`), but for Azure with an `api_version`."""

    dialect: Dialect = OPENAI

    @property
    def format(self) -> str:
        return FORMAT

    @property
    def parameters(self) -> frozenset[str]:
        return self.dialect.parameters

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("api-key", key),) if self.dialect.auth == "api-key" else (("authorization", f"Bearer {key}"),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        messages = spell(request.messages, self.dialect)
        notes = [*messages.notes]
        body: dict[str, Any] = {"model": model.name, "messages": messages.messages}
        optional = (
            _settings(request, model, self.dialect)
            | _tools(request, self.dialect, notes)
            | {"response_format": _response_format(request, self.dialect, notes)}
            | _REASONING[self.dialect.reasoning](request)
            | _caching(request, self.dialect)
            | {"metadata": _metadata(request, self.dialect, notes)}
            | _streaming(model, self.dialect, stream=stream)
        )
        body |= {name: value for name, value in optional.items() if value is not None}
        return to_call(_path(self.dialect, model), _merged(body, request.extra_params), notes=tuple(notes))

    def decode(self, reply: HttpReply) -> Completion:
        return openai_reply.decode(reply, self.dialect)

    def classify(self, reply: HttpReply) -> ProviderError:
        return openai_faults.classify(reply, self.dialect)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        return openai_limits.limits(headers, self.dialect)

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return openai_reply.decode(HttpReply(status=200, headers=headers, body=body), self.dialect)

        return StreamReader(OpenAIAnswer(headers, self.dialect), read_whole, request_id(headers))


def _path(dialect: Dialect, model: Model) -> str:
    if dialect.api_version is None:
        return "/chat/completions"
    version = quote(dialect.api_version, safe="")
    return f"/openai/deployments/{quote(model.name, safe='')}/chat/completions?api-version={version}"


def _merged(body: dict[str, Any], extra: JSONObject) -> dict[str, Any]:
    """`extra` over `body`; where both hold an object, field by field."""
    nested = {
        name: body[name] | value
        for name, value in extra.items()
        if isinstance(value, dict) and isinstance(body.get(name), dict)
    }
    return body | extra | nested


def _settings(request: ChatRequest, model: Model, dialect: Dialect) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": list(request.stop) or None,
        dialect.seed_field: request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "n": request.n,
        "service_tier": request.service_tier,
        dialect.user_field: request.user,
    }
    field = _max_tokens_field(model, dialect)
    return settings if field is None else settings | {field: request.max_tokens}


_OTHER_FIELD: Mapping[MaxTokensField, MaxTokensField] = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": "max_completion_tokens",
}


def _max_tokens_field(model: Model, dialect: Dialect) -> MaxTokensField | None:
    """OpenAI's reasoning models refuse `max_tokens`; older compatible servers know nothing else."""
    field, refused = dialect.max_tokens_field, model.capabilities.refused
    if field not in refused:
        return field
    return _OTHER_FIELD[field] if _OTHER_FIELD[field] not in refused else None


def _streaming(model: Model, dialect: Dialect, *, stream: bool) -> dict[str, Any]:
    if not stream:
        return {}
    if not dialect.stream_options or "stream_options" in model.capabilities.refused:
        return {"stream": True}
    # Without it a stream reports no usage.
    return {"stream": True, "stream_options": {"include_usage": True}}


# Tools and response formats.


def _tools(request: ChatRequest, dialect: Dialect, notes: list[Note]) -> dict[str, Any]:
    tools, choice = request.tools, request.tool_choice
    chosen: object = dialect.required_word if choice == "required" else choice
    if isinstance(choice, NamedTool):
        chosen = {"type": "function", "function": {"name": choice.name}}
        if not dialect.named_tools:
            chosen = "required"
            tools = tuple(tool for tool in tools if tool.name == choice.name) or tools
    return {
        "tools": [_tool(tool, dialect, notes) for tool in tools] or None,
        "tool_choice": chosen,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _tool(tool: Tool, dialect: Dialect, notes: list[Note]) -> JSONObject:
    parameters, strict = tool.parameters, tool.strict
    if strict and dialect.strict_schemas:
        fitted = _fitted(parameters or {"type": "object", "properties": {}}, "tools", f"{tool.name}: ", notes)
        parameters, strict = fitted.schema, fitted.strict
    if strict is None and dialect.states_strict:
        strict = False
    optional = {"description": tool.description, "parameters": parameters, "strict": strict}
    function = {"name": tool.name} | {name: value for name, value in optional.items() if value is not None}
    return {"type": "function", "function": function}


def _fitted(schema: JSONObject, parameter: str, where: str, notes: list[Note]) -> FittedSchema:
    fitted = fit_openai(schema)
    notes += [Note(parameter=parameter, action="changed", why=f"{where}{what}") for what in fitted.dropped]
    return fitted


_ANY_OBJECT: JSONObject = {"name": "response", "schema": {"type": "object"}}


def _response_format(request: ChatRequest, dialect: Dialect, notes: list[Note]) -> JSONObject | None:
    match request.response_format:
        case None:
            return None
        case JSONMode():
            return {"type": "json_object"} if dialect.json_mode else {"type": "json_schema", "json_schema": _ANY_OBJECT}
        case JSONSchema() as wanted if dialect.schemas:
            return {"type": "json_schema", "json_schema": _schema(wanted, dialect, notes)}
        case JSONSchema():
            why = "the server knows no schemas: it is asked for some JSON object"
            notes.append(Note(parameter="response_format", action="changed", why=why))
            return {"type": "json_object"}


def _schema(wanted: JSONSchema, dialect: Dialect, notes: list[Note]) -> JSONObject:
    schema, strict = wanted.schema, wanted.strict
    if strict and dialect.strict_schemas:
        fitted = _fitted(schema, "response_format", "", notes)
        schema, strict = fitted.schema, fitted.strict
    spelled: JSONObject = {"name": wanted.name, "schema": schema, "strict": strict}
    return spelled if wanted.description is None else spelled | {"description": wanted.description}


# Reasoning.


def _effort(request: ChatRequest) -> dict[str, Any]:
    return {"reasoning_effort": request.reasoning_effort}


def _openrouter(request: ChatRequest) -> dict[str, Any]:
    """`{"reasoning": {...}}`: a number of tokens or a word, and whether the text is left out of the answer."""
    reasoning: JSONObject = {}
    if request.reasoning_tokens is not None:
        reasoning = {"max_tokens": request.reasoning_tokens} if request.reasoning_tokens else {"enabled": False}
    elif request.reasoning_effort is not None:
        reasoning = {"effort": request.reasoning_effort}
    if request.show_reasoning is not None:
        reasoning["exclude"] = not request.show_reasoning
    return {"reasoning": reasoning or None}


def _deepseek(request: ChatRequest) -> dict[str, Any]:
    """A switch and a word; the switch is sent too, because some of its models start with it off."""
    effort = request.reasoning_effort
    if effort is None:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}, "reasoning_effort": effort}


def _groq(request: ChatRequest) -> dict[str, Any]:
    """Without `reasoning_format` some models write their thoughts into the answer, between tags."""
    effort, show = request.reasoning_effort, request.show_reasoning
    asked = show is not None or effort not in (None, "none")
    shown = "hidden" if show is False else "parsed"
    return {"reasoning_effort": effort, "reasoning_format": shown if asked else None}


_REASONING: Mapping[str, Callable[[ChatRequest], dict[str, Any]]] = {
    "effort": _effort,
    "openrouter": _openrouter,
    "deepseek": _deepseek,
    "groq": _groq,
}


# What is kept at the provider.


def _caching(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    if request.cache is None:
        return {}
    if dialect.cache_marks:
        return {"cache_control": cache_control(request.cache.ttl) if request.cache.ttl else None}
    return {"prompt_cache_key": request.cache.key}


def _metadata(request: ChatRequest, dialect: Dialect, notes: list[Note]) -> dict[str, str] | None:
    """OpenAI refuses metadata of answers that it is not told to keep, and nothing is kept there unasked."""
    if not request.metadata:
        return None
    if dialect.keeps_metadata == "stored" and request.extra_params.get("store") is not True:
        why = "metadata belongs to stored answers: store=true in extra_params keeps the answer at the provider"
        notes.append(Note(parameter="metadata", action="dropped", why=why))
        return None
    return request.metadata
