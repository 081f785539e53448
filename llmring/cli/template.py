"""A prompt with holes, `Summarize: {text}`, filled from the columns of a row. Pure."""

import string
from collections.abc import Mapping
from typing import Any

import msgspec

from llmring.errors import ConfigError, InvalidRequest


class Template:
    """`{name}` is a column, `{{` and `}}` are braces. Nothing else is read into it: no attributes, no formats."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError for a hole that is none."""
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigError(f"--prompt: {error}: a brace is written twice") from error
        self._parts: list[tuple[str, str | None]] = []
        for literal, name, form, conversion in parts:
            if name is not None and (not name or form or conversion):
                raise ConfigError(f"--prompt: {{{name}}} is not the name of a column; a brace is written twice")
            self._parts.append((literal, name))
        self.names = tuple(name for _, name in self._parts if name is not None)

    def fill(self, row: Mapping[str, Any]) -> str:
        """Raises InvalidRequest that names the column that is missing. Values that are no texts are written as JSON."""
        missing = next((name for name in self.names if row.get(name) is None), None)
        if missing is not None:
            raise InvalidRequest(f"the row has no {missing!r}; it has {', '.join(map(repr, row)) or 'nothing'}")
        return "".join(literal + (_text(row[name]) if name is not None else "") for literal, name in self._parts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
