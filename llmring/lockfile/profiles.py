"""The bindings of a lockfile, in every form that they have been written in. Pure.

    [[profiles.<name>.bindings]]   the canonical form; models = [...], or provider = and model = in one binding
    [aliases.<profile>]            one line an alias: fast = "provider:model", or a list of them
    [[bindings]]                   outside of any profile: those of the default one

A key that is not known here is an error: the forms differ in exactly these keys, and a form that is not understood must
not be read as a profile without aliases.
"""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec

from llmring.lockfile.constraints import Defaults, Requirements, read_constraints
from llmring.lockfile.lines import Address
from llmring.lockfile.shape import Problem, as_table, check_keys, near_key, optional_text, shown, spell
from llmring.refs import ModelRef, check_alias, is_model_ref

EXPECTED = 'expected [[profiles.<name>.bindings]] with alias = "..." and models = ["provider:model", ...]'


Order = Literal["ordered", "cheapest", "fastest", "spread"]
"""Which of a binding's models is asked first: as they are written; by what the request will cost; by how long it will
take; at random, by weight."""
ORDERS: tuple[Order, ...] = get_args(Order)


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """An alias and its models, the first choice first. Never without a model.

    `alias` is `package:alias` where another package's is bound anew. `defaults` are for its requests, `requirements`
    for its models; `weights` are for the order "spread", 1 for a model without one. `models_from` are the patterns that
    the models were taken from ("anthropic:*"); `pins` are digests of what the registry said of a model when it was
    bound.
    """

    alias: str
    models: tuple[ModelRef, ...]
    defaults: Defaults = Defaults()
    requirements: Requirements = Requirements()
    order: Order = "ordered"
    weights: Mapping[ModelRef, float] = {}
    models_from: tuple[str, ...] = ()
    pins: Mapping[ModelRef, str] = {}

    @property
    def constraints(self) -> Mapping[str, Any]:
        """Defaults and requirements as the lockfile spells them, in values of JSON: dollars are a string."""
        given = {**self.defaults.given, **self.requirements.given}
        return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in given.items()}


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One set of bindings, by alias in the order of the file. `registry_versions`: what it was last checked against."""

    name: str
    bindings: dict[str, Binding]
    registry_versions: Mapping[str, int] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The profiles of a lockfile, and the forms that they are written in."""

    profiles: dict[str, Profile]
    forms: tuple[str, ...]


CANONICAL = "canonical"
PROVIDER_AND_MODEL = "provider and model"
ALIAS_TABLES = "alias tables"
TOP_LEVEL = "top-level bindings"


def read_profiles(table: Mapping[str, object], default: str, packages: Collection[str], notes: list[str]) -> Found:
    """Read all bindings of a lockfile; what has no effect goes to `notes`. Raises Problem.

    `default` is the name of the default profile; `packages` are those of `extends`, whose aliases may be bound as
    `package:alias`.
    """
    reader = _Reader(packages, notes)
    tables = as_table(table.get("profiles", {}), ("profiles",), "a table of tables: [profiles.<name>]")
    for name, value in tables.items():
        reader.read_profile(name, value)
    if "aliases" in table:
        reader.read_aliases(table["aliases"], default)
    if "bindings" in table:
        reader.forms.add(TOP_LEVEL)
        reader.read_bindings(default, table["bindings"], ("bindings",))
    if "registry_versions" in table:
        reader.read_versions(default, table["registry_versions"], ("registry_versions",))
    profiles = {
        name: Profile(name=name, bindings=bindings, registry_versions=reader.versions.get(name, {}))
        for name, bindings in reader.profiles.items()
    }
    return Found(profiles=profiles, forms=tuple(sorted(reader.forms)) or (CANONICAL,))


