"""The live line of a map: done, rate, cost, the limit that binds, time left. On standard error, never in the way.

With rich, in a terminal, one line that moves; otherwise a plain line every five seconds.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import trio

from llmring.cli.amounts import spent_text
from llmring.cli.running import note, stderr_is_terminal
from llmring.router.map.progress import Progress
from llmring.router.map.report import Report
from llmring.router.map.run import MapRun

PLAIN_SECONDS = 5.0
LIVE_SECONDS = 0.2


@asynccontextmanager
async def progress_shown(run: MapRun, total: int | None, *, quiet: bool) -> AsyncGenerator[None]:
    """Show how `run` gets on while the block lasts."""
    async with trio.open_nursery() as nursery:
        if not quiet:
            nursery.start_soon(_show, run, total)
        yield
        nursery.cancel_scope.cancel()


async def _show(run: MapRun, total: int | None) -> None:
    """Decoration: whatever goes wrong with it, the run goes on."""
    try:
        await _keep_showing(run, total)
    except Exception as error:  # noqa: BLE001 - a terminal that went away, or a mistake of ours
        note(f"(the progress is not shown any more: {type(error).__name__})")


async def _keep_showing(run: MapRun, total: int | None) -> None:
    live = _live_line() if stderr_is_terminal() else None
    if live is None:
        while True:
            await trio.sleep(PLAIN_SECONDS)
            note(progress_line(run.progress(total), run.report, total))
    update, close = live
    try:
        while True:
            update(progress_line(run.progress(total), run.report, total))
            await trio.sleep(LIVE_SECONDS)
    finally:
        close()


def _live_line() -> tuple[Callable[[str], None], Callable[[], None]] | None:
    """Two functions, to change the line and to take it away; None where rich is not installed."""
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ModuleNotFoundError:
        return None
    # No thread of its own: this task refreshes.
    live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
    live.start()
    return lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True), live.stop


def progress_line(progress: Progress, report: Report, total: int | None) -> str:
    """`123/1,000 rows · 9.1/s · $0.012300 of $0.100000 · bound by openai requests limit · 1:23 left · 2 failed`."""
    of = f"/{total:,}" if total is not None else ""
    parts = [
        f"{progress.rows:,}{of} rows",
        f"{progress.rows_per_second:.1f}/s",
        _cost_text(report, progress.projected_usd),
        _bound_text(progress),
    ]
    if progress.eta_seconds is not None:
        parts.append(f"{clock(progress.eta_seconds)} left")
    if report.failovers:
        parts.append(f"{report.failovers:,} failed over")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    return " · ".join(parts)


def _cost_text(report: Report, projected: Decimal | None) -> str:
    """What was spent, and of how much it will be a part."""
    spent = spent_text(report.usd, report.unpriced, report.lower_bounds)
    # One that is not there yet, or is there in full, says nothing more.
    return f"{spent} of ${projected:.6f}" if projected is not None and projected > report.usd else spent


def _bound_text(progress: Progress) -> str:
    """What the run waits for."""
    batches = progress.batches
    if batches is None:
        return f"bound by {progress.binding}"
    word = "batch" if batches.batches == 1 else "batches"
    return f"{batches.batches:,} {word}: {batches.done:,}/{batches.rows:,} done"


def clock(seconds: float) -> str:
    """`1:23`, `2:01:05`."""
    whole = math.ceil(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def report_text(report: Report, total: int | None = None) -> str:
    """The table at the end of a map, and what it comes to; of a run that was stopped, what `total` rows would."""
    rows: list[tuple[str, ...]] = [("model", "served", "429s", "failed", "tokens in", "tokens out", "cost")]
    for model, part in sorted(report.by_model.items()):
        cost = spent_text(part.usd, part.unpriced, part.lower_bounds)
        counts = (part.served, part.refused, part.failed, part.input_tokens, part.output_tokens)
        rows.append((model, *(f"{count:,}" for count in counts), cost))
    resumed = f"{report.resumed:,} of them by an earlier run, " if report.resumed else ""
    duplicates = f"{report.duplicates:,} rows equal to others, " if report.duplicates else ""
    share = report.bound_share
    bound = f" ({share:.0%} is the least that the limits allow)" if share is not None else ""
    cost = _cost_text(report, report.projected_usd(total) if total is not None else None)
    summary = (
        f"{report.answered:,} of {report.rows:,} rows answered, {resumed}{duplicates}{report.failovers:,} failed over, "
        f"{report.refused:,} 429s, {cost}, {report.wall_seconds:.1f} s{bound}"
    )
    errors = [f"{count:,} x {name}" for name, count in sorted(report.errors.items())]
    return "\n".join([*_aligned(rows), "", summary, *errors])


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        ).rstrip()
        for first, *rest in rows
    ]
