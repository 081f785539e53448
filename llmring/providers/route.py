"""One model at one provider, asked with one key: may a request go there now, and what did the last ones teach?
Synchronous; takes `now`.

A route owns its breaker, its estimate of output, and its waiting line. Its learned limits are its own or its limit
group's. The credential it shares with the key's other routes owns the configured limits and the connections; where the
keys of a provider are of one account, they share all limits and turns. Checking and taking happen in one step without
an await between, so no room is given away twice.
"""

import logging
import math
from collections.abc import Callable, Iterable

import msgspec

from llmring.chat import ChatRequest
from llmring.codecs.capabilities import Capabilities, Model
from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension, Overloaded, ProviderError, RateLimited
from llmring.lockfile.providers import Counted
from llmring.providers.breaker import TRIAL_SECONDS, Breaker
from llmring.providers.bucket import Bucket
from llmring.providers.budget import Budget, Reservation
from llmring.providers.credential import Credential
from llmring.providers.estimate import Counting, OutputEstimate, estimate
from llmring.providers.fairness import INTERACTIVE, RESERVE_SECONDS, RESERVE_SHARE, Flow
from llmring.providers.fit import most_output_tokens
from llmring.providers.group import Group
from llmring.providers.line import Line
from llmring.providers.memory import Memory
from llmring.providers.pace import Means, Pace, ceilings, pace
from llmring.providers.ramp import Ramp
from llmring.providers.readiness import READY, Busy, Readiness, Ready, Shut
from llmring.providers.regime import Charge, Estimate, Outcome, Regime, add, charge, charged
from llmring.providers.speed import Speed
from llmring.refs import ModelRef
from llmring.status import BreakerState, RouteStatus
from llmring.status import Readiness as ReadinessName
from llmring.usage import Usage

_LOG = logging.getLogger("llmring")

UNLIMITED_COST = 0.001
"""What a request costs its flow where no limit is known."""

QUOTA_SECONDS = 300.0
"""A credential without money is asked again after this long."""

AUTH_SECONDS = 60.0
"""A refused key is not sent again for this long; calls fail at once with the same error."""

REFUSED_FIRST_SECONDS = 0.5
REFUSED_MOST_SECONDS = 8.0
DAILY_SECONDS = 300.0
"""Holds after a refusal that names no delay: doubling from the first to the most; a daily limit, flat."""

KNOWN_AFTER = 20
"""How long answers take is known after so many of them."""

LONGEST_LEAST_SECONDS = 60.0
LONGEST_TIMES = 3.0
"""An answer may take three times what so many tokens take here, where that is known; at least a minute."""

OUT_OF_USE = -1e6
"""The room of a key with which nothing can go: less than any debt leaves."""

_MOST_DOUBLINGS = 10
"""Past the most seconds already; counted on for ever, the power would overflow."""

JITTER_SHARE = 0.1
JITTER_SECONDS = 0.25
JITTER_MOST_SECONDS = 60.0
"""A hold is lengthened by a random part of the larger of 10 % and 250 ms, a minute at most: never asked early, never
all at once."""


