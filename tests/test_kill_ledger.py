"""`python -m bench.kill_ledger` in little: what is older than a second survives a kill, in either store."""

from pathlib import Path

import pytest

from bench import kill_ledger
from tests.conftest import need_postgresql

ROUNDS = 3


@pytest.mark.parametrize("store", kill_ledger.STORES)
async def test_kills_lose_no_receipt_that_is_older_than_a_second(store: str, tmp_path: Path) -> None:
    if store == "postgresql":
        need_postgresql()
    with kill_ledger.new_place(store, tmp_path) as place:
        outcome = await kill_ledger.measure(place, tmp_path, ROUNDS, seed=5)
    assert outcome.misses() == []
    assert len(outcome.rounds) == ROUNDS
