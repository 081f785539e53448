"""Latency distributions."""

import random

import msgspec
import pytest

from llmring.sim.latency import Fixed, Latency, Lognormal, Uniform, draw


def test_fixed_latency_never_varies() -> None:
    assert {draw(Fixed(seconds=0.25), random.Random(seed)) for seed in range(10)} == {0.25}


def test_uniform_latency_stays_between_its_bounds() -> None:
    chance = random.Random(1)
    drawn = [draw(Uniform(low=0.1, high=0.2), chance) for _ in range(1000)]
    assert min(drawn) >= 0.1 and max(drawn) <= 0.2
    assert sum(drawn) / 1000 == pytest.approx(0.15, abs=0.005)


def test_half_of_lognormal_draws_are_below_the_median() -> None:
    chance = random.Random(2)
    below = sum(draw(Lognormal(median=0.3, sigma=0.5), chance) < 0.3 for _ in range(4000))
    assert below == pytest.approx(2000, abs=120)


def test_the_same_seed_draws_the_same_latencies() -> None:
    latency = Lognormal(median=1.0)
    assert draw(latency, random.Random(7)) == draw(latency, random.Random(7))


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "uniform", "low": 2, "high": 1},
        {"kind": "fixed", "seconds": -1},
        {"kind": "lognormal", "median": 0},
        {"kind": "normal", "mean": 1},
        {"kind": "fixed", "second": 1},
    ],
)
def test_impossible_latencies_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Latency)
