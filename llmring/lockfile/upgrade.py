"""An older form of lockfile rewritten in the canonical one; its meaning stays. Pure: text in, text out.

Bindings outside of profiles and [aliases] tables move into their profiles, `provider` and `model` become `models`.
Comments move along: those of a line stay on it, those above it stay above.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Comment, Table, Whitespace

from llmring.errors import EditRefused
from llmring.lockfile.digest import lock_digest
from llmring.lockfile.document import Document, Node, TomlDocument, open_document
from llmring.lockfile.edit import profile_of
from llmring.lockfile.profiles import CANONICAL
from llmring.lockfile.reading import parse_lockfile


def upgrade(text: str, path: Path) -> str:
    """The lockfile in its canonical form; the text itself when it is that already. Raises EditRefused."""
    before = parse_lockfile(text, path)
    if before.forms == (CANONICAL,) and "registry_versions" not in open_document(text, path).root:
        return text
    document = open_document(text, path)
    root = document.root
    default = before.default_profile
    # In the order of the file: a comment above a table is behind the one before it.
    for key in [key for key in root if key in _MOVES]:
        _MOVES[key](document, default, root.pop(key))
    for profile in list(root.get("profiles", {}).values()):
        _join_all(document, profile)
    after_text = document.text()
    if lock_digest(parse_lockfile(after_text, path)) != lock_digest(before):
        raise EditRefused(f"{path} is laid out in a way that cannot be rewritten without harm: rewrite it by hand")
    return after_text


def _move_bindings(document: Document, default: str, moved: Any) -> None:
    profile = profile_of(document, default)
    if "bindings" not in profile:
        profile["bindings"] = moved
        return
    for binding in moved:
        document.append(profile, "bindings", binding)


def _move_versions(document: Document, default: str, moved: Any) -> None:
    profile = profile_of(document, default)
    if "registry_versions" not in profile:
        profile["registry_versions"] = moved
        return
    for provider, version in moved.items():
        profile["registry_versions"][provider] = version
    for _, item in moved.value.body if isinstance(moved, Table) else ():
        if isinstance(item, Comment):
            _comment(profile["registry_versions"], item.trivia.comment)


class _Line:
    """An alias as a line, with the comments above it and beside it."""

    def __init__(self, alias: str, models: Any, above: list[str], beside: str) -> None:
        self.alias = alias
        self.models = models
        self.above = above
        self.beside = beside


def _move_aliases(document: Document, default: str, moved: Any) -> None:
    """A line under [aliases] itself is the default profile's; a table is a profile's."""
    for profile, lines, below in [(default, *_lines(moved)), *((n, *_lines(t)) for n, t in _tables(moved))]:
        holder = profile_of(document, profile)
        for line in lines:
            binding = document.table()
            for comment in line.above:
                _comment(binding, comment)
            binding["alias"] = line.alias
            names = [line.models] if isinstance(line.models, str) else list(line.models)
            binding["models"] = document.strings([str(name) for name in names], line.models)
            if line.beside and isinstance(document, TomlDocument):
                binding["models"].comment(line.beside.lstrip("# "))
            if line is lines[-1]:
                for comment in below:
                    _comment(binding, comment)
            document.append(holder, "bindings", binding)


def _tables(aliases: Any) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in aliases.items() if isinstance(value, Mapping))


def _lines(table: Any) -> tuple[list[_Line], list[str]]:
    """The lines of an [aliases] table, and the comments below the last."""
    if not isinstance(table, Table):
        return [_Line(name, value, [], "") for name, value in table.items() if not isinstance(value, Mapping)], []
    lines: list[_Line] = []
    above: list[str] = [table.trivia.comment] if table.trivia.comment else []
    for key, item in table.value.body:
        if isinstance(item, Comment):
            above.append(item.trivia.comment)
        elif key is not None and not isinstance(item, Whitespace | Table | AoT):
            lines.append(_Line(key.key, table[key.key], above, item.trivia.comment))
            above = []
    return lines, above


def _comment(binding: Any, comment: str) -> None:
    if isinstance(binding, Table):
        binding.add(tomlkit.comment(comment.removeprefix("#").removeprefix(" ")))


_MOVES: Mapping[str, Callable[[Document, str, Any], None]] = {
    "bindings": _move_bindings,
    "aliases": _move_aliases,
    "registry_versions": _move_versions,
}
"""What stands outside of profiles in older forms, and how it gets into them."""


def _join_all(document: Document, profile: Node) -> None:
    """`models` for `provider` and `model` in every binding of a profile."""
    bindings = profile.get("bindings", ())
    if not any("provider" in binding for binding in bindings):
        return
    if not isinstance(bindings, AoT):
        for binding in bindings:
            if "provider" in binding:
                models = [f"{binding.pop('provider')}:{binding.pop('model')}"]
                binding["models"] = models
        return
    profile["bindings"] = tomlkit.aot()
    for binding in bindings:
        profile["bindings"].append(_joined(document, binding) if "provider" in binding else binding)


def _joined(document: Document, binding: Table) -> Table:
    """The table with `models` in the place of `provider`; what stood beside `model` stands above."""
    joined = tomlkit.table()
    if binding.trivia.comment:
        joined.comment(binding.trivia.comment.lstrip("# "))
    beside = next(item.trivia.comment for key, item in binding.value.body if key is not None and key.key == "model")
    for key, item in binding.value.body:
        if isinstance(item, Comment | Whitespace):
            joined.add(item)
        elif key is None:
            continue
        elif key.key == "provider":
            if beside and item.trivia.comment:
                _comment(joined, beside)
            joined["models"] = document.strings([f"{binding['provider']}:{binding['model']}"])
            comment = item.trivia.comment or beside
            if comment:
                joined["models"].comment(comment.lstrip("# "))
        elif key.key != "model":
            joined.append(key, item)
    return joined
