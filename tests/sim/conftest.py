"""One simulator for the whole run, in a process of its own, and clients that speak to it.

Tests do not disturb one another: limits belong to a key, so each test takes a key of its own; scripts of faults belong
to a provider, so a test that adds faults takes a provider nobody else uses.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from llmring.sim.config import ProviderConfig, SimConfig
from llmring.sim.faults import Fault
from llmring.sim.latency import Fixed
from llmring.sim.process import Simulator, running_simulator
from tests.sim.calls import Caller

_RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "recorded"

CONFIG = SimConfig(
    providers={
        "default": ProviderConfig(),
        "openai": ProviderConfig(requests_per_minute=3, tokens_per_minute=100),
        "anthropic": ProviderConfig(requests_per_minute=50, input_tokens_per_minute=2000, output_tokens_per_minute=8),
        "silent": ProviderConfig(requests_per_minute=1, headers=False),
        "strict": ProviderConfig(keys=("the-only-key-there-is",)),
        "slow": ProviderConfig(latency=Fixed(seconds=3600.0)),
        "endless": ProviderConfig(seconds_per_token=3600.0),
        "failing": ProviderConfig(faults=(Fault(kind="status_500", model="weak", count=2),)),
        "scripted": ProviderConfig(),
        "cleared": ProviderConfig(),
        "few": ProviderConfig(requests_per_minute=1),
        "refusing": ProviderConfig(
            faults=(Fault(kind="unsupported_parameter", parameters=("temperature", "think"), model="picky"),)
        ),
        "listed": ProviderConfig(models=("one", "two", "three")),
        "charged": ProviderConfig(requests_per_minute=2),
        "counted": ProviderConfig(),
        "batching": ProviderConfig(batch_seconds=0.5),
        "cancelling": ProviderConfig(batch_seconds=4.0),
        "expiring": ProviderConfig(batch_expired_share=0.25),
        "late": ProviderConfig(batch_expired_share=1.0),
    }
)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running_simulator(CONFIG) as one:
        yield one


@pytest.fixture(scope="session")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=20) as one:
        yield one


@pytest.fixture
def caller(simulator: Simulator, client: httpx2.Client, request: pytest.FixtureRequest) -> Caller:
    return Caller(simulator, client, f"key-of-{request.node.nodeid}")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded exchanges, which is no part of this repository."""
    if not _RECORDED.is_dir():
        pytest.skip("no recorded exchanges beside this repository")
    return _RECORDED
