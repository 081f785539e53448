"""How near the router comes to the least possible time: `python -m bench.simulate [--seeds N] [--check]`.

Maps of at least ten minutes on virtual time against simulated providers: how they count, what they charge and say, and
what befalls them, is in cases.py and provider.py; requests need up to 200 ms to arrive. Prints for every case the time
over the least possible one (bound.py), the share of requests that were refused, and the rows that were lost: the worst
of all seeds, with its seed. `--check` exits with 1 when a goal is missed.
"""

import argparse
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from bench.machine import headline
from bench.simulate.cases import CASES, Case
from bench.simulate.run import Outcome, simulate


def misses(case: Case, outcome: Outcome) -> list[str]:
    """What a run has missed of its goal."""
    missed = []
    if outcome.over > case.goal.over:
        missed.append(f"{outcome.over:.1%} over the bound, goal {case.goal.over:.0%}")
    if outcome.refused > case.goal.refused:
        missed.append(f"{outcome.refused:.2%} refused, goal {case.goal.refused:.1%}")
    if case.goal.waited and outcome.waited > case.goal.waited:
        missed.append(f"calls waited {outcome.waited:.2f} s (p99), goal {case.goal.waited:g} s")
    if case.goal.unfair and outcome.unfair > case.goal.unfair:
        missed.append(f"a tenant is {outcome.unfair:.1f} requests from its share, goal {case.goal.unfair:g}")
    if outcome.lost:
        missed.append(f"{outcome.lost} rows lost")
    return missed


def line(case: Case, outcomes: list[Outcome]) -> str:
    """One row of the table: the worst of every column."""
    slowest = max(outcomes, key=lambda outcome: outcome.over)
    refused = max(outcomes, key=lambda outcome: outcome.refused)
    lost = sum(outcome.lost for outcome in outcomes)
    return (
        f"| {case.name:32} | {1.0 + slowest.over:6.3f} (seed {slowest.seed}) | {1.0 + case.goal.over:5.2f} "
        f"| {refused.refused:8.3%} (seed {refused.seed}) | {case.goal.refused:6.1%} | {lost:4} |"
        f"{_besides(case, outcomes)}"
    )


def _besides(case: Case, outcomes: list[Outcome]) -> str:
    """What only some cases measure."""
    if case.goal.waited:
        worst = max(outcome.waited for outcome in outcomes)
        return f" calls wait {1000 * worst:.0f} ms (p99; goal {1000 * case.goal.waited:.0f}) |"
    if case.goal.unfair:
        worst = max(outcome.unfair for outcome in outcomes)
        return f" tenants {worst:.1f} requests from their share (goal {case.goal.unfair:g}) |"
    return " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of every case (default 5)")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else list(range(options.seeds))
    cases = [case for case in CASES if options.only in case.name]
    print(headline("the router against simulated providers, on virtual time"))
    print("| case | time / least (worst) | goal | 429s (worst) | goal | lost | |")
    print("|---|---|---|---|---|---|---|")
    # What a provider does here is no news.
    logging.getLogger("llmring").addHandler(logging.NullHandler())
    missed: list[str] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = {case.name: [pool.submit(simulate, case, seed) for seed in seeds] for case in cases}
        for case in cases:
            outcomes = [run.result() for run in runs[case.name]]
            print(line(case, outcomes), flush=True)
            missed += [
                f"{case.name}, seed {outcome.seed}: {what}" for outcome in outcomes for what in misses(case, outcome)
            ]
    for what in missed:
        print(what)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
