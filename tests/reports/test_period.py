"""Spans of time as people write them, and the days of receipts."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import ConfigError
from llmring.receipts.receipt import timestamp
from llmring.reports.period import bound, day_in, days
from llmring.zones import zone

NOW = datetime(2026, 8, 15, 12, tzinfo=UTC)
VIENNA = ZoneInfo("Europe/Vienna")


@pytest.mark.parametrize(
    ("text", "where", "ends", "expected"),
    [
        ("2026-08-01", UTC, False, "2026-08-01T00:00:00.000000Z"),
        ("2026-08-01", UTC, True, "2026-08-02T00:00:00.000000Z"),
        ("2026-08-01", VIENNA, False, "2026-07-31T22:00:00.000000Z"),
        ("2026-10-25", VIENNA, True, "2026-10-25T23:00:00.000000Z"),
        ("2026-08-01T14:30", UTC, True, "2026-08-01T14:30:00.000000Z"),
        ("2026-08-01T14:30", VIENNA, False, "2026-08-01T12:30:00.000000Z"),
        ("2026-08-01T14:30+05:00", VIENNA, False, "2026-08-01T09:30:00.000000Z"),
        ("7d", VIENNA, False, "2026-08-08T12:00:00.000000Z"),
        ("12h", UTC, False, "2026-08-15T00:00:00.000000Z"),
    ],
)
def test_a_bound_is_a_timestamp(text: str, where: ZoneInfo, ends: bool, expected: str) -> None:
    assert bound(text, where, NOW, ends=ends) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-02-30", "01.08.2026", "", "9999999d", "7w"])
@pytest.mark.parametrize("ends", [False, True])
def test_what_is_no_date_is_said_so(text: str, *, ends: bool) -> None:
    with pytest.raises(ConfigError, match="is no date: write 2026-08-01"):
        bound(text, UTC, NOW, ends=ends)


@pytest.mark.parametrize(
    ("text", "where", "ends"),
    [
        ("9999-12-31", UTC, True),
        ("0001-01-01", VIENNA, False),
        ("0001-01-01T00:00", VIENNA, True),
        ("9999-12-31T23:00-05:00", UTC, True),
        ("99999h", UTC, False),
    ],
)
def test_what_is_a_date_and_beyond_counting_is_not_called_none(text: str, where: ZoneInfo, *, ends: bool) -> None:
    now = datetime(11, 1, 1, tzinfo=UTC)
    with pytest.raises(ConfigError, match=f"'{text}' is beyond the dates that are counted: the first is 0001-01-02"):
        bound(text, where, now, ends=ends)


@pytest.mark.parametrize("name", ["Mars/Phobos", "../../etc/passwd", "/etc/localtime", ""])
def test_a_time_zone_that_is_none_is_said_so(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no time zone"):
        zone(name)


@given(st.integers(0, 4 * 10**9), st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kolkata"]))
def test_a_day_is_the_one_on_the_calendar_there(seconds: int, name: str) -> None:
    moment, where = datetime.fromtimestamp(seconds, UTC), zone(name)
    assert day_in(where)(timestamp(moment)) == moment.astimezone(where).date().isoformat()


def test_days_are_without_holes() -> None:
    assert list(days("2026-02-27", "2026-03-02", most=9)) == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert list(days("1970-01-01", "2026-03-02", most=2)) == ["2026-03-01", "2026-03-02"]
