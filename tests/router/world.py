"""A router over a scripted provider on virtual time: what the scenarios of this folder share."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from llmring.errors import LLMRingError
from llmring.lockfile import Lockfile, parse_lockfile
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.status import RouteStatus
from llmring.testing import ScriptedProvider, Step

CHAIN = """
[[profiles.default.bindings]]
alias = "chain"
models = ["openai:first", "anthropic:second"]

[[profiles.default.bindings]]
alias = "alone"
models = ["openai:first"]

[[profiles.default.bindings]]
alias = "three"
models = ["openai:first", "anthropic:second", "openai:third"]

[providers.openai]
api_key_env = "TEST_KEY_A"

[providers.anthropic]
api_key_env = "TEST_KEY_B"
"""


def lockfile(text: str = CHAIN) -> Lockfile:
    return parse_lockfile(text, Path("test.lock"))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY_A", "key-a")
    monkeypatch.setenv("TEST_KEY_B", "key-b")
    monkeypatch.delenv("LLMRING_PROFILE", raising=False)


@asynccontextmanager
async def world(
    script: Mapping[str, Sequence[Step]], text: str = CHAIN, *, grace: float = 10.0
) -> AsyncGenerator[tuple[Router, ScriptedProvider]]:
    """A router without jitter: holds end exactly when the provider said, pauses last 50 ms."""
    provider = ScriptedProvider(script)
    async with open_router(lockfile(text), connect=provider, jitter=lambda: 0.0, grace=grace) as router:
        yield router, provider


def standing(router: Router) -> list[RouteStatus]:
    """How those models stand that were asked for."""
    return [route for route in router.status().routes if route.asked]


async def collect(run: MapRun) -> tuple[list[Row], BaseException | None]:
    """The rows, and the error that ended the run."""
    rows: list[Row] = []
    try:
        async with run:
            async for row in run:
                rows.append(row)  # noqa: PERF401 - those before an error are kept
    except LLMRingError as error:
        return rows, error
    return rows, None
