"""Dispatcher: the actor that owns the alias table. Finds the routes of an alias, and begins a request's way along
them; what takes it along is going.py.

The dispatcher's own task watches the lockfile: a good edit replaces the table between two requests, a bad one keeps the
old table and says so in `lockfile_error` and the log.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import msgspec
import trio

from llmring.chat import ChatRequest
from llmring.errors import ConfigError
from llmring.lockfile import Binding, Lockfile, Order, ProviderSettings, read_lockfile
from llmring.money.budgets import Budgets, Scope
from llmring.pricing import Prices
from llmring.providers.crew import Crew
from llmring.providers.endpoint import endpoint
from llmring.providers.estimate import Counting, input_tokens
from llmring.providers.fit import ABSENT
from llmring.providers.regime import Charge
from llmring.providers.route import Route
from llmring.providers.worker import Kept, ProviderWorker
from llmring.refs import ModelRef
from llmring.router.failover import Plan
from llmring.router.journey import USUAL, Ended, Journey, Terms
from llmring.router.ordering import ARRANGE, Candidate, Room, arrange_keys
from llmring.router.paying import chat_payment, texts_payment
from llmring.router.retry_budget import RetryBudget
from llmring.router.tracing import Outlook, Start, cost_usd
from llmring.status import RouteStatus
from llmring.telemetry.spans import Call
from llmring.trace import Spill

_LOG = logging.getLogger("llmring")
_LOOK_EVERY_SECONDS = 1.0

Hire = Callable[[str, ProviderSettings | None], Crew]
"""Makes a provider's workers, one for each of its keys, and starts their tasks."""

Unasked = Callable[[str, ProviderSettings | None, Iterable[str]], Iterable[RouteStatus]]
"""Says how models of a provider stand that has no workers yet."""


class _Way(msgspec.Struct, frozen=True, kw_only=True):
    """Routes in the order that one request asks them in. `workers` are theirs; `keys` the names of their keys, and
    `rooms` what these had left, empty where no model has several. `written` has their places in the binding, None for
    the same order; `draws` are the random numbers that it took."""

    routes: tuple[Route, ...]
    workers: tuple[ProviderWorker, ...]
    keys: tuple[str | None, ...] = ()
    rooms: tuple[Room, ...] = ()
    written: Sequence[int] | None = None
    draws: tuple[float, ...] = ()

    def first_model(self) -> "_Way":
        """The part that asks the first model alone, with whatever key."""
        count = sum(route.ref == self.routes[0].ref for route in self.routes)
        return _Way(
            routes=self.routes[:count],
            workers=self.workers[:count],
            keys=self.keys[:count],
            rooms=self.rooms[:count],
        )


class _Bound(msgspec.Struct, frozen=True, kw_only=True):
    """An alias, live. `given` is what its binding sets for requests that leave it open; `way` is as it is written, the
    keys of one model together."""

    binding: Binding
    given: Mapping[str, Any]
    way: _Way
    retries: RetryBudget


