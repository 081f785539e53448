"""Edits of a lockfile's text: bind, unbind, pin. Pure: text in, text out.

An edit changes what it is asked to and nothing else: comments, order, blank lines and unknown keys stay. It works in
the form that the file is written in; what that form cannot say is refused, and so is a layout that cannot be edited
without harm: the result is read again and compared before it is given out.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmring.errors import EditRefused, LockfileInvalid, UnknownAlias, UnknownProfile
from llmring.lockfile.document import Document, DocumentError, Node, open_document, with_block, without_block
from llmring.lockfile.profiles import Order
from llmring.lockfile.reading import Lockfile, parse_lockfile
from llmring.refs import ModelRef


def bind(
    text: str,
    path: Path,
    profile: str,
    alias: str,
    models: Sequence[str],
    *,
    models_from: Sequence[str] | None = None,
    constraints: Mapping[str, Any] | None = None,
    order: Order | None = None,
    pins: Mapping[str, str] | None = None,
) -> str:
    """Bind `alias` in `profile`, where it is bound already or behind the last binding; a missing profile is made.

    None leaves `models_from`, `constraints`, `order` and `pins` as they are, an empty value removes them, and so does
    the order "ordered", which is the usual one.
    """
    more = {
        "models_from": models_from,
        "constraints": constraints,
        "order": "" if order == "ordered" else order,
        "pins": pins,
    }

    def in_place() -> str:
        document = open_document(text, path)
        place = _find(document.root, profile, alias)
        if place is not None:
            _rebind(document, place, models, more)
        elif _writes_lines(document.root, profile):
            _add_line(document, profile, alias, models, more)
        else:
            document.append(_holder_of(document, profile), "bindings", bound(document))
        return document.text()

    def at_the_end() -> str:
        return with_block(text, ("profiles", profile, "bindings"), bound)

    def bound(document: Document) -> Node:
        binding = document.table()
        binding["alias"] = alias
        _fill(document, binding, models, more)
        return binding

    edit = _Edit(text, path, profile, alias)
    return edit.first_good((in_place, at_the_end), lambda now: _models(now, profile, alias) == tuple(models))


def unbind(text: str, path: Path, profile: str, alias: str) -> str:
    """Take `alias` out of `profile`, with the comments on its own lines. Raises UnknownProfile, UnknownAlias,
    EditRefused for the last of a name that a budget has."""
    before = parse_lockfile(text, path)
    if profile not in before.profiles:
        raise UnknownProfile(profile, tuple(before.profiles), f" in {path}")
    if alias not in before.profiles[profile].bindings:
        raise UnknownAlias(alias, tuple(before.profiles[profile].bindings), f" in profile {profile!r} of {path}")
    _check_budgets(before, profile, alias)

    def in_place() -> str:
        document = open_document(text, path)
        place = _find(document.root, profile, alias)
        assert place is not None, "it was read"
        if place.index is None:
            del place.holder[place.key]
        else:
            document.remove(place.holder, place.key, place.index)
        return document.text()

    def by_lines() -> str:
        index = list(before.profiles[profile].bindings).index(alias)
        return without_block(text, ("profiles", profile, "bindings", index))

    edit = _Edit(text, path, profile, alias)
    return edit.first_good((in_place, by_lines), lambda now: _models(now, profile, alias) == ())


def set_versions(text: str, path: Path, profile: str, versions: Mapping[str, int]) -> str:
    """Pin versions of the registry in `profile`; others that it pins stay."""

    def in_place() -> str:
        document = open_document(text, path)
        root = document.root
        is_top = "registry_versions" in root and profile == _default(root)
        holder = root if is_top else profile_of(document, profile)
        if "registry_versions" not in holder:
            holder["registry_versions"] = document.table()
        for provider, version in versions.items():
            if holder["registry_versions"].get(provider) != version:
                holder["registry_versions"][provider] = version
        return document.text()

    def holds(now: Lockfile) -> bool:
        pinned = now.profiles[profile].registry_versions if profile in now.profiles else {}
        return all(pinned.get(provider) == version for provider, version in versions.items())

    return _Edit(text, path, profile, None).first_good((in_place,), holds)


def set_pins(text: str, path: Path, profile: str, alias: str, pins: Mapping[str, str]) -> str:
    """Replace the pins of a binding. Raises UnknownAlias."""
    binding = parse_lockfile(text, path).profile(profile).bindings.get(alias)
    if binding is None:
        raise UnknownAlias(alias, (), f" in profile {profile!r} of {path}")
    if {str(ref): pin for ref, pin in binding.pins.items()} == dict(pins):
        return text
    return bind(text, path, profile, alias, [str(ref) for ref in binding.models], pins=pins)


def new_lockfile(
    profiles: Mapping[str, Mapping[str, Sequence[str]]], versions: Mapping[str, int], *, is_json: bool
) -> str:
    """The text of a new lockfile: models by alias by profile; `versions` are pinned in each."""
    path = Path("new.json" if is_json else "new.lock")
    first = next(iter(profiles), "default")
    text = "{}" if is_json else ""
    document = open_document(text, path)
    document.root["version"] = "1.0"
    document.root["default_profile"] = first
    for name in profiles:
        profile_of(document, name)
    text = document.text()
    for name, bindings in profiles.items():
        for alias, models in bindings.items():
            text = bind(text, path, name, alias, models)
        if versions:
            text = set_versions(text, path, name, versions)
    return text


def diff(before: str, after: str, path: Path) -> str:
    """A unified diff, empty for none."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), f"{path} (new)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


