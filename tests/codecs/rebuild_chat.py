"""Recorded requests in OpenAI's chat completions format, rebuilt from our own types where these can say them."""

from typing import Any

from llmring.chat import Cache, ChatRequest, Message, NamedTool, NativeTurn
from llmring.codecs.codec import Codec
from llmring.codecs.openai.chat import OpenAICodec
from llmring.codecs.openai.dialect import (
    COMPATIBLE,
    DEEPSEEK,
    FORMAT,
    GROQ,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    Dialect,
)
from llmring.prompt_formats import to_response_format
from llmring.prompt_tools import to_tools
from llmring.prompts import to_messages
from llmring.refs import ModelRef
from tests.codecs.rebuilding import SETTINGS, NotOurs, joined

FIELDS = SETTINGS | {
    "max_completion_tokens",
    "stream_options",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "response_format",
    "reasoning",
    "reasoning_effort",
    "reasoning_format",
    "prompt_cache_key",
}
# By the beginning of the model's name.
DIALECTS: dict[str, Dialect] = {
    "deepseek-": DEEPSEEK,
    "mistral-": MISTRAL,
    "anthropic/": OPENROUTER,
    "openai/gpt-oss": GROQ,
    "gpt-oss:": COMPATIBLE,
    "qwen3:": COMPATIBLE,
    "facebook/": COMPATIBLE,
    "meta-llama/": COMPATIBLE,
}


def rebuild(body: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    if not body.keys() <= FIELDS:
        raise NotOurs
    dialect = next((dialect for name, dialect in DIALECTS.items() if body["model"].startswith(name)), OPENAI)
    if dialect is OPENAI and "max_tokens" in body:
        dialect = COMPATIBLE
    choice = body.get("tool_choice")
    reasoning = body.get("reasoning", {})
    request = ChatRequest(
        model=body["model"],
        messages=tuple(to_message(message) for message in body["messages"]),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
        n=body.get("n"),
        logprobs=body.get("logprobs"),
        top_logprobs=body.get("top_logprobs"),
        tools=to_tools(body.get("tools", [])),
        tool_choice=NamedTool(name=choice["function"]["name"]) if isinstance(choice, dict) else choice,
        response_format=to_response_format(with_strictness(body.get("response_format"))),
        reasoning_effort=body.get("reasoning_effort", reasoning.get("effort")),
        reasoning_tokens=reasoning.get("max_tokens"),
        cache=Cache(key=body["prompt_cache_key"]) if "prompt_cache_key" in body else None,
    )
    return OpenAICodec(dialect), request


def to_message(message: dict[str, Any]) -> Message:
    if any("prompt_cache_breakpoint" in part for part in parts_of(message)):
        raise NotOurs
    if "reasoning_content" not in message:
        (ours,) = to_messages([message])
        return ours
    # As the codec gives the turn back; `reasoning` says the same once more.
    item = {name: value for name, value in message.items() if name != "reasoning"}
    origin = ModelRef(provider="deepseek", model="deepseek-reasoner")
    native = NativeTurn(origin=origin, format=FORMAT, items=(item,))
    return Message(role="assistant", content=message["content"], native=native)


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def with_strictness(given: Any) -> Any:
    """OpenAI's schemas are not strict unless they say so; ours are."""
    if not given or given["type"] != "json_schema":
        return given
    return given | {"json_schema": {"strict": False} | given["json_schema"]}


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what says nothing: false streams, the usage option, the many spellings of text, defaults."""
    spelled = {name: value for name, value in body.items() if name != "stream_options"}
    if not spelled.get("stream"):
        spelled.pop("stream", None)
    if spelled.get("thinking") == {"type": "enabled"}:
        del spelled["thinking"]
    spelled["messages"] = [plain_message(message) for message in body["messages"]]
    if "tools" in body:
        spelled["tools"] = [tool | {"function": not_strict(tool["function"])} for tool in body["tools"]]
    if "json_schema" in body.get("response_format", {}):
        schema = not_strict(body["response_format"]["json_schema"])
        spelled["response_format"] = body["response_format"] | {"json_schema": untitled(schema)}
    return spelled


def not_strict(value: dict[str, Any]) -> dict[str, Any]:
    return {name: given for name, given in value.items() if (name, given) != ("strict", False)}


def untitled(schema: Any) -> Any:
    """A schema without titles, which OpenAI does not read."""
    if isinstance(schema, list):
        return [untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: untitled(value) for name, value in schema.items() if (name, type(value)) != ("title", str)}


def plain_message(message: dict[str, Any]) -> dict[str, Any]:
    # We have one role for both: OpenAI reads "system" as "developer" where a model wants that.
    role = "system" if message["role"] == "developer" else message["role"]
    content = message.get("content")
    text_alone = all(part["type"] == "text" for part in parts_of(message))
    spelled = message | {"role": role, "content": joined(content) if text_alone else content}
    return {name: value for name, value in spelled.items() if name != "reasoning"}
