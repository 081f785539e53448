"""A streamed answer in Anthropic's Messages format, put together from its events. Pure.

Format: https://docs.claude.com/en/docs/build-with-claude/streaming. Events are told apart by `type` in their JSON, for
compatible servers leave the `event:` line out.
"""

from collections.abc import Mapping

import msgspec

from llmring.chat import Completion, ToolCall, Usage
from llmring.providers.anthropic_faults import classify
from llmring.providers.anthropic_reply import (
    Block,
    Reply,
    StopDetails,
    UsageIn,
    finish_reason,
    input_text,
    read_usage,
    refusal,
    to_tool_call,
    to_usage,
)
from llmring.providers.codec import HttpReply, StreamDelta
from llmring.providers.replies import count, new_tool_call_id, read_json, request_id
from llmring.providers.sse import Event
from llmring.providers.streams import CHARACTERS_PER_TOKEN


class _Delta(msgspec.Struct):
    """Of a content block (`text`, `partial_json`, `thinking`) or of the message (`stop_reason`, `stop_details`)."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class _EventIn(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    message: Reply | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()


_EVENT = msgspec.json.Decoder(_EventIn)


class _OpenCall:
    """A tool call of which more may come. `given` is the input that came with its start, used when nothing follows."""

    def __init__(self, block: Block) -> None:
        self.id = block.id
        self.name = block.name
        self.given = input_text(block.input)
        self.fragments: list[str] = []

    def arguments(self) -> str:
        return "".join(self.fragments).strip() or self.given


class AnthropicAnswer:
    """An `Answer`: complete with `message_stop`, which follows the stop reason."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._text: list[str] = []
        self._calls: list[_OpenCall] = []
        self._call_at: dict[int | None, _OpenCall] = {}
        self._thinking_characters = 0
        self._usage: UsageIn | None = None
        self._finish: str | None = None
        self._stop_details: StopDetails | None = None
        self._model: str | None = None
        self._id: str | None = None
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done

    def take(self, event: Event) -> StreamDelta | None:
        text = self._take(event)
        return StreamDelta(content=text) if text else None

    def _take(self, event: Event) -> str:
        if event.name == "ping" or not event.data.strip():
            return ""
        if event.name == "error":
            raise classify(self._as_reply(event))
        found = read_json(_EVENT, event.data, request_id=request_id(self._headers))
        match found.type or event.name:
            case "content_block_delta" if found.delta is not None:
                return self._add_delta(found.index, found.delta)
            case "content_block_start" if found.content_block is not None:
                return self._start_block(found.index, found.content_block)
            case "message_start" if found.message is not None:
                self._start(found.message)
            case "message_delta":
                self._end(found)
            case "message_stop":
                self.done = True
            case "error":
                raise classify(self._as_reply(event))
        return ""

    def completion(self) -> Completion:
        calls = tuple(to_tool_call(call.id, call.name, call.arguments()) for call in self._calls)
        return self._completion(calls, to_usage(self._usage) if self._usage is not None else None)

    def partial(self) -> Completion:
        calls = tuple(
            ToolCall(id=call.id or new_tool_call_id(), name=call.name, arguments=call.arguments() or "{}")
            for call in self._calls
            if call.name
        )
        return self._completion(calls, self._least_usage())

    def _as_reply(self, event: Event) -> HttpReply:
        return HttpReply(status=200, headers=self._headers, body=event.data)

    def _start(self, message: Reply) -> None:
        self._id = message.id or None
        self._model = message.model or None
        self._update_usage(message.usage)

    def _start_block(self, index: int | None, block: Block) -> str:
        # Anything but a tool's block takes its place, so that later fragments at this index are not a tool's.
        self._call_at.pop(index, None)
        if block.type == "tool_use":
            self._call_at[index] = _OpenCall(block)
            self._calls.append(self._call_at[index])
        return self._add_text(block.text) if block.type == "text" else ""

    def _add_delta(self, index: int | None, delta: _Delta) -> str:
        match delta.type:
            case "text_delta":
                return self._add_text(delta.text)
            case "input_json_delta" if delta.partial_json and index in self._call_at:
                self._call_at[index].fragments.append(delta.partial_json)
            case "thinking_delta":
                self._thinking_characters += len(delta.thinking or "")
        return ""

    def _add_text(self, text: str | None) -> str:
        if text:
            self._text.append(text)
        return text or ""

    def _end(self, found: _EventIn) -> None:
        self._update_usage(found.usage)
        if found.delta is not None:
            self._finish = found.delta.stop_reason or self._finish
            self._stop_details = found.delta.stop_details or self._stop_details

    def _update_usage(self, raw: msgspec.Raw) -> None:
        newer = read_usage(raw)
        if newer is not None:
            self._usage = newer if self._usage is None else self._usage.updated(newer)

    def _completion(self, calls: tuple[ToolCall, ...], usage: Usage | None) -> Completion:
        return Completion(
            content="".join(self._text),
            finish_reason=finish_reason(self._finish, bool(calls)) if self.done or self._finish else "error",
            raw_finish_reason=self._finish,
            tool_calls=calls,
            refusal=refusal(self._finish, self._stop_details),
            usage=usage,
            served_model=self._model,
            response_id=self._id,
            request_id=request_id(self._headers),
        )

    def _least_usage(self) -> Usage | None:
        """The input as the stream's start told it, and the output that was seen, at about four characters a token."""
        in_calls = sum(len(text) for call in self._calls for text in call.fragments)
        seen = (sum(map(len, self._text)) + in_calls + self._thinking_characters) // CHARACTERS_PER_TOKEN
        if self._usage is None:
            return Usage(output_tokens=seen) if seen else None
        return to_usage(self._usage.updated(UsageIn(output_tokens=max(seen, count(self._usage.output_tokens)))))
