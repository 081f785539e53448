"""Attempts as reports read them, and whatever hypothesis thinks of."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies

from llmring.receipts.receipt import timestamp
from llmring.reports.attempts import Attempt, Detailed
from llmring.usage import Usage

NOON = "2026-08-01T12:00:00.000000Z"


def attempt(**fields: object) -> Detailed:
    given = {
        "llmring_receipt": 1,
        "timestamp": NOON,
        "alias": "summarizer",
        "profile": "default",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "total_cost": Decimal("0.25"),
        "cost_status": "priced",
        "usage": Usage(input_tokens=1000, cache_read_tokens=200, output_tokens=50),
        "call": "run-1",
        "attempt": 1,
        "outcome": "answered",
        "took_milliseconds": 800,
    }
    return Detailed(**{**given, **fields})  # type: ignore[arg-type]  # whatever a test likes


_names = strategies.sampled_from(["a", "b", "<b>", ""])
_counts = strategies.integers(0, 10**9)
_costs = strategies.one_of(
    strategies.none(), strategies.decimals(min_value=0, max_value=10**6, allow_nan=False, places=18)
)

attempts = strategies.builds(
    attempt,
    timestamp=strategies.integers(0, 4 * 10**9).map(lambda seconds: timestamp(datetime.fromtimestamp(seconds, UTC))),
    alias=_names,
    profile=_names,
    model=_names,
    tenant=strategies.one_of(strategies.none(), _names),
    total_cost=_costs,
    usage=strategies.one_of(
        strategies.none(),
        strategies.builds(Usage, input_tokens=_counts, cache_read_tokens=_counts, output_tokens=_counts),
    ),
    call=strategies.one_of(strategies.none(), strategies.sampled_from(["1", "2", "3"])),
    attempt=strategies.one_of(strategies.none(), strategies.integers(1, 4)),
    outcome=strategies.sampled_from(["answered", "cancelled", "left", "ServerFault", None]),
    took_milliseconds=strategies.one_of(strategies.none(), strategies.integers(0, 10**7)),
)

__all__ = ["NOON", "Attempt", "attempt", "attempts"]
