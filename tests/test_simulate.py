"""The goals of `python -m bench.simulate`, every case with five seeds; a failure names the seed."""

import os
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from bench.simulate.__main__ import misses
from bench.simulate.bound import Supply, least_seconds
from bench.simulate.cases import CASES, Case
from bench.simulate.provider import Incident, Provider
from bench.simulate.run import Outcome, simulate
from bench.simulate.windows import Continuous, Fixed, Sliding

SEEDS = range(5)
Runs = Mapping[str, list[Future[Outcome]]]


@pytest.fixture(scope="module")
def runs() -> Generator[Runs]:
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield {case.name: [pool.submit(simulate, case, seed) for seed in SEEDS] for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_keeps_its_goal(case: Case, runs: Runs) -> None:
    outcomes = [run.result() for run in runs[case.name]]
    assert [(outcome.seed, misses(case, outcome)) for outcome in outcomes if misses(case, outcome)] == []


def test_a_run_with_one_seed_comes_out_the_same_in_any_process() -> None:
    case = next(case for case in CASES if case.name == "pool, 500 for 120 s")
    with ProcessPoolExecutor(max_workers=1) as other:
        assert other.submit(simulate, case, 0).result() == simulate(case, 0)


# The bound itself, worked out by hand.


def supply(*incidents: Incident) -> Supply:
    about = Provider(name="a", limits={"requests": 60.0, "tokens": 6000.0}, incidents=incidents)
    return Supply(provider=about, charge={"requests": 1.0, "tokens": 50.0}, least_latency=2.0)


def test_one_limit_takes_what_it_lacks_and_a_latency() -> None:
    # 60 at once and one a second; tokens would last for 120 and two a second.
    assert least_seconds(60, [supply()]) == pytest.approx(2.0, abs=0.01)
    assert least_seconds(100, [supply()]) == pytest.approx(42.0, abs=0.01)


def test_pools_add_up_and_a_full_bucket_hides_an_outage() -> None:
    assert least_seconds(200, [supply(), supply()]) == pytest.approx(42.0, abs=0.01)
    down = Incident(kind="500", at=10.0, seconds=30.0)
    assert least_seconds(100, [supply(down)]) == pytest.approx(42.0, abs=0.01)
    longer = Incident(kind="500", at=10.0, seconds=100.0)
    assert least_seconds(200, [supply(longer)]) == pytest.approx(2.0 + 140.0 + 40.0, abs=0.01)


def test_a_limit_that_is_halved_or_shared_takes_longer() -> None:
    assert least_seconds(100, [supply(Incident(kind="limit", at=20.0, share=0.5))]) == pytest.approx(62.0, abs=0.01)
    assert least_seconds(100, [supply(Incident(kind="foreign", share=0.2))]) == pytest.approx(52.0, abs=0.01)


# The providers' ways of counting.


def test_a_sliding_window_lets_in_what_left_it() -> None:
    window = Sliding(10.0)
    window.take(6.0, 0.0)
    window.take(4.0, 5.0)
    assert (window.left(59.0), window.wait(7.0, 59.0)) == (0.0, 6.0)
    assert (window.left(60.0), window.left(65.0)) == (6.0, 10.0)


def test_a_fixed_window_is_opened_by_the_first_request() -> None:
    window = Fixed(10.0)
    window.take(10.0, 30.0)
    assert (window.left(89.0), window.wait(1.0, 89.0)) == (0.0, 1.0)
    assert window.left(90.0) == 10.0


def test_a_bucket_that_is_refilled_once_a_second_is_empty_in_between() -> None:
    window = Continuous(60.0, step=1.0)
    window.take(60.0, 0.5)
    assert (window.left(0.9), window.left(1.0), window.left(1.9)) == (0.0, 1.0, 1.0)
