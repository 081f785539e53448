"""What holds for all tests: of hypothesis, of the registry, of signals; and a database server for those that ask."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bench.postgresql import NoServer, Server, find_programs, open_server
from llmring.config import LedgerPlace
from tests.receipts.ledgers import database_place, file_place

# No time limit an example, since a busy machine is no failure; what fails is printed to be run again. Half the usual
# number of examples, or as many as LLMRING_EXAMPLES says: every change runs them all.
settings.register_profile(
    "llmring",
    deadline=None,
    print_blob=True,
    max_examples=int(os.environ.get("LLMRING_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("llmring")

# No test asks the registry of the world, or reads what whoever runs the tests has kept of it.
os.environ["LLMRING_REGISTRY_REFRESH"] = "off"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="llmring-tests-")

# What one test has learned of limits is not for the next one, nor for whoever runs them.
os.environ["LLMRING_STATE"] = "off"
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="llmring-tests-")

# Nor do their routers show themselves among those of whoever runs the tests.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="llmring-tests-")
os.environ.pop("LLMRING_STATUS", None)

# Nor do they leave receipts of what a test has scripted.
os.environ["LLMRING_RECEIPTS"] = "off"

# In the background of a shell SIGINT is ignored, and so it would be by the commands that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server for tests that leave it as it is, each with a database of its own."""
    need_postgresql()
    with open_server("fsync=off") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    """Where there is no ledger yet, in each kind of store."""
    if request.param == "sqlite":
        return file_place(tmp_path)
    server: Server = request.getfixturevalue("postgresql")
    return database_place(server.new_database(), tmp_path)


@pytest.fixture
def own_postgresql() -> Iterator[Server]:
    """A server for one test, to be stopped and ended as it likes."""
    need_postgresql()
    with open_server() as server:
        yield server


def need_postgresql() -> None:
    """Skip a test where there is none, but not where all tests must have run (.ci/run)."""
    try:
        find_programs()
    except NoServer as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