# Where things stand.


class _Place(msgspec.Struct, frozen=True):
    """What holds a binding: a list under `key`, at `index`, or a line under `key`."""

    holder: Node
    key: str
    index: int | None = None

    @property
    def binding(self) -> Any:
        return self.holder[self.key] if self.index is None else self.holder[self.key][self.index]


def _default(root: Node) -> str:
    name = root.get("default_profile")
    return str(name) if name is not None else "default"


def _find(root: Node, profile: str, alias: str) -> _Place | None:
    for holder in _holders(root, profile):
        for index, binding in enumerate(holder["bindings"]):
            if binding.get("alias") == alias:
                return _Place(holder, "bindings", index)
    for table in _alias_tables(root, profile):
        if alias in table and not isinstance(table[alias], Mapping):
            return _Place(table, alias)
    return None


def _holders(root: Node, profile: str) -> Iterator[Node]:
    """The tables that have a list of the profile's bindings."""
    own = root.get("profiles", {}).get(profile)
    if own is not None and "bindings" in own:
        yield own
    if profile == _default(root) and "bindings" in root:
        yield root


def _alias_tables(root: Node, profile: str) -> Iterator[Node]:
    tables = root.get("aliases")
    if tables is None:
        return
    if isinstance(tables.get(profile), Mapping):
        yield tables[profile]
    if profile == _default(root):
        yield tables


def _writes_lines(root: Node, profile: str) -> bool:
    """Whether a new alias of `profile` belongs into an [aliases] table: where the others are."""
    return "aliases" in root and not any(True for _ in _holders(root, profile))


def _add_line(document: Document, profile: str, alias: str, models: Sequence[str], more: Mapping[str, Any]) -> None:
    _refuse_more(more)
    tables = document.root["aliases"]
    table = next(_alias_tables(document.root, profile), None)
    if table is None:
        tables[profile] = document.table()
        table = tables[profile]
    table[alias] = models[0] if len(models) == 1 else document.strings(models)


def _holder_of(document: Document, profile: str) -> Node:
    """The table that holds, or will hold, the list that new bindings of `profile` go to."""
    root = document.root
    own = root.get("profiles", {}).get(profile)
    if "bindings" in root and profile == _default(root) and (own is None or "bindings" not in own):
        return root
    return profile_of(document, profile)


def profile_of(document: Document, profile: str) -> Node:
    """The table of a profile, made when there is none."""
    root = document.root
    if "profiles" not in root:
        root["profiles"] = document.table()
    profiles = root["profiles"]
    if profile not in profiles:
        table = document.table()
        table["name"] = profile
        profiles[profile] = table
    found: Node = profiles[profile]
    return found


# What is written.


