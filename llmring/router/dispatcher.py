"""Dispatcher: the actor that owns the alias table. Finds the routes of an alias, and takes a request along them.

A request stays in its caller's task. The dispatcher's own task watches the lockfile: a good edit replaces the table
between two requests, a bad one keeps the old table and says so in `lockfile_error` and the log.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from llmring.chat import ChatRequest, Note
from llmring.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    ContextTooLong,
    LLMRingError,
    ProviderError,
    Unsupported,
)
from llmring.lockfile import Binding, Lockfile, Order, ProviderSettings, read_lockfile
from llmring.money.budgets import Budgets, Scope
from llmring.money.payment import Payment
from llmring.pricing import Prices
from llmring.providers.crew import Crew
from llmring.providers.endpoint import endpoint
from llmring.providers.estimate import Counting, input_tokens
from llmring.providers.fairness import INTERACTIVE, Flow
from llmring.providers.fit import ABSENT, can_go_without, field_of, without_native
from llmring.providers.line import Waiter
from llmring.providers.readiness import Busy, Readiness, Shut
from llmring.providers.regime import Charge
from llmring.providers.route import Permit, Route
from llmring.providers.worker import Kept, ProviderWorker
from llmring.refs import ModelRef
from llmring.router.account import Account
from llmring.router.admission import Admission, CalledBack
from llmring.router.failover import Decision, Fail, Go, Plan, Wait
from llmring.router.ordering import ARRANGE, Candidate, Room, arrange_keys
from llmring.router.paying import chat_payment, texts_payment
from llmring.router.records import JourneyKind
from llmring.router.retry_budget import RetryBudget
from llmring.router.tracing import Outlook, Start, cost_usd, trace_of
from llmring.telemetry.spans import AttemptSpan, Call
from llmring.trace import Source, Spill

_LOG = logging.getLogger("llmring")
_LOOK_EVERY_SECONDS = 1.0

Answer = TypeVar("Answer")
Ended = Callable[["Journey", object, BaseException | None], None]
"""Is told of every attempt that was answered, with what, or failed, with which error."""

Hire = Callable[[str, ProviderSettings | None], Crew]
"""Makes a provider's workers, one for each of its keys, and starts their tasks."""


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


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a request goes: `flow` is whose work it is, `patient` that nobody waits for it, so that refusals
    use up none of its tries, `spill` when it may leave its first model, `account` its money in a map, where that is
    bounded, `admission` that of the work it belongs to, where that may be stopped, and `payer` the alias whose budgets
    pay, where it is not the request's own."""

    flow: Flow = INTERACTIVE
    patient: bool = False
    spill: Spill = "auto"
    account: Account | None = None
    admission: Admission | None = None
    payer: str | None = None


USUAL = Terms()


class Journey(msgspec.Struct, kw_only=True):
    """One request under way: its routes in order and the plan that decides among them.

    `attempt` and `sent_at` are those of the newest attempt; `number` keeps its place among the waiting. `start` is kept
    for the trace, and `lockfile` is the one that the routes are of. `call` is told of what happens. `payment` is its
    money, None where there are no budgets. `tried` counts its attempts; `origin` is the journey whose answer made this
    one necessary; `texts` are those of the newest attempt, of one for vectors, and `part` its number, from 1, where
    one request does not hold all texts.
    """

    request: ChatRequest
    profile: str | None
    binding: Binding
    routes: tuple[Route, ...]
    workers: tuple[ProviderWorker, ...]
    charges: tuple[Charge, ...]
    plan: Plan
    start: Start
    lockfile: Lockfile
    number: int
    terms: Terms
    retries: RetryBudget
    call: Call
    payment: Payment | None = None
    attempt: AttemptSpan | None = None
    index: int = 0
    waited_seconds: float = 0.0
    sent_at: float = 0.0
    left_out: frozenset[str] = frozenset()
    notes: list[Note] = []
    kind: JourneyKind = "chat"
    tried: int = 0
    origin: "Journey | None" = None
    texts: Sequence[str] = ()
    part: int | None = None

    @property
    def route(self) -> Route:
        """Where the newest attempt went."""
        return self.routes[self.index]

    @property
    def trace(self) -> Source:
        """Makes the trace; holds neither the request nor a route."""
        return partial(trace_of, self.plan, self.start)


