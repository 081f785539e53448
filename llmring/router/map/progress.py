"""A run right now: how far it is, what sets its pace, and when it may have ended."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import trio

from llmring.providers.pace import least_seconds
from llmring.providers.route import Route
from llmring.router.map.batch_plan import BatchProgress
from llmring.router.map.pacing import paces_of, usable
from llmring.router.map.report import Report


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A run right now.

    `binding` names the limit that sets the pace, or what keeps all models out. `eta_seconds` is None while nothing is
    known, while no model can be asked, and while rows are in `batches`. `projected_usd` is what the run will have
    spent, if the rows that are left cost what those that it has paid for did; None while none has a price, and without
    a total.
    """

    rows: int
    failed: int
    in_flight: int
    rows_per_second: float
    binding: str
    eta_seconds: float | None
    projected_usd: Decimal | None = None
    batches: BatchProgress | None = None


def progress_of(
    report: Report,
    routes: Sequence[Route],
    *,
    in_turn: bool,
    in_flight: int,
    started_at: float,
    total: int | None,
    batches: BatchProgress | None,
) -> Progress:
    """Of a run on these routes, all models together or `in_turn`; `batches` are those at their providers."""
    now = trio.current_time()
    usable_routes = usable(routes, now, in_turn=in_turn)
    paces = paces_of(usable_routes, now)
    widest = max(paces, key=lambda named: named[1].rows_per_second, default=None)
    seconds = now - started_at
    eta = None
    if total is not None and paces:
        latency = max(route.means.took_seconds for route in usable_routes)
        on_the_wire = sum(route.in_flight for route in routes)
        left = max(0, total - report.rows - on_the_wire)
        eta = least_seconds(left, [pace for _, pace in paces], latency)
    return Progress(
        rows=report.rows,
        failed=report.failed,
        in_flight=in_flight,
        rows_per_second=report.rows / seconds if seconds > 0.0 else 0.0,
        binding=f"{widest[0]} {widest[1].binding}" if widest else _unbound(routes, usable_routes, now),
        eta_seconds=eta if batches is None else None,
        projected_usd=report.projected_usd(total) if total is not None else None,
        batches=batches,
    )


def _unbound(routes: Sequence[Route], usable_routes: Sequence[Route], now: float) -> str:
    """What `binding` is without a pace."""
    if usable_routes or not routes:
        return "nothing yet"
    return f"{routes[0].ref.provider} {routes[0].shut(now)}"
