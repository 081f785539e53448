"""What Anthropic refuses about the messages of a conversation and about schemas. Pure.

Calls and results must pair up, thinking blocks must be ones the provider signed, and with a thinking budget the
turn that called tools must begin with one.
"""

from collections.abc import Iterator, Mapping

import msgspec

from llmring.sim.seals import unseal
from llmring.sim.wire import Problem, Rejected, Schema


class CacheControl(msgspec.Struct):
    type: str = "ephemeral"
    ttl: str | None = None


class _Inner(msgspec.Struct):
    type: str = "text"
    text: str = ""


class Source(msgspec.Struct):
    type: str = ""
    file_id: str = ""
    data: str = ""
    url: str = ""


class Block(msgspec.Struct):
    type: str = "text"
    text: str = ""
    #: Of a tool_result.
    content: str | list[_Inner] | None = None
    tool_use_id: str = ""
    #: Of a tool_use.
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"null")
    thinking: str = ""
    signature: str = ""
    source: Source | None = None
    cache_control: CacheControl | None = None

    def said(self) -> str:
        if isinstance(self.content, str):
            return self.text + self.content
        return self.text + "".join(inner.text for inner in self.content or ())


class Message(msgspec.Struct):
    role: str
    content: str | list[Block]

    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(block.said() for block in self.content)

    def blocks(self, kind: str) -> list[Block]:
        return [] if isinstance(self.content, str) else [block for block in self.content if block.type == kind]

    def holds_tool_result(self) -> bool:
        return bool(self.blocks("tool_result"))


def check_messages(messages: list[Message], model: str, *, thoughts: bool) -> None:
    """Raises Rejected. `thoughts`: a thinking budget is set, so that a turn of calls begins with its thoughts."""
    waiting: list[str] = []
    for at, message in enumerate(messages):
        _check_blocks(at, message, model)
        results = message.blocks("tool_result") if message.role == "user" else []
        for index, result in enumerate(results):
            if result.tool_use_id not in waiting:
                raise _refused(
                    f"messages.{at}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result.tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block in "
                    "the previous message."
                )
        missing = [call for call in waiting if call not in {result.tool_use_id for result in results}]
        if missing:
            _refuse_unanswered(at - 1, missing)
        waiting = [block.id for block in message.blocks("tool_use")] if message.role == "assistant" else []
    if waiting:
        _refuse_unanswered(len(messages) - 1, waiting)
    last = messages[-1].text()
    if messages[-1].role == "assistant" and last != last.rstrip():
        raise _refused("messages: final assistant content cannot end with trailing whitespace")
    if thoughts and messages[-1].holds_tool_result():
        _check_begins_with_thought(messages)


def _refused(message: str) -> Rejected:
    return Rejected(Problem(kind="bad_field", detail=message))


def _refuse_unanswered(at: int, calls: list[str]) -> None:
    raise _refused(
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _check_blocks(at: int, message: Message, model: str) -> None:
    if isinstance(message.content, str):
        return
    for index, block in enumerate(message.content):
        if block.type == "text" and not block.text:
            raise _refused("messages: text content blocks must be non-empty")
        if block.type == "thinking":
            thought = unseal("anthropic", model, block.signature)
            # Where the text was not shown, an empty one is sent back.
            if thought is None or block.thinking not in ("", thought):
                raise Rejected(Problem(kind="bad_seal", detail=f"messages.{at}.content.{index}"))


def _check_begins_with_thought(messages: list[Message]) -> None:
    at, turn = max((at, message) for at, message in enumerate(messages) if message.role == "assistant")
    first = turn.content[0] if not isinstance(turn.content, str) and turn.content else Block()
    if first.type not in ("thinking", "redacted_thinking"):
        raise _refused(
            f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first.type}`. "
            "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). To avoid this requirement, disable `thinking`."
        )


_NO_BOUNDS = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}


def schema_complaint(schema: Schema) -> str | None:
    """The first thing structured output and strict tools refuse in a schema, in the provider's words."""
    return next(_complaints(schema), None)


def _complaints(schema: object) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield "For 'object' type, 'additionalProperties' must be explicitly set to false"
    refused = [name for name in _NO_BOUNDS.get(str(kind), ()) if name in schema]
    if refused:
        yield f"For '{kind}' type, properties {', '.join(refused)} are not supported"
    if "oneOf" in schema:
        yield "Schema type 'oneOf' is not supported"
    for holder in ("properties", "$defs", "definitions"):
        held = schema.get(holder)
        if isinstance(held, Mapping):
            for inner in held.values():
                yield from _complaints(inner)
    for holder in ("anyOf", "allOf"):
        listed = schema.get(holder)
        if isinstance(listed, list):
            for inner in listed:
                yield from _complaints(inner)
    yield from _complaints(schema.get("items"))
