"""Pace: examples worked out by hand."""

import math

import pytest

from llmring.errors import Dimension
from llmring.providers.bucket import Bucket, Limit
from llmring.providers.pace import Means, Pace, bound_seconds, ceilings, least_seconds, pace


def means(took_seconds: float, **charge: float) -> Means:
    found = Means()
    names: dict[str, Dimension] = {"requests": "requests", "tokens": "tokens"}
    found.add({names[name]: amount for name, amount in charge.items()}, took_seconds)
    return found


def bucket(dimension: Dimension, amount: float, level: float) -> Bucket:
    made = Bucket(Limit(dimension=dimension, amount=amount), 0.0)
    made.level = level
    return made


def test_the_tightest_limit_binds() -> None:
    # 600 requests a minute are 10 rows a second; 6,000 tokens a minute, 50 a row, are 2.
    buckets = [bucket("requests", 600.0, 597.5), bucket("tokens", 6000.0, 5000.0)]
    found = pace(buckets, means(1.0, requests=1.0, tokens=50.0), 64)
    assert found == Pace(at_once=100.0, rows_per_second=2.0, binding="tokens limit")


def test_connections_bind_where_they_are_slower_than_every_limit() -> None:
    # 4 connections, 8 seconds a row.
    found = pace([bucket("requests", 600.0, 597.5)], means(8.0, requests=1.0), 4)
    assert found == Pace(at_once=4.0, rows_per_second=0.5, binding="connections")


def test_a_limit_that_rows_do_not_touch_does_not_bind() -> None:
    found = pace([bucket("requests", 600.0, 600.0), bucket("tokens", 60.0, 60.0)], means(0.0, requests=1.0), 4)
    assert found.binding == "requests limit"


def test_a_debt_lets_nothing_go_at_once() -> None:
    found = pace([bucket("requests", 60.0, -30.0)], means(1.0, requests=1.0), 64)
    assert found == Pace(at_once=0.0, rows_per_second=1.0, binding="requests limit")


def test_the_bound_begins_with_full_limits_and_the_tightest_of_them_counts() -> None:
    # 600 requests a minute; 6,000 tokens, 50 a row: 119.5 rows at once, then 2 a second. Neither level counts.
    found = ceilings(
        [bucket("requests", 600.0, 0.0), bucket("tokens", 6000.0, 0.0)], means(1.0, requests=1.0, tokens=50.0), 64
    )
    assert [one.binding for one in found] == ["requests limit", "tokens limit", "connections"]
    assert bound_seconds(319.5, [[found[:2]]], 1.0) == pytest.approx(101.0)
    # Of a few rows only the connections are in the way: 64 go at once, and 64 a second.
    assert bound_seconds(64, [[found]], 1.0) == 1.0
    assert bound_seconds(100, [[found]], 1.0) == pytest.approx(1.0 + 36 / 64)


def test_groups_add_up_and_of_those_that_share_the_fastest_counts() -> None:
    slow = (Pace(at_once=0.0, rows_per_second=1.0, binding="x"),)
    fast = (Pace(at_once=0.0, rows_per_second=3.0, binding="x"),)
    assert bound_seconds(60, [[slow, fast], [slow, ()]], 0.0) == pytest.approx(15.0)
    assert bound_seconds(60, [[()], []], 0.0) is None
    assert bound_seconds(60, [[(Pace(at_once=1.0, rows_per_second=0.0, binding="x"),)]], 0.0) is None


def test_before_the_first_answer_nothing_is_known() -> None:
    found = pace([bucket("requests", 60.0, 60.0)], Means(), 64)
    assert found == Pace(at_once=math.inf, rows_per_second=math.inf, binding="nothing")


def test_means_are_plain_at_first_and_follow_later() -> None:
    found = Means()
    for tokens, seconds in [(10.0, 1.0), (20.0, 3.0), (30.0, 5.0)]:
        found.add({"tokens": tokens}, seconds)
    assert found.charge["tokens"] == pytest.approx(20.0)
    assert found.took_seconds == pytest.approx(3.0)
    for _ in range(100):
        found.add({"tokens": 80.0}, 9.0)
    assert 78.0 < found.charge["tokens"] < 80.0
    assert 8.9 < found.took_seconds < 9.0


ONE = Pace(at_once=100.0, rows_per_second=10.0, binding="requests limit")
OTHER = Pace(at_once=50.0, rows_per_second=5.0, binding="tokens limit")


@pytest.mark.parametrize(
    ("rows", "paces", "seconds"),
    [
        # (1,100 - 100) / 10, and the last one's 2 seconds.
        (1100.0, [ONE], 102.0),
        # Both routes together: (1,650 - 150) / 15.
        (1650.0, [ONE, OTHER], 102.0),
        (100.0, [ONE], 2.0),
        (101.0, [ONE], 2.1),
        (0.0, [ONE], 2.0),
        (-3.0, [ONE], 2.0),
        (0.0, [], 2.0),
    ],
)
def test_the_least_time_is_what_has_to_wait_over_the_rate_and_one_latency(
    rows: float, paces: list[Pace], seconds: float
) -> None:
    assert least_seconds(rows, paces, 2.0) == pytest.approx(seconds)
