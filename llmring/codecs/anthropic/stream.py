"""A streamed answer in Anthropic's Messages format, put together from its events. Pure.

Format: https://docs.claude.com/en/docs/build-with-claude/streaming. Events are told apart by `type` in their JSON, for
compatible servers leave the `event:` line out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.chat import Completion, JSONObject, ToolCall
from llmring.codecs.anthropic.faults import classify
from llmring.codecs.anthropic.reply import (
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
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.replies import count, is_set, new_tool_call_id, read_json, request_id
from llmring.codecs.sse import Event
from llmring.codecs.streams import CHARACTERS_PER_TOKEN
from llmring.errors import BadReply
from llmring.usage import Usage


class _Delta(msgspec.Struct):
    """Of a content block (all but the last two), or of the message."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = msgspec.Raw()
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class _EventIn(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    message: Reply | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()


class _AnyDelta(msgspec.Struct):
    delta: dict[str, Any] = {}


_EVENT = msgspec.json.Decoder(_EventIn)
_BLOCK = msgspec.json.Decoder(Block)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ANY = msgspec.json.Decoder(Any)
_ANY_DELTA = msgspec.json.Decoder(_AnyDelta)


class _OpenBlock:
    """A block of which more may come: what it started with, and by field what was added to it."""

    def __init__(self, block: Block, raw: bytes) -> None:
        self.block = block
        self._raw = raw
        self._added: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def add(self, name: str, text: str) -> None:
        self._added.setdefault(name, []).append(text)

    def cite(self, citation: msgspec.Raw) -> None:
        if is_set(citation):
            self._citations.append(read_json(_ANY, bytes(citation)))

    def added(self, name: str) -> str:
        return "".join(self._added.get(name, ()))

    @property
    def text(self) -> str:
        return (self.block.text or "") + self.added("text") if self.block.type == "text" else ""

    @property
    def thinking(self) -> str:
        return (self.block.thinking or "") + self.added("thinking") if self.block.type == "thinking" else ""

    @property
    def arguments(self) -> str:
        """Of a call. The input that came with its start is used when nothing follows."""
        return self.added("partial_json").strip() or input_text(self.block.input)

    @property
    def is_plain(self) -> bool:
        return self.block.is_plain and not self._citations

    def whole(self) -> JSONObject:
        """The block as a reply that is not streamed would hold it."""
        spelled = read_json(_OBJECT, self._raw)
        for name, pieces in self._added.items():
            if name == "partial_json":
                spelled["input"] = _input(self.arguments)
            else:
                before = spelled.get(name)
                spelled[name] = (before if isinstance(before, str) else "") + "".join(pieces)
        if self._citations:
            before = spelled.get("citations")
            spelled["citations"] = [*(before if isinstance(before, list) else ()), *self._citations]
        return spelled


def _input(text: str) -> JSONObject:
    """A call that was cut short has no input that could be given back."""
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}


