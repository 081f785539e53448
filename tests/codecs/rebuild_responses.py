"""Recorded requests in OpenAI's Responses format, rebuilt from our own types where these can say them."""

from typing import Any

from llmring.chat import Cache, ChatRequest, JSONSchema, Message, NamedTool, NativeTurn, ResponseFormat, Tool
from llmring.codecs.codec import Codec
from llmring.codecs.openai.responses import ResponsesCodec
from llmring.parts import ImagePart, Link, Part, TextPart
from llmring.refs import ModelRef
from tests.codecs.rebuild_chat import untitled
from tests.codecs.rebuilding import NotOurs

FIELDS = {
    "model",
    "input",
    "instructions",
    "stream",
    "store",
    "include",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "max_output_tokens",
    "prompt_cache_key",
    "user",
}


def rebuild(sent: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    body = plain(sent)
    if not body.keys() <= FIELDS or not body.get("reasoning", {}).keys() <= {"effort"}:
        raise NotOurs
    choice = body.get("tool_choice")
    key = body.get("prompt_cache_key")
    return ResponsesCodec(), ChatRequest(
        model=body["model"],
        messages=tuple(turns(body["input"])),
        max_tokens=body.get("max_output_tokens"),
        tools=tuple(tool(item) for item in body.get("tools", [])),
        tool_choice=NamedTool(name=choice["name"]) if isinstance(choice, dict) else choice,
        response_format=response_format(body.get("text")),
        reasoning_effort=body.get("reasoning", {}).get("effort"),
        cache=Cache(key=key) if key is not None else None,
        user=body.get("safety_identifier"),
    )


def tool(item: dict[str, Any]) -> Tool:
    if not item.keys() <= {"type", "name", "description", "parameters", "strict"} or item["type"] != "function":
        raise NotOurs
    return Tool(
        name=item["name"],
        description=item.get("description"),
        parameters=item.get("parameters"),
        strict=item["strict"] or None,
    )


def response_format(text: dict[str, Any] | None) -> ResponseFormat | None:
    if text is None or text.get("format", {}).get("type") == "text":
        return None
    wanted = text["format"]
    return JSONSchema(schema=wanted["schema"], name=wanted["name"], strict=wanted.get("strict", False))


def turns(items: list[dict[str, Any]]) -> list[Message]:
    return [turn(item) for item in items]


def turn(item: dict[str, Any]) -> Message:
    match item.get("type", "message"):
        case "message" if item["role"] in ("user", "system") or isinstance(item["content"], str):
            return Message(role=item["role"], content=content(item["content"]))
        case "function_call_output":
            return Message(role="tool", tool_call_id=item["call_id"], content=content(item["output"]))
        case _:
            native = NativeTurn(origin=ModelRef("openai", "m"), format="openai-responses", items=(item,))
            return Message(role="assistant", native=native)


def content(given: Any) -> str | tuple[Part, ...]:
    return given if isinstance(given, str) else tuple(part(item) for item in given)


def part(item: dict[str, Any]) -> Part:
    match item:
        case {"type": "input_text", "text": str(text)} if item.keys() == {"type", "text"}:
            return TextPart(text=text)
        case {"type": "input_image", "image_url": str(url)}:
            return ImagePart(source=Link(url=url), detail=item.get("detail"))
    raise NotOurs


OPTIONAL = {"store", "include", "prompt_cache_options"}
"""What we always send, or never: other clients choose otherwise."""


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what says nothing."""
    spelled = {name: value for name, value in body.items() if name not in OPTIONAL}
    if not spelled.get("stream"):
        spelled.pop("stream", None)
    if "user" in spelled:
        spelled["safety_identifier"] = spelled.pop("user")
    given = spelled["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else [plain_item(item) for item in given]
    instructions = spelled.pop("instructions", None)
    spelled["input"] = [{"role": "system", "content": instructions}, *items] if instructions else items
    if spelled.get("text", {}).get("format") == {"type": "text"}:
        del spelled["text"]
    if "text" in spelled:
        spelled["text"] = untitled(spelled["text"])
    if "tools" in spelled:
        spelled["tools"] = [{"strict": False} | tool for tool in spelled["tools"]]
    return spelled


def plain_item(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") == "message" and item.get("role") != "assistant":
        item = {name: value for name, value in item.items() if name != "type"}
    if item.get("role") == "developer":
        item = item | {"role": "system"}
    parts = item.get("content")
    if isinstance(parts, list) and parts and all(part.get("type") == "input_text" for part in parts):
        return item | {"content": "".join(part["text"] for part in parts)}
    return item
