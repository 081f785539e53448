"""Limits by key, on a clock the test sets."""

import asyncio
import math
from collections.abc import Coroutine, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmring.sim.limits import KeyLimits, Refused

_T = TypeVar("_T")


class SetClock(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until the test moves it."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def run(self, work: Coroutine[object, object, _T]) -> _T:
        return self.run_until_complete(work)


@pytest.fixture
def loop() -> Iterator[SetClock]:
    one = SetClock()
    yield one
    one.close()


def _remaining(limits: KeyLimits) -> dict[str, tuple[int, float, float]]:
    levels = limits.levels()
    return {name: (one.limit, one.remaining, one.full_in_seconds) for name, one in levels.items()}


def _refusal(refused: Refused | None) -> tuple[str, int, int, float | None]:
    assert refused is not None
    return refused.dimension, refused.used, refused.requested, refused.wait_seconds


def test_a_key_without_limits_is_never_refused(loop: SetClock) -> None:
    limits = KeyLimits({})
    assert [loop.run(limits.admit(10**9)) for _ in range(3)] == [None, None, None]
    assert _remaining(limits) == {}


def test_requests_are_refused_until_one_has_leaked_back(loop: SetClock) -> None:
    limits = KeyLimits({"requests": 2})
    assert loop.run(limits.admit(1)) is None
    assert loop.run(limits.admit(1)) is None
    assert _refusal(loop.run(limits.admit(1))) == ("requests", 2, 1, 30.0)
    loop.now = 29.9
    assert loop.run(limits.admit(1)) is not None
    loop.now = 30.0
    assert loop.run(limits.admit(1)) is None


def test_a_refused_request_consumes_nothing(loop: SetClock) -> None:
    limits = KeyLimits({"requests": 10, "tokens": 100})
    assert loop.run(limits.admit(80)) is None
    assert _refusal(loop.run(limits.admit(30))) == ("tokens", 80, 30, 6.0)
    assert _remaining(limits) == {"requests": (10, 9.0, 6.0), "tokens": (100, 20.0, 48.0)}


def test_full_again_is_what_is_missing_at_the_rate_of_the_limit(loop: SetClock) -> None:
    limits = KeyLimits({"requests": 500})
    loop.run(limits.admit(1))
    limit, remaining, full_in_seconds = _remaining(limits)["requests"]
    assert (limit, remaining) == (500, 499.0)
    assert full_in_seconds == pytest.approx((500 - 499) * 60 / 500)


def test_of_several_refusals_the_longest_wait_is_told(loop: SetClock) -> None:
    limits = KeyLimits({"requests": 1, "tokens": 100})
    loop.run(limits.admit(50))
    assert _refusal(loop.run(limits.admit(60))) == ("requests", 1, 1, 60.0)


def test_a_request_larger_than_the_limit_never_fits(loop: SetClock) -> None:
    limits = KeyLimits({"requests": 10, "tokens": 100})
    assert _refusal(loop.run(limits.admit(101))) == ("tokens", 0, 101, None)


def test_output_is_charged_after_the_reply_and_its_debt_is_paid_by_waiting(loop: SetClock) -> None:
    limits = KeyLimits({"output_tokens": 60})
    assert loop.run(limits.admit(1)) is None
    limits.charge_output(90)
    assert _remaining(limits)["output_tokens"] == (60, -30.0, 90.0)
    assert _refusal(loop.run(limits.admit(1))) == ("output_tokens", 90, 1, 31.0)
    loop.now = 30.9
    assert loop.run(limits.admit(1)) is not None
    loop.now = 31.1
    assert loop.run(limits.admit(1)) is None


def test_the_wait_that_is_told_is_enough(loop: SetClock) -> None:
    limits = KeyLimits({"tokens": 700})
    loop.run(limits.admit(700))
    refused = loop.run(limits.admit(13))
    assert refused is not None and refused.wait_seconds is not None
    loop.now += math.ceil(refused.wait_seconds * 1000) / 1000
    assert loop.run(limits.admit(13)) is None


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), min_size=1, max_size=80))
def test_no_window_admits_more_than_the_limit_and_what_leaked_meanwhile(
    loop: SetClock, steps: list[tuple[float, int]]
) -> None:
    limits, admitted = KeyLimits({"tokens": 100}), [(0.0, 0)]
    loop.now = 0.0
    for pause, tokens in steps:
        loop.now += pause
        if loop.run(limits.admit(tokens)) is None:
            admitted.append((loop.now, tokens))
    for start in range(len(admitted)):
        total = 0
        for at, tokens in admitted[start:]:
            total += tokens
            assert total <= 100 + (at - admitted[start][0]) * 100 / 60 + 1e-6