class AnthropicAnswer:
    """An `Answer`: complete with `message_stop`, which follows the stop reason."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._blocks: list[_OpenBlock] = []
        self._at: dict[int | None, _OpenBlock] = {}
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
        if event.name == "ping" or not event.data.strip():
            return None
        if event.name == "error":
            raise classify(self._as_reply(event))
        found = read_json(_EVENT, event.data, request_id=request_id(self._headers))
        match found.type or event.name:
            case "content_block_delta" if found.delta is not None:
                return self._add_delta(found.index, found.delta, event)
            case "content_block_start":
                return self._start_block(found.index, bytes(found.content_block))
            case "message_start" if found.message is not None:
                self._start(found.message)
            case "message_delta":
                self._end(found)
            case "message_stop":
                self.done = True
            case "error":
                raise classify(self._as_reply(event))
        return None

    def completion(self) -> Completion:
        calls = tuple(
            to_tool_call(open_.block.id, open_.block.name, open_.arguments)
            for open_ in self._blocks
            if open_.block.type == "tool_use"
        )
        return self._completion(calls, to_usage(self._usage) if self._usage is not None else None, self._native())

    def _native(self) -> tuple[JSONObject, ...]:
        """The blocks as a whole reply would hold them, when ours lose something."""
        if all(open_.is_plain for open_ in self._blocks):
            return ()
        try:
            return tuple(open_.whole() for open_ in self._blocks)
        except BadReply:
            return ()

    def partial(self) -> Completion:
        calls = tuple(
            ToolCall(id=open_.block.id or new_tool_call_id(), name=open_.block.name, arguments=open_.arguments or "{}")
            for open_ in self._blocks
            if open_.block.type == "tool_use" and open_.block.name
        )
        # Half of a turn is not given back: its signatures are missing.
        return self._completion(calls, self._least_usage(), ())

    def _as_reply(self, event: Event) -> HttpReply:
        return HttpReply(status=200, headers=self._headers, body=event.data)

    def _start(self, message: Reply) -> None:
        self._id = message.id or None
        self._model = message.model or None
        self._update_usage(message.usage)

    def _start_block(self, index: int | None, raw: bytes) -> StreamDelta | None:
        if raw in (b"", b"null"):
            return None
        opened = self._open(index, read_json(_BLOCK, raw, request_id=request_id(self._headers)), raw)
        content, reasoning = opened.text, opened.thinking
        return StreamDelta(content=content, reasoning=reasoning) if content or reasoning else None

    def _open(self, index: int | None, block: Block, raw: bytes) -> _OpenBlock:
        opened = self._at[index] = _OpenBlock(block, raw)
        self._blocks.append(opened)
        return opened

    def _add_delta(self, index: int | None, delta: _Delta, event: Event) -> StreamDelta | None:
        match delta.type:
            case "text_delta":
                if delta.text:
                    self._at_or_new(index, "text").add("text", delta.text)
                    return StreamDelta(content=delta.text)
            case "thinking_delta":
                if delta.thinking:
                    self._at_or_new(index, "thinking").add("thinking", delta.thinking)
                    return StreamDelta(reasoning=delta.thinking)
            case _ if index in self._at:
                self._add_unseen(self._at[index], delta, event)
        return None

    def _at_or_new(self, index: int | None, kind: str) -> _OpenBlock:
        """The block at `index`; one whose start did not come, or was another's, is begun."""
        opened = self._at.get(index)
        if opened is None or opened.block.type != kind:
            opened = self._open(index, Block(type=kind), msgspec.json.encode({"type": kind}))
        return opened

    def _add_unseen(self, opened: _OpenBlock, delta: _Delta, event: Event) -> None:
        """What is not shown while it arrives."""
        match delta.type:
            case "input_json_delta":
                if delta.partial_json and (opened.block.type or "").endswith("tool_use"):
                    opened.add("partial_json", delta.partial_json)
            case "signature_delta":
                opened.add("signature", delta.signature or "")
            case "citations_delta":
                opened.cite(delta.citation)
            case _:
                for name, value in read_json(_ANY_DELTA, event.data).delta.items():
                    if name != "type" and isinstance(value, str):
                        opened.add(name, value)

    def _end(self, found: _EventIn) -> None:
        self._update_usage(found.usage)
        if found.delta is not None:
            self._finish = found.delta.stop_reason or self._finish
            self._stop_details = found.delta.stop_details or self._stop_details

    def _update_usage(self, raw: msgspec.Raw) -> None:
        newer = read_usage(raw)
        if newer is not None:
            self._usage = newer if self._usage is None else self._usage.updated(newer)

    def _completion(
        self, calls: tuple[ToolCall, ...], usage: Usage | None, native: tuple[JSONObject, ...]
    ) -> Completion:
        return Completion(
            content="".join(open_.text for open_ in self._blocks),
            finish_reason=finish_reason(self._finish, bool(calls)) if self.done or self._finish else "error",
            raw_finish_reason=self._finish,
            tool_calls=calls,
            refusal=refusal(self._finish, self._stop_details),
            reasoning="".join(open_.thinking for open_ in self._blocks) or None,
            native=native,
            usage=usage,
            service_tier=self._usage.service_tier if self._usage is not None else None,
            served_model=self._model,
            response_id=self._id,
            request_id=request_id(self._headers),
        )

    def _least_usage(self) -> Usage | None:
        """The input as the stream's start told it, and the output that was seen, at about four characters a token."""
        in_calls = sum(len(open_.added("partial_json")) for open_ in self._blocks)
        in_texts = sum(len(open_.text) + len(open_.thinking) for open_ in self._blocks)
        seen = (in_texts + in_calls) // CHARACTERS_PER_TOKEN
        if self._usage is None:
            return Usage(output_tokens=seen) if seen else None
        return to_usage(self._usage.updated(UsageIn(output_tokens=max(seen, count(self._usage.output_tokens)))))
