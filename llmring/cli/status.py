"""`llmring status`: what the routers of this user's running processes wait for."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec
import trio

from llmring.cli.amounts import FiniteRange
from llmring.cli.progress import clock
from llmring.cli.running import Failed, note, run_trio
from llmring.cli.spelling import error_json
from llmring.cli.status_reader import Seen, look
from llmring.cli.tables import print_table, printable
from llmring.errors import LLMRingError
from llmring.lockfile.budgets import describe
from llmring.status import BudgetStatus, LimitStatus, ProcessStatus, RouteStatus
from llmring.trace import with_key

NUMBERS = ("in line", "in flight", "expected")
HEADS = ("model", "ready", "breaker", "limits", *NUMBERS)
_NO_LIMITS = "none known yet"
_PERIODS = {60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}
_DAY = 86400.0


@click.command(
    epilog="""\b
    A process shows its router where it was opened with open_router(status=True), or runs with
    LLMRING_STATUS=on; `llmring map` always does, unless LLMRING_STATUS=off. Keys and prompts are
    never shown. Every model that the lockfile binds in the profile in use is, also before anybody
    has asked it. In brackets behind the requests in flight: the connections in use with the key.
    `expected` is how long an answer is expected to take. Where a provider has several keys, a model
    has a row for each, with the name of the key's variable.
    """
)
@click.option("--pid", type=click.IntRange(min=1), help="Show this process only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON. With --watch: one object a line.")
@click.option(
    "--watch", metavar="SECONDS", type=FiniteRange(min=0.1, max=_DAY), help="Show it again and again, until Ctrl-C."
)
def command(pid: int | None, *, as_json: bool, watch: float | None) -> None:
    """Show what the models of running processes are waiting for, and how full every limit is.

    Only processes of the same user on the same machine are seen, and only those that allow it.
    """
    try:
        if watch is None:
            run_trio(lambda: show_once(pid, as_json=as_json))
        else:
            run_trio(lambda: keep_showing(pid, watch, as_json=as_json))
    except Failed as failed:
        if as_json:
            click.echo(json.dumps({"error": error_json(failed.error)}))
        raise
    except KeyboardInterrupt:
        # How watching ends.
        if watch is None:
            raise


async def show_once(pid: int | None, *, as_json: bool) -> None:
    """Raises LLMRingError where there is nothing to show."""
    seen = await look(pid)
    if not seen.processes:
        raise LLMRingError(none_text(seen, pid))
    show(seen, as_json=as_json)


async def keep_showing(pid: int | None, seconds: float, *, as_json: bool) -> None:
    """Until cancelled. Processes may come and go."""
    while True:
        seen = await look(pid)
        if as_json:
            click.echo(spelled(seen, indent=None))
        else:
            click.clear()
            if seen.processes:
                show(seen, as_json=False)
            else:
                click.echo(none_text(seen, pid))
        await trio.sleep(seconds)


def none_text(seen: Seen, pid: int | None) -> str:
    """Why there is nothing to show, and how there could be."""
    if seen.problems:
        return "; ".join(map(printable, seen.problems))
    who = "no running process shows its router" if pid is None else f"there is no process {pid} that shows its router"
    return f"{who}: open it with open_router(status=True), or start the process with LLMRING_STATUS=on"


def show(seen: Seen, *, as_json: bool) -> None:
    for problem in seen.problems:
        note(printable(problem))
    if as_json:
        click.echo(spelled(seen, indent=2))
        return
    for number, process in enumerate(seen.processes):
        click.echo("\n" * (number > 0) + head(process, datetime.now(UTC)))
        for remark in remarks(process):
            click.echo(f"⚠️  {remark}")
        if process.router.routes:
            print_table("", HEADS, rows(process.router.routes), numbers=NUMBERS)
        for budget in process.router.budgets:
            click.echo(budget_text(budget))


def spelled(seen: Seen, *, indent: int | None) -> str:
    """JSON in ASCII: what a terminal would obey is escaped."""
    told = {"processes": msgspec.to_builtins(seen.processes), "problems": seen.problems}
    return json.dumps(told, indent=indent).replace("\x7f", "\\u007f")


def head(process: ProcessStatus, now: datetime) -> str:
    seconds = max(0.0, (now - process.started_at).total_seconds())
    return (
        f"{printable(process.program) or 'python'} (process {process.pid}), for {clock(seconds)}, "
        f"{printable(process.lockfile)}, llmring {printable(process.version)}"
    )


def remarks(process: ProcessStatus) -> list[str]:
    """What its owner should know beside its models."""
    error = process.router.lockfile_error
    found = [f"the edited lockfile is not used: {printable(error)}"] if error is not None else []
    kept = process.router.receipts
    if kept is not None and (kept.missing or kept.why):
        found.append(
            f"receipts cannot be written: {kept.waiting:,} are kept until they can, {kept.missing:,} attempts have none"
            + (f": {printable(kept.why)}" if kept.why else "")
        )
    return found if process.router.routes else [*found, "its lockfile binds no model, and it has not asked for one"]


def rows(routes: Sequence[RouteStatus]) -> list[tuple[str, ...]]:
    """For each model, with each of its keys, a row, and one more for each further limit."""
    found: list[tuple[str, ...]] = []
    for route in routes:
        first, *others = [text for limit in route.limits if (text := limit_text(limit))] or [_NO_LIMITS]
        found.append(
            (
                printable(with_key(route.model, route.key)),
                ready_text(route),
                route.breaker,
                first,
                f"{route.in_line:,}",
                f"{route.in_flight:,} ({route.connections:,}/{route.most_connections:,})",
                f"{route.seconds:.1f} s" if route.seconds is not None else "-",
            )
        )
        found += [("", "", "", other, "", "", "") for other in others]
    return found


def budget_text(budget: BudgetStatus) -> str:
    """`budget daily, tenant 'acme': $1.20 of $25 a day spent, $0.30 reserved, 2 waiting; begins anew 2026-11-22 00:00
    UTC`."""
    scope = describe(budget.alias, budget.profile, budget.tenant)
    waiting = f", {budget.waiting:,} waiting" if budget.waiting else ""
    at = budget.resets_at
    again = f"; begins anew {at:%Y-%m-%d %H:%M} {at.tzinfo}" if at is not None else ""
    problem = f"; cannot be kept: {printable(budget.problem)}" if budget.problem is not None else ""
    return (
        f"budget {printable(budget.name)}{', ' + printable(scope) if scope else ''}: ${budget.spent_usd:.6f} of "
        f"${budget.limit_usd} a {budget.per} spent, ${budget.reserved_usd:.6f} reserved{waiting}{again}{problem}"
    )


def ready_text(route: RouteStatus) -> str:
    """`ready`, `ready, not asked yet`, `busy 12.0 s: requests limit`, `shut: model gone`."""
    if route.readiness == "ready":
        return "ready" if route.asked else "ready, not asked yet"
    wait = f" {route.wait_seconds:.1f} s" if route.wait_seconds else ""
    return f"{route.readiness}{wait}: {printable(route.why)}"


def limit_text(limit: LimitStatus) -> str:
    """`requests 12/60 a minute, shared, held 20.0 s`; nothing for a hold that is over. Of a limit group:
    `requests 12/60 a minute, group large`."""
    level = ""
    if limit.level is not None and limit.amount is not None and limit.period_seconds is not None:
        period = _PERIODS.get(limit.period_seconds, f"in {limit.period_seconds:g} s")
        # Down: a request that is not there whole is not there.
        level = f" {math.floor(limit.level):,}/{limit.amount:,.0f} {period}"
    held = f"held {limit.held_seconds:.1f} s" if limit.held_seconds > 0.0 else ""
    if not level and not held:
        return ""
    group = f"group {printable(limit.group)}" if limit.group is not None else ""
    shared = "shared" if limit.shared else ""
    return ", ".join(part for part in (f"{limit.dimension}{level}", group, shared, held) if part)
