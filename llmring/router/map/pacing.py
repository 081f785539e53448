"""How fast rows go along several routes, some of which share their limits, by what the routes know now."""

import math
from collections.abc import Iterable, Sequence

from llmring.providers.pace import Pace, bound_seconds
from llmring.providers.route import Route


def usable(routes: Sequence[Route], now: float, *, in_turn: bool) -> list[Route]:
    """Those that rows can go to now: none that is out of use (breaker open, key refused, no money, model gone); of
    those asked `in_turn`, the first model's that is not."""
    found = [route for route in routes if route.shut(now) is None]
    return [route for route in found if route.ref == found[0].ref] if in_turn else found


def paces_of(routes: Iterable[Route], now: float) -> list[tuple[str, Pace]]:
    """The known paces, by provider. Routes that share the limits of the lockfile go only as fast as one of them."""
    paces: dict[int, tuple[str, Pace]] = {}
    for route in routes:
        pace = route.pace(now)
        shared = _shared(route)
        before = paces.get(shared)
        if math.isfinite(pace.rows_per_second) and (before is None or pace.rows_per_second > before[1].rows_per_second):
            paces[shared] = (route.ref.provider, pace)
    return list(paces.values())


def least_possible_seconds(rows: int, routes: Iterable[Route]) -> float | None:
    """What so many rows take at the least, from full limits on; None while nothing is known."""
    groups: dict[int, list[tuple[Pace, ...]]] = {}
    latencies: list[float] = []
    for route in routes:
        groups.setdefault(_shared(route), []).append(route.ceilings())
        if route.means.count:
            latencies.append(route.means.took_seconds)
    return bound_seconds(rows, list(groups.values()), min(latencies)) if rows > 0 and latencies else None


def _shared(route: Route) -> int:
    """Equal for routes that share their limits: those of the lockfile, or those of their group."""
    return id(route.credential.budget if route.credential.budget.buckets else route.budget)
