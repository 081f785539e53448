"""A streamed answer in OpenAI's chat completions format, put together from its chunks. Pure.

Tool calls come in fragments that are told apart by `index`, by `id`, or by neither: servers leave indexes out, start
them at 1, repeat one for several calls, and repeat id and name in every fragment. `Calls` holds the rules.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.chat import Completion, TokenLogprob, ToolCall
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.codecs.openai.faults import classify
from llmring.codecs.openai.reply import (
    REPLY,
    Call,
    Function,
    Reply,
    ReplyChoice,
    arguments_text,
    finish_reason,
    raise_reported,
    read_logprobs,
    read_usage,
    reasoning_of,
    text_of,
    text_or_none,
    to_native,
    to_tool_call,
)
from llmring.codecs.replies import new_tool_call_id, read_json, request_id
from llmring.codecs.sse import Event
from llmring.codecs.streams import CHARACTERS_PER_TOKEN
from llmring.usage import Usage


class _OpenCall:
    """A tool call of which more may come."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.is_function = False

    def add(self, call: Call, function: Function) -> None:
        self.is_function = self.is_function or call.function is not None
        # Set once: llama-cpp-python repeats both in each fragment, Mistral sends an empty name in later ones.
        self.id = self.id or call.id or ""
        self.name = self.name or function.name or ""
        text = arguments_text(function.arguments)
        if text:
            self.arguments.append(text)

    def seems_whole(self) -> bool:
        return bool(self.arguments) and self.arguments[-1].rstrip().endswith("}")


class Calls:
    """The tool calls of a stream, in the order in which they were opened."""

    def __init__(self) -> None:
        self._order: list[_OpenCall] = []
        self._by_index: dict[int, _OpenCall] = {}
        self._by_id: dict[str, _OpenCall] = {}

    def add(self, call: Call, position: int) -> None:
        """Add a fragment. `position` is its place in its chunk, which stands for an index that is missing."""
        function = call.function or Function()
        if call.function is None and not call.id:
            return
        target = self._find(call, function, position) or self._open()
        target.add(call, function)
        if call.id:
            self._by_id[call.id] = target
        self._by_index[position if call.index is None else call.index] = target

    def whole(self) -> tuple[ToolCall, ...]:
        """All calls of functions (others need tools of other kinds). Raises BadReply for one that never got a name."""
        return tuple(
            to_tool_call(Call(id=c.id, function=Function(name=c.name, arguments="".join(c.arguments))))
            for c in self._order
            if c.is_function
        )

    def characters(self) -> int:
        return sum(len(text) for call in self._order for text in call.arguments)

    def named(self) -> tuple[ToolCall, ...]:
        """Those that have a name, as far as they have come."""
        return tuple(
            ToolCall(id=c.id or new_tool_call_id(), name=c.name, arguments="".join(c.arguments) or "{}")
            for c in self._order
            if c.name
        )

    def _find(self, call: Call, function: Function, position: int) -> _OpenCall | None:
        if call.id and call.id in self._by_id:
            return self._by_id[call.id]
        if call.index is None and not call.id and not function.name:
            return self._order[-1] if self._order else None
        known = self._by_index.get(position if call.index is None else call.index)
        if known is None or _opens_another(known, call, function):
            return None
        return known

    def _open(self) -> _OpenCall:
        self._order.append(_OpenCall())
        return self._order[-1]


def _opens_another(known: _OpenCall, call: Call, function: Function) -> bool:
    """Whether a fragment that has the index of `known` begins another call: another id, name, or object."""
    if call.id and known.id:
        return call.id != known.id
    if not function.name or not known.name:
        return False
    return function.name != known.name or (
        known.seems_whole() and arguments_text(function.arguments).lstrip().startswith("{")
    )


