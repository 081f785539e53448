"""What goes in and what comes out: messages, tools, requests, responses, chunks, usage, cost.

Values only. Every provider's codec translates to and from these; nothing here knows a provider.
"""

from typing import Any, Literal

import msgspec

from llmring.errors import Attempt
from llmring.parts import CacheTTL, Part, TextPart
from llmring.refs import ModelRef
from llmring.trace import Trace, attached
from llmring.usage import Cost, Usage

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "error", "other"]
JSONObject = dict[str, Any]
"""A JSON object as msgspec decodes it: the edge where types end."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model asks for. `arguments` is JSON text, as OpenAI spells it; `{}` when there are none."""

    id: str
    name: str
    arguments: str


class NativeTurn(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant's turn as its provider spelled it, with what has no spelling of ours: thinking, signatures, blocks
    of tools that run at the provider.

    Replayed verbatim to the model it came from, which may refuse to go on without it; no other model ever sees it.
    `format` names the wire format of `items`.
    """

    origin: ModelRef
    format: str
    items: tuple[JSONObject, ...]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `content` is None only on an assistant turn that holds nothing but tool calls.

    A tool result is `role="tool"` with `tool_call_id`; `is_error` says that the tool failed. `cache` marks the end of a
    prefix that is worth caching. `native` comes with `ChatResponse.message`: where it is replayed, it stands for
    `content` and `tool_calls`.
    """

    role: Role
    content: str | tuple[Part, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    cache: CacheTTL | None = None
    native: NativeTurn | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; plain text is one part, None and "" are none."""
        if isinstance(self.content, tuple):
            return self.content
        return (TextPart(text=self.content),) if self.content else ()

    @property
    def text(self) -> str:
        """The text of the content, without its other parts."""
        if isinstance(self.content, tuple):
            return "".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call. `parameters` is a JSON schema of type object; None for no parameters.

    `strict` asks that the arguments always fit the schema. `cache` marks the end of a prefix that is worth caching.
    """

    name: str
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None
    cache: CacheTTL | None = None


class NamedTool(msgspec.Struct, frozen=True, kw_only=True):
    """Tool choice: this one must be called."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class JSONMode(msgspec.Struct, frozen=True, kw_only=True, tag="json_object"):
    """Response format: some JSON object. OpenAI wants the word "JSON" in the prompt."""


class JSONSchema(msgspec.Struct, frozen=True, kw_only=True, tag="json_schema"):
    """Response format: JSON that fits `schema`. `strict=False` lets the provider treat the schema as a hint."""

    schema: JSONObject
    name: str = "response"
    description: str | None = None
    strict: bool = True


ResponseFormat = JSONMode | JSONSchema

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model should think, least first."""


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """What to cache of a prompt, besides the marks on messages, parts and tools.

    `ttl` caches as much of the prompt as can be cached, for that long, at providers that must be told. `key` groups
    prompts that begin alike, for providers that find their cache by it. `content` is the name of what Gemini cached
    earlier ("cachedContents/..."): it holds the system message and the tools, which are not sent again.
    """

    ttl: CacheTTL | None = None
    key: str | None = None
    content: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat call. `model` is an alias or `provider:model`. What is None is not sent.

    `max_tokens` bounds the answer in tokens; what the model may use for reasoning, `reasoning_tokens`, goes on top
    where the provider counts both. `show_reasoning` asks for the text of the reasoning. `n` asks for several answers.
    `files` are ids of registered files, put behind the last user message. `user` is an opaque id of the end user.
    `timeout` bounds the whole call in seconds, waiting in line included; None: the router's default. `extra_params` are
    merged into the provider's JSON body last, as they are.

    What a model or format does not take is dropped, with a note in the response; `strict_params` makes it an error.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    reasoning_tokens: int | None = None
    show_reasoning: bool | None = None
    cache: Cache | None = None
    files: tuple[str, ...] = ()
    service_tier: str | None = None
    metadata: dict[str, str] = {}
    user: str | None = None
    timeout: float | None = None
    strict_params: bool = False
    extra_params: JSONObject = {}


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """The natural logarithm of a token's probability, and those of the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of several answers to one request (`n`)."""

    content: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None


NoteAction = Literal["dropped", "changed", "invalid"]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What was not done as asked: a parameter that was dropped or changed on the way, or an answer that does not fit
    its schema (`invalid`)."""

    parameter: str
    action: NoteAction
    why: str

    def __str__(self) -> str:
        return f"{self.parameter} {self.action}: {self.why}"


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a codec reads from one provider's answer, before the router adds what only it knows.

    `served_model` is the model's name as the provider gives it, `raw_finish_reason` its own word for why it ended.
    `usage` is of this answer alone; `earlier` are those of answers that were had before it and could not be used.
    `native` is the turn in the provider's own spelling when ours loses something of it, and empty otherwise. A codec
    leaves `turn`, `parsed` and `notes` alone: they are added when it is known who was asked, and for what.
    """

    content: str
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None
    native: tuple[JSONObject, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    earlier: tuple[Usage, ...] = ()
    service_tier: str | None = None
    served_model: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    turn: NativeTurn | None = None
    parsed: Any = None
    notes: tuple[Note, ...] = ()


class ChatResponse(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One answer.

    `model` is who answered; `attempts` lists every try and skip on the way, the answering one last. `usage` is None
    when the provider sent none. A `content` of "" with finish_reason "tool_calls" is normal.

    `parsed` is the JSON value of an answer with a response format; None when the answer is not what was asked for, and
    `notes` says why. `reasoning` is the text of the model's reasoning, where it shows any. `choices` holds all answers
    when `n` asked for several, the first included; else it is empty. `message` is the answer as the next request's
    assistant turn.
    """

    content: str
    model: ModelRef
    alias: str
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    parsed: Any = None
    reasoning: str | None = None
    native: NativeTurn | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    cost: Cost
    notes: tuple[Note, ...] = ()
    service_tier: str | None = None
    served_model: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, with what its model needs to go on from it."""
        content = None if not self.content and self.tool_calls else self.content
        return Message(role="assistant", content=content, tool_calls=self.tool_calls, native=self.native)

    @property
    def trace(self) -> Trace | None:
        """What was seen and decided on the way; `print(response.trace)` tells it. No field: it is not encoded, compared
        or pickled, and an answer from a journal has none."""
        return attached(self)


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a streamed answer.

    Text arrives in `content`, the text of reasoning in `reasoning`. The last chunk has `finish_reason`, and with it the
    assembled `tool_calls`, `usage`, `cost` and `notes`. `restarted` marks the point where another model began again
    from the start (`on_break="restart"`): what came before it is void.
    """

    content: str = ""
    reasoning: str = ""
    model: ModelRef
    finish_reason: FinishReason | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = None
    usage: Usage | None = None
    cost: Cost | None = None
    notes: tuple[Note, ...] = ()
    restarted: bool = False
