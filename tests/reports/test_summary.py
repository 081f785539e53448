"""What a ledger's attempts come to, in total and by group."""

from collections.abc import Iterator
from decimal import Decimal
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import ReceiptError
from llmring.receipts.receipt import GAP, HANDOVER, RECEIPT, Gap, payload
from llmring.receipts.signing import Signed
from llmring.receipts.store import Row
from llmring.reports import summary as summaries
from llmring.reports.attempts import Attempt, Missing
from llmring.reports.attempts import attempts as read_attempts
from llmring.reports.summary import By, Summary, summarize
from llmring.reports.totals import Totals
from llmring.usage import Usage
from tests.receipts.samples import FULL
from tests.reports.samples import NOON, attempt, attempts

EVERY: tuple[By, ...] = get_args(By)


def summed(*found: Attempt, by: tuple[By, ...] = EVERY) -> Summary:
    return summarize(found, by, lambda text: text[:10])


def row(kind: str, data: bytes) -> Row:
    return Row(7, Signed(kind, data, b"", "key"), None, NOON, b"", None)


@given(st.lists(attempts, max_size=40))
def test_the_groups_of_every_grouping_add_up_to_the_total(found: list[Attempt]) -> None:
    result = summed(*found)
    for by in EVERY:
        added = Totals()
        for totals in result.groupings[by].groups.values():
            added.merge(totals)
        assert added.to_dict() == result.total.to_dict()
    assert result.total.cost_usd == sum((one.total_cost or 0 for one in found), Decimal(0))


@given(st.lists(attempts, max_size=40))
def test_every_attempt_ended_in_one_way_and_has_a_price_or_is_counted_as_without(found: list[Attempt]) -> None:
    total = summed(*found).total
    assert total.attempts == len(found) == total.answered + total.failed + total.cancelled + total.left
    assert total.unpriced == sum(one.total_cost is None for one in found)
    assert total.calls_answered <= total.answered


@given(st.lists(attempts, max_size=30))
def test_groups_beyond_the_room_are_summed_as_others(found: list[Attempt]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "MOST_GROUPS", 2)
        grouping = summed(*found, by=("alias",)).groupings["alias"]
    assert len(grouping.groups) <= 2
    added = grouping.others or Totals()
    for totals in grouping.groups.values():
        added.merge(totals)
    assert added.to_dict() == summed(*found).total.to_dict()


def test_an_answer_of_another_model_is_a_failover_and_of_the_same_a_retry() -> None:
    refused = attempt(outcome="RateLimited", usage=None, total_cost=None)
    elsewhere = attempt(attempt=2, provider="anthropic", model="claude")
    total = summed(refused, elsewhere).total
    assert (total.calls, total.calls_answered, total.failovers, total.retried) == (1, 1, 1, 0)
    total = summed(refused, attempt(attempt=2)).total
    assert (total.calls, total.calls_answered, total.failovers, total.retried) == (1, 1, 0, 1)


def test_a_failover_is_counted_where_the_answer_came_from() -> None:
    refused = attempt(outcome="ServerFault", usage=None, total_cost=None)
    groups = summed(refused, attempt(attempt=2, model="other")).groupings["model"].groups
    first, second = groups["openai:gpt-4o-mini"], groups["openai:other"]
    assert (first.calls, first.failed, first.failovers) == (1, 1, 0)
    assert (second.calls, second.answered, second.failovers) == (0, 1, 1)


def test_an_answer_that_is_asked_for_again_is_no_failover() -> None:
    total = summed(attempt(), attempt(attempt=2, model="other")).total
    assert (total.calls, total.calls_answered, total.answered, total.failovers) == (1, 1, 2, 0)


def test_without_its_first_attempt_an_answer_is_no_failover() -> None:
    total = summed(attempt(attempt=2, model="other")).total
    assert (total.calls, total.calls_answered, total.failovers) == (0, 0, 0)


def test_calls_that_are_open_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "OPEN_CALLS", 1)
    old, new = (attempt(call=name, outcome="ServerFault") for name in ("old", "new"))
    total = summed(old, new, *(attempt(call=name, attempt=2, model="other") for name in ("old", "new"))).total
    assert total.failovers == 1


def test_a_price_of_an_answer_that_broke_off_is_a_lower_bound() -> None:
    total = summed(attempt(outcome="left"), attempt(outcome="cancelled", total_cost=None)).total
    assert (total.lower_bounds, total.unpriced, total.unpriced_answers) == (1, 1, 0)


def test_why_there_is_no_price_is_counted() -> None:
    unpriced = attempt(total_cost=None, cost_status="model_not_in_registry")
    assert summed(unpriced, unpriced, attempt()).unpriced_why == {"model_not_in_registry": 2}


def test_days_are_in_their_order_and_others_by_cost() -> None:
    late = attempt(timestamp="2026-08-02T00:00:00.000000Z", alias="dear", total_cost=Decimal(9))
    result = summed(late, attempt(alias="cheap"))
    assert [key for key, _ in result.groupings["day"].ranked()] == ["2026-08-01", "2026-08-02"]
    assert [key for key, _ in result.groupings["alias"].ranked()] == ["dear", "cheap"]
    assert (result.first, result.last) == (NOON, late.timestamp)


def test_receipts_gaps_and_hand_overs_are_told_apart() -> None:
    gap = Gap(
        llmring_gap=1,
        missing=3,
        began_at=NOON,
        ended_at=NOON,
        why="",
        timestamp=NOON,
        ledger="0",
        sequence=1,
        key_id="k",
    )
    found = list(read_attempts([row(RECEIPT, payload(FULL)), row(GAP, payload(gap)), row(HANDOVER, b"{}")]))
    receipt, missing = found
    assert isinstance(receipt, Attempt) and isinstance(missing, Missing)
    assert (receipt.total_cost, receipt.usage) == (Decimal("0.000228"), Usage(input_tokens=1200, output_tokens=80))
    assert summarize(found, (), str).missing == 3


def test_a_receipt_of_a_later_llmring_is_said_to_be_one() -> None:
    data = payload(msgspec.structs.replace(FULL, llmring_receipt=2))

    def read() -> Iterator[object]:
        return read_attempts([row(RECEIPT, data)])

    with pytest.raises(ReceiptError, match="entry 7 of the ledger: it is of version 2, and this llmring reads 1"):
        list(read())
    with pytest.raises(ReceiptError, match="entry 7 of the ledger: not a receipt"):
        list(read_attempts([row(RECEIPT, b"{}")]))


@pytest.mark.parametrize("fields", [{"total_cost": "much"}, {"total_cost": "NaN"}, {"timestamp": "soon"}])
def test_a_receipt_that_cannot_be_counted_is_named(fields: dict[str, str]) -> None:
    data = payload(msgspec.structs.replace(FULL, **fields))
    with pytest.raises(ReceiptError, match="entry 7 of the ledger: "):
        list(read_attempts([row(RECEIPT, data)]))
