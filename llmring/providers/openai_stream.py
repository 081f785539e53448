"""A streamed answer in OpenAI's chat completions format, put together from its chunks. Pure.

Tool calls come in fragments that are told apart by `index`, by `id`, or by neither: servers leave indexes out, start
them at 1, repeat one for several calls, and repeat id and name in every fragment. `Calls` holds the rules.
"""

from collections.abc import Mapping

import msgspec

from llmring.chat import Completion, ToolCall, Usage
from llmring.providers.codec import HttpReply, StreamDelta
from llmring.providers.openai_faults import classify
from llmring.providers.openai_reply import (
    REPLY,
    Call,
    Choice,
    Function,
    Reply,
    arguments_text,
    finish_reason,
    raise_reported,
    read_usage,
    text_of,
    to_tool_call,
)
from llmring.providers.replies import new_tool_call_id, read_json, request_id
from llmring.providers.sse import Event
from llmring.providers.streams import CHARACTERS_PER_TOKEN


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


class OpenAIAnswer:
    """An `Answer`: complete when a finish reason was seen. `[DONE]` proves nothing: interrupted servers send it too."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls = Calls()
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._id: str | None = None
        self.done = False

    @property
    def complete(self) -> bool:
        return self._finish is not None

    def take(self, event: Event) -> StreamDelta | None:
        text = self._take(event)
        return StreamDelta(content=text) if text else None

    def _take(self, event: Event) -> str:
        data = event.data.strip()
        reply = HttpReply(status=200, headers=self._headers, body=data)
        if event.name == "error":
            raise classify(reply)
        if data == b"[DONE]":
            self.done = True
            return ""
        if not data:
            return ""
        chunk = read_json(REPLY, data, request_id=request_id(self._headers))
        raise_reported(chunk, reply)
        return self._add(chunk)

    def completion(self) -> Completion:
        return self._completion(self._calls.whole(), self._usage)

    def partial(self) -> Completion:
        return self._completion(self._calls.named(), self._usage or self._least_usage())

    def _add(self, chunk: Reply) -> str:
        self._id = self._id or chunk.id or None
        self._model = self._model or chunk.model or None
        groq = chunk.x_groq.usage if chunk.x_groq else msgspec.Raw()
        self._usage = read_usage(chunk.usage) or read_usage(groq) or self._usage
        return "".join(self._add_choice(choice) for choice in chunk.choices or () if not choice.index)

    def _add_choice(self, choice: Choice) -> str:
        self._finish = choice.finish_reason or self._finish
        # A server that cannot stream may put the whole message into one event.
        turn = choice.delta or choice.message
        if turn is None:
            return ""
        for position, call in enumerate(turn.tool_calls or ()):
            self._calls.add(call, position)
        if turn.refusal:
            self._refusal.append(turn.refusal)
        text = text_of(turn)
        if text:
            self._text.append(text)
        return text

    def _completion(self, calls: tuple[ToolCall, ...], usage: Usage | None) -> Completion:
        return Completion(
            content="".join(self._text),
            finish_reason="error" if self._finish is None else finish_reason(self._finish, bool(calls)),
            raw_finish_reason=self._finish,
            tool_calls=calls,
            refusal="".join(self._refusal) or None,
            usage=usage,
            served_model=self._model,
            response_id=self._id,
            request_id=request_id(self._headers),
        )

    def _least_usage(self) -> Usage | None:
        """The output that has been seen, in tokens of about four characters; the input is unknown."""
        seen = sum(map(len, self._text)) + sum(map(len, self._refusal)) + self._calls.characters()
        return Usage(output_tokens=seen // CHARACTERS_PER_TOKEN) if seen else None