class _Reader:
    def __init__(self, packages: Collection[str], notes: list[str]) -> None:
        self.packages = packages
        self.notes = notes
        self.forms: set[str] = set()
        self.profiles: dict[str, dict[str, Binding]] = {}
        self.versions: dict[str, dict[str, int]] = {}
        self._places: dict[tuple[str, str], Address] = {}

    def read_profile(self, name: str, value: object) -> None:
        at: Address = ("profiles", name)
        table = as_table(value, at)
        known = ("name", "bindings", "registry_versions")
        for key, unknown in table.items():
            if key not in known and looks_bound(unknown):
                raise Problem((*at, key), f"{spell((*at, key))} is not a form of lockfile that is read: {EXPECTED}")
        check_keys(table, known, at)
        given = optional_text(table.get("name"), (*at, "name"))
        if given is not None and given != name:
            self.notes.append(
                f"{spell(at)}: its name is {shown(given)}; the profile is called {shown(name)}, as its table is"
            )
        self.profiles.setdefault(name, {})
        self.read_bindings(name, table.get("bindings", []), (*at, "bindings"))
        self.read_versions(name, table.get("registry_versions"), (*at, "registry_versions"))

    def read_bindings(self, profile: str, value: object, at: Address) -> None:
        if not isinstance(value, list):
            raise Problem(at, f"{spell(at)} must be a list, found {shown(value)}: {EXPECTED}")
        for number, item in enumerate(value):
            place = (*at, number)
            self._add(profile, self._read_binding(item, place), (*place, "alias"))

    def read_aliases(self, value: object, default: str) -> None:
        """`[aliases.<profile>]` tables; an alias directly under `[aliases]` is the default profile's."""
        self.forms.add(ALIAS_TABLES)
        at: Address = ("aliases",)
        what = 'a table of tables: [aliases.<profile>] with alias = "provider:model"'
        for name, item in as_table(value, at, what).items():
            if isinstance(item, dict):
                self.profiles.setdefault(name, {})
                for alias, models in item.items():
                    self._add_line(name, alias, models, (*at, name, alias))
            else:
                self._add_line(default, name, item, (*at, name))

    def _add_line(self, profile: str, alias: str, models: object, at: Address) -> None:
        if isinstance(models, dict):
            raise Problem(at, f"{spell(at)} must be 'provider:model' or a list of them, found a table: {EXPECTED}")
        name = self._check_alias(alias, spell(at), at)
        self._add(profile, Binding(alias=name, models=self._read_models(models, at, spell(at))), at)

    def read_versions(self, profile: str, value: object, at: Address) -> None:
        if value is None:
            return
        versions = self.versions.setdefault(profile, {})
        self.profiles.setdefault(profile, {})
        for provider, version in as_table(value, at).items():
            if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 10**9:
                address = (*at, provider)
                raise Problem(address, f"{spell(address)} must be a version of the registry, found {shown(version)}")
            versions[provider] = version

    def _add(self, profile: str, binding: Binding, place: Address) -> None:
        bindings = self.profiles.setdefault(profile, {})
        if binding.alias in bindings:
            text = f"alias {binding.alias!r} is bound twice in profile {profile!r}"
            raise Problem(place, text, first=self._places[profile, binding.alias])
        bindings[binding.alias] = binding
        self._places[profile, binding.alias] = place

    def _read_binding(self, value: object, at: Address) -> Binding:
        table = as_table(value, at, "a table with alias and models")
        alias = table.get("alias")
        place = spell(at) + (f" (alias {shown(alias)})" if isinstance(alias, str) else "")
        check_keys(table, _BINDING_KEYS, at, place)
        if not isinstance(alias, str):
            found = f", found {shown(alias)}" if "alias" in table else ""
            raise Problem((*at, "alias") if found else at, f"{place}: alias must be a string{found}")
        models = self._models(table, at, place)
        defaults, requirements = read_constraints(table.get("constraints"), (*at, "constraints"))
        return Binding(
            alias=self._check_alias(alias, place, (*at, "alias")),
            models=models,
            defaults=defaults,
            requirements=requirements,
            order=_read_order(table.get("order"), (*at, "order")),
            weights=_read_weights(table.get("weights"), models, (*at, "weights")),
            models_from=_read_patterns(table.get("models_from"), (*at, "models_from")),
            pins=_read_pins(table.get("pins"), (*at, "pins")),
        )

    def _models(self, table: Mapping[str, object], at: Address, place: str) -> tuple[ModelRef, ...]:
        """Of `models`, or of `provider` and `model`."""
        if "provider" not in table and "model" not in table:
            if "models" not in table:
                raise Problem(at, f"{place}: models is missing: 'provider:model' or a list of them")
            return self._read_models(table["models"], (*at, "models"), place)
        for key in ("provider", "model"):
            if key not in table:
                raise Problem(at, f"{place}: {key} is missing: models = [...], or both provider and model")
            optional_text(table[key], (*at, key))
        if "models" in table:
            raise Problem((*at, "models"), f"{place}: models beside provider and model: one of them is too many")
        self.forms.add(PROVIDER_AND_MODEL)
        return (_read_model(f"{table['provider']}:{table['model']}", (*at, "model"), place),)

    def _check_alias(self, alias: str, place: str, at: Address) -> str:
        """The alias, or `package:alias` of a package that the lockfile extends."""
        package, colon, name = alias.partition(":")
        if colon and package not in self.packages:
            raise Problem(
                at,
                f"{place}: {shown(alias)} is not an alias here: {shown(package)} is not listed in extends.packages",
            )
        try:
            check_alias(name if colon else alias)
        except ValueError as error:
            raise Problem(at, f"{place}: {error}") from error
        return alias

    def _read_models(self, value: object, at: Address, place: str) -> tuple[ModelRef, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise Problem(at, f"{place}: models must be 'provider:model' or a list of them, found {shown(value)}")
        if not items:
            raise Problem(at, f"{place}: models is empty: name at least one 'provider:model'")
        models: dict[ModelRef, None] = {}
        for number, item in enumerate(items):
            ref = _read_model(item, at if isinstance(value, str) else (*at, number), place)
            if ref in models:
                self.notes.append(f"{place}: {ref} is listed twice")
            models[ref] = None
        return tuple(models)


_BINDING_KEYS = (
    "alias",
    "models",
    "provider",
    "model",
    "constraints",
    "order",
    "weights",
    "models_from",
    "pins",
)


def _read_model(value: object, at: Address, place: str) -> ModelRef:
    if not isinstance(value, str) or not is_model_ref(value):
        raise Problem(at, f"{place}: models must be 'provider:model' or a list of them, found {shown(value)}")
    if "," in value:
        raise Problem(at, f"{place}: several models are a list of strings, not one string with commas: {shown(value)}")
    try:
        ref = ModelRef.parse(value)
    except ValueError as error:
        raise Problem(at, f"{place}: {error}") from error
    if "*" in ref.model:
        raise Problem(at, f"{place}: {shown(value)} is a pattern: `llmring bind` writes the models that it stands for")
    return ref


def _read_patterns(value: object, at: Address) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value if value is not None else []
    if not isinstance(items, list) or not all(isinstance(item, str) and is_model_ref(item) for item in items):
        raise Problem(at, f"{spell(at)} must be a list of patterns such as 'anthropic:*', found {shown(value)}")
    return tuple(items)


def _read_order(value: object, at: Address) -> Order:
    if value is None:
        return "ordered"
    for order in ORDERS:
        if value == order:
            return order
    near = near_key(value, ORDERS, cutoff=0.6) if isinstance(value, str) else None
    hint = f" (did you mean {near!r}?)" if near else ""
    known = ", ".join(repr(order) for order in ORDERS)
    raise Problem(at, f"{spell(at)} must be one of {known}{hint}, found {shown(value)}")


def _read_weights(value: object, models: Collection[ModelRef], at: Address) -> dict[ModelRef, float]:
    weights: dict[ModelRef, float] = {}
    for name, weight in _items(value, at):
        place = (*at, name)
        ref = _read_model(name, place, spell(at))
        if ref not in models:
            raise Problem(place, f"{spell(at)}: {ref} is not among the binding's models")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
            raise Problem(place, f"{spell(place)} must be a number above 0, found {shown(weight)}")
        weights[ref] = float(weight)
    return weights


def _read_pins(value: object, at: Address) -> dict[ModelRef, str]:
    pins: dict[ModelRef, str] = {}
    for name, digest in _items(value, at):
        ref = _read_model(name, (*at, name), spell(at))
        if not isinstance(digest, str) or not digest:
            raise Problem((*at, name), f"{spell((*at, name))} must be a digest, found {shown(digest)}")
        pins[ref] = digest
    return pins


def _items(value: object, at: Address) -> Iterator[tuple[str, object]]:
    if value is not None:
        yield from as_table(value, at).items()


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
