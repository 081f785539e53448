"""OpenAI's chat completions format: the codec of OpenAI, and of every server that speaks it at another base URL.

Sans-IO: requests are spelled here; replies are read in `openai_reply`, streams in `openai_stream`, errors are judged in
`openai_faults`. Nothing is sent that the caller did not set, because nearly every optional field is refused by some
model. Format: https://platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from llmring.chat import ChatRequest, Completion, Message, NamedTool, Tool, ToolChoice
from llmring.errors import ProviderError
from llmring.providers import openai_faults, openai_reply
from llmring.providers.capabilities import Model
from llmring.providers.codec import HttpCall, HttpReply, LimitUpdate
from llmring.providers.openai_stream import OpenAIAnswer
from llmring.providers.replies import read_limits, request_id, to_call
from llmring.providers.streams import StreamReader

PARAMETERS = frozenset({"temperature", "top_p", "max_tokens", "stop", "tool_choice"})


class OpenAICodec(msgspec.Struct, frozen=True):
    """The codec. The base URL ends in the version (`/v1`).

    OpenAI's reasoning models refuse `max_tokens`; older compatible servers know nothing else.
    """

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"

    @property
    def format(self) -> str:
        return "openai-chat"

    @property
    def parameters(self) -> frozenset[str]:
        return PARAMETERS

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {key}"),)

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        body: dict[str, Any] = {
            "model": model.name,
            "messages": [_message(message) for message in request.messages],
        }
        optional: dict[str, Any] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            self.max_tokens_field: request.max_tokens,
            "stop": list(request.stop) or None,
            "tools": [_tool(tool) for tool in request.tools] or None,
            "tool_choice": _tool_choice(request.tool_choice),
            "stream": True if stream else None,
            # Without it a stream reports no usage.
            "stream_options": {"include_usage": True} if stream else None,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        return to_call("/chat/completions", body | request.extra_params)

    def decode(self, reply: HttpReply) -> Completion:
        return openai_reply.decode(reply)

    def classify(self, reply: HttpReply) -> ProviderError:
        return openai_faults.classify(reply)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        return read_limits(headers, openai_faults.LIMIT_HEADERS)

    def open_stream(self, headers: Mapping[str, str]) -> StreamReader:
        def read_whole(body: bytes) -> Completion:
            return openai_reply.decode(HttpReply(status=200, headers=headers, body=body))

        return StreamReader(OpenAIAnswer(headers), read_whole, request_id(headers))


def _message(message: Message) -> dict[str, Any]:
    spelled: dict[str, Any] = {"role": message.role, "content": None if message.content is None else message.text}
    if message.tool_call_id is not None:
        spelled["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        spelled["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    return spelled


def _tool(tool: Tool) -> dict[str, Any]:
    optional = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {"name": tool.name} | {name: value for name, value in optional.items() if value is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice
