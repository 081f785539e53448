"""The [profiles.<name>] tables of a lockfile: which models stand behind which alias. Pure.

A key that is not known here is an error: the forms of lockfiles differ in exactly these keys, and a form that is not
understood must not be read as a profile without aliases.
"""

from collections.abc import Collection

import msgspec

from llmring.lockfile_lines import Address
from llmring.lockfile_shape import Problem, as_table, check_keys, optional_text, shown, spell
from llmring.refs import ModelRef, check_alias, is_model_ref

EXPECTED = 'expected [[profiles.<name>.bindings]] with alias = "..." and models = ["provider:model", ...]'


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """An alias and its models, the first choice first. Never without a model."""

    alias: str
    models: tuple[ModelRef, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One set of bindings, by alias in the order of the file."""

    name: str
    bindings: dict[str, Binding]


def read_profiles(value: object, packages: Collection[str], notes: list[str]) -> dict[str, Profile]:
    """Read the `profiles` table; what is understood but not acted on goes to `notes`. Raises Problem.

    `packages` are those of the lockfile's `extends`: their aliases may be bound as `package:alias`.
    """
    tables = as_table(value, ("profiles",), "a table of tables: [profiles.<name>]")
    return {name: _read_profile(name, table, packages, notes) for name, table in tables.items()}


def _read_profile(name: str, value: object, packages: Collection[str], notes: list[str]) -> Profile:
    at: Address = ("profiles", name)
    table = as_table(value, at)
    known = ("name", "bindings", "registry_versions")
    for key, unknown in table.items():
        if key not in known and looks_bound(unknown):
            raise Problem((*at, key), f"{spell((*at, key))} is not a form of lockfile that is read: {EXPECTED}")
    check_keys(table, known, at)
    given = optional_text(table.get("name"), (*at, "name"))
    if given is not None and given != name:
        notes.append(f"{spell(at)}: its name is {shown(given)}; the profile is called {shown(name)}, as its table is")
    if table.get("registry_versions") is not None:
        as_table(table["registry_versions"], (*at, "registry_versions"))
    bindings = _read_bindings(name, table.get("bindings", []), packages, notes)
    return Profile(name=name, bindings=bindings)


def _read_bindings(profile: str, value: object, packages: Collection[str], notes: list[str]) -> dict[str, Binding]:
    at: Address = ("profiles", profile, "bindings")
    if not isinstance(value, list):
        raise Problem(at, f"{spell(at)} must be a list, found {shown(value)}: {EXPECTED}")
    bindings: dict[str, Binding] = {}
    places: dict[str, Address] = {}
    for number, item in enumerate(value):
        binding = _read_binding(item, (*at, number), packages, notes)
        if binding is None:
            continue
        place = (*at, number, "alias")
        if binding.alias in bindings:
            text = f"alias {binding.alias!r} is bound twice in profile {profile!r}"
            raise Problem(place, text, first=places[binding.alias])
        bindings[binding.alias] = binding
        places[binding.alias] = place
    return bindings


def _read_binding(value: object, at: Address, packages: Collection[str], notes: list[str]) -> Binding | None:
    """None for the alias of another package, which is noted."""
    table = as_table(value, at, "a table with alias and models")
    alias = table.get("alias")
    place = spell(at) + (f" (alias {shown(alias)})" if isinstance(alias, str) else "")
    if "provider" in table and "model" in table:
        raise Problem(at, f"{place} has provider and model, which is not a form of lockfile that is read: {EXPECTED}")
    check_keys(table, ("alias", "models", "constraints"), at, place)
    if not isinstance(alias, str):
        found = f", found {shown(alias)}" if "alias" in table else ""
        raise Problem((*at, "alias") if found else at, f"{place}: alias must be a string{found}")
    if table.get("constraints"):
        notes.append(f"{place}: constraints are not applied")
    if "models" not in table:
        raise Problem(at, f"{place}: models is missing: 'provider:model' or a list of them")
    models = _read_models(table["models"], (*at, "models"), place, notes)
    if alias.partition(":")[0] in packages and ":" in alias:
        notes.append(f"{place}: bindings of a package's aliases are not applied")
        return None
    try:
        return Binding(alias=check_alias(alias), models=models)
    except ValueError as error:
        raise Problem((*at, "alias"), f"{place}: {error}") from error


def _read_models(value: object, at: Address, place: str, notes: list[str]) -> tuple[ModelRef, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise Problem(at, f"{place}: models must be 'provider:model' or a list of them, found {shown(value)}")
    if not items:
        raise Problem(at, f"{place}: models is empty: name at least one 'provider:model'")
    models: dict[ModelRef, None] = {}
    for number, item in enumerate(items):
        ref = _read_model(item, at if isinstance(value, str) else (*at, number), place)
        if ref in models:
            notes.append(f"{place}: {ref} is listed twice")
        models[ref] = None
    return tuple(models)


def _read_model(value: object, at: Address, place: str) -> ModelRef:
    if not isinstance(value, str) or not is_model_ref(value):
        raise Problem(at, f"{place}: models must be 'provider:model' or a list of them, found {shown(value)}")
    if "," in value:
        raise Problem(at, f"{place}: several models are a list of strings, not one string with commas: {shown(value)}")
    try:
        return ModelRef.parse(value)
    except ValueError as error:
        raise Problem(at, f"{place}: {error}") from error


def looks_bound(value: object) -> bool:
    """Whether an unknown value holds bindings in some form: a key that bindings have, or a `provider:model`."""
    rest = [value]
    while rest:
        match rest.pop():
            case dict() as table:
                if table.keys() & {"bindings", "alias", "aliases", "models", "model"}:
                    return True
                rest.extend(table.values())
            case list() as items:
                rest.extend(items)
            case str() as text if _is_ref(text):
                return True
    return False


def _is_ref(text: str) -> bool:
    # A URL and a time have colons too.
    if "://" in text or text[:1].isdigit():
        return False
    try:
        ModelRef.parse(text)
    except ValueError:
        return False
    return True
