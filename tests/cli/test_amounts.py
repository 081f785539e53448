"""What was spent is shown so that what has no price is never taken for free."""

from decimal import Decimal as D

import pytest

from llmring.cli.amounts import spent_text
from llmring.cli.spelling import attempt_json, error_json
from llmring.errors import Attempt, BadReply, StreamBroken
from llmring.refs import ModelRef
from llmring.usage import Cost, CostBreakdown, Usage

LEAST = Cost(status="priced", usd=D("0.5"), breakdown=CostBreakdown(output=D("0.5")), is_lower_bound=True)


@pytest.mark.parametrize(
    ("usd", "unpriced", "lower_bounds", "text"),
    [
        ("0", 0, 0, "$0.000000"),
        ("0.0123", 0, 0, "$0.012300"),
        ("0.0123", 2000, 0, "$0.012300 + 2,000 unpriced"),
        ("0", 2, 0, "2 unpriced"),
        ("0.0123", 0, 1, "at least $0.012300"),
        ("0.0123", 2, 1, "at least $0.012300 + 2 unpriced"),
    ],
)
def test_dollars_and_what_is_not_in_them(usd: str, unpriced: int, lower_bounds: int, text: str) -> None:
    assert spent_text(D(usd), unpriced, lower_bounds) == text


def test_json_says_what_a_broken_stream_and_a_failed_attempt_cost_at_least() -> None:
    broken = StreamBroken(BadReply("cut"), "par")
    assert "cost_usd" not in error_json(broken)
    broken.usage, broken.cost = Usage(output_tokens=7), LEAST
    told = error_json(broken)
    assert (told["cost_usd"], told["cost_is_lower_bound"], told["usage"]["output_tokens"]) == ("0.5", True, 7)
    attempt = Attempt(model=ModelRef("a", "b"), outcome="failed", error=BadReply("x"), sent=True, cost=LEAST)
    assert attempt_json(attempt)["cost_usd"] == "0.5"
