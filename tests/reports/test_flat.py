"""Receipts as rows of a table."""

import msgspec
import pytest
from hypothesis import given

from llmring.errors import ReceiptError
from llmring.receipts.receipt import Receipt
from llmring.reports.flat import COLUMNS, flat, plain
from tests.receipts.samples import FULL, receipts

INSIDE = {"usage", "cost_breakdown", "llmring_receipt"}
COSTS = {"input_cost", "output_cost", "total_cost"}


@given(receipts.map(lambda one: msgspec.structs.replace(one, **dict.fromkeys(COSTS), cost_breakdown=None)))
def test_every_field_has_its_column_and_its_value(receipt: Receipt) -> None:
    row = flat(receipt)
    assert list(row) == list(COLUMNS)
    for name in receipt.__struct_fields__:
        if name not in INSIDE:
            assert row[name] == getattr(receipt, name)


def test_what_a_receipt_knows_to_be_nothing_is_0_and_what_it_does_not_know_is_empty() -> None:
    row = flat(FULL)
    assert (row["usage_input_tokens"], row["usage_reasoning_tokens"]) == (1200, 0)
    assert (plain(row["cost_breakdown_output"]), plain(row["cost_breakdown_reasoning"])) == ("0.000048", "0")
    assert (plain(row["total_cost"]), row["cost_is_lower_bound"]) == ("0.000228", False)
    unknown = flat(msgspec.structs.replace(FULL, usage=None, total_cost=None, cost_breakdown=None))
    assert {unknown[name] for name in COLUMNS if name.startswith(("usage_", "cost_breakdown_", "total_cost"))} == {None}
    assert unknown["cost_is_lower_bound"] is None


def test_money_is_spelled_without_exponents() -> None:
    tiny = flat(msgspec.structs.replace(FULL, total_cost="0.00000015", outcome="left"))
    assert (plain(tiny["total_cost"]), tiny["cost_is_lower_bound"]) == ("0.00000015", True)


@pytest.mark.parametrize("text", ["much", "NaN", "Infinity"])
def test_a_cost_that_is_no_number_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ReceiptError, match="a cost that is no number"):
        flat(msgspec.structs.replace(FULL, total_cost=text))
