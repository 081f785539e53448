"""Rows in batches pay from budgets too: half, from when they are handed in, and what they cost when they are read."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from llmring.errors import BudgetExceeded, LLMRingError
from llmring.lockfile import Budget
from llmring.router.opening import open_router
from llmring.router.router import Router
from tests.router.test_map_batches import ALONE, MODEL, QUICK, BatchProvider, Said
from tests.router.world import lockfile

EACH = (5 * Decimal(1) + 100 * Decimal(5)) / 10**6 / 2
"""The most that a row of one letter with 100 tokens of answer may cost in a batch."""
PAID = (3 * Decimal(1) + 5 * Decimal(5)) / 10**6 / 2
"""What a scripted row costs there."""


@pytest.fixture(autouse=True)
def clock(mock_clock: MockClock) -> None:
    mock_clock.rate = QUICK


@asynccontextmanager
async def routed(provider: BatchProvider, limit: Decimal) -> AsyncGenerator[Router]:
    budgets = [Budget(name="daily", limit=limit, per="day")]
    async with open_router(lockfile(ALONE), connect=provider, jitter=lambda: 0.0, budgets=budgets) as router:
        yield router


async def run(router: Router, rows: int, path: Path, **options: Any) -> list[bool]:
    prompts = [chr(ord("a") + number) for number in range(rows)]
    given: dict[str, Any] = {"mode": "batch", "checkpoint": path, "max_tokens": 100, **options}
    return [row.ok for row in await router.map(MODEL, prompts, **given).to_list()]


async def test_a_row_reserves_half_and_costs_what_its_batch_says(tmp_path: Path) -> None:
    async with routed(BatchProvider(), 3 * EACH) as router:
        assert await run(router, 3, tmp_path / "run.jsonl") == [True] * 3
        (one,) = router.status().budgets
        assert (one.spent_usd, one.reserved_usd) == (3 * PAID, Decimal(0))


async def test_a_row_waits_for_what_batches_under_way_give_back(tmp_path: Path) -> None:
    """Two at a time fit; the batch of the first two is handed in when no third comes."""
    provider = BatchProvider()
    async with routed(provider, Decimal("2.5") * EACH) as router:
        assert await run(router, 3, tmp_path / "run.jsonl") == [True] * 3
        assert len(provider.batches) == 2


async def test_a_run_whose_rows_have_no_money_ends_with_the_budget(tmp_path: Path) -> None:
    provider = BatchProvider()
    async with routed(provider, EACH / 2) as router:
        with pytest.raises(BudgetExceeded, match="budget 'daily'"):
            await run(router, 3, tmp_path / "run.jsonl")
        assert provider.batches == {}
        assert router.status().budgets[0].reserved_usd == 0


async def test_a_row_that_goes_online_after_all_pays_online(tmp_path: Path) -> None:
    provider = BatchProvider(submits=[Said(status=400)])
    async with routed(provider, 4 * EACH) as router:
        assert await run(router, 1, tmp_path / "run.jsonl", mode="auto") == [True]
        (one,) = router.status().budgets
        assert (one.spent_usd, one.reserved_usd) == (2 * PAID, Decimal(0))


async def test_rows_of_a_batch_that_was_refused_cost_nothing(tmp_path: Path) -> None:
    async with routed(BatchProvider(submits=[Said(status=400)]), 4 * EACH) as router:
        try:
            assert await run(router, 2, tmp_path / "run.jsonl") == [False, False]
        except LLMRingError as error:
            pytest.fail(str(error))
        (one,) = router.status().budgets
        assert (one.spent_usd, one.reserved_usd) == (Decimal(0), Decimal(0))
