"""Requests to Gemini, as tests spell them."""

from typing import Any

from llmring.chat import ChatRequest, Message, ToolCall
from llmring.codecs.capabilities import Model
from llmring.codecs.codec import Codec, HttpCall
from llmring.codecs.google.codec import GoogleCodec
from llmring.prompts import to_messages
from tests.codecs.payloads import body_of

CODEC: Codec = GoogleCodec()
NEW, OLD = "gemini-3-flash", "gemini-2.5-flash"


def call_of(*messages: Message, model: str = OLD, stream: bool = False, **fields: Any) -> HttpCall:
    request = ChatRequest(model="a", messages=messages or to_messages("hi"), **fields)
    return CODEC.encode(request, Model(name=model), stream=stream)


def encode(*messages: Message, model: str = OLD, **fields: Any) -> dict[str, Any]:
    return body_of(call_of(*messages, model=model, **fields))


def settings(**fields: Any) -> Any:
    return encode(**fields).get("generationConfig")


def user(text: str) -> Message:
    return Message(role="user", content=text)


def asks(*calls: ToolCall, text: str | None = None) -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


def call(call_id: str, name: str = "f", arguments: str = "") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def result(call_id: str, text: str, **fields: Any) -> Message:
    return Message(role="tool", content=text, tool_call_id=call_id, **fields)
