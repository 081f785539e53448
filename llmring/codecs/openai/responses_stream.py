"""A streamed answer in OpenAI's Responses format, put together from its events. Pure.

Pieces are told apart by `output_index`, never by an item's id, which some gateways change from event to event. The
items that count are those of `response.output_item.done`: only there is the encrypted reasoning whole.
"""

from collections.abc import Mapping

import msgspec

from llmring.chat import Completion, ToolCall
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.openai.faults import classify
from llmring.codecs.openai.responses_reply import RESPONSE, Item, Response, read_usage, reported, to_completion
from llmring.codecs.replies import is_set, new_tool_call_id, read_json, request_id
from llmring.codecs.sse import Event
from llmring.codecs.streams import CHARACTERS_PER_TOKEN
from llmring.usage import Usage


class _EventIn(msgspec.Struct):
    type: str | None = None
    delta: str | None = None
    output_index: int | None = None
    summary_index: int | None = None
    content_index: int | None = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_EVENT = msgspec.json.Decoder(_EventIn)
_ITEM = msgspec.json.Decoder(Item)

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class _OpenCall:
    """A tool call of which more may come; for what is known when the stream breaks."""

    def __init__(self, item: Item) -> None:
        self.id = item.call_id or ""
        self.name = item.name or ""
        self.arguments: list[str] = []


class ResponsesAnswer:
    """An `Answer`: complete with the event that holds the whole response."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._request_id = request_id(headers)
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_part: tuple[int | None, int | None, int | None] | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._items: dict[int, msgspec.Raw] = {}
        self._begun = Response()
        self._whole: Response | None = None
        self.done = False

    @property
    def complete(self) -> bool:
        return self._whole is not None

    def take(self, event: Event) -> StreamDelta | None:
        data = event.data.strip()
        if event.name == "ping" or not data:
            return None
        if data == b"[DONE]":
            # Of some compatible servers.
            self.done = True
            return None
        found = read_json(_EVENT, data, request_id=self._request_id)
        kind = found.type or event.name
        if kind == "response.output_text.delta":
            self._text.append(found.delta or "")
            return StreamDelta(content=found.delta) if found.delta else None
        if kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return self._add_reasoning(found)
        self._add(kind, found, data)
        return None

    def completion(self) -> Completion:
        assert self._whole is not None, "complete"
        items = [raw for _, raw in sorted(self._items.items())] or self._whole.output or []
        completion = to_completion(self._whole, items, self._request_id)
        if completion.content or not self._text:
            return completion
        # A gateway that ends no item and repeats none of them at the end.
        return msgspec.structs.replace(completion, content="".join(self._text))

    def partial(self) -> Completion:
        calls = tuple(
            ToolCall(id=call.id or new_tool_call_id(), name=call.name, arguments="".join(call.arguments) or "{}")
            for _, call in sorted(self._calls.items())
            if call.name
        )
        return Completion(
            content="".join(self._text),
            finish_reason="other",
            tool_calls=calls,
            refusal="".join(self._refusal) or None,
            reasoning="".join(self._reasoning) or None,
            usage=self._least_usage(),
            service_tier=self._begun.service_tier,
            served_model=self._begun.model or None,
            response_id=self._begun.id or None,
            request_id=self._request_id,
        )

    def _add(self, kind: str, found: _EventIn, data: bytes) -> None:
        """Everything but text."""
        index = found.output_index or 0
        match kind:
            case "response.refusal.delta":
                self._refusal.append(found.delta or "")
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                if index in self._calls:
                    self._calls[index].arguments.append(found.delta or "")
            case "response.output_item.added":
                item = read_json(_ITEM, bytes(found.item) or b"{}", request_id=self._request_id)
                if item.type in ("function_call", "custom_tool_call"):
                    self._calls[index] = _OpenCall(item)
            case "response.output_item.done" if bytes(found.item):
                self._items[index] = found.item.copy()
            case "response.created" | "response.in_progress" | "response.queued":
                self._begun = self._read(found) or self._begun
            case "error":
                raise self._error(found, data)
            case _ if kind in _TERMINAL:
                self._end(kind, found)

    def _add_reasoning(self, found: _EventIn) -> StreamDelta | None:
        """Parts of the reasoning are paragraphs."""
        part = (found.output_index, found.summary_index, found.content_index)
        text = found.delta or ""
        if self._reasoning and part != self._reasoning_part and text:
            text = f"\n\n{text}"
        self._reasoning_part = part
        self._reasoning.append(text)
        return StreamDelta(reasoning=text) if text else None

    def _read(self, found: _EventIn) -> Response | None:
        if not bytes(found.response):
            return None
        return read_json(RESPONSE, bytes(found.response), request_id=self._request_id)

    def _end(self, kind: str, found: _EventIn) -> None:
        whole = self._read(found) or Response()
        self._begun = whole if is_set(whole.usage) else self._begun
        if kind == "response.failed" or whole.status == "failed":
            raise reported(whole.error, self._headers)
        status = whole.status or kind.removeprefix("response.")
        self._whole = msgspec.structs.replace(whole, status=status)
        self.done = True

    def _error(self, found: _EventIn, data: bytes) -> Exception:
        """Flat as in the SDK's types, or nested as it is sent."""
        if bytes(found.error):
            return reported(found.error, self._headers)
        return classify(HttpReply(status=200, headers=self._headers, body=data))

    def _least_usage(self) -> Usage | None:
        """What the provider told, and at least what was seen of the answer."""
        told = read_usage(self._begun.usage)
        characters = sum(map(len, self._text)) + sum(len(piece) for c in self._calls.values() for piece in c.arguments)
        reasoning = sum(map(len, self._reasoning)) // CHARACTERS_PER_TOKEN
        output = characters // CHARACTERS_PER_TOKEN
        if told is None:
            return Usage(output_tokens=output, reasoning_tokens=reasoning) if output or reasoning else None
        if told.total_output_tokens >= output + reasoning:
            return told
        return msgspec.structs.replace(told, output_tokens=output, reasoning_tokens=reasoning)
