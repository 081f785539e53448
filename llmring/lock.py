"""The lockfile as its owner works on it: bind, unbind, init, upgrade, bump the registry.

What `llmring lock` and `llmring bind` do, for programs. The file is the one that a router would read: the `lockfile`
argument, LLMRING_LOCKFILE_PATH, ./llmring.lock. Edits keep comments, order and unknown keys, replace the file
atomically, and never touch the bundled one. All functions block for a few milliseconds of file access and ask no
network.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from llmring.config import BUNDLED_LOCKFILE, locate_lockfile, read_settings
from llmring.errors import ConfigError, InvalidRequest, LockfileMissing
from llmring.keys import missing_key
from llmring.lockfile import Lockfile, Order, parse_lockfile, read_lockfile
from llmring.lockfile.constraints import Requirements, read_constraints
from llmring.lockfile.edit import bind as bind_text
from llmring.lockfile.edit import new_lockfile, set_pins, set_versions
from llmring.lockfile.edit import unbind as unbind_text
from llmring.lockfile.shape import Problem
from llmring.lockfile.upgrade import upgrade as upgrade_text
from llmring.lockfile.writing import Edited, create, edit
from llmring.refs import ModelRef, check_alias
from llmring.registry.catalog import Catalog
from llmring.registry.digest import facts_digest
from llmring.registry.store import read_bundled
from llmring.review.choice import MOST, Considered, choose, is_pattern
from llmring.review.drift import used
from llmring.review.proposals import propose

DEFAULT_PROFILE = "default"


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A binding as it was written. `considered` are the models that patterns matched, each with why it was taken or
    left; `unknown` those of the list that the registry does not know. `created`: the lockfile is new."""

    path: Path
    created: bool
    profile: str
    alias: str
    models: tuple[ModelRef, ...]
    considered: tuple[Considered, ...] = ()
    unknown: tuple[ModelRef, ...] = ()


class Bump(msgspec.Struct, frozen=True, kw_only=True):
    """A pinned version of one profile and provider, before and after. `before` None: it was not pinned."""

    profile: str
    provider: str
    before: int | None
    after: int


def bind(
    alias: str,
    models: str | Sequence[str],
    *,
    profile: str | None = None,
    lockfile: Path | str | None = None,
    constraints: Mapping[str, Any] | None = None,
    order: Order | None = None,
    most: int = MOST,
    pin: bool = False,
    catalog: Catalog | None = None,
    today: date | None = None,
) -> Bound:
    """Bind `alias` to models in the lockfile, which is made when there is none.

    `models`: "provider:model", several in a list or separated by commas, first choice first; "anthropic:*" stands for
    models that the registry knows and that hold the requirements among `constraints`, at most `most` of them.
    `constraints` are those of the lockfile, `order` says which model is asked first (None: left as they are). `pin`
    writes the digest of what the registry says of each model. `profile`: by default LLMRING_PROFILE, then the
    lockfile's. Raises ConfigError; then nothing has changed.
    """
    catalog = catalog if catalog is not None else read_bundled()
    today = today if today is not None else datetime.now(UTC).date()
    path = lockfile_to_edit(lockfile)
    before = read_lockfile(path) if path.exists() else None
    chosen = _profile(profile, before)
    _check_alias(alias, before)
    required = _requirements(constraints, before, chosen, alias)
    given = [text.strip() for text in (models.split(",") if isinstance(models, str) else models)]
    considered, refs = _resolve(given, required, catalog, today, most)
    pins = {str(ref): facts_digest(facts) for ref in refs if (facts := catalog.get(ref)) is not None} if pin else None

    def change(text: str) -> str:
        return bind_text(
            text,
            path,
            chosen,
            alias,
            [str(ref) for ref in refs],
            models_from=given if considered else (),
            constraints=constraints,
            order=order,
            pins=pins if pin else {},
        )

    if before is None:
        create(path, change(new_lockfile({chosen: {}}, {}, is_json=_is_json(path))))
    else:
        edit(path, change)
    unknown = tuple(ref for ref in refs if catalog.get(ref) is None and ref.provider in catalog.providers())
    return Bound(
        path=path,
        created=before is None,
        profile=chosen,
        alias=alias,
        models=refs,
        considered=considered,
        unknown=unknown,
    )


def unbind(alias: str, *, profile: str | None = None, lockfile: Path | str | None = None) -> Edited:
    """Take `alias` out of a profile. Raises UnknownAlias and other ConfigErrors; then nothing has changed."""
    path = lockfile_to_edit(lockfile)
    chosen = _profile(profile, read_lockfile(path))
    return edit(path, lambda text: unbind_text(text, path, chosen, alias))