Send = Callable[[ProviderWorker, Permit, Journey], Awaitable[Answer]]
"""Makes one attempt. Raises ProviderError."""


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
        )
        call.follow(journey.trace)
        return journey

    async def go(self, journey: Journey, send: Send[Answer]) -> Answer:
        """Try route after route until one answers. Raises AllModelsFailed, BudgetExceeded, the error that ends it by
        policy, or CalledBack."""
        if journey.payment is None:
            return await self._go(journey, send)
        try:
            return await self._go(journey, send)
        except BaseException:
            # What was set aside and not sent.
            journey.payment.close()
            raise

    async def _go(self, journey: Journey, send: Send[Answer]) -> Answer:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            permit, asked_at = await self._admitted(journey)
            journey.sent_at = trio.current_time()
            if not journey.plan.has_sent and not journey.plan.patient:
                journey.retries.called(journey.sent_at)
            journey.left_out = journey.route.model.capabilities.refused
            journey.waited_seconds = journey.sent_at - asked_at
            worker = journey.workers[journey.index]
            journey.attempt = self._attempt(journey, worker, permit)
            try:
                with journey.attempt:
                    result = await self._send(journey, worker, permit, send)
            except ProviderError as error:
                if not error.fails_over and not (error.is_of_key and journey.plan.another_key(journey.index)):
                    took = trio.current_time() - journey.sent_at
                    # A copy: the one that is raised collects frames.
                    journey.plan.note(journey.index, copy(error), journey.waited_seconds, took)
                    raise
                if not self._learned(journey, error):
                    self.failed(journey, error)
            else:
                took = trio.current_time() - journey.sent_at
                journey.plan.succeeded(journey.index, journey.waited_seconds, took)
                return result

    async def _send(self, journey: Journey, worker: ProviderWorker, permit: Permit, send: Send[Answer]) -> Answer:
        """Send, and tell whoever wants to know how it ended, also when it was cancelled."""
        journey.tried += 1
        payment = journey.payment
        try:
            result = await send(worker, permit, journey)
        except BaseException as error:
            if payment is not None:
                payment.ended(None, error)
            self._ended(journey, None, error)
            raise
        if payment is not None:
            payment.ended(result)
        self._ended(journey, result, None)
        return result

    def _attempt(self, journey: Journey, worker: ProviderWorker, permit: Permit) -> AttemptSpan:
        try:
            return journey.call.attempt(worker.endpoint, permit, journey.request, journey.waited_seconds)
        except BaseException:
            # A sampler or a span processor of the program's is broken: that takes no room from others.
            permit.settle("not_sent", trio.current_time())
            raise

    def _learned(self, journey: Journey, error: ProviderError) -> bool:
        """Whether the model has said which parameter it does not take, and can be asked again without it."""
        if not isinstance(error, Unsupported) or error.parameter is None or journey.request.strict_params:
            return False
        field = field_of(error.parameter)
        if field is None or not can_go_without(journey.request, field):
            return False
        if field == "native":
            # Of this conversation, not of the model: the next one's may be whole.
            journey.request = without_native(journey.request)
        elif error.code == "unsupported_value" and _is_given(journey.request, field):
            # A word that the model does not know, not a parameter.
            journey.request = msgspec.structs.replace(journey.request, **{field: getattr(ABSENT, field)})
            journey.notes.append(Note(parameter=field, action="dropped", why="the model does not take this value"))
        elif field in journey.left_out:
            return False
        else:
            # Of those under way together, all may be refused: each is asked again, whoever was the first to learn.
            journey.route.refuse(field)
        now = trio.current_time()
        _forget_frames(error)
        journey.plan.note(journey.index, error, journey.waited_seconds, now - journey.sent_at)
        return True

    def failed(self, journey: Journey, error: ProviderError) -> None:
        """The newest attempt has failed in a way that fails over."""
        now = trio.current_time()
        _forget_frames(error)
        took = now - journey.sent_at
        answers, refusals = journey.route.means.count, journey.route.weathered
        journey.plan.failed(journey.index, error, journey.waited_seconds, took, now, answers, refusals)
        if isinstance(error, ContextTooLong):
            journey.plan.rule_out(_no_larger(journey), "its context window is no larger")

    def broke(self, journey: Journey, error: ProviderError) -> None:
        """The attempt that had answered broke after all: a stream, cut in the middle."""
        journey.plan.attempts.pop()
        self.failed(journey, error)

    async def _admitted(self, journey: Journey) -> tuple[Permit, float]:
        """The right to send, and since when it was waited for. Raises CalledBack."""
        admission = journey.terms.admission
        if admission is None:
            return await self._turn(journey)
        try:
            with admission.waiting():
                permit, asked_at = await self._turn(journey)
            if admission.is_over:
                permit.settle("not_sent", trio.current_time())
                raise CalledBack
        except CalledBack as called:
            called.attempts = tuple(journey.plan.attempts)
            raise
        return permit, asked_at

    async def _turn(self, journey: Journey) -> tuple[Permit, float]:
        """First its money is waited for, then its turn."""
        account = journey.terms.account
        if account is not None and not journey.plan.is_over:
            await account.reserve(journey.request, journey.routes)
        asked_at = trio.current_time()
        return await self._permit(journey), asked_at

    async def _permit(self, journey: Journey) -> Permit:
        """The right to send, and the money for it."""
        charges, flow, payment = journey.charges, journey.terms.flow, journey.payment
        while True:
            now = trio.current_time()
            match self._decide(journey, now):
                case Go(index):
                    journey.index = index
                    permit = journey.routes[index].admit(charges[index], now, flow)
                    if payment is not None:
                        is_paid = payment.reserve(index, permit)
                        assert is_paid, "it was looked at in this moment"
                    return permit
                case Wait(indexes=indexes, until=until):
                    if payment is not None and payment.blocked.intersection(indexes):
                        if payment.blocked.issuperset(indexes):
                            await payment.wait(until)
                            continue
                        # Others can be had first: the money is looked at again beside that.
                        indexes = tuple(index for index in indexes if index not in payment.blocked)
                        until = min(until, now + _LOOK_EVERY_SECONDS)
                    waiter: Waiter[Permit] = Waiter(journey.number, journey.plan.deadline, flow)
                    places = [(journey.routes[index].line, charges[index]) for index in indexes]
                    readiness = journey.plan.steps[-1].readiness
                    journey.call.waits(journey.plan.models, readiness, indexes)
                    given = await waiter.wait(places, until)
                    seconds = trio.current_time() - now
                    if given is not None:
                        index = journey.routes.index(given.route)
                        if payment is not None and not payment.reserve(index, given):
                            # Others were faster at the money.
                            given.settle("not_sent", trio.current_time())
                            journey.call.goes(seconds)
                            continue
                        journey.index = index
                        journey.plan.given(index)
                        journey.call.goes(seconds, given.route.ref, readiness[index])
                        return given
                    journey.call.goes(seconds)
                case Fail(error):
                    raise _told(journey, error)

    def _decide(self, journey: Journey, now: float) -> Decision:
        plan, flow, payment = journey.plan, journey.terms.flow, journey.payment
        readiness = [
            route.readiness(charge, now, flow, plan.deadline)
            for route, charge in zip(journey.routes, journey.charges, strict=True)
        ]
        if payment is not None:
            payment.begin_look()
            readiness = [_with_money(found, payment.look(index)) for index, found in enumerate(readiness)]
        used_up = plan.has_sent and not plan.patient and not journey.retries.allows(now)
        answered_at = max(route.answered_at for route in journey.routes)
        decision = plan.next(readiness, now, answered_at, used_up=used_up)
        if plan.steps[-1].draws:
            journey.retries.draw(now)
        return decision

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


