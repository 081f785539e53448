"""The `constraints` of a binding: what its requests ask for unless they say otherwise, and what its models must be.

Pure. A key that is not known is an error, for a limit that was misspelled would be a limit that does not hold.
"""

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

from llmring.chat import Effort
from llmring.lockfile.lines import Address
from llmring.lockfile.shape import Problem, as_table, check_keys, near_key, shown, spell

CAPABILITIES = (
    "vision",
    "pdf",
    "documents",
    "audio",
    "tools",
    "parallel_tools",
    "tool_choice",
    "json",
    "json_schema",
    "streaming",
    "temperature",
    "system",
    "reasoning",
    "thinking",
    "caching",
    "logprobs",
    "several_answers",
)
"""What `supports` may ask for: the names of capabilities in the catalog."""

_OTHER_NAMES: Mapping[str, str] = {
    "function_calling": "tools",
    "parallel_tool_calls": "parallel_tools",
    "json_mode": "json",
    "structured_output": "json_schema",
    "pdf_input": "pdf",
    "images": "vision",
    "system_message": "system",
}
"""The registry's own words, and usual ones."""

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Natural = Annotated[int, msgspec.Meta(ge=0)]


class Defaults(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request gets that does not set it itself; the fields are those of ChatRequest. None: not given."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: _Natural | None = None
    max_tokens: _Positive | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning_tokens: _Natural | None = None
    show_reasoning: bool | None = None
    service_tier: str | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @property
    def given(self) -> Mapping[str, Any]:
        """The fields that are set, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in (None, ())}


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """What every model of a binding must be, by the registry. None and (): no matter.

    `min_context` is in tokens of input; `max_cost` in dollars per million tokens, three parts input and one part
    output; `supports` are names of CAPABILITIES.
    """

    min_context: int | None = None
    max_cost: Decimal | None = None
    supports: tuple[str, ...] = ()

    @property
    def given(self) -> Mapping[str, Any]:
        """The requirements that are set, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in (None, ())}


_DEFAULTS = Defaults.__struct_fields__
_REQUIREMENTS = Requirements.__struct_fields__
CONSTRAINTS = (*_DEFAULTS, *_REQUIREMENTS)


def read_constraints(value: object, at: Address) -> tuple[Defaults, Requirements]:
    """Read a `constraints` table; None is an empty one. Raises Problem."""
    if value is None:
        return Defaults(), Requirements()
    table = as_table(value, at)
    check_keys(table, CONSTRAINTS, at)
    return _read_defaults({name: table[name] for name in _DEFAULTS if name in table}, at), Requirements(
        min_context=_min_context(table.get("min_context"), (*at, "min_context")),
        max_cost=_max_cost(table.get("max_cost"), (*at, "max_cost")),
        supports=_supports(table.get("supports"), (*at, "supports")),
    )


def _read_defaults(table: Mapping[str, object], at: Address) -> Defaults:
    stop = table.get("stop")
    spelled = {**table, "stop": [stop]} if isinstance(stop, str) else dict(table)
    for name, value in spelled.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Problem((*at, name), f"{spell((*at, name))} must be a number, found {shown(value)}")
        try:
            msgspec.convert({name: value if value is not None or name != "stop" else []}, Defaults)
        except (msgspec.ValidationError, OverflowError) as error:
            what = str(error).partition(" - at ")[0]
            address = (*at, name)
            raise Problem(address, f"{spell(address)}: {what[:1].lower()}{what[1:]}, found {shown(value)}") from None
    return msgspec.convert({name: value for name, value in spelled.items() if value is not None}, Defaults)


def _min_context(value: object, at: Address) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 10**15:
        raise Problem(at, f"{spell(at)} must be a whole number of tokens, at least 1, found {shown(value)}")
    return value


def _max_cost(value: object, at: Address) -> Decimal | None:
    if value is None:
        return None
    expected = f"{spell(at)} must be dollars per million tokens, 0 or more, found {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Problem(at, expected)
    try:
        cost = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Problem(at, expected) from None
    if not (cost.is_finite() and 0 <= cost < 10**9):
        raise Problem(at, expected)
    return cost


def _supports(value: object, at: Address) -> tuple[str, ...]:
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        raise Problem(at, f"{spell(at)} must be a list of capabilities, found {shown(value)}")
    return tuple(dict.fromkeys(_capability(word, at) for word in words))


def _capability(word: object, at: Address) -> str:
    try:
        return to_capability(word)
    except ValueError as error:
        raise Problem(at, f"{spell(at)}: {error}") from None


def to_capability(word: object) -> str:
    """The catalog's name of a capability, from it or from another usual word. Raises ValueError that says which are."""
    name = _OTHER_NAMES.get(word, word) if isinstance(word, str) else None
    if name in CAPABILITIES:
        return name
    near = near_key(word, (*CAPABILITIES, *_OTHER_NAMES), cutoff=0.6) if isinstance(word, str) else None
    hint = f"did you mean {near!r}?" if near else "known: " + ", ".join(CAPABILITIES)
    raise ValueError(f"{shown(word)} is not a capability: {hint}")
