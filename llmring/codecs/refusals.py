"""Which parameter a refusal is about, as far as its words tell. Pure.

Providers that refuse a parameter seldom say so in a field of its own. A name counts only where the sentence is about
it: quoted, behind a colon, or first in its sentence. In prose that merely mentions a word ("Audio input is not
supported with this model") there is none: a wrong guess would leave out what the caller needs.

Sources: recorded replies, the providers' documentation of errors, and threads of their SDKs' issue trackers, 2026-11.
"""

import re
from typing import Any

_NAME = r"[A-Za-z_](?:[\w.\[\]]{0,99}[\w\]])?"
# Gateways quote a provider's JSON, where quotes have a backslash.
_QUOTE = r"\\?[`'\"]"
_QUOTED = rf"{_QUOTE}(?P<name>{_NAME}){_QUOTE}"
_MAYBE_QUOTED = rf"(?:{_QUOTE})?(?P<name>{_NAME})"
_FIRST = r"(?:^|[\n\"] ?|[.:;] )"
_KIND = r"(?:parameter|value|request argument|argument|field)"
_NOT_BY_MODEL = r"(?:is|are) not supported (?:with|for|by|on|in) (?:this|the) model"

_ABOUT_ONE = tuple(
    re.compile(pattern)
    for pattern in (
        # OpenAI: "Unsupported parameter: 'x'", "Unrecognized request argument supplied: x".
        rf"(?i:(?:unsupported|unknown|unrecognized) {_KIND}s?(?: supplied)?): {_MAYBE_QUOTED}",
        # xAI: "Argument not supported on this model: x", "Model grok-4 does not support parameter x".
        rf"(?i:argument not supported on this model: |does not support parameter ){_MAYBE_QUOTED}",
        # Anthropic, Mistral, vLLM, by pydantic: "x: Extra inputs are not permitted".
        rf"{_FIRST}(?:body\.)?(?P<name>{_NAME}): (?i:extra inputs are not permitted)",
        # Anthropic: "`x` is deprecated for this model", "`x` and `y` cannot both be specified for this model", "This
        # model does not support the effort parameter", "... does not support effort level 'xhigh'".
        rf"{_QUOTED} is deprecated for this model",
        rf"{_QUOTE}\w{{1,40}}{_QUOTE} and {_QUOTED} cannot both be specified",
        rf"does not support the {_MAYBE_QUOTED}(?:{_QUOTE})? parameter",
        r"does not support (?P<name>effort) level",
        # Groq: "('messages.0' : property 'x' is unsupported)".
        rf"(?:'(?P<place>[\w.]{{1,99}})' : )?property {_QUOTED} is unsupported",
        # Gemini: "Unknown name "x" at 'generation_config': Cannot find field."
        rf"Unknown name {_QUOTED}(?: at '(?P<place>[\w.\[\]]{{1,99}})')?",
        # All: "x is not supported with this model", '"thinking.type.enabled" is not supported for this model'.
        rf"{_QUOTED} {_NOT_BY_MODEL}",
        rf"{_FIRST}(?P<name>[a-z](?:[\w.]{{0,99}}\w)?) {_NOT_BY_MODEL}",
    )
)

REPLAY_REFUSED = re.compile(
    # Anthropic.
    r"invalid [`'\"]?signature[`'\"]? in [`'\"]?thinking|blocks in the latest assistant message cannot be modified"
    r"|\.thinking\.signature: "
    # OpenAI: "Item 'rs_1' of type 'reasoning' was provided without its required following item".
    r"|item '[\w-]{1,200}' of type '\w{1,40}' was provided without its required"
    r"|encrypted content\b.{0,4000}? could not be (?:verified|decrypted)"
    # Gemini.
    r"|missing a [`'\"]?thought_signature|(?:corrupted|invalid) thought[ _]signature",
    re.IGNORECASE,
)
"""What providers say of reasoning that was given back to them and is not theirs, not whole or not in its place."""


def named_in(text: str) -> str | None:
    """The parameter that a message calls unsupported, by its name on the wire, with its path where that is told
    ("generation_config.topK"); None when it calls none so, or does not name it."""
    for pattern in _ABOUT_ONE:
        found = pattern.search(text)
        if found is not None:
            place = found.groupdict().get("place")
            return f"{place}.{found['name']}" if place else found["name"]
    return None


def named_by(error: Any) -> str | None:
    """The parameter that an error's own fields name, whatever it complains of: OpenAI's `param`."""
    param = error.get("param") if isinstance(error, dict) else None
    return param if isinstance(param, str) and 0 < len(param) <= 200 and param.isprintable() else None
