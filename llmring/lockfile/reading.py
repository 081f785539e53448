"""The lockfile: which models stand behind an alias, and what it says of the providers.

Reads every form that lockfiles have been written in, as TOML or, for a name that ends in .json, as JSON. An unknown key
where a key means something, a wrong value: LockfileInvalid with the line and what was expected; nothing is read as
empty. What is understood but not acted on is listed in `Lockfile.notes`. Parsing is pure; `read_lockfile` is the one
that reads, the lockfiles of the packages that this one extends included.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from llmring.errors import (
    InvalidRequest,
    LockfileInvalid,
    LockfileMissing,
    PackageMissing,
    UnknownAlias,
    UnknownProfile,
)
from llmring.lockfile.budgets import Budget, read_budgets
from llmring.lockfile.lines import Address, find_line, find_unclosed
from llmring.lockfile.packages import check_package, find_package_lockfile
from llmring.lockfile.profiles import CANONICAL, EXPECTED, Binding, Profile, looks_bound, read_profiles
from llmring.lockfile.providers import ProviderSettings, read_providers
from llmring.lockfile.shape import Problem, as_table, check_keys, near_key, optional_text, shown, spell
from llmring.refs import ModelRef, is_model_ref

_READ = (
    "version",
    "default_profile",
    "profiles",
    "providers",
    "budgets",
    "extends",
    "aliases",
    "bindings",
    "registry_versions",
)
# Written by llmring's own tools, without a meaning for routing.
_IGNORED = ("created_at", "updated_at", "metadata")
_VERSION = re.compile(r"1(\.\d+)*")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    """A package that a lockfile extends: its lockfile, or why there is none."""

    package: str
    path: Path | None = None
    lockfile: "Lockfile | None" = None
    problem: str | None = None


class Lockfile(msgspec.Struct, frozen=True, kw_only=True):
    """A lockfile as read.

    `forms` are those that its bindings are written in, "canonical" alone for one that needs no upgrade. `packages` are
    those it extends, `extended` what was found of them. `notes`: what it says that has no effect, in sentences for its
    owner.
    """

    path: Path
    version: str
    default_profile: str
    profiles: dict[str, Profile]
    providers: dict[str, ProviderSettings]
    budgets: tuple[Budget, ...] = ()
    packages: tuple[str, ...] = ()
    extended: dict[str, Extended] = {}
    forms: tuple[str, ...] = (CANONICAL,)
    notes: tuple[str, ...] = ()

    def binding(self, alias: str, profile: str | None = None) -> Binding:
        """The binding of `alias` in `profile`, by default in `default_profile`; a `provider:model` binds itself.

        `package:alias` is the alias of a package that the lockfile extends: bound anew here, or as that package has it.
        Raises UnknownProfile, UnknownAlias, and InvalidRequest for a text with a colon that is no model reference.
        """
        return self.resolve(alias, profile).binding

    def resolve(self, alias: str, profile: str | None = None) -> "Resolution":
        """As `binding`, with where it was found."""
        package, colon, name = alias.partition(":")
        if colon and package in self.packages:
            return self._packaged(package, name, profile)
        if is_model_ref(alias):
            try:
                return Resolution(binding=Binding(alias=alias, models=(ModelRef.parse(alias),)))
            except ValueError as error:
                raise InvalidRequest(str(error)) from error
        chosen = self.profile(profile if profile is not None else self.default_profile)
        binding = chosen.bindings.get(alias)
        if binding is None:
            raise UnknownAlias(alias, tuple(chosen.bindings), f" in profile {chosen.name!r} of {self.path}")
        return Resolution(binding=binding, path=self.path, profile=chosen.name)

    def _packaged(self, package: str, name: str, profile: str | None) -> "Resolution":
        alias = f"{package}:{name}"
        wanted = profile if profile is not None else self.default_profile
        if profile is not None or wanted in self.profiles:
            own = self.profile(wanted).bindings.get(alias)
            if own is not None:
                return Resolution(binding=own, path=self.path, profile=wanted, package=package)
        extended = self.extended.get(package)
        if extended is None or extended.lockfile is None:
            why = extended.problem if extended is not None else "its lockfile has not been read"
            raise PackageMissing(alias, self.path, why or "no lockfile")
        theirs = extended.lockfile
        # Theirs of the same name where it binds the alias, else their default: what the package would use itself.
        chosen = theirs.profiles.get(wanted)
        if chosen is None or name not in chosen.bindings:
            chosen = theirs.profile(theirs.default_profile)
        binding = chosen.bindings.get(name)
        if binding is None:
            known = tuple(f"{package}:{other}" for other in chosen.bindings)
            raise UnknownAlias(alias, known, f" in profile {chosen.name!r} of {theirs.path}")
        renamed = msgspec.structs.replace(binding, alias=alias)
        return Resolution(binding=renamed, path=theirs.path, profile=chosen.name, package=package)

    def profile(self, name: str) -> Profile:
        """The profile called `name`. Raises UnknownProfile."""
        chosen = self.profiles.get(name)
        if chosen is None:
            raise UnknownProfile(name, tuple(self.profiles), f" in {self.path}")
        return chosen


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """A binding and where it stands: the file and the profile, both None for a `provider:model`, which stands nowhere.

    `package` is the one whose alias it is; `path` is then its lockfile, or this one where that binds it anew.
    """

    binding: Binding
    path: Path | None = None
    profile: str | None = None
    package: str | None = None


def read_lockfile(path: Path) -> Lockfile:
    """Read and parse a lockfile, and those of the packages it extends; what they extend in turn is not read.

    Raises LockfileMissing when it cannot be read, LockfileInvalid when it is wrong. What is wrong with a package's is
    said in its `Extended`, and by whoever asks for one of its aliases.
    """
    lockfile = _read_file(path)
    if not lockfile.packages:
        return lockfile
    extended = {package: _read_extended(package) for package in lockfile.packages}
    return msgspec.structs.replace(lockfile, extended=extended)


def _read_extended(package: str) -> Extended:
    try:
        path = find_package_lockfile(package)
        if path is None:
            return Extended(package=package, problem="package not installed or has no llmring.lock")
        return Extended(package=package, path=path, lockfile=_read_file(path))
    except (LockfileInvalid, LockfileMissing) as error:
        return Extended(package=package, path=error.path, problem=f"failed to load lockfile - {error}")


def _read_file(path: Path) -> Lockfile:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LockfileMissing(path, str(getattr(error, "strerror", None) or error).lower()) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LockfileInvalid(path, line, "not UTF-8: save the file in that encoding") from error
    return parse_lockfile(text, path)


def parse_lockfile(text: str, path: Path) -> Lockfile:
    """Parse the text of a lockfile; `path` is for messages, and its suffix tells JSON from TOML."""
    is_json = path.suffix.lower() == ".json"
    # Editors on Windows put a byte order mark in front.
    text = text.removeprefix("\ufeff")
    data = _parse_json(text, path) if is_json else _parse_toml(text, path)
    try:
        return _read(data, path)
    except Problem as problem:
        line = find_line(text, problem.address, is_json=is_json)
        first = find_line(text, problem.first, is_json=is_json) if problem.first is not None else None
        before = f" (first on line {first})" if first is not None else ""
        raise LockfileInvalid(path, line, problem.text + before) from problem


def _parse_toml(text: str, path: Path) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        if place is not None and place[1] is not None:
            line = int(place[1])
        else:
            line = find_unclosed(text) or text.rstrip().count("\n") + 1
        raise LockfileInvalid(path, line, f"not TOML: {_TOML_PLACE.sub('', str(error))}") from error
    except RecursionError:
        raise LockfileInvalid(path, None, "not a lockfile: nested too deeply") from None
    except ValueError as error:
        raise LockfileInvalid(path, None, "not TOML: a number or date out of all range") from error


def _parse_json(text: str, path: Path) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise LockfileInvalid(path, None, f"the key {shown(twice)} stands twice in one object")
        return table

    def refuse(constant: str) -> NoReturn:
        raise LockfileInvalid(path, None, f"not JSON: {constant} is not a number of JSON")

    try:
        # Not msgspec: it takes the last of two equal keys without a word, and counts bytes where a reader wants lines.
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise LockfileInvalid(path, error.lineno, f"not JSON: {error.msg}") from error
    except RecursionError:
        raise LockfileInvalid(path, None, "not a lockfile: nested too deeply") from None
    except ValueError as error:
        raise LockfileInvalid(path, None, "not JSON: a number out of all range") from error


def _read(data: object, path: Path) -> Lockfile:
    if not isinstance(data, dict):
        raise Problem((), f"a lockfile is a table, found {shown(data)}: {EXPECTED}")
    table: dict[str, object] = data
    notes: list[str] = []
    for key, value in table.items():
        if key not in _READ and key not in _IGNORED:
            _check_unknown(key, value)
            notes.append(f"{spell((key,))} is not known and has no effect")
    version = optional_text(table.get("version"), ("version",))
    if version is not None and not _VERSION.fullmatch(version):
        raise Problem(("version",), f"version must be '1.0' or another 1.x, found {shown(version)}")
    packages = _packages(table.get("extends"), notes)
    given = optional_text(table.get("default_profile"), ("default_profile",))
    default = given if given is not None else "default"
    found = read_profiles(table, default, packages, notes)
    _check_default_profile(given, found.profiles, notes)
    if not packages and not any(profile.bindings for profile in found.profiles.values()):
        notes.append("the lockfile binds no alias")
    return Lockfile(
        path=path,
        version=version if version is not None else "1.0",
        default_profile=default,
        profiles=found.profiles,
        providers=read_providers(table.get("providers", {})),
        budgets=read_budgets(table.get("budgets", {}), found.profiles),
        packages=packages,
        forms=found.forms,
        notes=tuple(notes),
    )


def _check_unknown(key: str, value: object) -> None:
    """Refuse a top-level key that is another form of lockfile or a misspelling; others are noted, not refused."""
    near = near_key(key, _READ, cutoff=0.85)
    if near is not None:
        raise Problem((key,), f"unknown key {shown(key)}: did you mean {near!r}?")
    if looks_bound(value):
        raise Problem((key,), f"{spell((key,))!r} is not a form of lockfile that is read: {EXPECTED}")


def _packages(value: object, notes: list[str]) -> tuple[str, ...]:
    if value is None:
        return ()
    at: Address = ("extends", "packages")
    table = as_table(value, ("extends",))
    check_keys(table, ("packages",), ("extends",))
    packages = table.get("packages")
    if packages is None:
        return ()
    if not isinstance(packages, list) or not all(isinstance(name, str) for name in packages):
        raise Problem(at, f"extends.packages must be a list of names, found {shown(packages)}")
    for number, name in enumerate(packages):
        try:
            check_package(name)
        except ValueError as error:
            raise Problem((*at, number), f"extends.packages: {error}") from None
        if name in packages[:number]:
            notes.append(f"extends.packages: {shown(name)} is listed twice")
    return tuple(dict.fromkeys(packages))


def _check_default_profile(given: str | None, profiles: dict[str, Profile], notes: list[str]) -> None:
    """One that is named exists, unless no profile does; where none is named and none is called so, that is noted."""
    known = ", ".join(shown(profile) for profile in profiles)
    if profiles and given is not None and given not in profiles:
        raise Problem(("default_profile",), f"default_profile {shown(given)} does not exist: the profiles are {known}")
    if profiles and given is None and "default" not in profiles:
        notes.append(f"there is no default profile: name one of {known} in every call, or set default_profile")
