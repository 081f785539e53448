"""What is read of a ledger: the rows of a span of time, and whose work a receipt was for."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from llmring.receipts.receipt import Receipt, payload, read, timestamp
from llmring.receipts.sqlite_store import open_store
from tests.receipts.attempts import NOON, attempted, writer_at
from tests.receipts.ledgers import file_place
from tests.receipts.samples import FULL

HOURS = range(6)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A receipt an hour, from noon."""
    with closing(writer_at(file_place(tmp_path))) as writer:
        writer.take([attempted(ended_at=NOON + timedelta(hours=hour), call=str(hour)) for hour in HOURS])
        assert writer.flush()
    return tmp_path / "ledger.db"


@pytest.mark.parametrize("newest", [None, 3])
@pytest.mark.parametrize("since", [None, *HOURS])
@pytest.mark.parametrize("until", [None, *HOURS])
def test_a_span_has_its_beginning_and_not_its_end(
    ledger: Path, since: int | None, until: int | None, newest: int | None
) -> None:
    low, high = (None if hour is None else timestamp(NOON + timedelta(hours=hour)) for hour in (since, until))
    with closing(open_store(ledger, must_exist=True)) as store:
        found = [row.sequence for row in store.rows(newest=newest, since=low, until=high)]
    expected = [hour for hour in HOURS if (since or 0) <= hour < (until if until is not None else len(HOURS))]
    assert found == (expected if newest is None else expected[::-1][:newest])


def test_a_receipt_names_whose_work_it_was_and_without_one_is_spelled_as_ever(tmp_path: Path) -> None:
    with closing(writer_at(file_place(tmp_path))) as writer:
        writer.take([attempted(tenant="acme"), attempted()])
        assert writer.flush()
    with closing(open_store(tmp_path / "ledger.db", must_exist=True)) as store:
        entries = [read(row.signed.payload_type, row.signed.payload) for row in store.rows()]
    assert [entry.tenant for entry in entries if isinstance(entry, Receipt)] == ["acme", None]
    assert b"tenant" not in payload(FULL)
