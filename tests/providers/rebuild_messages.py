"""Recorded requests in Anthropic's Messages format, rebuilt from our own types where these can say them."""

from typing import Any

import msgspec

from llmring.chat import ChatRequest, Message, Tool, ToolCall
from llmring.providers.anthropic import AnthropicCodec
from llmring.providers.codec import Codec
from tests.providers.rebuilding import SETTINGS, NotOurs, joined

FIELDS = SETTINGS | {"system", "stop_sequences"}


def rebuild(body: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    if not body.keys() <= FIELDS or "tool_choice" in body:
        raise NotOurs
    system = [Message(role="system", content=block["text"]) for block in blocks_of(body.get("system", []))]
    turns = [turn for message in body["messages"] for turn in anthropic_turns(message)]
    return AnthropicCodec(), ChatRequest(
        model=body["model"],
        messages=(*system, *turns),
        temperature=body.get("temperature"),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences", ())),
        tools=tuple(anthropic_tool(tool) for tool in body.get("tools", [])),
    )


def anthropic_tool(tool: dict[str, Any]) -> Tool:
    if not tool.keys() <= {"name", "description", "input_schema"}:
        raise NotOurs
    return Tool(name=tool["name"], description=tool.get("description"), parameters=tool["input_schema"])


def blocks_of(content: Any) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if any("cache_control" in block for block in blocks):
        raise NotOurs
    return list(blocks)


def anthropic_turns(message: dict[str, Any]) -> list[Message]:
    return [anthropic_turn(message["role"], block) for block in blocks_of(message["content"])]


def anthropic_turn(role: Any, block: dict[str, Any]) -> Message:
    match block["type"]:
        case "text" if block.keys() == {"type", "text"}:
            return Message(role=role, content=block["text"])
        case "tool_use":
            arguments = msgspec.json.encode(block["input"]).decode()
            return Message(role=role, tool_calls=(ToolCall(id=block["id"], name=block["name"], arguments=arguments),))
        case "tool_result":
            return Message(role="tool", content=joined(block["content"]), tool_call_id=block["tool_use_id"])
    raise NotOurs


def plain(body: dict[str, Any]) -> dict[str, Any]:
    spelled = dict(body)
    if not spelled.get("stream"):
        spelled.pop("stream", None)
    if "system" in spelled:
        spelled["system"] = blocks_of(spelled["system"])
    spelled["messages"] = [
        {
            "role": message["role"],
            "content": [
                block | ({"content": joined(block["content"])} if "content" in block else {})
                for block in blocks_of(message["content"])
            ],
        }
        for message in body["messages"]
    ]
    return spelled