class Route:
    """A model of a provider, live. Made by its worker, shared by every alias that names it."""

    def __init__(
        self,
        ref: ModelRef,
        credential: Credential,
        regime: Regime,
        changed: Callable[[], None],
        now: float,
        capabilities: Capabilities = Capabilities(),  # noqa: B008 - immutable
        counting: Counting = Counting(),  # noqa: B008 - immutable
        counted: Counted = "continuously",
        group: Group | None = None,
    ) -> None:
        self.ref = ref
        self.group = group.name if group is not None else None
        self.siblings: tuple[Route, ...] = ()
        """The same model asked with the provider's other keys."""
        self.counting = counting
        self.model = Model(name=ref.model, capabilities=capabilities)
        self.credential = credential
        self.changed = changed
        self.line: Line[Permit] = Line(changed, credential.fairness, self.cost)
        self.breaker = Breaker(credential.random)
        self.budget = Budget((), now, counted) if group is None else group.learned
        self.kept: tuple[Budget, ...] = (
            (credential.budget,) if group is None or group.name is None else (group.given, credential.budget)
        )
        """The limits that the lockfile gives, the narrowest first."""
        self.budgets: tuple[Budget, ...] = (self.budget, *self.kept)
        """All of its limits."""
        self.in_flight = 0
        self.means = Means()
        self.answered_at = -math.inf
        """When it has answered anybody last."""
        self.weathered = 0
        """How many requests it has refused or was too busy for."""
        self.uses = 0
        """Grows with every request that is taken on and with every one that is settled."""
        self.regime = regime
        self._output = OutputEstimate()
        self._speed = Speed()
        self._ramp = Ramp()
        self._gone: Shut | None = None
        self._refusals = 0

    def join(self, siblings: "tuple[Route, ...]") -> None:
        """Become one of several routes of a model: how much it writes, and how fast, does not hang on the key."""
        self.siblings = tuple(route for route in siblings if route is not self)
        oldest = max(siblings, key=lambda route: route.means.count)
        self._output, self._speed = oldest._output, oldest._speed

    def inherit(self, previous: "Route") -> None:
        """Take over what `previous`, the same model before an edit of the lockfile, has learned, but for its limits:
        those are the worker's to take over."""
        self.breaker = previous.breaker
        self.means = previous.means
        self.answered_at = previous.answered_at
        self.weathered = previous.weathered
        self.uses = previous.uses
        self._output = previous._output
        self._speed = previous._speed
        self._ramp = previous._ramp
        self._gone = previous._gone
        for parameter in previous.model.capabilities.refused:
            self.refuse(parameter)

    def memory(self, now: float) -> Memory:
        """What the next process should know of it."""
        limits = tuple(self.budget.memory(now))
        return Memory(limits=limits, output=self._output.memory(), speed=self._speed.memory())

    def recall(self, memory: Memory, age_seconds: float, now: float) -> None:
        """Begin with what an earlier process has kept, so long ago."""
        self.budget.recall(memory.limits, age_seconds, now)
        if memory.output is not None:
            self._output.recall(memory.output, age_seconds)
        if memory.speed is not None:
            self._speed.recall(memory.speed, age_seconds)

    def refuse(self, parameter: str) -> bool:
        """Remember that the model does not take `parameter`; False when that was known."""
        capabilities = self.model.capabilities
        if parameter in capabilities.refused:
            return False
        for sibling in self.siblings:
            sibling._forgo(parameter)
        self._forgo(parameter)
        return True

    def _forgo(self, parameter: str) -> None:
        capabilities = self.model.capabilities
        learned = msgspec.structs.replace(capabilities, refused=capabilities.refused | {parameter})
        self.model = msgspec.structs.replace(self.model, capabilities=learned)

    def fit(self, capabilities: Capabilities) -> None:
        """Take what the registry says of the model now; what was learned of it stays."""
        refused = capabilities.refused | self.model.capabilities.refused
        self.model = Model(name=self.ref.model, capabilities=msgspec.structs.replace(capabilities, refused=refused))

    def charge(self, request: ChatRequest, counted_tokens: float) -> Charge:
        """What `request`, whose input counts so many tokens here, is expected to take out of this route's limits."""
        expected = estimate(request, self._output, counted_tokens)
        certain = msgspec.structs.replace(expected, output_tokens=0.0, max_output_tokens=float(request.max_tokens or 0))
        return self._fit(charge(self.regime, expected), charge(self.regime, certain))

    def expected(self, request: ChatRequest, counted_tokens: float) -> Usage:
        """What `request`, whose input counts so many tokens here, is expected to use."""
        expected = estimate(request, self._output, counted_tokens)
        return Usage(input_tokens=round(expected.input_tokens), output_tokens=round(expected.output_tokens))

    def outlook(self, request: ChatRequest, counted_tokens: float) -> tuple[int, int, float | None]:
        """The tokens that `expected` and the seconds that `seconds` say, in one: every request asks every route."""
        bound = request.max_tokens
        output = self._output.tokens
        tokens = round(output if bound is None or output < bound else bound)
        return round(counted_tokens), tokens, self._speed.predict(tokens)

    def seconds(self, usage: Usage) -> float | None:
        """How long an answer of so many tokens is expected to take here; None while none has come."""
        return self._speed.predict(usage.output_tokens)

    def longest_seconds(self, request: ChatRequest) -> float:
        """After how long an answer is not worth waiting for any more: by far longer than its most tokens take here.
        Infinite where that is not known."""
        bound = most_output_tokens(request, self.model.capabilities)
        usual = self._speed.predict(bound) if bound is not None and self.means.count >= KNOWN_AFTER else None
        return math.inf if usual is None else max(LONGEST_LEAST_SECONDS, LONGEST_TIMES * usual)

    def charge_texts(self, tokens: float) -> Charge:
        """What vectors for texts of so many tokens are expected to take out of this route's limits."""
        needed = charge(self.regime, Estimate(input_tokens=tokens, output_tokens=0.0, max_output_tokens=0.0))
        return self._fit(needed, needed)

    def _fit(self, needed: Charge, least: Charge) -> Charge:
        fitted = self.budget.fit(needed, least)
        for budget in self.kept:
            fitted = budget.fit(fitted, least)
        return fitted

    def readiness(self, needed: Charge, now: float, flow: Flow = INTERACTIVE, deadline: float = math.inf) -> Readiness:
        """May a newcomer go now? Those in line go first, and what could never fit is told at once."""
        for budget in self.budgets:
            dimension = budget.impossible(needed)
            if dimension is not None:
                return Shut(wait_seconds=None, why=_too_large(dimension, needed, budget))
        answer = self.room(needed, now, self.keep(flow, now))
        if isinstance(answer, Shut) or self.line.may_pass(flow):
            return answer
        return self._behind(answer, needed, now, flow, deadline)

    def _behind(self, answer: Ready | Busy, needed: Charge, now: float, flow: Flow, deadline: float) -> Busy:
        """How long a newcomer will stand in line. An estimate: others may find a place elsewhere, or leave. `answer` is
        what it would meet without them."""
        wait, why = self._after(_sum(line.ahead(flow.priority) for line in self._lines()), needed, now)
        if now + wait >= deadline:
            # Too late, if all of them went first: but it may be due before them, or its tenant's turn.
            before = _sum(line.before(flow, deadline, needed) for line in self._lines())
            wait, why = self._after(before, needed, now)
        if wait > 0.0:
            failing = isinstance(answer, Busy) and answer.failing
            return Busy(wait_seconds=wait, why=f"{why}, {len(self.line)} in line", failing=failing)
        return answer if isinstance(answer, Busy) else Busy(wait_seconds=0.0, why=f"{len(self.line)} in line")

    def _lines(self) -> "tuple[Line[Permit], ...]":
        """Where the keys are of one account, nobody gets elsewhere with another what it waits for here."""
        if not self.credential.shared_with:
            return (self.line,)
        return (self.line, *(sibling.line for sibling in self.siblings))

    def _after(self, ahead: Charge, needed: Charge, now: float) -> tuple[float, str]:
        """Seconds until `needed` can go when all of `ahead` is first, and what binds."""
        wait, dimension = 0.0, None
        for budget in self.budgets:
            longer, binding = budget.wait_behind(ahead, needed, now)
            if longer > wait:
                wait, dimension = longer, binding
        most = self.credential.most_in_flight
        queued = ahead.get("requests", 0.0) - max(0, most - self.credential.in_flight)
        if self.means.count >= KNOWN_AFTER and queued * self.means.took_seconds > wait * most:
            return queued * self.means.took_seconds / most, f"all {most} connections in use"
        return wait, f"{dimension} limit"

    def keep(self, flow: Flow, now: float) -> float:
        """The share of every limit that work of `flow` leaves free: batches, for the calls that may come; not for those
        that wait already, for these have their turns."""
        if flow.priority == "interactive" or self.line.waits("interactive"):
            return 0.0
        return RESERVE_SHARE if now - self.credential.called_at < RESERVE_SECONDS else 0.0

    def cost(self, charge: Charge) -> float:
        """What part of its limits a request takes: of the one that it takes most of."""
        largest = 0.0
        for budget in self.budgets:
            for dimension, bucket in budget.buckets.items():
                if dimension in charge:
                    share = charge[dimension] / bucket.limit.amount
                    if share > largest:
                        largest = share
        return largest or UNLIMITED_COST

    def emptiness(self, now: float) -> float:
        """The part that is left of its scarcest limit, for choosing among a model's keys; below any other where nothing
        can go with this key."""
        if self.shut(now) is not None:
            return OUT_OF_USE
        return min(budget.room(now) for budget in self.budgets)

    def shut(self, now: float) -> str | None:
        """What keeps everybody out, in a few words; None while nothing does."""
        shut = self.credential.readiness(now) or self._gone
        if shut is not None:
            return shut.why.partition(":")[0]
        return "breaker open" if self.breaker.state(now) == "open" else None

    def status(self, now: float, *, asked: bool = True) -> RouteStatus:
        """What a request that takes nothing out of the limits but its own place would meet now."""
        readiness, why, wait = _told(self.readiness({"requests": 1.0}, now))
        usage = Usage(output_tokens=round(self._output.tokens))
        given, configured = self.kept[:-1], self.kept[-1]
        return RouteStatus(
            model=self.ref,
            key=self.credential.key,
            readiness=readiness,
            why=why,
            wait_seconds=wait,
            breaker=self.breaker.state(now),
            limits=(
                *self.budget.status(now, shared=bool(self.credential.shared_with), group=self.group),
                *(limit for budget in given for limit in budget.status(now, shared=False, group=self.group)),
                *configured.status(now, shared=True),
            ),
            in_line=len(self.line),
            in_flight=self.in_flight,
            connections=self.credential.in_flight,
            most_connections=self.credential.most_in_flight,
            expected_output_tokens=self._output.tokens,
            seconds=self.seconds(usage),
            asked=asked,
        )

    def room(self, needed: Charge, now: float, keep: float = 0.0) -> Readiness:
        """May the head of the line go now, and leave a share `keep` of every limit free?"""
        shut = self.credential.readiness(now) or self._gone
        if shut is not None:
            return shut
        state = self.breaker.state(now)
        if state == "open":
            return self._open(needed, now, keep)
        if self.breaker.probing:
            return Busy(wait_seconds=0.0, why="waiting for the probe", failing=True)
        return self._limits(needed, now, keep) or self._connections(state, now, keep) or READY

    def _open(self, needed: Charge, now: float, keep: float) -> Shut:
        """A trial, too, goes within the limits."""
        busy = self._limits(needed, now, keep) or self._connections("open", now, keep)
        trial = self.breaker.trial_seconds(now)
        if busy is not None:
            trial = max(trial, busy.wait_seconds or TRIAL_SECONDS)
        return Shut(wait_seconds=self.breaker.until - now, why="breaker open", trial_seconds=trial)

    def _limits(self, needed: Charge, now: float, keep: float) -> Busy | None:
        wait, dimension = 0.0, None
        for budget in self.budgets:
            longer, binding = budget.wait(needed, now, keep)
            if longer > wait:
                wait, dimension = longer, binding
        ramp = self._ramp.wait(now)
        if ramp > wait:
            return Busy(wait_seconds=ramp, why="growing slowly")
        return Busy(wait_seconds=wait, why=f"{dimension} limit") if wait > 0.0 else None

    def _connections(self, state: BreakerState, now: float, keep: float) -> Busy | None:
        most = self.credential.most_in_flight
        usable = most if keep == 0.0 else max(1, most - math.ceil(keep * most))
        if self.credential.in_flight >= usable:
            return Busy(wait_seconds=0.0, why=f"all {most} connections in use")
        if state == "recovering" and self.in_flight > 0:
            # The times are compared, not the shares: what is waited for is then exactly what is asked here.
            at = self.breaker.share_at((self.in_flight + 1) / most)
            if at > now:
                return Busy(wait_seconds=at - now, why="recovering")
        return None

    def admit(self, needed: Charge, now: float, flow: Flow) -> "Permit":
        """Reserve for a newcomer. The caller has just seen that the route is Ready, or may be tried now."""
        cost = self.cost(needed)
        self.line.passed(flow, cost)
        return self.take(needed, now, flow, cost)

    def take(self, needed: Charge, now: float, flow: Flow = INTERACTIVE, cost: float = 0.0) -> "Permit":
        """Reserve. The caller has just seen that the route is Ready, and has counted `cost` for the flow."""
        if flow.priority == "interactive":
            self.credential.called(now)
        self.credential.in_flight += 1
        concurrency = self.credential.concurrency
        ticket = concurrency.sent(self.credential.in_flight) if concurrency is not None else 0
        self.in_flight += 1
        self._ramp.took(now)
        self.uses += 1
        probe = self.breaker.begin(now)
        return Permit(
            route=self,
            reservations=[(budget, budget.reserve(needed, now)) for budget in self.budgets],
            charge=needed,
            probe=probe,
            generation=self.breaker.generation,
            taken_at=now,
            flow=flow,
            cost=cost,
            ticket=ticket,
        )

    def succeeded(self, permit: "Permit", usage: Usage | None, now: float) -> None:
        self._refusals = 0
        self.answered_at = now
        self.credential.works()
        self.means.add(permit.charge, now - permit.taken_at)
        self._record(permit, now, ok=True)
        if usage is not None:
            self._output.add(usage.total_output_tokens)
            first = permit.first_at - permit.taken_at if permit.first_at is not None else None
            self._speed.add(now - permit.taken_at, usage.total_output_tokens, first)
        self._time(permit, usage, now)

    def _time(self, permit: "Permit", usage: Usage | None, now: float) -> None:
        """Tell the number in flight how long it took: to the first text, or for each token of a whole answer."""
        concurrency = self.credential.concurrency
        if concurrency is None:
            return
        if permit.first_at is not None:
            first = permit.first_at - permit.taken_at
            concurrency.answered(permit.ticket, f"{self.ref} streamed", first, 1.0, now)
        elif usage is not None:
            took, tokens = now - permit.taken_at, usage.total_output_tokens
            concurrency.answered(permit.ticket, str(self.ref), took, tokens, now)

    def _record(self, permit: "Permit", now: float, *, ok: bool) -> None:
        """Tell the breaker, and the log when that opens or closes it."""
        before = self.breaker.generation
        took = now - permit.taken_at
        self.breaker.record(ok=ok, generation=permit.generation, now=now, took=took)
        if not ok and permit.generation == before:
            for sibling in self.siblings:
                sibling.breaker.heard(now, took)
        if self.breaker.generation == before:
            return
        if ok:
            _LOG.info("%s answers again", self.ref)
        else:
            _LOG.warning("%s keeps failing: left out for %.1f s", self.ref, self.breaker.until - now)

    def failed(self, permit: "Permit", error: ProviderError, now: float) -> None:
        """Learn from a failure: trip, hold, or put out, as the class of the error says."""
        if error.is_evidence:
            self._record(permit, now, ok=not error.trips_breaker)
        self.weathered += error.is_weather
        if self.credential.concurrency is not None and isinstance(error, Overloaded | RateLimited):
            self.credential.concurrency.refused(permit.ticket)
        match error.holds:
            case "dimension":
                self._refused(permit, error, now)
            case "if told" if error.retry_after is not None:
                self._hold("requests", error.retry_after, now)
            case "quota":
                seconds = error.retry_after or QUOTA_SECONDS
                self.credential.put_out(now + seconds, f"quota exhausted: {error.message}", None)
                self.credential.tell(self.ref.provider, "without quota", seconds)
            case "key":
                self.credential.put_out(now + AUTH_SECONDS, f"key refused: {error.message}", error)
                self.credential.tell(self.ref.provider, "refused", AUTH_SECONDS)
            case "route":
                self._gone = Shut(wait_seconds=None, why=f"model gone: {error.message}")
            case _:
                pass

    def _refused(self, permit: "Permit", error: ProviderError, now: float) -> None:
        assert isinstance(error, RateLimited), "only a refusal holds a dimension"
        dimension: Dimension = error.dimension or ("day" if error.kind == "daily" else "requests")
        if dimension not in permit.charge:
            # Requests take nothing out of it here, so that a hold on it would hold nobody.
            dimension = "tokens" if "tokens" in permit.charge else "requests"
        # Of many refused at once only the first is a step: the others had left before its hold began.
        if now >= self._home(dimension).holds.get(dimension, -math.inf):
            self._refusals += 1
        self._hold(dimension, error.retry_after or self._delay(error, dimension, permit, now), now)
        if error.kind == "ramp":
            self._ramp.refused(permit.taken_at, self._home(dimension).holds[dimension], now)
            rate = self._ramp.rate(now)
            _LOG.info("%s: refused for growing too fast; goes on with %.3g requests a second", self.ref, rate)
        elif error.kind == "rate" and dimension != "day":
            self._learn(dimension, permit, now)

    def _learn(self, dimension: Dimension, permit: "Permit", now: float) -> None:
        """A limit that nobody tells, or that is lower than was told, is learned from what is refused."""
        home = self._home(dimension)
        given = home.buckets[dimension].rate if home is not self.budget else 0.0
        limit = self.budget.learn(dimension, permit.taken_at, home.holds[dimension], now, given)
        if limit is not None:
            _LOG.info("%s: refused; %s limit taken as %.3g a minute", self.ref, dimension, limit.amount)

    def _delay(self, error: RateLimited, dimension: Dimension, permit: "Permit", now: float) -> float:
        """The provider named no delay: what the bucket that refused lacks, as far as we know it, else doubling."""
        if error.kind == "daily":
            return DAILY_SECONDS
        lacking = 0.0
        bucket = self._home(dimension).buckets.get(dimension)
        if bucket is not None:
            bucket.advance(now)
            lacking = bucket.wait(permit.charge.get(dimension, 0.0))
        doublings = min(max(0, self._refusals - 1), _MOST_DOUBLINGS)
        return lacking or min(REFUSED_FIRST_SECONDS * 2.0**doublings, REFUSED_MOST_SECONDS)

    def _hold(self, dimension: Dimension, seconds: float, now: float) -> None:
        share = min(max(JITTER_SHARE * seconds, JITTER_SECONDS), JITTER_MOST_SECONDS)
        jitter = self.credential.random() * share
        self._home(dimension).refused(dimension, now + seconds + jitter, now)

    def _home(self, dimension: Dimension) -> Budget:
        """Where a limit lives: one of the lockfile is the whole group's or key's, a learned one this model's, or its
        group's."""
        return next((budget for budget in self.kept if dimension in budget.buckets), self.budget)

    def pace(self, now: float) -> Pace:
        """How fast requests like the last ones can go here."""
        buckets = self._buckets()
        for bucket in buckets:
            bucket.advance(now)
        return pace(buckets, self.means, self.credential.most_in_flight)

    def _buckets(self) -> list[Bucket]:
        return [bucket for budget in self.budgets for bucket in budget.buckets.values()]

    def ceilings(self) -> tuple[Pace, ...]:
        """How fast each of its limits would let requests like the last ones go, beginning full."""
        return ceilings(self._buckets(), self.means, self.credential.most_in_flight)

    def observe(self, updates: tuple[LimitUpdate, ...], permit: "Permit", now: float) -> None:
        """Take in what the headers of a reply say of the limits."""
        _, reservation = permit.reservations[0]
        for update in updates:
            limit = self.budget.observe(update, reservation, now)
            if limit is not None:
                _LOG.info("%s: %s limit is %g per %g s", self.ref, limit.dimension, limit.amount, limit.period)


