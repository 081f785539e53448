"""Published lists for tests: one to be bent out of shape, and the real ones where they lie beside the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmring.registry.published import PublishedList, parse_published

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT.parent / "shared" / "registry"
needs_registry = pytest.mark.skipif(not REGISTRY.is_dir(), reason=f"no registry files at {REGISTRY}")

VERSIONS = {"anthropic": 9, "google": 5, "openai": 7}
"""The latest versions of the real lists of August 2026."""


def entry(name: str = "gpt-5", **fields: Any) -> dict[str, Any]:
    """An entry with every required key."""
    return {
        "provider": "openai",
        "model_name": name,
        "display_name": name.upper(),
        "max_input_tokens": 272_000,
        "max_output_tokens": 128_000,
        "dollars_per_million_tokens_input": 1.25,
        "dollars_per_million_tokens_output": 10.0,
        "supports_vision": True,
        "supports_function_calling": True,
        "supports_json_mode": False,
        "is_active": True,
        **fields,
    }


def document(*entries: Any, **top: Any) -> dict[str, Any]:
    """A list with its models by key."""
    models = {f"openai:{each['model_name']}": each for each in entries}
    return {"provider": "openai", "version": 3, "updated_at": "2026-08-18T17:29:16Z", "models": models, **top}


def parse(*entries: Any, **top: Any) -> PublishedList:
    return parse_published(json.dumps(document(*entries, **top)).encode(), "here")


def real(provider: str, version: int) -> bytes:
    """A real list's bytes."""
    return (REGISTRY / provider / "v" / str(version) / "models.json").read_bytes()


def every_real() -> list[tuple[str, int]]:
    """Every real list, by provider and version; the registry need not be there."""
    return [(provider, version) for provider, last in VERSIONS.items() for version in range(1, last + 1)]
