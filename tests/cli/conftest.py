from collections.abc import Iterator
from pathlib import Path

import pytest

from llmring.sim.process import Simulator, running_simulator
from tests.cli.terminal import Terminal


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def terminal(tmp_path: Path, simulator: Simulator) -> Terminal:
    """A project whose lockfile leads to the simulator."""
    return Terminal(tmp_path, simulator.url)


@pytest.fixture
def bare(tmp_path: Path) -> Terminal:
    """An empty directory, and no key."""
    terminal = Terminal(tmp_path)
    terminal.variables.clear()
    return terminal
