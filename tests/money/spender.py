"""A process that spends from a ledger's budget until it is refused: `python -m tests.money.spender LEDGER LIMIT`.

Says `answered` after every answer, and the error's name at the end. A third argument makes the provider hang after so
many answers, so that it can be killed with a request under way.
"""

import sys
from decimal import Decimal
from pathlib import Path

import trio

from llmring.errors import BudgetExceeded
from llmring.lockfile import Budget, parse_lockfile
from llmring.router.opening import open_router
from llmring.testing import ScriptedProvider, answer, hang

LOCKFILE = '[[profiles.default.bindings]]\nalias = "alone"\nmodels = "openai:gpt-4o-mini"\n'
WORST = (28 * Decimal("0.15") + 1000 * Decimal("0.60")) / 10**6
"""What `ask` may cost at the most, and every answer does."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def spend(ledger: str, limit: Decimal, most: int | None) -> None:
    full = answer("ok", input_tokens=28, output_tokens=1000)
    provider = ScriptedProvider({"gpt-4o-mini": [full] if most is None else [*([full] * most), hang()]})
    budget = Budget(name="shared", limit=limit, per="month")
    lockfile = parse_lockfile(LOCKFILE, Path("test.lock"))
    keys = {"OPENAI_API_KEY": "key"}
    async with open_router(lockfile, connect=provider, receipts=ledger, budgets=[budget], keys=keys) as router:
        while True:
            try:
                await router.chat("alone", "abcd", max_tokens=1000, timeout=20)
            except BudgetExceeded as error:
                say(f"{type(error).__name__} {error.spent}")
                return
            say("answered")


if __name__ == "__main__":
    trio.run(spend, sys.argv[1], Decimal(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
