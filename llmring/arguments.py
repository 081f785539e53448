"""Arguments by their kinds: what is not of its kind is refused where it comes in, in one wording. Pure.

A call refuses with InvalidRequest, opening a router with ConfigError, a receipt made by hand with ReceiptError.
"""

import math
from collections.abc import Callable, Collection, Mapping
from os import PathLike
from typing import TypeGuard

from llmring.errors import InvalidRequest, LLMRingError

Kinds = tuple[type, ...]
Refusal = type[LLMRingError]

NUMBER: Kinds = (int, float)
WHOLE: Kinds = (int,)
FLAG: Kinds = (bool,)
TEXT: Kinds = (str,)
TABLE: Kinds = (dict,)
MAPPING: Kinds = (Mapping,)
PATH: Kinds = (str, PathLike)
FUNCTION: Kinds = (Callable,)  # type: ignore[assignment]  # a class to isinstance, none to mypy
_NAMES: Mapping[Kinds, str] = {
    NUMBER: "a number",
    WHOLE: "a whole number",
    FLAG: "True or False",
    TEXT: "text",
    TABLE: "a dictionary",
    MAPPING: "a dictionary",
    PATH: "a path",
    FUNCTION: "a function",
}


def check_kind(name: str, kinds: Kinds, value: object, refusal: Refusal = InvalidRequest) -> None:
    """Refuse what is of another kind. True and False are no numbers here."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise refusal(f"{name} must be {_NAMES[kinds]}, not {type(value).__name__}")


def check_least(name: str, least: int, value: object, unit: str = "") -> None:
    """Refuse what is no whole number from `least` on."""
    check_kind(name, WHOLE, value)
    if isinstance(value, int) and value < least:
        raise InvalidRequest(f"{name} must be at least {least}{unit}, not {value}")


def check_seconds(name: str, value: object, refusal: Refusal = InvalidRequest) -> None:
    """Refuse what is no time limit. One without end is one."""
    if not _is_number(value) or not value > 0:
        raise refusal(f"{name} must be a positive number of seconds, not {value!r}")


def check_patience(name: str, value: object, refusal: Refusal = InvalidRequest) -> None:
    """Refuse what is no time to wait; none at all is one."""
    if not _is_number(value) or not value >= 0:
        raise refusal(f"{name} must be a number of seconds from 0 on, not {value!r}")


def check_share(name: str, value: object) -> None:
    """Refuse what is no weight."""
    if not _is_number(value) or not 0.0 < value < math.inf:
        raise InvalidRequest(f"{name} must be a number above 0, not {value!r}")


def check_word(name: str, known: Collection[str], value: object) -> None:
    """Refuse what is none of the words that are known."""
    if not isinstance(value, str) or value not in known:
        raise InvalidRequest(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")


def as_text(name: str, value: object, refusal: Refusal = InvalidRequest) -> str:
    """Text that can be written down, as a plain str: it goes into ledgers, which are read in other languages. Half a
    surrogate pair, as Python makes of a byte on the command line that is no UTF-8, can not."""
    if type(value) is str and value.isascii():
        return value
    check_kind(name, TEXT, value, refusal)
    assert isinstance(value, str), "that is its kind"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise refusal(f"{name} must be text that UTF-8 can spell, not {value!r}") from error
    # Of a subclass, an enumeration's member say, its text.
    return str.__str__(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
