"""What a lockfile says, as one number: equal for two that route alike, whatever their form, order, comments and times.

Pure. The same on every machine; a package that is extended and not installed is part of what is said.
"""

import hashlib
from typing import Any

import msgspec

from llmring.lockfile.budgets import Budget
from llmring.lockfile.profiles import Binding, Profile
from llmring.lockfile.providers import ProviderSettings
from llmring.lockfile.reading import Lockfile


def lock_digest(lockfile: Lockfile) -> str:
    """SHA-256, in hexadecimal, of the RFC 8785 form of what `lockfile` resolves to. Its path and times are left out."""
    # On the first use: few processes need it.
    import rfc8785

    return hashlib.sha256(rfc8785.dumps(_content(lockfile))).hexdigest()


def _content(lockfile: Lockfile) -> dict[str, Any]:
    content: dict[str, Any] = {
        "default_profile": lockfile.default_profile,
        "profiles": {name: _profile(profile) for name, profile in lockfile.profiles.items()},
        "providers": {
            name: _given(msgspec.to_builtins(settings)) | _grouped(settings)
            for name, settings in lockfile.providers.items()
        },
        "extends": {
            package: _extended(lockfile.extended[package].lockfile if package in lockfile.extended else None)
            for package in lockfile.packages
        },
    }
    if lockfile.budgets:
        # Only then: the digests of lockfiles without budgets stay what they were.
        content["budgets"] = {budget.name: _budget(budget) for budget in lockfile.budgets}
    return content


def _budget(budget: Budget) -> dict[str, Any]:
    fields = _given(msgspec.to_builtins(budget)) | {"limit": format(budget.limit.normalize(), "f")}
    return {key: value for key, value in fields.items() if key != "name"}


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, {})}


def _grouped(settings: ProviderSettings) -> dict[str, Any]:
    """Groups are what they hold: in which order their models are written changes nothing."""
    groups = {
        name: _given(msgspec.to_builtins(group)) | {"models": sorted(group.models)}
        for name, group in settings.limit_groups.items()
    }
    return {"limit_groups": groups} if groups else {}


def _extended(lockfile: Lockfile | None) -> dict[str, Any] | None:
    """Of a package only its bindings count: its providers and what it extends in turn have no effect here."""
    if lockfile is None:
        return None
    profiles = {name: _profile(profile) for name, profile in lockfile.profiles.items()}
    return {"default_profile": lockfile.default_profile, "profiles": profiles}


def _profile(profile: Profile) -> dict[str, Any]:
    bindings = {alias: _binding(binding) for alias, binding in profile.bindings.items()}
    return {"bindings": bindings, "registry_versions": dict(profile.registry_versions)}


def _exact(value: Any) -> Any:
    """RFC 8785 has no integers that a double cannot hold; such a one is text."""
    return str(value) if isinstance(value, int) and abs(value) >= 2**53 else value


def _binding(binding: Binding) -> dict[str, Any]:
    content: dict[str, Any] = {"models": [str(ref) for ref in binding.models]}
    required = binding.requirements
    constraints = msgspec.to_builtins(binding.defaults) | {
        "min_context": required.min_context,
        "max_cost": None if required.max_cost is None else format(required.max_cost.normalize(), "f"),
        "supports": sorted(required.supports),
    }
    given = {name: _exact(value) for name, value in constraints.items() if value not in (None, [])}
    if given:
        content["constraints"] = given
    if binding.order != "ordered":
        content["order"] = binding.order
    if binding.weights:
        content["weights"] = {str(ref): weight for ref, weight in binding.weights.items()}
    if binding.models_from:
        content["models_from"] = list(binding.models_from)
    if binding.pins:
        content["pins"] = {str(ref): digest for ref, digest in binding.pins.items()}
    return content
