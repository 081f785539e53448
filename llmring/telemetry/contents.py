"""Prompts and answers as OpenTelemetry's conventions spell them, for spans of those who asked for them. Pure.

Texts, tool calls and their results go in whole; of images, documents and sound only what they are and where they lie,
never their bytes. What a provider spelled in its own way (NativeTurn) and `extra_params` are left out.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from llmring.chat import ChatRequest, Choice, Completion, Message, Tool, ToolCall
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Link, Part, ProviderFile, RegisteredFile, TextPart

_MODALITIES: dict[type[Part], str] = {ImagePart: "image", DocumentPart: "document", AudioPart: "audio"}


def input_messages(request: ChatRequest) -> str:
    """The conversation as JSON, system messages among the others, as they were given."""
    return _json([_message(message) for message in request.messages])


def output_messages(completion: Completion) -> str:
    """The answers as JSON: one, or as many as were asked for."""
    choices: Sequence[Completion | Choice] = completion.choices or (completion,)
    return _json([_answer(choice) for choice in choices])


def tool_definitions(tools: Sequence[Tool]) -> str:
    return _json(
        [
            {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in tools
        ]
    )


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        parts = [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}]
    else:
        parts = [*map(_part, message.parts), *map(_tool_call, message.tool_calls)]
    return {"role": message.role, "parts": parts}


def _answer(answer: Completion | Choice) -> dict[str, Any]:
    reasoning = answer.reasoning if isinstance(answer, Completion) else None
    parts: list[dict[str, Any]] = [{"type": "reasoning", "content": reasoning}] if reasoning else []
    text = answer.content or answer.refusal
    if text:
        parts.append({"type": "text", "content": text})
    parts += map(_tool_call, answer.tool_calls)
    return {"role": "assistant", "parts": parts, "finish_reason": answer.finish_reason}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "content": part.text}
    modality = _MODALITIES[type(part)]
    match part.source:
        case Inline(media_type=media_type):
            return {"type": "blob", "modality": modality, "mime_type": media_type, "content": ""}
        case Link(url=url):
            return {"type": "uri", "modality": modality, "uri": url}
        case RegisteredFile(id=file_id) | ProviderFile(id=file_id):
            return {"type": "file", "modality": modality, "file_id": file_id}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        # As the model spelled it.
        arguments = call.arguments
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # Half a character. What is wrong about it is not for telemetry to say.
        return json.dumps(value)
