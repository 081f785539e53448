"""What a source of rows is asked for, and what it hands out where a record is no row. Values only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmring.errors import ConfigError

SHOWN_NAMES = 12


class Unreadable(msgspec.Struct, frozen=True):
    """A record that cannot be spelled as a row: what is wrong with it, and its `id`, UNSET where it has none."""

    problem: str
    id: Any = msgspec.UNSET


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns that count: others need not be read. Of every group of `needed` at least one must be there."""

    read: frozenset[str]
    needed: tuple[tuple[str, ...], ...]

    def check(self, names: Sequence[str], path: Path) -> None:
        """Raises ConfigError when what has these columns can hold no row, or has one twice."""
        for group in self.needed:
            if not set(group) & set(names):
                shown = ", ".join(map(repr, names[:SHOWN_NAMES])) + (", ..." if len(names) > SHOWN_NAMES else "")
                raise ConfigError(f"{path} has no column {' or '.join(map(repr, group))}; it has {shown or 'none'}")
        twice = next((name for name in names if name in self.read and names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{path}: two columns are called {twice!r}")