def _sum(charges: Iterable[Charge]) -> Charge:
    total: dict[Dimension, float] = {}
    for one in charges:
        add(total, one)
    return total


def _too_large(dimension: Dimension, needed: Charge, budget: Budget) -> str:
    need, limit = math.ceil(needed[dimension]), budget.buckets[dimension].limit.amount
    return f"ImpossibleRequest: {need:,} needed of the {dimension} limit, which is {limit:,.0f} in all"


def _told(answer: Readiness) -> tuple[ReadinessName, str, float | None]:
    match answer:
        case Ready():
            return "ready", "", 0.0
        case Busy(wait_seconds=wait, why=why):
            return "busy", why, wait
        case Shut(wait_seconds=shut, why=why):
            return "shut", why, shut


class Permit(msgspec.Struct, kw_only=True, eq=False):
    """The right to send one request on a route: a connection and room in every limit. Settled exactly once."""

    route: Route
    reservations: list[tuple[Budget, Reservation]]
    charge: Charge
    probe: bool
    taken_at: float
    flow: Flow
    cost: float
    ticket: int
    generation: int
    """Of the breaker when it was taken."""
    first_at: float | None = None
    """When the first text of a stream came."""
    status: int | None = None
    """The HTTP status of the reply, once that has begun."""
    outcome: Outcome | None = None
    """How it ended, once it has."""
    is_settled: bool = False

    def settle(self, outcome: Outcome, now: float, usage: Usage | None = None) -> None:
        """Give the connection back and correct the limits. A second call is a bug in the caller."""
        assert not self.is_settled, "a permit is settled once"
        self.is_settled = True
        self.outcome = outcome
        route = self.route
        actual = charged(route.regime, outcome, self.charge, usage or Usage())
        taken = outcome not in ("refused", "not_sent")
        for budget, reservation in self.reservations:
            budget.settle(reservation, actual, now, taken=taken)
        if self.cost:
            route.credential.fairness.ended(self.flow, self.cost, route.cost(actual))
        route.uses += 1
        route.in_flight -= 1
        route.credential.in_flight -= 1
        if self.probe and route.breaker.probing and self.generation == route.breaker.generation:
            route.breaker.abandon_probe()
        if route.credential.fairness.in_line:
            # Else nobody waits for what this gives back.
            route.changed()
