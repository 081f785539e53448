"""Recorded requests in OpenAI's chat completions format, rebuilt from our own types where these can say them."""

from typing import Any

from llmring.chat import ChatRequest, NamedTool
from llmring.prompt_tools import to_tools
from llmring.prompts import to_messages
from llmring.providers.codec import Codec
from llmring.providers.openai import OpenAICodec
from tests.providers.rebuilding import SETTINGS, NotOurs, joined

FIELDS = SETTINGS | {"max_completion_tokens", "stream_options", "stop"}


def rebuild(body: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    if not body.keys() <= FIELDS:
        raise NotOurs
    old = "max_tokens" in body
    choice = body.get("tool_choice")
    request = ChatRequest(
        model=body["model"],
        messages=to_messages(body["messages"]),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
        tools=to_tools(body.get("tools", [])),
        tool_choice=NamedTool(name=choice["function"]["name"]) if isinstance(choice, dict) else choice,
    )
    return OpenAICodec(max_tokens_field="max_tokens" if old else "max_completion_tokens"), request


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what says nothing: false streams, the usage option, and the many spellings of text."""
    spelled = {name: value for name, value in body.items() if name != "stream_options"}
    if not spelled.get("stream"):
        spelled.pop("stream", None)
    spelled["messages"] = [plain_message(message) for message in body["messages"]]
    return spelled


def plain_message(message: dict[str, Any]) -> dict[str, Any]:
    # We have one role for both: OpenAI reads "system" as "developer" where a model wants that.
    role = "system" if message["role"] == "developer" else message["role"]
    return message | {"role": role, "content": joined(message.get("content"))}