class Details:
    """The `reasoning_details` of a stream. Fragments of one block share type and index; a signature comes last."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Any]] = []
        self._texts: list[list[str]] = []

    def add(self, fragment: Any) -> None:
        if not isinstance(fragment, dict):
            return
        field = _TEXT_FIELDS.get(str(fragment.get("type")))
        text = fragment.get(field) if field is not None else None
        if field is None or not self._continues(fragment):
            self._blocks.append(fragment)
            self._texts.append([])
        else:
            self._blocks[-1] |= {name: value for name, value in fragment.items() if value is not None}
        if isinstance(text, str):
            self._texts[-1].append(text)

    def _continues(self, fragment: dict[str, Any]) -> bool:
        if not self._blocks:
            return False
        last = self._blocks[-1]
        return last.get("type") == fragment.get("type") and last.get("index") == fragment.get("index")

    def whole(self) -> list[dict[str, Any]]:
        """The blocks, each with all of its text."""
        return [
            block | {_TEXT_FIELDS[block["type"]]: "".join(texts)} if texts else block
            for block, texts in zip(self._blocks, self._texts, strict=True)
        ]


# Encrypted blocks come whole.
_TEXT_FIELDS = {"reasoning.text": "text", "reasoning.summary": "summary"}


class OpenAIAnswer:
    """An `Answer`: complete when a finish reason was seen. `[DONE]` proves nothing: interrupted servers send it too."""

    def __init__(self, headers: Mapping[str, str], dialect: Dialect = OPENAI) -> None:
        self._headers = headers
        self._dialect = dialect
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._details = Details()
        self._refusal: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls = Calls()
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._service_tier: str | None = None
        self._model: str | None = None
        self._id: str | None = None
        self.done = False

    @property
    def complete(self) -> bool:
        return self._finish is not None

    def take(self, event: Event) -> StreamDelta | None:
        data = event.data.strip()
        if event.name == "error":
            raise classify(self._reply(data), self._dialect)
        if data == b"[DONE]":
            self.done = True
            return None
        if not data:
            return None
        chunk = read_json(REPLY, data, request_id=request_id(self._headers))
        raise_reported(chunk, self._reply(data), self._dialect)
        return self._add(chunk)

    def completion(self) -> Completion:
        return self._completion(self._calls.whole(), self._usage)

    def partial(self) -> Completion:
        return self._completion(self._calls.named(), self._usage or self._least_usage())

    def _reply(self, data: bytes) -> HttpReply:
        return HttpReply(status=200, headers=self._headers, body=data)

    def _add(self, chunk: Reply) -> StreamDelta | None:
        self._id = self._id or chunk.id or None
        self._model = self._model or chunk.model or None
        self._service_tier = text_or_none(chunk.service_tier) or self._service_tier
        groq = chunk.x_groq.usage if chunk.x_groq else msgspec.Raw()
        self._usage = read_usage(chunk.usage) or read_usage(groq) or self._usage
        content = reasoning = ""
        for choice in chunk.choices or ():
            if not choice.index:
                text, thought = self._add_choice(choice)
                content += text
                reasoning += thought
        return StreamDelta(content=content, reasoning=reasoning) if content or reasoning else None

    def _add_choice(self, choice: ReplyChoice) -> tuple[str, str]:
        """The text that it brings, of the answer and of its reasoning."""
        self._finish = choice.finish_reason or self._finish
        self._logprobs += read_logprobs(choice.logprobs)
        # A server that cannot stream may put the whole message into one event.
        turn = choice.delta or choice.message
        if turn is None:
            return "", ""
        for position, call in enumerate(turn.tool_calls or ()):
            self._calls.add(call, position)
        if isinstance(turn.reasoning_details, list):
            for fragment in turn.reasoning_details:
                self._details.add(fragment)
        text, reasoning = text_of(turn), reasoning_of(turn)
        for found, pieces in ((turn.refusal, self._refusal), (text, self._text), (reasoning, self._reasoning)):
            if found:
                pieces.append(found)
        return text, reasoning

    def _completion(self, calls: tuple[ToolCall, ...], usage: Usage | None) -> Completion:
        content, reasoning = "".join(self._text), "".join(self._reasoning)
        return Completion(
            content=content,
            finish_reason="error" if self._finish is None else finish_reason(self._finish, bool(calls)),
            raw_finish_reason=self._finish,
            tool_calls=calls,
            refusal="".join(self._refusal) or None,
            reasoning=reasoning or None,
            # Half a thought is no use to anybody.
            native=to_native(self._dialect, content, calls, reasoning, self._details.whole()) if self._finish else (),
            logprobs=tuple(self._logprobs),
            usage=usage,
            service_tier=self._service_tier,
            served_model=self._model,
            response_id=self._id,
            request_id=request_id(self._headers),
        )

    def _least_usage(self) -> Usage | None:
        """The output that has been seen, in tokens of about four characters; the input is unknown."""
        seen = sum(map(len, self._text)) + sum(map(len, self._refusal)) + self._calls.characters()
        thought = sum(map(len, self._reasoning))
        if not seen and not thought:
            return None
        return Usage(
            output_tokens=seen // CHARACTERS_PER_TOKEN,
            reasoning_tokens=thought // CHARACTERS_PER_TOKEN,
        )
