"""What a budget costs a routed call: `python -m bench.budgets [--check]`.

CPU of `router.chat` with a scripted provider, on a loop without sockets: without a budget, with one in memory, with one
in a ledger, and with three of them (of a day, a month and each tenant). The routers take turns in one process, because
a shared machine drifts; best of several rounds. `--check` exits with 1 when one budget in a ledger takes more than
`--most` times the CPU of a call without.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from bench.machine import headline
from llmring.lockfile import Budget, parse_lockfile
from llmring.registry.catalog import Catalog
from llmring.registry.store import read_bundled
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.testing import ScriptedProvider, answer

ROUNDS = 60
CALLS = 100
MOST = 1.5
"""The CPU of a call with one budget over that of a call without."""

LOCKFILE = '[[profiles.default.bindings]]\nalias = "a"\nmodels = ["openai:gpt-4o-mini"]\n'
DAY = Budget(name="day", limit="1000000", per="day")  # type: ignore[arg-type] # text is read
ALL = (
    DAY,
    Budget(name="month", limit="1000000", per="month"),  # type: ignore[arg-type] # text is read
    Budget(name="tenants", limit="1000000", per="day", tenant="*"),  # type: ignore[arg-type] # text is read
)


async def opened(
    stack: AsyncExitStack, catalog: Catalog, budgets: Sequence[Budget], ledger: Path | None = None
) -> Router:
    """With a ledger, receipts are written too; without, neither."""
    return await stack.enter_async_context(
        open_router(
            parse_lockfile(LOCKFILE, Path("bench.lock")),
            connect=ScriptedProvider({"gpt-4o-mini": [answer("ok")]}),
            keys={"OPENAI_API_KEY": "key"},
            catalog=catalog,
            receipts=ledger if ledger is not None else False,
            budgets=budgets,
        )
    )


async def once(router: Router) -> float:
    """CPU seconds a call, of this thread: what the ledger's threads do is not on the way of a call."""
    started = time.thread_time()
    for _ in range(CALLS):
        await router.chat("a", "hi", max_tokens=100)
    return (time.thread_time() - started) / CALLS


async def measure(rounds: int) -> dict[str, float]:
    catalog = read_bundled()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        routers = {
            "none": await opened(stack, catalog, ()),
            "one, in memory": await opened(stack, catalog, (DAY,)),
            "three, in memory": await opened(stack, catalog, ALL),
            "none, with receipts": await opened(stack, catalog, (), directory / "none.db"),
            "one, in the ledger": await opened(stack, catalog, (DAY,), directory / "one.db"),
        }
        best = dict.fromkeys(routers, float("inf"))
        for _ in range(rounds):
            for name, router in routers.items():
                gc.collect()
                best[name] = min(best[name], await once(router))
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--most", type=float, default=MOST)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    best = trio.run(measure, options.rounds)
    print(headline("What a budget costs a routed call"))
    for name, seconds in best.items():
        base = best["none, with receipts" if "ledger" in name or "receipts" in name else "none"]
        print(f"{name:<20} {1e6 * seconds:7.1f} us a call  {seconds / base:5.2f}")
    ratio = best["one, in the ledger"] / best["none, with receipts"]
    if options.check and ratio > options.most:
        print(f"one budget takes {ratio:.2f} times the CPU, more than {options.most}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