def _rebind(document: Document, place: _Place, models: Sequence[str], more: Mapping[str, Any]) -> None:
    old = place.binding
    if isinstance(old, Mapping):
        _fill(document, place.binding, models, more)
        return
    _refuse_more(more)
    if len(models) == 1 and isinstance(old, str):
        if str(old) != models[0]:
            place.holder[place.key] = models[0]
    else:
        place.holder[place.key] = document.strings(models, old)


def _fill(document: Document, binding: Node, models: Sequence[str], more: Mapping[str, Any]) -> None:
    if "provider" in binding and len(models) == 1:
        ref = ModelRef.parse(models[0])
        for name, value in (("provider", ref.provider), ("model", ref.model)):
            if binding.get(name) != value:
                binding[name] = value
    else:
        for name in ("provider", "model"):
            binding.pop(name, None)
        old = binding.get("models")
        if old is None or ([old] != list(models) and (isinstance(old, str) or list(old) != list(models))):
            binding["models"] = document.strings(models, old)
    for name, value in more.items():
        if value is None:
            continue
        if not value:
            binding.pop(name, None)
        elif name == "order":
            binding[name] = value
        elif name == "models_from":
            binding[name] = document.strings(list(value), binding.get(name))
        else:
            binding[name] = document.inline(value)


def _refuse_more(more: Mapping[str, Any]) -> None:
    wanted = [name for name, value in more.items() if value]
    if wanted:
        raise EditRefused(
            f"a line under [aliases] cannot hold {' and '.join(wanted)}: run `llmring lock upgrade` first"
        )


# Whether it was done.


def _models(lockfile: Lockfile, profile: str, alias: str) -> tuple[str, ...]:
    found = lockfile.profiles.get(profile)
    binding = found.bindings.get(alias) if found is not None else None
    return tuple(str(ref) for ref in binding.models) if binding is not None else ()


class _Edit:
    """What an edit may change: `alias` of `profile`, or for None its pinned versions."""

    def __init__(self, text: str, path: Path, profile: str, alias: str | None) -> None:
        self._text = text
        self._path = path
        self._profile = profile
        self._alias = alias

    def first_good(self, ways: Sequence[Callable[[], str]], holds: Callable[[Lockfile], bool]) -> str:
        """The text of the first way that says what it should and everything else as before. Raises EditRefused."""
        before = parse_lockfile(self._text, self._path) if self._text.strip() else None
        for way in ways:
            try:
                after_text = way()
                after = parse_lockfile(after_text, self._path)
            except (DocumentError, LockfileInvalid, ValueError):
                # tomlkit stumbles over tables that are spread over a file, and over dotted ones.
                continue
            if holds(after) and (before is None or _same_elsewhere(before, after, self._profile, self._alias)):
                return after_text
        raise EditRefused(f"{self._path} is laid out in a way that cannot be edited without harm: edit it by hand")


def _check_budgets(lockfile: Lockfile, profile: str, alias: str) -> None:
    """Raises EditRefused."""
    bound = [name for name, one in lockfile.profiles.items() if alias in one.bindings and name != profile]
    for budget in lockfile.budgets:
        is_last = budget.profile == profile or (budget.profile not in lockfile.profiles and not bound)
        if budget.alias == alias and is_last:
            raise EditRefused(f"{lockfile.path}: budgets.{budget.name} caps {alias!r}: take that out first")


def _same_elsewhere(before: Lockfile, after: Lockfile, profile: str, alias: str | None) -> bool:
    """Whether nothing but `alias` of `profile`, or its pinned versions for None, is bound otherwise."""
    if (before.providers, before.budgets, before.packages, before.default_profile) != (
        after.providers,
        after.budgets,
        after.packages,
        after.default_profile,
    ):
        return False
    for name, old in before.profiles.items():
        new = after.profiles.get(name)
        if new is None:
            # A profile that is written as alias tables alone goes with its last alias.
            if name != profile or set(old.bindings) - {alias}:
                return False
            continue
        kept = {key: value for key, value in old.bindings.items() if name != profile or key != alias}
        now = {key: value for key, value in new.bindings.items() if name != profile or key != alias}
        if kept != now or (alias is not None and old.registry_versions != new.registry_versions):
            return False
    return True
