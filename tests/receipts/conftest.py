"""A place for a ledger, of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.postgresql import Server
from llmring.config import LedgerPlace
from tests.receipts.attempts import close_writers
from tests.receipts.ledgers import database_place, file_place


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        return file_place(tmp_path)
    server: Server = request.getfixturevalue("postgresql")
    return database_place(server.new_database(), tmp_path)


@pytest.fixture(autouse=True)
def closed_writers() -> Iterator[None]:
    yield
    close_writers()
