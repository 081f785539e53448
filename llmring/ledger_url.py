"""The address of a ledger in PostgreSQL, which may hold a password: told whole only to the database's library.

Pure. What is shown of an address is built from those parts that cannot be a secret, and never cut out of the text: one
that is not understood shows nothing at all.
"""

import re
from pathlib import Path
from typing import Final, final

from llmring.errors import ConfigError

_SPELLED = r"(?:[^%:@/?#\s\[\]]|%[0-9A-Fa-f]{2})*"
_PASSWORD = r"(?:[^%@/?#\s\[\]]|%[0-9A-Fa-f]{2})*"
# A port is a number: what is none may be a password before a host that was forgotten.
_HOST = r"(?:[\w.%-]*|\[[0-9A-Fa-f:.%]*\])(?::\d*)?"
_URL: Final = re.compile(
    rf"postgres(?:ql)?://(?:{_SPELLED}(?::{_PASSWORD})?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    rf"(?:/(?P<database>{_SPELLED}))?(?:\?[^#\s]*)?",
    re.ASCII,
)
_ANY_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_HOW: Final = (
    "a ledger is a file, or postgresql://user:password@host:port/database with other characters than letters, digits "
    "and -._~ of user and password as %xx"
)


@final
class LedgerUrl:
    """`postgresql://...`, with whatever libpq takes behind the question mark. `str` and `repr` are without user,
    password and options."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The whole of it, password included. Raises ConfigError for what is no such address, without showing it."""
        if _URL.fullmatch(self._text) is None:
            raise ConfigError(f"receipts: the URL cannot be read (it is not shown, as it may hold a password): {_HOW}")
        return self._text

    def __str__(self) -> str:
        found = _URL.fullmatch(self._text)
        return f"postgresql://{found['hosts']}/{found['database'] or ''}" if found is not None else "postgresql://..."

    def __repr__(self) -> str:
        return f"LedgerUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LedgerUrl) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def parse_ledger(asked: Path | str) -> Path | LedgerUrl:
    """A file's path, as it is, or an address, which is looked at when it is used. Raises nothing."""
    text = str(asked)
    return LedgerUrl(text) if _ANY_URL.match(text) else Path(asked)
