"""What has changed in the registry, for the models that a lockfile uses, since it was pinned. Pure.

A profile pins a version of the registry for every provider, and a binding may pin the digest of what was said of a
model. The versions tell what has changed; where the list of a pinned version is not at hand, the digests still tell
that something has.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from llmring.lockfile import Lockfile, Profile
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts
from llmring.registry.digest import facts_digest
from llmring.registry.drift import Change, drift

Version = Callable[[str, int], Sequence[ModelFacts] | None]
"""The models of a provider in a version of the registry; None where that is not at hand."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed for one profile and provider. `pinned` is None where no version is pinned; `at_hand` says
    whether the pinned list could be compared, or digests alone."""

    profile: str
    provider: str
    pinned: int | None
    current: int | None
    at_hand: bool
    changes: tuple[Change, ...]


def lock_drift(lockfile: Lockfile, catalog: Catalog, version: Version) -> tuple[Drift, ...]:
    """The drift of every profile and provider that it uses, in the order of the file."""
    return tuple(
        _drift(profile, provider, refs, catalog, version)
        for profile in lockfile.profiles.values()
        for provider, refs in used(profile).items()
        if provider in catalog.providers() or provider in profile.registry_versions
    )


def used(profile: Profile) -> dict[str, list[ModelRef]]:
    """The models of a profile, by provider."""
    found: dict[str, list[ModelRef]] = {}
    for binding in profile.bindings.values():
        for ref in binding.models:
            refs = found.setdefault(ref.provider, [])
            if ref not in refs:
                refs.append(ref)
    return found


def _drift(profile: Profile, provider: str, refs: list[ModelRef], catalog: Catalog, version: Version) -> Drift:
    pinned = profile.registry_versions.get(provider)
    before = version(provider, pinned) if pinned is not None else None
    changes: list[Change] = []
    if before is not None:
        now = [facts for facts in catalog.models if facts.ref.provider == provider]
        changes += drift(before, now, refs)
    told = {change.ref for change in changes}
    changes += [change for change in _by_digest(profile, provider, catalog) if change.ref not in told]
    return Drift(
        profile=profile.name,
        provider=provider,
        pinned=pinned,
        current=catalog.version(provider),
        at_hand=before is not None,
        changes=tuple(changes),
    )


def _by_digest(profile: Profile, provider: str, catalog: Catalog) -> Iterator[Change]:
    seen: set[ModelRef] = set()
    for binding in profile.bindings.values():
        for ref, pin in binding.pins.items():
            if ref.provider != provider or ref in seen:
                continue
            seen.add(ref)
            facts = catalog.get(ref)
            if facts is None:
                yield Change(ref=ref, what="removed", field="model", before=pin, after=None)
            elif (digest := facts_digest(facts)) != pin:
                yield Change(ref=ref, what="price", field="facts", before=pin, after=digest)
