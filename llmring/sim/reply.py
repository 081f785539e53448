"""What the simulated model answers. Pure and deterministic: the same request always gets the same answer.

Text is `echo: <first words of the prompt>`, padded or cut to the configured number of tokens. A tool is
called when the choice forces it, or when the prompt says "use NAME"; its arguments are the least its schema
requires.
"""

from collections.abc import Mapping

import msgspec

from llmring.sim.wire import CHARS_PER_TOKEN, Answer, Ask, Call, Finish, Schema, Tool, tokens_in

_ECHOED_WORDS = 8
_PADDING = "and so on "
_DEPTH = 8  # a schema that refers to itself ends here


def answer(ask: Ask, reply_tokens: int) -> Answer:
    """The reply to one request; `reply_tokens` is the length of a text that nothing ends earlier."""
    calls = _calls(ask)
    if calls:
        spent = sum(tokens_in(len(call.name) + len(call.arguments)) for call in calls)
        return Answer(text="", calls=calls, finish="tool_calls", stop_sequence=None, output_tokens=spent)
    if ask.reply_schema is not None:
        return _ended(_as_json(least_value(ask.reply_schema)), ask)
    return _ended(_text(ask.prompt, reply_tokens), ask)


def _text(prompt: str, reply_tokens: int) -> str:
    chars = reply_tokens * CHARS_PER_TOKEN
    text = "echo: " + " ".join(prompt[: chars * 2].split()[:_ECHOED_WORDS])
    if len(text) < chars:
        text += " " + _PADDING * (chars // len(_PADDING) + 1)
    return text[:chars]


def _ended(text: str, ask: Ask) -> Answer:
    """The text up to whatever ends it first: a stop sequence, the token limit, or itself."""
    room = len(text) if ask.max_tokens is None else ask.max_tokens * CHARS_PER_TOKEN
    found = min(((at, stop) for stop in ask.stops if stop and (at := text.find(stop)) >= 0), default=None)
    if found is not None and found[0] <= room:
        end, stop = found
        return _said(text[:end], "stop_sequence", stop)
    if room < len(text):
        return _said(text[:room], "length", None)
    return _said(text, "stop", None)


def _said(text: str, finish: Finish, stop: str | None) -> Answer:
    spent = tokens_in(len(text))
    return Answer(text=text, calls=(), finish=finish, stop_sequence=stop, output_tokens=spent)


def _calls(ask: Ask) -> tuple[Call, ...]:
    if ask.after_tool_result or not ask.tools or ask.tool_choice == "none":
        return ()
    wanted = [tool for tool in ask.tools if f"use {tool.name}" in ask.prompt]
    if ask.tool_choice == "named":
        wanted = [tool for tool in ask.tools if tool.name == ask.named_tool]
    elif ask.tool_choice == "required" and not wanted:
        wanted = [ask.tools[0]]
    if not ask.parallel_tools:
        wanted = wanted[:1]
    return tuple(_call(tool) for tool in wanted)


def _call(tool: Tool) -> Call:
    return Call(name=tool.name, arguments=_as_json(least_value({"type": "object", **tool.schema})))


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def least_value(schema: Schema) -> object:
    """The smallest value that satisfies a JSON schema of the kinds tools use; required fields only."""
    return _least(schema, schema, _DEPTH)


def _least(schema: object, root: Schema, depth: int) -> object:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    for choice in ("const", "default"):
        if choice in schema:
            return schema[choice]
    for choices in ("enum", "anyOf", "oneOf", "allOf"):
        options = schema.get(choices)
        if isinstance(options, list) and options:
            return options[0] if choices == "enum" else _least(options[0], root, depth - 1)
    if isinstance(reference := schema.get("$ref"), str):
        return _least(_resolved(reference, root), root, depth - 1)
    return _least_of_type(schema, root, depth)


def _least_of_type(schema: Mapping[str, object], root: Schema, depth: int) -> object:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "string"
    match kind:
        case "object":
            properties, required = schema.get("properties"), schema.get("required")
            known = properties if isinstance(properties, Mapping) else {}
            names = required if isinstance(required, list) else []
            return {name: _least(known.get(name, {}), root, depth - 1) for name in names}
        case "array":
            least = schema.get("minItems", 0)
            return [_least(schema.get("items", {}), root, depth - 1)] * (least if isinstance(least, int) else 0)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            least = schema.get("minLength", 0)
            return "text".ljust(least if isinstance(least, int) else 0, "t")


def _resolved(reference: str, root: Schema) -> object:
    found: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