class Dispatcher:
    """`hire` makes a worker for a provider; `random()` gives a number in [0, 1)."""

    def __init__(
        self,
        lockfile: Lockfile,
        profile: str | None,
        hire: Hire,
        random: Callable[[], float],
        prices: Callable[[ModelRef], Prices | None] = lambda _: None,
        ended: Ended = lambda *_: None,
        budgets: Budgets | None = None,
        unasked: Unasked = lambda *_: (),
    ) -> None:
        self.lockfile = lockfile
        self.lockfile_error: ConfigError | None = None
        self.crews: dict[str, Crew] = {}
        self._retired: dict[str, Crew] = {}
        self._seen = _stamp(lockfile.path)
        self._profile = profile
        self._hire = hire
        self._random = random
        self._prices = prices
        self._ended = ended
        self._budgets = budgets
        self._unasked = unasked
        self._numbers = itertools.count()
        self._table: dict[tuple[str, str | None], _Bound] = {}
        if profile is not None:
            lockfile.profile(profile)

    def routes(self, alias: str, profile: str | None, spill: Spill = "auto") -> tuple[Route, ...]:
        """The routes of an alias or `provider:model` that may be asked, in order. Raises ConfigError: unknown, or not
        one has a key."""
        bound = self._bound(alias, profile)
        if spill != "never" or bound.binding.order != "ordered":
            return bound.way.routes
        missing = bound.way.workers[0].missing_key
        if missing is not None:
            raise copy(missing)
        return bound.way.first_model().routes

    def in_turn(self, alias: str, profile: str | None, spill: Spill) -> bool:
        """Whether a model is asked only when nothing can go to those before it. Raises ConfigError."""
        return spill == "on_failure" and self._bound(alias, profile).binding.order == "ordered"

    def profile_name(self, profile: str | None) -> str:
        """The profile that a request goes by which names this one, or none."""
        return profile or self._profile or self.lockfile.default_profile

    def completed(self, request: ChatRequest, profile: str | None) -> ChatRequest:
        """The request with what its binding sets for those that leave it open. Raises ConfigError."""
        given = self._bound(request.model, profile).given
        if not given:
            return request
        changes = {name: value for name, value in given.items() if getattr(request, name) == getattr(ABSENT, name)}
        return msgspec.structs.replace(request, **changes) if changes else request

    def pins(self, alias: str, profile: str | None) -> Mapping[ModelRef, str]:
        """What the lockfile pins of the models of an alias. Raises ConfigError."""
        return self._bound(alias, profile).binding.pins

    def _bound(self, alias: str, profile: str | None) -> _Bound:
        key = (alias, profile if profile is not None else self._profile)
        found = self._table.get(key)
        if found is None:
            binding = self.lockfile.binding(*key)
            crews = [self.crew(ref.provider) for ref in binding.models]
            missing = [crew.missing_key for crew in crews if crew.missing_key is not None]
            if len(missing) == len(crews):
                raise copy(missing[0])
            routes = [crew.routes(ref.model) for crew, ref in zip(crews, binding.models, strict=True)]
            found = self._table[key] = _Bound(
                binding=binding,
                given=binding.defaults.given,
                way=_Way(
                    routes=tuple(itertools.chain(*routes)),
                    workers=tuple(worker for crew in crews for worker in crew.workers),
                    keys=_keys(routes),
                ),
                retries=RetryBudget(),
            )
        return found

    def crew(self, provider: str) -> Crew:
        """The workers of a provider, hired when it is first asked for. Raises ConfigError."""
        crew = self.crews.get(provider)
        if crew is None:
            crew = self._hire(provider, self.lockfile.providers.get(provider))
            self.crews[provider] = crew
            previous = self._retired.pop(provider, None)
            if previous is not None:
                crew.inherit(previous)
        return crew

    def status(self, now: float) -> list[RouteStatus]:
        """How every model stands that the profile in use binds, or that was asked for since the lockfile was read.
        Hires nobody, but for a provider whose workers an edit has retired."""
        aliases = self._aliases()
        shown = {ref for bound in self._table.values() for ref in bound.binding.models} | aliases.keys()
        models: dict[str, list[str]] = {}
        for ref in shown:
            models.setdefault(ref.provider, []).append(ref.model)
        found = [one for name, crew in self.crews.items() for one in crew.status(now, models.pop(name, ()))]
        for name, unhired in models.items():
            found += self._without_crew(name, unhired, now)
        return [
            msgspec.structs.replace(one, aliases=tuple(aliases.get(one.model, ())))
            for one in found
            # A model that an edit took away stays until what is on its way there has ended.
            if one.model in shown or one.in_flight or one.in_line
        ]

    def _without_crew(self, provider: str, models: Sequence[str], now: float) -> Iterable[RouteStatus]:
        if provider in self._retired:
            # What those have learned, and were told to wait for, goes on.
            with suppress(ConfigError):
                return self.crew(provider).status(now, models)
        return self._unasked(provider, self.lockfile.providers.get(provider), models)

    def _aliases(self) -> dict[ModelRef, list[str]]:
        """The models of the profile in use, and the aliases that each serves."""
        profile = self.lockfile.profiles.get(self.profile_name(None))
        found: dict[ModelRef, list[str]] = {}
        for binding in profile.bindings.values() if profile is not None else ():
            for ref in binding.models:
                found.setdefault(ref, []).append(binding.alias)
        return found

    def memories(self, now: float) -> Iterator[Kept]:
        """What the next process should know of every model that was used."""
        for crew in self.crews.values():
            for worker in crew.workers:
                yield from worker.memories(now)

    def journey(
        self,
        request: ChatRequest,
        profile: str | None,
        deadline: float,
        call: Call,
        terms: Terms = USUAL,
    ) -> Journey:
        """Begin a request's way. `deadline` is on the trio clock."""
        counted: dict[Counting, float] = {}

        def count(route: Route) -> float:
            # Once for all routes that count alike: a long conversation takes milliseconds.
            tokens = counted.get(route.counting)
            if tokens is None:
                tokens = counted[route.counting] = input_tokens(request, route.counting)
            return tokens

        bound = self._bound(request.model, profile)
        order, way = bound.binding.order, bound.way
        outlooks = [self._outlook(route, request, count(route)) for route in way.routes]
        if way.keys or order != "ordered":
            way, outlooks = self._arranged(bound, order, outlooks)
        if terms.spill == "never":
            way = way.first_model()
            outlooks = outlooks[: len(way.routes)]
        charges = tuple(route.charge(request, count(route)) for route in way.routes)
        journey = self._begin(request, profile, deadline, bound, way, charges, tuple(outlooks), call, terms)
        if self._budgets is not None and self._budgets.are_set:
            scope = self.scope(journey.start.profile, request.model, terms)
            journey.payment = chat_payment(
                self._budgets, scope, way.routes, way.workers, self._prices, lambda: journey.request
            )
        return journey

    @staticmethod
    def scope(profile: str, alias: str, terms: Terms) -> Scope:
        """Whose money a request spends."""
        return Scope(terms.payer if terms.payer is not None else alias, profile, terms.flow.tenant)

    def _outlook(self, route: Route, request: ChatRequest, counted_tokens: float) -> Outlook:
        return (*route.outlook(request, counted_tokens), self._prices(route.ref))

    def _arranged(self, bound: _Bound, order: Order, outlooks: Sequence[Outlook]) -> tuple[_Way, list[Outlook]]:
        """The routes in that order, each model's keys by the room that they have left."""
        way = bound.way
        candidates = [
            Candidate(
                cost_usd=cost_usd(outlook),
                seconds=outlook[2],
                weight=bound.binding.weights.get(route.ref, 1.0),
            )
            for route, outlook in zip(way.routes, outlooks, strict=True)
        ]
        draws: list[float] = []

        def draw() -> float:
            draws.append(self._random())
            return draws[-1]

        rooms: list[Room] = []
        if way.keys:
            now = trio.current_time()
            rooms = [(route.emptiness(now), route.credential.in_flight) for route in way.routes]
            places = arrange_keys(order, [route.ref for route in way.routes], candidates, rooms, draw)
        else:
            places = ARRANGE[order](candidates, draw)
        arranged = _Way(
            routes=tuple(way.routes[place] for place in places),
            workers=tuple(way.workers[place] for place in places),
            keys=tuple(way.keys[place] for place in places) if way.keys else (),
            rooms=tuple(rooms[place] for place in places) if way.keys else (),
            written=places,
            draws=tuple(draws),
        )
        return arranged, [outlooks[place] for place in places]

    def embedding(
        self,
        alias: str,
        profile: str | None,
        deadline: float,
        texts: Callable[[ProviderWorker], Sequence[str]],
        call: Call,
        terms: Terms = USUAL,
    ) -> Journey:
        """Begin the way of a request for vectors; `texts` are those that a provider is sent."""
        request = ChatRequest(model=alias, messages=())

        bound = self._bound(alias, profile)
        way = bound.way
        counted = {
            route: float(sum(map(route.counting.text, texts(worker))))
            for route, worker in zip(way.routes, way.workers, strict=True)
        }
        outlooks: list[Outlook] = [(round(counted[route]), 0, None, self._prices(route.ref)) for route in way.routes]
        if way.keys:
            way, outlooks = self._arranged(bound, "ordered", outlooks)
        charges = tuple(route.charge_texts(counted[route]) for route in way.routes)
        journey = self._begin(request, profile, deadline, bound, way, charges, tuple(outlooks), call, terms)
        journey.kind = "embed"
        if self._budgets is not None and self._budgets.are_set:
            scope = self.scope(journey.start.profile, alias, terms)
            journey.payment = texts_payment(self._budgets, scope, way.routes, way.workers, self._prices, texts)
        return journey

    def _begin(
        self,
        request: ChatRequest,
        profile: str | None,
        deadline: float,
        bound: _Bound,
        way: _Way,
        charges: tuple[Charge, ...],
        outlooks: tuple[Outlook, ...],
        call: Call,
        terms: Terms,
    ) -> Journey:
        plan = Plan(
            request.model,
            [route.ref for route in way.routes],
            way.keys,
            deadline=deadline,
            random=self._random,
            patient=terms.patient,
            spill=terms.spill,
        )
        start = Start(
            profile=self.profile_name(profile),
            binding=bound.binding,
            charges=charges,
            outlooks=outlooks,
            written=way.written,
            draws=way.draws,
            rooms=way.rooms,
        )
        journey = Journey(
            request=request,
            profile=profile,
            binding=bound.binding,
            routes=way.routes,
            workers=way.workers,
            charges=charges,
            plan=plan,
            start=start,
            lockfile=self.lockfile,
            number=next(self._numbers),
            terms=terms,
            retries=bound.retries,
            call=call,
            ended=self._ended,
        )
        call.follow(journey.trace)
        return journey

    # The lockfile.

    async def watch(self) -> None:
        """Reload the lockfile whenever the file changes, for as long as the router lives."""
        while True:
            await trio.sleep(_LOOK_EVERY_SECONDS)
            stamp = _stamp(self.lockfile.path)
            if stamp != self._seen:
                self._seen = stamp
                self.reload()

    def reload(self) -> None:
        """Read the lockfile again now. A bad one changes nothing but `lockfile_error`."""
        try:
            lockfile = read_lockfile(self.lockfile.path)
            if self._profile is not None:
                lockfile.profile(self._profile)
            for name, settings in lockfile.providers.items():
                endpoint(name, settings)
            if self._budgets is not None:
                self._budgets.check(lockfile.profiles)
        except ConfigError as error:
            self.lockfile_error = error
            _LOG.error("the edited lockfile is not used, the previous one stays: %s", error)
            return
        self._replace(lockfile)
        self.lockfile_error = None
        _LOG.info("lockfile reloaded: %s", lockfile.path)

    def _replace(self, lockfile: Lockfile) -> None:
        """Workers whose settings have changed serve who is on the way; new ones are made when they are needed."""
        before: Mapping[str, ProviderSettings] = self.lockfile.providers
        before_budgets = self.lockfile.budgets
        for name in list(self.crews):
            if before.get(name) != lockfile.providers.get(name):
                self._retired[name] = self.crews.pop(name)
                self._retired[name].retire()
        self.lockfile = lockfile
        self._table.clear()
        if self._budgets is not None and before_budgets != lockfile.budgets:
            self._budgets.follow(lockfile.budgets)


def _keys(routes: Sequence[Sequence[Route]]) -> tuple[str | None, ...]:
    """The names of the keys of all routes, each model's together; empty where no model has several."""
    if all(len(same) == 1 for same in routes):
        return ()
    return tuple(route.credential.key for same in routes for route in same)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None while there is none. One local `stat`, a few microseconds."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
