"""The words between a wire format and the simulator: what was asked, what is answered, what went wrong.

A provider's manner of speaking (keys, errors, limit headers) is a module that satisfies `Dialect`; what one of its
endpoints reads and writes is a module that satisfies `Operation`. Everything here is a value or a small
calculation on text; nothing here knows a JSON field.
"""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import msgspec

from llmring.sim.limits import Dimension, Level, Refused

CHARS_PER_TOKEN = 4

Headers = list[tuple[bytes, bytes]]
Schema = Mapping[str, object]
ToolChoice = Literal["auto", "none", "required", "named"]
Finish = Literal["stop", "length", "stop_sequence", "tool_calls"]
#: Whether the model reasons before it answers, and whether the client is given the text of it.
Thinking = Literal["off", "hidden", "shown"]
#: How long a prefix stays cached; "auto" ones are cached without being asked for and cost nothing to write.
Lifetime = Literal["5m", "30m", "1h", "auto"]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    schema: Schema
    #: Its arguments name every property, also the optional ones (OpenAI's strict mode).
    every_field: bool = False


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a prompt up to a place where it may be cached."""

    digest: bytes
    #: Of the whole prefix.
    tokens: int
    #: None: not marked, so looked up but never written.
    lifetime: Lifetime | None


class CacheUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did for one request, in tokens of its prompt; the kinds do not overlap."""

    read_tokens: int = 0
    write_5m_tokens: int = 0
    write_30m_tokens: int = 0
    write_1h_tokens: int = 0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One well-formed request."""

    model: str
    #: The provider's own estimate: a quarter of the characters of the messages' text and of the tools.
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
    #: OpenAI's stream_options.include_usage; the other formats always send usage.
    stream_usage: bool
    thinking: Thinking = "off"
    #: The reply carries proof of its reasoning (signatures, encrypted content) for the client to send back.
    sealed: bool = False
    #: Shortest first.
    prefixes: tuple[Prefix, ...] = ()
    #: Ids of uploaded files the request speaks of.
    files: tuple[str, ...] = ()
    #: Gemini's explicit cache that the prompt begins with.
    cached_content: str = ""
    #: Responses: the stored reply this one continues.
    previous: str = ""
    #: Responses: stored replies that items of the input are only found in.
    needed_replies: tuple[str, ...] = ()
    #: Responses: the id of the reply, and whether it is kept to be asked for.
    reply_id: str = ""
    store: bool = False
    #: How many answers are wanted (OpenAI's n); all of them are the same.
    choices: int = 1
    #: Embeddings: what is to be embedded, and the length of each vector.
    texts: tuple[str, ...] = ()
    dimensions: int = 0
    #: What the reply repeats from the request, by the field of the reply.
    echo: Mapping[str, object] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    #: JSON text of an object.
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated model says: text, or calls; before it what it thought."""

    text: str
    calls: tuple[Call, ...]
    finish: Finish
    #: Which one, with finish "stop_sequence".
    stop_sequence: str | None
    #: Thinking included.
    output_tokens: int
    thinking: str = ""
    thinking_tokens: int = 0
    cache: CacheUse = CacheUse()


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed reply as bytes ready to send, cut where a fault may want to cut it."""

    opening: bytes
    #: One item a content chunk, a chunk being about one token.
    chunks: tuple[bytes, ...]
    #: Why it finished, and usage.
    ending: bytes
    #: What a stream sends last even when it never said why it finished.
    terminator: bytes
    #: An error inside the stream, which it ends.
    failure: bytes
    #: The beginning of an event whose JSON breaks off.
    broken: bytes
    content_type: bytes = b"text/event-stream; charset=utf-8"


ProblemKind = Literal[
    "no_key",
    "bad_key",
    "bad_json",
    "missing_field",
    "bad_field",
    "missing_version",
    "too_large_body",
    "unknown_path",
    "not_found",
    "unknown_model",
    "rate_limited",
    "never_fits",
    "insufficient_quota",
    "context",
    "unsupported_parameter",
    "unknown_file",
    "unknown_reply",
    "unknown_item",
    "unknown_cache",
    "bad_seal",
    "server_error",
    "overloaded",
]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A request that gets an error instead of an answer."""

    kind: ProblemKind
    #: Of the error itself; absent: what the wire format has for this kind.
    status: int | None = None
    model: str = ""
    #: The field, key, path or id that is wrong, or a sentence about it.
    detail: str = ""
    #: The field that is wrong, where detail is a sentence.
    parameter: str = ""
    #: OpenAI's code, where the kind's own does not tell enough.
    code: str = ""
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


class Dialect(Protocol):
    """How one provider reads keys and writes errors and limits, whatever the endpoint."""

    def key(self, headers: Mapping[bytes, bytes], /) -> str: ...

    #: Headers of every reply, with the request's id.
    def identify(self) -> Headers: ...

    def failure(self, problem: Problem, /) -> Failure: ...

    def limit_headers(self, levels: Mapping[Dimension, Level], /) -> Headers: ...


class Operation(Protocol):
    """One endpoint at which a model answers: the provider's side of its wire format."""

    #: `target` is the path behind the version, with its query. Raises Rejected.
    def read(self, headers: Mapping[bytes, bytes], body: bytes, target: str = "", /) -> Ask: ...

    #: A whole reply; `finished=False` leaves out why it finished.
    def whole(self, ask: Ask, answer: Answer, /, *, finished: bool = True) -> bytes: ...


@runtime_checkable
class StreamedOperation(Operation, Protocol):
    """An endpoint whose requests may ask for a stream."""

    #: The reply as a stream.
    def script(self, ask: Ask, answer: Answer, /) -> Script: ...


def tokens_in(chars: int) -> int:
    """A provider's rough count: four characters a token, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def pieces(text: str) -> list[str]:
    """Text as a stream sends it, a token a piece; at least one piece, so that a stream of nothing has a
    chunk.
    """
    return [text[at : at + CHARS_PER_TOKEN] for at in range(0, len(text), CHARS_PER_TOKEN)] or [""]
