"""Recorded requests in Anthropic's Messages format, rebuilt from our own types where these can say them."""

from base64 import b64encode
from typing import Any

import msgspec

from llmring.chat import (
    Cache,
    ChatRequest,
    JSONSchema,
    Message,
    NamedTool,
    NativeTurn,
    ResponseFormat,
    Tool,
    ToolCall,
    ToolChoice,
)
from llmring.codecs.anthropic.codec import AnthropicCodec
from llmring.codecs.codec import Codec
from llmring.parts import CacheTTL, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, Source, TextPart
from llmring.refs import ModelRef
from tests.codecs.rebuilding import SETTINGS, NotOurs, joined

FIELDS = SETTINGS | {
    "cache_control",
    "metadata",
    "output_config",
    "service_tier",
    "stop_sequences",
    "system",
    "thinking",
    "top_k",
}
PLAIN = {"type", "text", "tool_use", "tool_result", "image", "document"}
CHOICES: dict[str, ToolChoice] = {"auto": "auto", "none": "none", "any": "required"}


def rebuild(body: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    only(body, FIELDS)
    thinking, output, choice = (dict(body.get(name, {})) for name in ("thinking", "output_config", "tool_choice"))
    only(output, {"effort", "format"})
    only(thinking, {"type", "budget_tokens", "display"})
    whole = ttl_of(body)
    return AnthropicCodec(), ChatRequest(
        model=body["model"],
        messages=(
            *(Message(role="system", content=(text(block),)) for block in blocks_of(body.get("system", []))),
            *(turn for message in body["messages"] for turn in turns(message)),
        ),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        top_k=body.get("top_k"),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences", ())),
        tools=tuple(tool(each) for each in body.get("tools", [])),
        tool_choice=choice_of(choice),
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        response_format=response_format(output.get("format")),
        reasoning_effort=output.get("effort"),
        reasoning_tokens=thinking.get("budget_tokens"),
        show_reasoning={"summarized": True, "omitted": False}.get(thinking.get("display", "")),
        cache=Cache(ttl=whole) if whole else None,
        service_tier=body.get("service_tier"),
        user=body.get("metadata", {}).get("user_id"),
    )


def only(given: dict[str, Any], fields: set[str]) -> None:
    if not given.keys() <= fields:
        raise NotOurs


def ttl_of(block: dict[str, Any]) -> CacheTTL | None:
    mark = block.get("cache_control")
    if mark is None:
        return None
    return "1h" if mark.get("ttl") == "1h" else "5m"


def tool(given: dict[str, Any]) -> Tool:
    only(given, {"name", "description", "input_schema", "strict", "cache_control"})
    return Tool(
        name=given["name"],
        description=given.get("description"),
        parameters=given["input_schema"],
        strict=given.get("strict"),
        cache=ttl_of(given),
    )


def choice_of(choice: dict[str, Any]) -> ToolChoice | None:
    if not choice:
        return None
    return NamedTool(name=choice["name"]) if choice["type"] == "tool" else CHOICES[choice["type"]]


def response_format(given: dict[str, Any] | None) -> ResponseFormat | None:
    return JSONSchema(schema=given["schema"]) if given else None


def blocks_of(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def turns(message: dict[str, Any]) -> list[Message]:
    blocks = blocks_of(message["content"])
    if message["role"] == "assistant" and any(block["type"] not in PLAIN for block in blocks):
        origin = ModelRef(provider="anthropic", model="m")
        native = NativeTurn(origin=origin, format="anthropic", items=tuple(blocks))
        return [Message(role="assistant", content="not this", native=native)]
    return [turn(message["role"], block) for block in blocks]


def turn(role: Any, block: dict[str, Any]) -> Message:
    match block["type"]:
        case "tool_use":
            only(block, {"type", "id", "name", "input", "cache_control"})
            arguments = msgspec.json.encode(block["input"]).decode()
            call = ToolCall(id=block["id"], name=block["name"], arguments=arguments)
            return Message(role=role, tool_calls=(call,), cache=ttl_of(block))
        case "tool_result":
            only(block, {"type", "tool_use_id", "content", "is_error", "cache_control"})
            return Message(
                role="tool",
                content=tuple(part(each) for each in blocks_of(block.get("content", []))),
                tool_call_id=block["tool_use_id"],
                is_error=block.get("is_error", False),
                cache=ttl_of(block),
            )
        case _:
            return Message(role=role, content=(part(block),))


def part(block: dict[str, Any]) -> Part:
    match block["type"]:
        case "image":
            only(block, {"type", "source", "cache_control"})
            return ImagePart(source=source(block["source"]), cache=ttl_of(block))
        case "document":
            only(block, {"type", "source", "title", "cache_control"})
            return DocumentPart(source=source(block["source"]), name=block.get("title"), cache=ttl_of(block))
        case _:
            return text(block)


def text(block: dict[str, Any]) -> TextPart:
    if block["type"] != "text":
        raise NotOurs
    only(block, {"type", "text", "cache_control"})
    return TextPart(text=block["text"], cache=ttl_of(block))


def source(given: dict[str, Any]) -> Source:
    match given["type"]:
        case "base64":
            return Inline(media_type=given["media_type"], data=given["data"])
        case "url":
            return Link(url=given["url"])
        case "file":
            return ProviderFile(id=given["file_id"])
        case "text":
            return Inline(media_type="text/plain", data=b64encode(given["data"].encode()).decode())
    raise NotOurs


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what says nothing: false streams, and the many spellings of text."""
    spelled = dict(body)
    if not spelled.get("stream"):
        spelled.pop("stream", None)
    if "system" in spelled:
        spelled["system"] = blocks_of(spelled["system"])
    spelled["messages"] = [
        {
            "role": message["role"],
            "content": [plain_block(block) for block in blocks_of(message["content"])],
        }
        for message in body["messages"]
    ]
    return spelled


def plain_block(block: dict[str, Any]) -> dict[str, Any]:
    content = block.get("content")
    is_text = isinstance(content, list) and all(each["type"] == "text" for each in content)
    return block | {"content": joined(content)} if is_text else block
