"""The words between a wire format and the simulator: what was asked, what is answered, what went wrong.

A wire format is a module that satisfies `Wire`; openai_wire.py and anthropic_wire.py do. Everything here is a
value or a small calculation on text; nothing here knows a JSON field.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from llmring.sim.limits import Dimension, Level, Refused

CHARS_PER_TOKEN = 4

Headers = list[tuple[bytes, bytes]]
Schema = Mapping[str, object]
ToolChoice = Literal["auto", "none", "required", "named"]
Finish = Literal["stop", "length", "stop_sequence", "tool_calls"]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    schema: Schema


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One well-formed request."""

    model: str
    #: The provider's own estimate: a quarter of the characters of the messages' text.
    input_tokens: int
    #: Text of the last user message.
    prompt: str
    #: The conversation ends with the result of a tool, so the answer is text.
    after_tool_result: bool
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    #: With tool_choice "named".
    named_tool: str
    parallel_tools: bool
    max_tokens: int | None
    stops: tuple[str, ...]
    #: The reply has to be JSON that satisfies this.
    reply_schema: Schema | None
    stream: bool
    #: OpenAI's stream_options.include_usage; the other wire always sends usage.
    stream_usage: bool


class Call(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    #: JSON text of an object.
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated model says: text, or calls."""

    text: str
    calls: tuple[Call, ...]
    finish: Finish
    #: Which one, with finish "stop_sequence".
    stop_sequence: str | None
    output_tokens: int


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed reply as bytes ready to send, cut where a fault may want to cut it."""

    opening: bytes
    #: One item a content chunk, a chunk being about one token.
    chunks: tuple[bytes, ...]
    #: Why it finished, and usage.
    ending: bytes
    #: What a stream sends last even when it never said why it finished.
    terminator: bytes


ProblemKind = Literal[
    "no_key",
    "bad_key",
    "bad_json",
    "missing_field",
    "bad_field",
    "missing_version",
    "too_large_body",
    "unknown_path",
    "unknown_model",
    "rate_limited",
    "never_fits",
    "insufficient_quota",
    "context",
    "server_error",
    "overloaded",
]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A request that gets an error instead of an answer."""

    kind: ProblemKind
    #: Of the error itself; absent: what the wire format has for this kind.
    status: int | None = None
    model: str = ""
    #: The field, key or path that is wrong, or a sentence about it.
    detail: str = ""
    refused: Refused | None = None
    requested_tokens: int = 0
    retry_after: float | None = None


class Rejected(Exception):
    """Raised while a request is read; carries the error to answer with."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.kind)
        self.problem = problem


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as this wire format spells it."""

    status: int
    headers: Headers
    body: bytes


class Wire(Protocol):
    """One wire format: the provider's side of it."""

    def key(self, headers: Mapping[bytes, bytes], /) -> str: ...

    #: Raises Rejected.
    def read(self, headers: Mapping[bytes, bytes], body: bytes, /) -> Ask: ...

    #: Headers of every reply, with the request's id.
    def identify(self) -> Headers: ...

    #: A whole reply; `finished=False` leaves out why it finished.
    def whole(self, ask: Ask, answer: Answer, /, *, finished: bool = True) -> bytes: ...

    def script(self, ask: Ask, answer: Answer, /) -> Script: ...

    def failure(self, problem: Problem, /) -> Failure: ...

    #: An error event inside a stream that began with status 200.
    def failure_event(self) -> bytes: ...

    #: The beginning of an event whose JSON breaks off.
    def broken_event(self) -> bytes: ...

    def limit_headers(self, levels: Mapping[Dimension, Level], /) -> Headers: ...


def tokens_in(chars: int) -> int:
    """A provider's rough count: four characters a token, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def pieces(text: str) -> list[str]:
    """Text as a stream sends it, a token a piece; at least one piece, so that a stream of nothing has a
    chunk.
    """
    return [text[at : at + CHARS_PER_TOKEN] for at in range(0, len(text), CHARS_PER_TOKEN)] or [""]
