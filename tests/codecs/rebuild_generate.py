"""Recorded requests in Gemini's generateContent format, rebuilt from our own types where these can say them."""

import re
from typing import Any

import msgspec

from llmring.chat import Cache, ChatRequest, JSONMode, JSONSchema, Message, NativeTurn, ResponseFormat, Tool, ToolCall
from llmring.codecs.codec import Codec
from llmring.codecs.google.codec import GoogleCodec
from llmring.codecs.schemas.dialects import fit_google
from llmring.parts import AudioPart, DocumentPart, ImagePart, Link, Part, ProviderFile, TextPart
from llmring.refs import ModelRef
from tests.codecs.rebuilding import NotOurs

FIELDS = {"model", "contents", "systemInstruction", "generationConfig", "tools", "cachedContent"}
SETTINGS = {"maxOutputTokens", "temperature", "responseMimeType", "responseJsonSchema", "thinkingConfig"}
SCHEMAS = {"parameters", "parametersJsonSchema", "responseJsonSchema"}


def model_of(url: str) -> str:
    """The model stands in the address alone."""
    found = re.search(r"/models/([^/:]+):", url)
    assert found is not None
    return found[1]


def rebuild(sent: dict[str, Any]) -> tuple[Codec, ChatRequest]:
    body = plain(sent) | {"model": sent["model"]}
    settings = body.get("generationConfig", {})
    if not body.keys() <= FIELDS or not settings.keys() <= SETTINGS:
        raise NotOurs
    system = [
        Message(role="system", content=part["text"]) for part in body.get("systemInstruction", {}).get("parts", [])
    ]
    thinking = settings.get("thinkingConfig", {})
    return GoogleCodec(), ChatRequest(
        model=body["model"],
        messages=(*system, *(turn for content in body["contents"] for turn in turns(content, body["model"]))),
        temperature=settings.get("temperature"),
        max_tokens=settings.get("maxOutputTokens"),
        tools=tuple(tool(item) for group in body.get("tools", []) for item in group["functionDeclarations"]),
        response_format=response_format(settings),
        reasoning_effort=thinking.get("thinkingLevel", "").lower() or None,
        reasoning_tokens=thinking.get("thinkingBudget"),
        show_reasoning=thinking.get("includeThoughts"),
        cache=Cache(content=body["cachedContent"]) if "cachedContent" in body else None,
    )


def tool(item: dict[str, Any]) -> Tool:
    return Tool(name=item["name"], description=item.get("description"), parameters=item["parametersJsonSchema"])


def response_format(settings: dict[str, Any]) -> ResponseFormat | None:
    if "responseJsonSchema" in settings:
        return JSONSchema(schema=settings["responseJsonSchema"])
    return JSONMode() if "responseMimeType" in settings else None


def turns(content: dict[str, Any], model: str) -> list[Message]:
    parts = content["parts"]
    results = [part["functionResponse"] for part in parts if "functionResponse" in part]
    if results:
        return [Message(role="tool", tool_call_id=known_as(r), content=r["response"]["result"]) for r in results]
    if content["role"] == "user":
        return [Message(role="user", content=tuple(our_part(part) for part in parts))]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return [
        Message(
            role="assistant",
            tool_calls=tuple(ToolCall(id=known_as(c), name=c["name"], arguments=json_text(c["args"])) for c in calls),
            native=NativeTurn(origin=ModelRef("google", model), format="google", items=tuple(parts)),
        )
    ]


def known_as(call: dict[str, Any]) -> str:
    return str(call.get("id") or f"call-of-{call['name']}")


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def our_part(part: dict[str, Any]) -> Part:
    if "text" in part:
        return TextPart(text=part["text"])
    file = part["fileData"]
    uri, kind = file["fileUri"], file["mimeType"]
    types: dict[str, type[ImagePart | AudioPart | DocumentPart]] = {"image": ImagePart, "audio": AudioPart}
    made = types.get(kind.partition("/")[0], DocumentPart)
    is_ours = uri.startswith("https://generativelanguage.googleapis.com/")
    return made(source=ProviderFile(id="files/1", uri=uri, media_type=kind) if is_ours else Link(url=uri))


# What can be said in several ways is said in one: snake case, schemas in OpenAPI's words, empty and default settings,
# results of functions, which may be any object.


def plain(body: dict[str, Any]) -> dict[str, Any]:
    spelled = in_one_way(body)
    spelled.pop("model", None)
    spelled.get("systemInstruction", {}).pop("role", None)
    settings = spelled.get("generationConfig", {})
    settings.pop("responseModalities", None)
    if not settings:
        spelled.pop("generationConfig", None)
    return dict(spelled)


def in_one_way(value: Any, name: str = "") -> Any:
    if name in SCHEMAS:
        return fit_google(value).schema
    if name == "thinkingLevel":
        return value.upper()
    if name == "response":
        return value if value.keys() == {"result"} else {"result": json_text(value)}
    if name in ("args", "labels"):
        return value
    if isinstance(value, list):
        return [in_one_way(item) for item in value]
    if isinstance(value, dict):
        named = {re.sub(r"_(\w)", lambda found: found[1].upper(), key): item for key, item in value.items()}
        return {"parametersJsonSchema" if k == "parameters" else k: in_one_way(v, k) for k, v in named.items()}
    return value
