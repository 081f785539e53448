"""The shape of values in a lockfile: what is wrong, where, and how that is said. Pure.

Readers of the tables raise `Problem` with the address of the wrong value; reading.py adds the file and the line.
"""

import difflib
import re
from collections.abc import Collection, Mapping

from llmring.lockfile.lines import Address

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Problem(Exception):
    """Something in a lockfile is wrong at `address`. `first` is where the same thing stood before, if that is it."""

    def __init__(self, address: Address, text: str, *, first: Address | None = None) -> None:
        super().__init__(address, text, first)
        self.address = address
        self.text = text
        self.first = first


def spell(address: Address) -> str:
    """`profiles.default.bindings[2].models`, as a reader of the file would look for it."""
    words = ""
    for part in address:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += ("." if words else "") + (part if _BARE_KEY.fullmatch(part) else repr(part))
    return words


def shown(value: object, *, secret: bool = False) -> str:
    """A found value in a message: short, and for a place that may hold a key only its type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if secret:
            return "a string"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "...")
        case float():
            return repr(value)
        case int():
            # A number of thousands of digits cannot be printed, and need not be.
            return str(value) if abs(value) < 10**18 else "a number out of all range"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def as_table(value: object, address: Address, what: str = "a table", *, secret: bool = False) -> Mapping[str, object]:
    """`value`, if it is a table; keys of TOML and JSON tables are strings."""
    if not isinstance(value, dict):
        raise Problem(address, f"{spell(address)} must be {what}, found {shown(value, secret=secret)}")
    return value


def check_keys(table: Mapping[str, object], known: Collection[str], address: Address, place: str = "") -> None:
    """Refuse a key that is not among `known`, and name the nearest that is."""
    for key in table:
        if key not in known:
            near = near_key(key, known, cutoff=0.6)
            hint = f"did you mean {near!r}?" if near else "expected " + ", ".join(sorted(known))
            raise Problem((*address, key), f"{place or spell(address)}: unknown key {shown(key)}: {hint}")


def near_key(key: str, known: Collection[str], *, cutoff: float) -> str | None:
    """The known key that `key` is a misspelling of, in any case of letters."""
    matches = difflib.get_close_matches(key.lower(), known, n=1, cutoff=cutoff)
    return matches[0] if matches else None


def optional_text(value: object, address: Address) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Problem(address, f"{spell(address)} must be a string, found {shown(value)}")
