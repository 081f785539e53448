"""Recorded requests in Ollama's /api/chat format, rebuilt from our own types where these can say them."""

from typing import Any

from llmring.chat import ChatRequest
from llmring.codecs.codec import Codec
from llmring.codecs.ollama.codec import OllamaCodec
from llmring.prompt_tools import to_tools
from llmring.prompts import to_messages
from tests.codecs.rebuilding import NotOurs

FIELDS = {"model", "messages", "stream", "options", "tools"}
OPTIONS = {"temperature", "seed"}


def rebuild(sent: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    body = plain(sent)
    options = body.get("options", {})
    if not body.keys() <= FIELDS or not options.keys() <= OPTIONS:
        raise NotOurs
    return OllamaCodec(), ChatRequest(
        model=body["model"],
        messages=to_messages(body["messages"]),
        temperature=options.get("temperature"),
        seed=options.get("seed"),
        tools=to_tools(body.get("tools", [])),
    )


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what says nothing, which clients send: empty options, tools and formats; and without `truncate`,
    which no recorded client sends."""
    return {name: value for name, value in body.items() if name != "truncate" and value not in (None, "", {}, [])}
