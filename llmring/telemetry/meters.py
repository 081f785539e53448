"""The metrics of all routers of a process: instruments of OpenTelemetry's API, which record nothing without an SDK.

How full the limits are, and how many requests are under way, is asked of the living routers when a reader asks. They
are held weakly, and their state is read in their own thread: a reader in another one waits for it, `ASK_SECONDS` at the
most, and goes without a router whose thread is busy for longer.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Protocol, get_args
from weakref import WeakKeyDictionary

import trio
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from llmring import __version__
from llmring.status import BreakerState, RouterStatus, RouteStatus
from llmring.telemetry import semconv

ASK_SECONDS = 0.2

_BREAKER_STATES: tuple[BreakerState, ...] = get_args(BreakerState)


class Living(Protocol):
    """A router: what it says of itself, in its own thread."""

    def status(self) -> RouterStatus: ...


class _Home:
    """Where a router lives."""

    __slots__ = ("thread", "token")

    def __init__(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.thread = threading.get_ident()


class Meters:
    """The instruments of one meter provider. Made by `meters_of`, once for each."""

    def __init__(self, meter: Meter) -> None:
        self._routers: WeakKeyDictionary[Living, _Home] = WeakKeyDictionary()
        self._lock = threading.Lock()
        seconds, tokens = semconv.SECONDS_BUCKETS, semconv.TOKEN_BUCKETS
        self.operation_duration = meter.create_histogram(
            semconv.OPERATION_DURATION, "s", "GenAI operation duration.", explicit_bucket_boundaries_advisory=seconds
        )
        self.time_to_first_chunk = meter.create_histogram(
            semconv.TIME_TO_FIRST_CHUNK,
            "s",
            "From the request to the first text of a stream.",
            explicit_bucket_boundaries_advisory=seconds,
        )
        self.token_usage = meter.create_histogram(
            semconv.TOKEN_USAGE,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=tokens,
        )
        self.call_duration = meter.create_histogram(
            semconv.CALL_DURATION,
            "s",
            "A call of the router, with its waits and all its attempts.",
            explicit_bucket_boundaries_advisory=seconds,
        )
        self.queue_wait = meter.create_histogram(
            semconv.QUEUE_WAIT,
            "s",
            "How long a request waited in line for its permit.",
            explicit_bucket_boundaries_advisory=seconds,
        )
        self.cost = meter.create_counter(semconv.CALL_COST, "{USD}", "Dollars of answers whose price is known.")
        self.refusals = meter.create_counter(semconv.REFUSED, "{request}", "Requests that met a limit (429).")
        self.failovers = meter.create_counter(
            semconv.FAILOVERS, "{request}", "Requests that went on to another model after a failed attempt."
        )
        self._observe(meter)

    def watch(self, router: Living) -> None:
        """Tell readers of `router`, for as long as it lives. Called in its own thread."""
        with self._lock:
            self._routers[router] = _Home()

    def forget(self, router: Living) -> None:
        """It has closed."""
        with self._lock:
            self._routers.pop(router, None)

    def _observe(self, meter: Meter) -> None:
        gauges: tuple[tuple[str, str, str, Callable[[RouteStatus], Iterable[Observation]]], ...] = (
            (semconv.LIMIT_LEVEL, "1", "What is left of a limit, as a share; below 0 in debt.", _levels),
            (semconv.BREAKER, "1", "1 for the state that a model's breaker is in, 0 for the others.", _breaker),
            (semconv.IN_FLIGHT, "{request}", "Requests on the wire.", _in_flight),
            (semconv.IN_LINE, "{request}", "Requests that wait in line.", _in_line),
        )
        for name, unit, description, read in gauges:
            meter.create_observable_gauge(name, [self._callback(read)], unit, description)

    def _callback(
        self, read: Callable[[RouteStatus], Iterable[Observation]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            return [found for route in self._routes() for found in read(route)]

        return observe

    def _routes(self) -> Iterator[RouteStatus]:
        with self._lock:
            living = list(self._routers.items())
        for router, home in living:
            status = _ask(router, home)
            if status is not None:
                # Of a model that nobody has asked there is nothing to measure.
                yield from (route for route in status.routes if route.asked)


def _ask(router: Living, home: _Home) -> RouterStatus | None:
    """Its status. None where its thread does not answer, or has ended."""
    if threading.get_ident() == home.thread:
        return router.status() if trio.lowlevel.in_trio_run() else None
    found: list[RouterStatus] = []
    done = threading.Event()

    def look() -> None:
        found.append(router.status())
        done.set()

    try:
        home.token.run_sync_soon(look)
    except trio.RunFinishedError:
        return None
    done.wait(ASK_SECONDS)
    return found[0] if found else None


def _named(route: RouteStatus) -> dict[str, str | bool]:
    return {semconv.MODEL: str(route.model)}


def _levels(route: RouteStatus) -> Iterator[Observation]:
    for limit in route.limits:
        if limit.amount and limit.level is not None:
            about = {**_named(route), semconv.DIMENSION: limit.dimension, semconv.SHARED: limit.shared}
            yield Observation(limit.level / limit.amount, about)


def _breaker(route: RouteStatus) -> Iterator[Observation]:
    for state in _BREAKER_STATES:
        yield Observation(int(state == route.breaker), {**_named(route), semconv.STATE: state})


def _in_flight(route: RouteStatus) -> Iterator[Observation]:
    yield Observation(route.in_flight, _named(route))


def _in_line(route: RouteStatus) -> Iterator[Observation]:
    yield Observation(route.in_line, _named(route))


@cache
def meters_of(provider: MeterProvider | None) -> Meters:
    """The instruments of a provider, None for the one that the program sets: the same for every router, for a second
    set would not be read."""
    return Meters(get_meter("llmring", __version__, provider, semconv.SCHEMA_URL))
