"""How an alias is resolved, step by step, and what is known of each of its models. Pure."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec

from llmring.lockfile import Binding, Lockfile
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog
from llmring.review.validation import judge


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the chain. `is_first`: the one that is asked first, as far as keys go."""

    ref: ModelRef
    has_key: bool
    is_first: bool
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    stands_for: ModelRef | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What led from an alias to its models. `file`, `forms` are those of the lockfile that was found, `bound_in` and
    `profile` where the binding stands; both None for a `provider:model`."""

    alias: str
    file: Path
    found_by: str
    forms: tuple[str, ...]
    digest: str
    profile_by: str
    bound_in: Path | None
    profile: str | None
    package: str | None
    overrides: bool
    binding: Binding
    candidates: tuple[Candidate, ...]


def explain(
    lockfile: Lockfile,
    alias: str,
    profile: str | None,
    catalog: Catalog,
    missing_key: Callable[[str], str | None],
    today: date,
    *,
    found_by: str,
    profile_by: str,
    digest: str,
) -> Explanation:
    """Raises what `Lockfile.binding` raises."""
    resolution = lockfile.resolve(alias, profile)
    binding = resolution.binding
    candidates: list[Candidate] = []
    for ref in binding.models:
        verdict = judge("", binding, ref, catalog, missing_key, today)
        has_key = missing_key(ref.provider) is None
        candidates.append(
            Candidate(
                ref=ref,
                has_key=has_key,
                is_first=has_key and not any(one.is_first for one in candidates),
                problems=verdict.problems,
                warnings=verdict.warnings,
                stands_for=verdict.stands_for,
            )
        )
    return Explanation(
        alias=alias,
        file=lockfile.path,
        found_by=found_by,
        forms=lockfile.forms,
        digest=digest,
        profile_by=profile_by,
        bound_in=resolution.path,
        profile=resolution.profile,
        package=resolution.package,
        overrides=resolution.package is not None and resolution.path == lockfile.path,
        binding=binding,
        candidates=tuple(candidates),
    )