def _with_money(found: Readiness, money: Busy | Shut | None) -> Readiness:
    """How a route stands for a request that `money` keeps from it. What is shut besides is not to be tried either."""
    if money is None:
        return found
    if isinstance(found, Shut):
        waits = found.wait_seconds if isinstance(money, Busy) else None
        return Shut(wait_seconds=waits, why=money.why, error=found.error)
    return money


def _told(journey: Journey, error: LLMRingError) -> LLMRingError:
    """What to raise for a decision to fail: with its trace, and where money was short and nothing was sent, that."""
    if isinstance(error, AllModelsFailed):
        error.trace = journey.trace()
        short = journey.payment.refusal() if journey.payment is not None and not journey.plan.has_sent else None
        if isinstance(short, BudgetExceeded):
            short.trace = error.trace
        return short or error
    return error


def _keys(routes: Sequence[Sequence[Route]]) -> tuple[str | None, ...]:
    """The names of the keys of all routes, each model's together; empty where no model has several."""
    if all(len(same) == 1 for same in routes):
        return ()
    return tuple(route.credential.key for same in routes for route in same)


def _is_given(request: ChatRequest, field: str) -> bool:
    """Whether the request itself has a value for a field. A budget for thinking may be on the wire for an effort: to
    take away what is not there would have the model asked again for ever."""
    return field in ABSENT.__struct_fields__ and bool(getattr(request, field) != getattr(ABSENT, field))


def _forget_frames(error: ProviderError) -> None:
    """Attempts outlive the call, in answers and reports; a traceback would keep its frames alive, prompt and key and
    all, and so would the network's own error behind it."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _no_larger(journey: Journey) -> list[int]:
    """The routes whose context window is known to be no larger than that of the newest attempt's route."""
    windows = [route.model.capabilities.max_input_tokens for route in journey.routes]
    failed = windows[journey.index]
    return [index for index, window in enumerate(windows) if window is not None and failed and window <= failed]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None while there is none. One local `stat`, a few microseconds."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
