"""Where in a lockfile something stands: from an address in the parsed value back to a line. Pure.

tomllib and json give values without lines. This reads the same text again, only when there is an error to report, and
only text that they have accepted; so it may be a small reader of tokens that checks nothing. An address it has not
seen, or text it does not understand, gives None: no line rather than a wrong one.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator

Address = tuple[str | int, ...]
"""A path into a parsed lockfile: ("profiles", "default", "bindings", 2, "models"). Indexes count from 0."""

_TOKEN = {
    "=": re.compile(
        r"""(?P<skip>[ \t\r\ufeff]+|\#[^\n]*)
        |(?P<string>\"\"\"(?:\\.|[^\\])*?"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
        |(?P<mark>[\n\[\]{}=,.])
        |(?P<bare>[^\s\[\]{}=,."'\#]+)""",
        re.DOTALL | re.VERBOSE,
    ),
    ":": re.compile(
        r"""(?P<skip>[ \t\r\ufeff]+)|(?P<string>"(?:\\.|[^"\\])*")|(?P<mark>[\n\[\]{}:,])|(?P<bare>[^\s\[\]{}:,"]+)""",
        re.DOTALL | re.VERBOSE,
    ),
}


def find_line(text: str, address: Address, *, is_json: bool) -> int | None:
    """The line, from 1, on which `address` stands in `text`: a key, a table's header, or an element of a list."""
    try:
        reader = _Reader(text, ":" if is_json else "=")
        reader.read_value(()) if is_json else reader.read_toml()
    except (ValueError, LookupError, RecursionError):
        return None
    return reader.lines.get(address)


def find_unclosed(text: str) -> int | None:
    """The line of the quote or bracket that is open when TOML that is cut off ends; tomllib names only the end."""
    open_on: list[int] = []
    try:
        for kind, word, line in _tokens(text, _TOKEN["="]):
            if kind == "mark" and word in "[{":
                open_on.append(line)
            elif kind == "mark" and word in "]}":
                open_on.pop()
    except _NoToken as error:
        return error.line
    except IndexError:
        return None
    return open_on[-1] if open_on else None


class _NoToken(ValueError):
    """Neither a word nor a string: mostly a quote without its end."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Reader:
    def __init__(self, text: str, separator: str) -> None:
        self.separator = separator
        self.tokens = list(_tokens(text, _TOKEN[separator]))
        self.at = 0
        self.lines: dict[Address, int] = {}
        self.counts: dict[Address, int] = {}

    def read_toml(self) -> None:
        table: Address = ()
        while self._skip_lines() != "":
            if self._peek() == "[":
                table = self._read_header()
            else:
                self._read_pair(table)

    def _read_header(self) -> Address:
        is_array = self.tokens[self.at + 1][1] == "["
        self.at += 2 if is_array else 1
        line = self.tokens[self.at][2]
        table: Address = ()
        parts = self._read_key("]")
        for number, part in enumerate(parts, 1):
            table += (part,)
            self.lines.setdefault(table, line)
            if is_array and number == len(parts):
                self.counts[table] = self.counts.get(table, 0) + 1
            if table in self.counts:
                table += (self.counts[table] - 1,)
                self.lines.setdefault(table, line)
        self.at += 2 if is_array else 1
        return table

    def _read_pair(self, table: Address) -> None:
        line = self.tokens[self.at][2]
        for part in self._read_key(self.separator):
            table += (part,)
            self.lines.setdefault(table, line)
        self.at += 1
        self.read_value(table)

    def _read_key(self, end: str) -> list[str]:
        start = self.at
        while self._peek() != end:
            self.at += 1
        words = [text for _, text, _ in self.tokens[start : self.at] if text != "."]
        return [_unquote(word, is_json=self.separator == ":") for word in words]

    def read_value(self, address: Address) -> None:
        self._skip_lines()
        kind, text, line = self.tokens[self.at]
        self.lines.setdefault(address, line)
        self.at += 1
        if kind == "mark" and text == "[":
            self._read_items("]", lambda number: self.read_value((*address, number)))
        elif kind == "mark" and text == "{":
            self._read_items("}", lambda _: self._read_pair(address))
        elif kind == "bare":
            # 1.5 and 2026-01-01 07:00:00 are several tokens; the value ends where the line, list or table does.
            while self.at < len(self.tokens) and self._peek() not in ("\n", ",", "]", "}"):
                self.at += 1

    def _read_items(self, end: str, read: Callable[[int], None]) -> None:
        number = 0
        while self._skip_lines() != end:
            read(number)
            number += 1
            if self._skip_lines() == ",":
                self.at += 1
        self.at += 1

    def _peek(self) -> str:
        """The mark that comes next; "?" for a string or a bare word, whatever it holds."""
        kind, text, _ = self.tokens[self.at]
        return text if kind == "mark" else "?"

    def _skip_lines(self) -> str:
        while self.at < len(self.tokens) and self._peek() == "\n":
            self.at += 1
        return self._peek() if self.at < len(self.tokens) else ""


def _tokens(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str, int]]:
    """Kind, text and line of each token. Raises _NoToken."""
    at, line = 0, 1
    while at < len(text):
        match = pattern.match(text, at)
        if match is None or match.lastgroup is None:
            raise _NoToken(line)
        word = match.group()
        if match.lastgroup != "skip":
            yield match.lastgroup, word, line
        line += word.count("\n")
        at = match.end()


def _unquote(word: str, *, is_json: bool) -> str:
    if word[0] not in "\"'":
        return word
    value = json.loads(word) if is_json else tomllib.loads(f"key = {word}")["key"]
    return str(value)