def init(
    *,
    lockfile: Path | str | None = None,
    force: bool = False,
    catalog: Catalog | None = None,
    today: date | None = None,
    keys: Mapping[str, str] | None = None,
) -> Lockfile:
    """Write a new lockfile with sensible aliases for the providers whose keys are there, or for all that the registry
    knows when there is none. `keys` stand in for the environment. Raises FileExistsError unless `force`."""
    catalog = catalog if catalog is not None else read_bundled()
    today = today if today is not None else datetime.now(UTC).date()
    path = lockfile_to_edit(lockfile)
    if path.exists() and not force:
        raise FileExistsError(f"{path} already exists. Use --force to overwrite")
    providers = catalog.providers()
    ready = [name for name in providers if missing_key(None, keys)(name) is None] or list(providers)
    proposed = propose(catalog, ready, today)
    aliases = {alias: [str(ref) for ref in refs] for alias, refs in proposed.items()}
    named = sorted({ref.provider for refs in proposed.values() for ref in refs})
    versions = {name: version for name in named if (version := catalog.version(name)) is not None}
    text = new_lockfile({DEFAULT_PROFILE: aliases}, versions, is_json=_is_json(path))
    create(path, text, force=force)
    return parse_lockfile(text, path)


def upgrade(*, lockfile: Path | str | None = None, write: bool = True) -> Edited:
    """Rewrite a lockfile in the canonical form; its meaning stays. With `write` false only say what would change."""
    path = lockfile_to_edit(lockfile)
    return edit(path, lambda text: upgrade_text(text, path), write=write)


def bump_registry(
    *, lockfile: Path | str | None = None, catalog: Catalog | None = None, write: bool = True
) -> tuple[Bump, ...]:
    """Pin the current versions of the registry, for every profile and every provider that it uses, and the digests of
    bindings that pin them. Returns all pins, changed or not."""
    catalog = catalog if catalog is not None else read_bundled()
    path = lockfile_to_edit(lockfile)
    before = read_lockfile(path)
    bumps = tuple(
        Bump(profile=profile.name, provider=name, before=profile.registry_versions.get(name), after=version)
        for profile in before.profiles.values()
        for name in dict.fromkeys((*used(profile), *profile.registry_versions))
        if (version := catalog.version(name)) is not None
    )

    def change(text: str) -> str:
        for profile in before.profiles.values():
            versions = {bump.provider: bump.after for bump in bumps if bump.profile == profile.name}
            if versions:
                text = set_versions(text, path, profile.name, versions)
            for binding in profile.bindings.values():
                pins = {str(ref): facts_digest(facts) for ref in binding.pins if (facts := catalog.get(ref))}
                if pins:
                    text = set_pins(text, path, profile.name, binding.alias, pins)
        return text

    if write:
        edit(path, change)
    return bumps


def lockfile_to_edit(lockfile: Path | str | None) -> Path:
    """The file that edits go to: the one that is read, or where a new one belongs. Raises ConfigError."""
    path = locate_lockfile(lockfile, read_settings(), Path.cwd(), must_exist=False).path
    if path.exists() and path.resolve() == BUNDLED_LOCKFILE.resolve():
        raise ConfigError(f"{path} comes with llmring and is not edited: make one of your own with `llmring lock init`")
    if path.is_dir():
        raise LockfileMissing(path, "is a directory, not a file")
    return path


def _profile(given: str | None, lockfile: Lockfile | None) -> str:
    if given is not None:
        return given
    return read_settings().profile or (lockfile.default_profile if lockfile is not None else DEFAULT_PROFILE)


def _check_alias(alias: str, lockfile: Lockfile | None) -> None:
    package, colon, name = alias.partition(":")
    if colon and (lockfile is None or package not in lockfile.packages):
        raise InvalidRequest(
            f"{alias!r} is not an alias: it has a colon, and no package {package!r} is in [extends] packages"
        )
    try:
        check_alias(name if colon else alias)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _requirements(
    constraints: Mapping[str, Any] | None, lockfile: Lockfile | None, profile: str, alias: str
) -> Requirements:
    """Those that are given, or those that the binding has. Raises InvalidRequest."""
    if constraints is None:
        known = lockfile.profiles.get(profile) if lockfile is not None else None
        binding = known.bindings.get(alias) if known is not None else None
        return binding.requirements if binding is not None else Requirements()
    try:
        return read_constraints(dict(constraints), ("constraints",))[1]
    except Problem as problem:
        raise InvalidRequest(problem.text) from problem


def _resolve(
    given: Sequence[str], required: Requirements, catalog: Catalog, today: date, most: int
) -> tuple[tuple[Considered, ...], tuple[ModelRef, ...]]:
    """The models that are meant; what was considered only where there is a pattern among them."""
    if not given or not all(given):
        raise InvalidRequest("name at least one model, as 'provider:model'")
    considered = choose(catalog, given, required, today, most if any(map(is_pattern, given)) else len(given))
    taken = tuple(one.ref for one in considered if one.taken)
    if not taken:
        reasons = "".join(f"\n  {one.ref}: {one.why}" for one in considered)
        raise InvalidRequest(f"no model of {', '.join(given)} holds the constraints:{reasons}")
    return considered if any(map(is_pattern, given)) else (), taken


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"
