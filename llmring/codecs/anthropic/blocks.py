"""Messages as Anthropic's blocks: text, images, documents, tool calls and their results, and marks of what to cache.

Pure. Blank texts are left out, because Anthropic refuses them. What a user's message cannot hold here (audio, images of
other types) raises Unsupported, so that the next model of the chain may take it.
Formats: https://docs.claude.com/en/api/messages, and /en/docs/build-with-claude/prompt-caching, /vision, /pdf-support.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from llmring.chat import Message, NativeTurn, Note, ToolCall
from llmring.errors import InvalidRequest, Unsupported
from llmring.parts import (
    AudioPart,
    CacheTTL,
    DocumentPart,
    ImagePart,
    Inline,
    Link,
    Part,
    ProviderFile,
    RegisteredFile,
    Source,
    TextPart,
)

FORMAT = "anthropic"
"""Of NativeTurn.items: the content blocks of an answer."""

MOST_MARKS = 4
"""Of `cache_control` in one request."""

Block = dict[str, Any]
Blocks = list[Block]

_IMAGE_TYPES = {"image/jpg": "image/jpeg"} | {
    name: name for name in ("image/jpeg", "image/png", "image/gif", "image/webp")
}
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})
_THINKING = frozenset({"thinking", "redacted_thinking"})
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])


def system_blocks(messages: Iterable[Message]) -> Blocks:
    """All system messages, in order. They stand outside of the conversation here, wherever the caller put them."""
    return [block for message in messages if message.role == "system" for block in _texts_only(message)]


def turns(messages: Iterable[Message]) -> list[Block]:
    """The conversation in turns that alternate.

    Neighbours of one role become one turn, as Anthropic would join them itself; all results of a round of tool calls
    must be in one user message, before its text.
    """
    joined: list[tuple[str, Blocks]] = []
    for message in messages:
        blocks = _blocks(message)
        if not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if joined and joined[-1][0] == role:
            joined[-1][1].extend(blocks)
        else:
            joined.append((role, blocks))
    for role, blocks in joined:
        if role == "user":
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    _strip_end(joined)
    return [{"role": role, "content": blocks} for role, blocks in joined]


def lacks_thinking(spelled: Sequence[Block]) -> bool:
    """Whether the last turns are tool calls without thinking and their results. With a thinking budget, Anthropic
    refuses to go on from there: "Expected `thinking` or `redacted_thinking`, but found `tool_use`"."""
    if len(spelled) < 2 or not any(block.get("type") == "tool_result" for block in spelled[-1]["content"]):
        return False
    return not any(block.get("type") in _THINKING for block in spelled[-2]["content"])


def uses_files(messages: Iterable[Message]) -> bool:
    """Whether a message names a file that Anthropic holds."""
    return any(
        not isinstance(part, TextPart) and isinstance(part.source, ProviderFile)
        for message in messages
        if isinstance(message.content, tuple)
        for part in message.content
    )


def _blocks(message: Message) -> Blocks:
    match message.role:
        case "system":
            return []
        case "user":
            return _marked(_spell(message.parts), message.cache)
        case "assistant":
            native = _native(message.native)
            calls = [_tool_use(call) for call in message.tool_calls]
            return _marked(native or _texts_only(message) + calls, message.cache)
        case "tool":
            return [_tool_result(message)]


def _native(turn: NativeTurn | None) -> Blocks:
    """The blocks of an answer of Anthropic's, in copies. Its blank texts would be refused."""
    if turn is None or turn.format != FORMAT:
        return []
    return [dict(block) for block in turn.items if block.get("type") != "text" or str(block.get("text") or "").strip()]


def _texts_only(message: Message) -> Blocks:
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise _cannot(f"{message.role} messages hold text alone")
    return _marked(_spell(message.parts), message.cache)


def _spell(parts: Iterable[Part]) -> Blocks:
    blocks: Blocks = []
    for part in parts:
        match part:
            case TextPart():
                if part.text.strip():
                    blocks.append({"type": "text", "text": part.text})
            case ImagePart():
                blocks.append({"type": "image", "source": _image(part.source)})
            case DocumentPart():
                title = {"title": part.name} if part.name else {}
                blocks.append({"type": "document", "source": _document(part.source)} | title)
            case AudioPart():
                raise _cannot("there is no audio")
        # A blank text's mark goes to what stands before it: the prefix is the same.
        _marked(blocks, part.cache)
    return blocks


def _image(source: Source) -> Block:
    if not isinstance(source, Inline):
        return _elsewhere(source)
    media_type = _IMAGE_TYPES.get(source.media_type.lower())
    if media_type is None:
        raise _cannot(f"images are JPEG, PNG, GIF or WebP, not {source.media_type}")
    return {"type": "base64", "media_type": media_type, "data": source.data}


def _document(source: Source) -> Block:
    if not isinstance(source, Inline):
        return _elsewhere(source)
    media_type = source.media_type.partition(";")[0].strip().lower()
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": source.data}
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        return {"type": "text", "media_type": "text/plain", "data": _text_of(source)}
    raise _cannot(f"documents are PDF or text, not {source.media_type}")


