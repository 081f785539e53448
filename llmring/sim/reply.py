"""What the simulated model answers, whatever the wire format. Pure and deterministic: the same request always
gets the same answer.

Text is `echo: <first words of the prompt>`, padded or cut to the configured number of tokens. Where a schema is
asked for, text is a JSON value that satisfies it. A request with tools is answered with a call, unless tools are
forbidden, the prompt says "use no tools", or the conversation ends with a tool's result: the tool that is named
by the choice, else every tool the prompt names ("use NAME"), all of them when it says "use all tools", else the
first. Arguments are the least value the tool's schema allows. Where reasoning is asked for, a thought of the
configured number of tokens comes first.
"""

import msgspec

from llmring.sim.instances import least_value
from llmring.sim.wire import CHARS_PER_TOKEN, Answer, Ask, Call, Finish, Tool, tokens_in

#: What a request for JSON without a schema gets.
SMALL_OBJECT = {"type": "object", "properties": {"reply": {"type": "string"}}, "required": ["reply"]}

_ECHOED_WORDS = 8
_PADDING = "and so on "


def answer(ask: Ask, reply_tokens: int, thinking_tokens: int = 0) -> Answer:
    """The reply to one request; `reply_tokens` is the length of a text that nothing ends earlier, and
    `thinking_tokens` of the thought before it, which counts toward max_tokens.
    """
    if ask.texts:
        return Answer(text="", calls=(), finish="stop", stop_sequence=None, output_tokens=0)
    thought = _thought(ask, thinking_tokens)
    spent = tokens_in(len(thought))
    if ask.max_tokens is not None and spent >= ask.max_tokens:
        thought = thought[: ask.max_tokens * CHARS_PER_TOKEN]
        # As recorded: a budget that reasoning eats up leaves an empty text.
        said = Answer(text="", calls=(), finish="length", stop_sequence=None, output_tokens=0)
        spent = ask.max_tokens
    else:
        said = _said_after(ask, reply_tokens, spent)
    return msgspec.structs.replace(
        said, thinking=thought, thinking_tokens=spent, output_tokens=said.output_tokens + spent
    )


def _thought(ask: Ask, thinking_tokens: int) -> str:
    if ask.thinking == "off":
        return ""
    return _padded("thinking about: ", ask.prompt, thinking_tokens * CHARS_PER_TOKEN)


def _said_after(ask: Ask, reply_tokens: int, spent: int) -> Answer:
    calls = _calls(ask)
    if calls:
        cost = sum(tokens_in(len(call.name) + len(call.arguments)) for call in calls)
        return Answer(text="", calls=calls, finish="tool_calls", stop_sequence=None, output_tokens=cost)
    left = None if ask.max_tokens is None else ask.max_tokens - spent
    if ask.reply_schema is not None:
        return _ended(_as_json(least_value(ask.reply_schema)), ask, left)
    return _ended(_padded("echo: ", ask.prompt, reply_tokens * CHARS_PER_TOKEN), ask, left)


def _padded(start: str, prompt: str, chars: int) -> str:
    text = start + " ".join(prompt[: chars * 2].split()[:_ECHOED_WORDS])
    if len(text) < chars:
        text += " " + _PADDING * (chars // len(_PADDING) + 1)
    return text[:chars]


def _ended(text: str, ask: Ask, left: int | None) -> Answer:
    """The text up to whatever ends it first: a stop sequence, the `left` tokens, or itself."""
    room = len(text) if left is None else left * CHARS_PER_TOKEN
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
    if ask.tool_choice == "named":
        wanted = [tool for tool in ask.tools if tool.name == ask.named_tool]
    elif ask.tool_choice == "auto" and "use no tools" in ask.prompt:
        return ()
    elif "use all tools" in ask.prompt:
        wanted = list(ask.tools)
    else:
        wanted = [tool for tool in ask.tools if f"use {tool.name}" in ask.prompt] or [ask.tools[0]]
    if not ask.parallel_tools:
        wanted = wanted[:1]
    return tuple(_call(tool) for tool in wanted)


def _call(tool: Tool) -> Call:
    schema = {"type": "object", **tool.schema}
    return Call(name=tool.name, arguments=_as_json(least_value(schema, every_field=tool.every_field)))


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
