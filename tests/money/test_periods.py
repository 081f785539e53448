"""Days and months of a time zone, as budgets count them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.lockfile.budgets import Per
from llmring.money.periods import Period, period_of
from llmring.zones import zone

ZONES = ["UTC", "Europe/Berlin", "America/Havana", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Asia/Kathmandu"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


@pytest.mark.parametrize(
    ("now", "key", "hours"),
    [
        ("2026-11-20T23:30", "2026-11-21 Europe/Berlin", 24),
        ("2026-03-29T12:00", "2026-03-29 Europe/Berlin", 23),
        ("2026-10-25T00:30", "2026-10-25 Europe/Berlin", 25),
        ("2026-10-25T01:30", "2026-10-25 Europe/Berlin", 25),
    ],
)
def test_a_day_is_the_zones(now: str, key: str, hours: int) -> None:
    found = period_of("day", at(now), zone("Europe/Berlin"))
    assert found.key == key
    assert found.starts_at is not None
    assert found.ends_at is not None
    assert found.ends_at - found.starts_at == timedelta(hours=hours)


def test_a_month_begins_at_the_zones_midnight() -> None:
    found = period_of("month", at("2026-11-30T23:00"), zone("Europe/Berlin"))
    assert found == Period(
        key="2026-12 Europe/Berlin", starts_at=at("2026-11-30T23:00"), ends_at=at("2026-12-31T23:00")
    )
    assert period_of("month", at("2026-11-30T23:00")).key == "2026-11"


def test_the_hour_that_comes_twice_is_of_one_day() -> None:
    """Told by a clock of that zone: at the first 02:30 and at the second."""
    berlin = ZoneInfo("Europe/Berlin")
    day = period_of("day", at("2026-10-25T10:00"), berlin)
    for fold in (0, 1):
        assert day.holds(datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold))


@given(
    st.integers(950_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.sampled_from(ZONES),
    st.sampled_from(["day", "month"]),
)
def test_periods_follow_one_another_without_a_gap(now: datetime, name: str, per: Per) -> None:
    """Also where midnight is left out, comes twice, or a whole day is left out."""
    where = zone(name)
    found = period_of(per, now, where)
    assert found.holds(now)
    assert found.starts_at is not None
    assert found.ends_at is not None
    assert period_of(per, found.starts_at, where) == found
    following = period_of(per, found.ends_at, where)
    assert following.starts_at == found.ends_at
    assert following.key != found.key
    assert not found.holds(found.ends_at)