def _elsewhere(source: Link | ProviderFile | RegisteredFile) -> Block:
    match source:
        case Link():
            return {"type": "url", "url": source.url}
        case ProviderFile():
            return {"type": "file", "file_id": source.id}
        case RegisteredFile():
            raise InvalidRequest(f"file {source.id!r} was not brought to Anthropic")


def _text_of(source: Inline) -> str:
    try:
        return b64decode(source.data).decode()
    except UnicodeDecodeError:
        raise _cannot("text documents are UTF-8") from None
    except ValueError:
        # Without its cause, which may quote the document.
        raise InvalidRequest("the data of a document is not base64") from None


def _cannot(why: str) -> Unsupported:
    return Unsupported(f"in Anthropic's format, {why}", parameter="messages")


def _strip_end(joined: list[tuple[str, Blocks]]) -> None:
    """Anthropic refuses a conversation that ends in an assistant's text with blanks behind it."""
    if joined and joined[-1][0] == "assistant" and joined[-1][1][-1].get("type") == "text":
        last = joined[-1][1][-1]
        last["text"] = last["text"].rstrip()


def _tool_use(call: ToolCall) -> Block:
    return {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": _arguments(call)}


def _id(call_id: str | None) -> str | None:
    """Anthropic refuses ids with other characters, as some providers make them."""
    return _NOT_IN_IDS.sub("_", call_id) if call_id is not None else None


def _arguments(call: ToolCall) -> Block:
    if not call.arguments.strip():
        return {}
    try:
        return _ARGUMENTS.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Without its cause, which may quote the arguments.
        raise InvalidRequest(f"the arguments of tool call {call.id!r} are not a JSON object") from None


def _tool_result(message: Message) -> Block:
    result: Block = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    marks = [message.cache]
    if isinstance(message.content, tuple):
        # A mark inside of the result is one behind it.
        marks += [part.cache for part in message.content]
        content: str | Blocks | None = _spell(msgspec.structs.replace(part, cache=None) for part in message.content)
    else:
        content = message.content
    if content:
        result["content"] = content
    if message.is_error:
        result["is_error"] = True
    _marked([result], "1h" if "1h" in marks else "5m" if "5m" in marks else None)
    return result


# What to cache. A mark caches everything up to its block: the tools, then the system messages, then the conversation.


def mark(ttl: CacheTTL) -> Block:
    """A `cache_control`. Five minutes are what Anthropic does by itself."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def _marked(blocks: Blocks, ttl: CacheTTL | None) -> Blocks:
    """The blocks, with a mark on the last one that can bear it."""
    if ttl is not None and (last := _last_markable(blocks)) is not None:
        last["cache_control"] = mark(ttl)
    return blocks


def _last_markable(blocks: Sequence[Block]) -> Block | None:
    """Thinking is cached with what follows it, and bears no mark of its own."""
    return next((block for block in reversed(blocks) if block.get("type") not in _THINKING), None)


def settle_marks(prompt: Sequence[Block], whole: CacheTTL | None) -> tuple[Block, list[Note]]:
    """Make the marks in `prompt` (tools, system and conversation, in this order) such that Anthropic takes them, with
    `whole` for all of it. Returns what to add to the body, and what was changed.

    At most four: the later ones cover what the earlier ones would. A mark for an hour may not follow one for five
    minutes: what is before it is written for an hour anyway.
    """
    places = [block for block in prompt if "cache_control" in block]
    top: Block = {}
    if whole is not None:
        # The same place twice is refused when the lifetimes differ.
        at_end = bool(places) and places[-1] is _last_markable(prompt)
        holder = places[-1] if at_end else top
        ttl = "1h" if at_end and _is_long(holder) else whole
        holder["cache_control"] = mark(ttl)
        places += [] if at_end else [top]
    return top, _settle(places)


def _settle(places: list[Block]) -> list[Note]:
    notes = []
    surplus = places[:-MOST_MARKS]
    for block in surplus:
        del block["cache_control"]
    if surplus:
        why = f"Anthropic takes {MOST_MARKS} marks; the first {len(surplus)} were left out"
        notes.append(Note(parameter="cache", action="dropped", why=why))
    kept = places[len(surplus) :]
    last_long = max((at for at, block in enumerate(kept) if _is_long(block)), default=0)
    short = [block for block in kept[:last_long] if not _is_long(block)]
    for block in short:
        block["cache_control"] = mark("1h")
    if short:
        why = "a mark for an hour may not follow one for five minutes: both last an hour"
        notes.append(Note(parameter="cache", action="changed", why=why))
    return notes


def _is_long(block: Block) -> bool:
    return bool(block["cache_control"].get("ttl") == "1h")


def remove_marks(prompt: Iterable[Block]) -> None:
    """For a model that takes none."""
    for block in prompt:
        block.pop("cache_control", None)
