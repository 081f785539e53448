"""Anthropic's Messages format: the codec.

Sans-IO: requests are spelled here and in `blocks`; replies are read in `reply`, streams in
`stream`, errors are judged in `faults`. What Anthropic is known to refuse in combination is changed
before it is sent, with a note. Format: https://docs.claude.com/en/api/messages.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Completion, JSONMode, NamedTool, Note, Tool
from llmring.codecs.anthropic import faults as anthropic_faults
from llmring.codecs.anthropic import reply as anthropic_reply
from llmring.codecs.anthropic.blocks import (
    FORMAT,
    Block,
    Blocks,
    lacks_thinking,
    mark,
    remove_marks,
    settle_marks,
    system_blocks,
    turns,
    uses_files,
)
from llmring.codecs.anthropic.faults import VERSION
from llmring.codecs.anthropic.files import BETA
from llmring.codecs.anthropic.stream import AnthropicAnswer
from llmring.codecs.capabilities import Capabilities, Model
from llmring.codecs.codec import HttpCall, HttpReply, LimitUpdate
from llmring.codecs.limits import read_limits
from llmring.codecs.replies import request_id, to_call
from llmring.codecs.schemas.dialects import fit_anthropic
from llmring.codecs.streams import StreamReader
from llmring.errors import ProviderError, Unsupported

DEFAULT_MAX_TOKENS = 4096
"""Of the answer, sent when the caller set no bound, because Anthropic requires one. Every model since Claude 3 takes
it."""

LEAST_BUDGET_TOKENS = 1024
LEAST_TOP_P_WHILE_THINKING = 0.95

PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "reasoning_tokens",
        "show_reasoning",
        "cache",
        "service_tier",
        "user",
    }
)

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
# OpenAI's words for the two that Anthropic has.
_TIERS: Mapping[str, str] = {
    "auto": "auto",
    "priority": "auto",
    "standard_only": "standard_only",
    "standard": "standard_only",
    "default": "standard_only",
}
_ONLY_JSON = "Answer with one JSON value and nothing else: no explanation, no code fence."


class AnthropicCodec(msgspec.Struct, frozen=True):
    """The codec. The base URL is the host."""

    @property
    def format(self) -> str:
        return FORMAT

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", key),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        body, notes = _Spelling(request, model).body()
        if stream:
            body["stream"] = True
        headers = (VERSION, BETA) if uses_files(request.messages) else (VERSION,)
        return to_call("/v1/messages", _merged(body, request.extra_params), headers, tuple(notes))

    def decode(self, reply: HttpReply) -> Completion:
        return anthropic_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return anthropic_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        return read_limits(headers, anthropic_faults.LIMIT_HEADERS)

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return anthropic_reply.decode(HttpReply(status=200, headers=headers, body=body))

        return StreamReader(AnthropicAnswer(headers), read_whole, request_id(headers))


def _merged(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """`body` under `extra`; where both hold an object (`thinking`, `output_config`), the objects are merged."""
    merged = body | extra
    for name in body.keys() & extra.keys():
        if isinstance(body[name], dict) and isinstance(extra[name], dict):
            merged[name] = body[name] | extra[name]
    return merged


class _Spelling:
    """One request being spelled; `notes` say what had to be changed."""

    def __init__(self, request: ChatRequest, model: Model) -> None:
        self.request = request
        self.model = model
        self.capabilities: Capabilities = model.capabilities
        self.notes: list[Note] = []

    def body(self) -> tuple[dict[str, Any], list[Note]]:
        request = self.request
        messages, system = turns(request.messages), system_blocks(request.messages)
        if not messages:
            raise Unsupported("Anthropic needs a user message that is not blank; the request holds none")
        max_tokens = self._max_tokens()
        thinking = self._thinking(messages, max_tokens)
        output = self._output_config(system)
        tools = [self._tool(tool) for tool in request.tools]
        prompt = [*tools, *system, *(block for turn in messages for block in turn["content"])]
        optional: dict[str, Any] = {
            "system": system,
            "thinking": thinking,
            "output_config": output,
            "stop_sequences": self._stop(),
            "tools": tools,
            "tool_choice": self._tool_choice(thinking),
            "service_tier": self._service_tier(),
            "metadata": {"user_id": request.user} if request.user is not None else None,
        }
        body = {"model": self.model.name, "max_tokens": max_tokens, "messages": messages}
        body |= {name: value for name, value in optional.items() if value}
        return body | self._sampling(thinking) | self._cache(prompt), self.notes

    def _note(self, parameter: str, why: str, *, dropped: bool = False) -> None:
        self.notes.append(Note(parameter=parameter, action="dropped" if dropped else "changed", why=why))

    # How much it may write and think.

    @property
    def _asks_to_reason(self) -> bool:
        return self.request.reasoning_effort not in (None, "none") or bool(self.request.reasoning_tokens)

    @property
    def _asks_not_to_reason(self) -> bool:
        request = self.request
        return not self._asks_to_reason and (request.reasoning_effort == "none" or request.reasoning_tokens == 0)

    @property
    def _reasons_by_itself(self) -> bool:
        return self.capabilities.reasoning in ("default", "always") and not self._asks_not_to_reason

    def _max_tokens(self) -> int:
        request, capabilities = self.request, self.capabilities
        if request.max_tokens is not None:
            return request.max_tokens
        bound = DEFAULT_MAX_TOKENS
        if self._asks_to_reason or self._reasons_by_itself:
            allowed = capabilities.allowance(request.reasoning_effort, request.reasoning_tokens)
            bound += max(allowed, LEAST_BUDGET_TOKENS)
        return min(bound, capabilities.max_output_tokens or bound)

    def _thinking(self, messages: Blocks, max_tokens: int) -> Block | None:
        request = self.request
        if self._asks_not_to_reason:
            return {"type": "disabled"} if self.capabilities.reasoning == "default" else None
        if request.reasoning_tokens and "budget" in self.capabilities.controls:
            return self._budget(request.reasoning_tokens, messages, max_tokens)
        if self._asks_to_reason or (self._reasons_by_itself and request.show_reasoning is not None):
            return {"type": "adaptive"} | _display(request.show_reasoning)
        return None

    def _budget(self, tokens: int, messages: Blocks, max_tokens: int) -> Block | None:
        obstacle = None
        if max_tokens <= LEAST_BUDGET_TOKENS:
            obstacle = f"a budget is at least {LEAST_BUDGET_TOKENS} tokens, and max_tokens above it"
        elif lacks_thinking(messages):
            obstacle = "the last tool calls came without thinking, and Anthropic wants it before them"
        if obstacle is not None:
            self._note("reasoning_tokens", obstacle, dropped=True)
            return None
        budget = min(max(tokens, LEAST_BUDGET_TOKENS), max_tokens - 1)
        if budget != tokens:
            self._note("reasoning_tokens", f"it is {budget}: at least {LEAST_BUDGET_TOKENS} and below max_tokens")
        return {"type": "enabled", "budget_tokens": budget}

    def _sampling(self, thinking: Block | None) -> dict[str, Any]:
        request, active = self.request, thinking is not None and thinking["type"] != "disabled"
        wanted = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
        taken = {name: value for name, value in wanted.items() if value is not None}
        if not active:
            if taken.get("temperature", 0.0) > 1.0:
                self._note("temperature", "Anthropic takes at most 1")
                taken["temperature"] = 1.0
            return taken
        fits = {
            "temperature": request.temperature == 1.0,
            "top_p": (request.top_p or 0.0) >= LEAST_TOP_P_WHILE_THINKING,
            "top_k": False,
        }
        for name in [name for name in taken if not fits[name]]:
            self._note(name, "Anthropic does not take it while the model thinks", dropped=True)
            del taken[name]
        return taken

    # What it answers.

    def _output_config(self, system: Blocks) -> dict[str, Any]:
        config: dict[str, Any] = {}
        effort, wanted = self.request.reasoning_effort, self.request.response_format
        if effort == "minimal":
            self._note("reasoning_effort", "Anthropic's least is 'low'")
            effort = "low"
        if effort is not None and effort != "none":
            config["effort"] = effort
        if isinstance(wanted, JSONMode):
            self._note("response_format", "Anthropic has no JSON mode: the prompt asks for it")
            system.append({"type": "text", "text": _ONLY_JSON})
        elif wanted is not None:
            fitted = fit_anthropic(wanted.schema)
            self._note_dropped("response_format", fitted.dropped)
            if fitted.strict:
                config["format"] = {"type": "json_schema", "schema": fitted.schema}
            else:
                schema = msgspec.json.encode(wanted.schema).decode()
                system.append({"type": "text", "text": f"{_ONLY_JSON} It must fit this JSON schema:\n{schema}"})
        return config

    def _note_dropped(self, parameter: str, dropped: tuple[str, ...]) -> None:
        for what in dropped:
            self._note(parameter, what)

    def _stop(self) -> list[str]:
        kept = [text for text in self.request.stop if text.strip()]
        if len(kept) < len(self.request.stop):
            self._note("stop", "Anthropic does not stop at blanks alone", dropped=True)
        return kept

    def _tool(self, tool: Tool) -> Block:
        schema = {"type": "object"} | (tool.parameters if tool.parameters is not None else {"properties": {}})
        spelled: Block = {"name": tool.name, "input_schema": schema}
        if tool.description is not None:
            spelled["description"] = tool.description
        if tool.strict:
            fitted = fit_anthropic(schema)
            self._note_dropped("tools", tuple(f"{tool.name}: {what}" for what in fitted.dropped))
            if fitted.strict:
                spelled |= {"input_schema": fitted.schema, "strict": True}
        if tool.cache is not None:
            spelled["cache_control"] = mark(tool.cache)
        return spelled

    def _tool_choice(self, thinking: Block | None) -> Block | None:
        request = self.request
        one_at_most = request.parallel_tool_calls is False
        if not request.tools or (request.tool_choice is None and not one_at_most):
            return None
        choice: Block = {"type": "auto"}
        if isinstance(request.tool_choice, NamedTool):
            choice = {"type": "tool", "name": request.tool_choice.name}
        elif request.tool_choice is not None:
            choice = {"type": _CHOICES[request.tool_choice]}
        if thinking is not None and thinking["type"] == "enabled" and choice["type"] in ("any", "tool"):
            self._note(
                "tool_choice", "Anthropic does not force a tool while the model thinks within a budget: it is auto"
            )
            choice = {"type": "auto"}
        if one_at_most and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
        return choice

    # How it is served.

    def _service_tier(self) -> str | None:
        wanted = self.request.service_tier
        if wanted is not None and wanted not in _TIERS:
            self._note("service_tier", f"Anthropic has no tier {wanted!r}", dropped=True)
        return _TIERS.get(wanted) if wanted is not None else None

    def _cache(self, prompt: Blocks) -> Block:
        if "cache" in self.capabilities.refused:
            remove_marks(prompt)
            return {}
        wanted = self.request.cache
        top, notes = settle_marks(prompt, wanted.ttl if wanted is not None else None)
        self.notes += notes
        return top


def _display(show: bool | None) -> Block:
    return {} if show is None else {"display": "summarized" if show else "omitted"}
