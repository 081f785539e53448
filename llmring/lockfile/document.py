"""A lockfile as a document to edit: tables and lists as in memory, with everything around them kept for writing back.

TOML is held by tomlkit, which keeps comments, order and spacing; JSON by plain dictionaries, which keep order and have
no comments. Pure. No other module knows how values are spelled in either.
"""

import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from decimal import Decimal
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import tomlkit
import tomlkit.exceptions
from tomlkit.items import AoT, Array, InlineTable

from llmring.lockfile.lines import Address, find_line

Node = MutableMapping[str, Any]
"""A table of the document."""

DocumentError = tomlkit.exceptions.TOMLKitError
"""What an edit of a document may raise, besides ValueError."""

_BOM = "\ufeff"
_LONG = 100
"""A list of models that would make a longer line gets a line for each."""


class Document(Protocol):
    """`root` is edited in place; what is put into it is made by the other methods."""

    root: Node

    def table(self) -> Node:
        """An empty table with a header of its own."""
        ...

    def inline(self, values: Mapping[str, Any]) -> Any:
        """A table on one line."""
        ...

    def strings(self, values: Sequence[str], old: Any = None) -> Any:
        """A list of strings; `old` is the one that it replaces, whose comments are kept where they can be."""
        ...

    def append(self, holder: Node, key: str, node: Node) -> None:
        """Put `node` behind the last table of the list `holder[key]`, which is made when there is none."""
        ...

    def remove(self, holder: Node, key: str, index: int) -> None:
        """Take a table out of the list `holder[key]`."""
        ...

    def text(self) -> str: ...


def open_document(text: str, path: Path) -> Document:
    """`text` has been read as a lockfile before: it is what its suffix says."""
    return JsonDocument(text) if path.suffix.lower() == ".json" else TomlDocument(text)


def plain(value: Any) -> Any:
    """A value that both forms can spell: dollars are numbers there."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Mapping():
            return {key: plain(inner) for key, inner in value.items()}
        case str():
            return value
        case Sequence():
            return [plain(inner) for inner in value]
        case _:
            return value


class JsonDocument:
    def __init__(self, text: str) -> None:
        self._bom = text.startswith(_BOM)
        self.root: Node = json.loads(text.removeprefix(_BOM))

    def table(self) -> Node:
        return {}

    def inline(self, values: Mapping[str, Any]) -> Any:
        return plain(values)

    def strings(self, values: Sequence[str], old: Any = None) -> Any:
        return list(values)

    def append(self, holder: Node, key: str, node: Node) -> None:
        if not isinstance(holder.get(key), list):
            holder[key] = []
        holder[key].append(node)

    def remove(self, holder: Node, key: str, index: int) -> None:
        del holder[key][index]

    def text(self) -> str:
        return (_BOM if self._bom else "") + json.dumps(self.root, indent=2, ensure_ascii=False) + "\n"


class TomlDocument:
    def __init__(self, text: str) -> None:
        self._bom = text.startswith(_BOM)
        text = text.removeprefix(_BOM)
        # New lines end as the others do.
        self._crlf = "\r\n" in text and "\n" not in text.replace("\r\n", "")
        text = text.replace("\r\n", "\n") if self._crlf else text
        # What is appended begins on a line of its own.
        self._has_end = text.endswith("\n") or not text
        self._given = text if self._has_end else f"{text}\n"
        self._doc = tomlkit.parse(self._given)
        self._rendered = tomlkit.dumps(self._doc)
        self.root: Node = self._doc

    def table(self) -> Node:
        return tomlkit.table()

    def inline(self, values: Mapping[str, Any]) -> InlineTable:
        table = tomlkit.inline_table()
        for key, value in values.items():
            table.append(key, plain(value))
        return table

    def strings(self, values: Sequence[str], old: Any = None) -> Any:
        if isinstance(old, Array):
            kept = _changed(old, values)
            if kept is not None:
                return kept
        array = tomlkit.array()
        array.extend(values)
        is_long = len(array.as_string()) > _LONG or (isinstance(old, Array) and "\n" in old.as_string())
        return array.multiline(multiline=is_long)

    def append(self, holder: Node, key: str, node: Node) -> None:
        held = holder.get(key)
        if isinstance(held, Array):
            held.append(self.inline(dict(node)))
            return
        if held is None:
            holder[key] = tomlkit.aot()
        holder[key].append(node)

    def remove(self, holder: Node, key: str, index: int) -> None:
        del holder[key][index]
        if isinstance(holder[key], AoT) and not len(holder[key]):
            del holder[key]

    def text(self) -> str:
        text = _spaced(self._given, _carried(self._given, self._rendered, tomlkit.dumps(self._doc)))
        if not self._has_end and text.splitlines()[-1:] == self._given.splitlines()[-1:]:
            text = text.removesuffix("\n")
        return (_BOM if self._bom else "") + (text.replace("\n", "\r\n") if self._crlf else text)


def with_block(text: str, address: tuple[str, ...], make: Callable[[Document], Node]) -> str:
    """`text` with one more table of the list at `address` at its end. For TOML, where tables may stand anywhere."""
    document = TomlDocument("")
    *outer, key = address
    holder: Any = document.root
    for name in outer:
        holder[name] = tomlkit.table(is_super_table=True)
        holder = holder[name]
    document.append(holder, key, make(document))
    end = "\r\n" if "\r\n" in text else "\n"
    block = document.text().lstrip("\n").replace("\n", end)
    return text + ("" if text.endswith("\n") or not text else end) + (end if text.strip() else "") + block


def without_block(text: str, address: Address) -> str:
    """`text` without the lines of the table at `address`, down to the next header and the comments above that."""
    first = find_line(text, address, is_json=False)
    if first is None:
        raise ValueError("where the table stands cannot be told")
    lines = text.splitlines(keepends=True)
    last = next((n for n in range(first, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    while last < len(lines) and last > first and lines[last - 1].strip()[:1] in ("", "#"):
        last -= 1
    return "".join(lines[: first - 1] + lines[last:])


def _changed(old: Array, values: Sequence[str]) -> Array | None:
    """`old` itself with other values, where those that stay keep their order: then their comments stay too."""
    have = [str(item) for item in old]
    stay = [item for item in have if item in values]
    if not stay or stay != [value for value in values if value in stay] or len(set(have)) < len(have):
        return None
    for index in range(len(have) - 1, -1, -1):
        if have[index] not in stay:
            del old[index]
    for index, value in enumerate(values):
        if value not in stay:
            old.insert(index, value)
    return old


def _carried(given: str, rendered: str, after: str) -> str:
    """The change from `rendered` to `after`, carried over to what was given: tomlkit renders a line now and then with a
    blank less (0.15: in front of a brace that follows a date), and no line may change that nobody has edited."""
    lines, base, new = (text.splitlines(keepends=True) for text in (given, rendered, after))
    if lines == base or len(lines) != len(base):
        return after
    carried: list[str] = []
    for kind, start, end, new_start, new_end in SequenceMatcher(None, base, new, autojunk=False).get_opcodes():
        carried += lines[start:end] if kind == "equal" else new[new_start:new_end]
    return "".join(carried)


def _spaced(before: str, after: str) -> str:
    """`after` with a blank line above every header that is new behind the line that it stands behind."""
    known = set(pairwise(before.splitlines()))
    lines: list[str] = []
    for line in after.splitlines(keepends=True):
        previous = lines[-1].rstrip("\n") if lines else ""
        is_new = (previous, line.rstrip("\n")) not in known
        if line.startswith("[") and previous.strip() and not previous.startswith("#") and is_new:
            lines.append("\n")
        lines.append(line)
    return "".join(lines)
