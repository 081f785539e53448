"""Limits under any interleaving of what can happen to them: never more goes out than was there, no hold is cut short,
and what was taken comes back."""

import math
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmring.codecs.codec import LimitUpdate
from llmring.errors import Dimension, RateLimited
from llmring.lockfile.providers import Counted
from llmring.providers.bucket import MARGIN_SECONDS, Limit
from llmring.providers.budget import UPWARD_STEP, Budget, Reservation
from llmring.providers.credential import Credential
from llmring.providers.fairness import INTERACTIVE
from llmring.providers.readiness import Ready
from llmring.providers.regime import Charge, Outcome, Rule
from llmring.providers.route import Permit, Route
from llmring.refs import ModelRef
from llmring.usage import Usage
from tests.providers.ledger import Ledger

MACHINE = settings(max_examples=60, stateful_step_count=40)

seconds = st.one_of(st.sampled_from([0.0, 0.001, 0.25, 1.0, 5.0, 60.0, 60.25]), st.floats(0.0, 90.0))
parts = st.one_of(st.sampled_from([0.001, 0.1, 0.5, 1.0]), st.floats(0.001, 1.0))
places = st.integers(0, 1000)
roundings = st.sampled_from([1.0, 10.0, 1000.0])


class OneLimit(RuleBasedStateMachine):
    """A budget of one limit, of which replies may say that it is another."""

    counted: ClassVar[Counted]

    @initialize(amount=st.sampled_from([1.0, 10.0, 600.0, 2e6]), now=st.sampled_from([0.0, 1e6]))
    def begin(self, amount: float, now: float) -> None:
        limit = Limit(dimension="requests", amount=amount, counted=self.counted)
        self.now = now
        self.budget = Budget([limit], now)
        self.ledger = Ledger(limit, now)
        self.held_until = -math.inf
        self.unsettled: list[Reservation] = []
        self.newest: list[Reservation] = []

    @property
    def level(self) -> float:
        bucket = self.budget.buckets["requests"]
        bucket.advance(self.now)
        return bucket.level

    def charge(self, part: float) -> Charge:
        return {"requests": part * self.budget.buckets["requests"].limit.amount}

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.ledger.advance(self.now)

    @rule(part=parts, keep=st.sampled_from([0.0, 0.1]))
    def ask(self, part: float, keep: float) -> None:
        """It goes when there is room for it."""
        charge = self.charge(part)
        if self.budget.wait(charge, self.now, keep) == (0.0, None):
            assert self.now >= self.held_until - 1e-6, "let go inside of a hold"
            reservation = self.budget.reserve(charge, self.now)
            self.unsettled.append(reservation)
            self.newest = [*self.newest[-5:], reservation]
            self.ledger.taken(reservation.number, charge["requests"])

    @rule(part=parts)
    def wait_and_go(self, part: float) -> None:
        wait, _ = self.budget.wait(self.charge(part), self.now)
        self.time_passes(wait)
        assert self.budget.wait(self.charge(part), self.now) == (0.0, None), "waiting as long as told is enough"
        self.ask(part, 0.0)

    @precondition(lambda self: self.unsettled)
    @rule(place=places, share=st.sampled_from([0.0, 0.3, 1.0, 1.5, 4.0]))
    def settle(self, place: int, share: float) -> None:
        reservation = self.unsettled.pop(place % len(self.unsettled))
        reserved = reservation.charge["requests"]
        before = self.level
        self.budget.settle(reservation, {"requests": share * reserved}, self.now)
        self.ledger.settled(reservation.number, share * reserved)
        if share <= 1.0:
            assert before - self.ledger.slack <= self.level <= before + (1.0 - share) * reserved + self.ledger.slack, (
                "more than was taken"
            )

    @rule(hold=seconds)
    def refuse(self, hold: float) -> None:
        self.held_until = max(self.held_until, self.now + hold)
        self.budget.refused("requests", self.now + hold, self.now)
        assert self.level <= 0.0

    @precondition(lambda self: self.newest)
    @rule(place=places, part=st.floats(0.0, 1.2), rounding=roundings)
    def tell_what_remains(self, place: int, part: float, rounding: float) -> None:
        bucket = self.budget.buckets["requests"]
        reservation = self.newest[place % len(self.newest)]
        remaining = part * bucket.limit.amount
        stale, before = reservation.number < bucket.newest, self.level
        gap = remaining - bucket.margin - (reservation.levels["requests"] + bucket.corrected)
        if gap < 0.0:
            gap = min(0.0, gap + bucket.overtakers(reservation.number, reservation.at))
        update = LimitUpdate(dimension="requests", remaining=remaining, rounding=rounding)
        self.budget.observe(update, reservation, self.now)
        rise = self.level - before
        if stale or abs(gap) < rounding:
            assert rise == pytest.approx(0.0, abs=self.ledger.slack)
        elif gap < 0.0:
            assert rise == pytest.approx(gap, abs=self.ledger.slack)
        else:
            assert -self.ledger.slack <= rise <= UPWARD_STEP * gap + self.ledger.slack
            self.ledger.granted(max(0.0, rise))

    @precondition(lambda self: self.newest)
    @rule(place=places, amount=st.sampled_from([1.0, 10.0, 60.0, 600.0, 6000.0, 2e6]))
    def tell_the_limit(self, place: int, amount: float) -> None:
        bucket = self.budget.buckets["requests"]
        reservation = self.newest[place % len(self.newest)]
        before = self.level
        update = LimitUpdate(dimension="requests", limit=amount)
        changed = self.budget.observe(update, reservation, self.now)
        assert (changed is None) == (bucket.limit.amount == self.ledger.limit.amount)
        if changed is not None:
            assert bucket.limit.amount == amount
            self.ledger.resized(amount)
        if self.counted == "continuously":
            assert self.level <= before + self.ledger.slack

    @invariant()
    def nothing_is_lost_or_won(self) -> None:
        bucket = self.budget.buckets["requests"]
        assert self.level <= bucket.capacity + self.ledger.slack
        assert bucket.capacity <= bucket.limit.amount
        assert bucket.rate > 0.0
        open_ones = sum(reservation.charge["requests"] for reservation in self.unsettled)
        assert self.budget.outstanding("requests") == pytest.approx(open_ones, abs=self.ledger.slack)
        if self.counted == "continuously":
            assert self.level <= self.ledger.level + self.ledger.slack
        assert self.budget.holds.get("requests", -math.inf) == self.held_until

    def teardown(self) -> None:
        """In the end everything is back: nothing is outstanding, and silence fills the bucket."""
        if not hasattr(self, "budget"):
            return
        while self.unsettled:
            self.settle(0, 1.0)
        assert self.budget.outstanding("requests") == pytest.approx(0.0, abs=self.ledger.slack)
        bucket = self.budget.buckets["requests"]
        self.now += max(2 * (bucket.limit.period + MARGIN_SECONDS), (bucket.capacity - self.level) / bucket.rate + 1.0)
        assert self.level == pytest.approx(bucket.capacity)


class OneBucket(OneLimit):
    counted = "continuously"


class OneWindow(OneLimit):
    counted = "by window"


TestOneBucket = OneBucket.TestCase
TestOneBucket.settings = MACHINE
TestOneWindow = OneWindow.TestCase
TestOneWindow.settings = MACHINE


# Through the permits of a route.

INPUT_TOKENS = 40.0
RULE = Rule(input=True, output=True)
CONFIGURED: dict[Dimension, float] = {"requests": 20.0, "tokens": 6000.0}
DIMENSIONS: tuple[Dimension, ...] = ("requests", "tokens")


def _nobody() -> None:
    """Nobody waits in line."""


class Permits(RuleBasedStateMachine):
    """A route with limits of the lockfile and such as its replies tell of. Each permit ends in one of five ways."""

    counted: ClassVar[Counted]

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        limits = [Limit(dimension=name, amount=most, counted=self.counted) for name, most in CONFIGURED.items()]
        credential = Credential(Budget(limits, 0.0), 1000, lambda: 0.0)
        self.route = Route(ModelRef("acme", "small"), credential, {"tokens": RULE}, _nobody, 0.0, counted=self.counted)
        self.ledgers: dict[Dimension, Ledger] = {limit.dimension: Ledger(limit, 0.0) for limit in limits}
        self.held_until: dict[Dimension, float] = {}
        self.open: list[Permit] = []
        self.settled: list[Permit] = []

    @property
    def budgets(self) -> tuple[Budget, Budget]:
        return self.route.budget, self.route.credential.budget

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.now += passed
        for ledger in self.ledgers.values():
            ledger.advance(self.now)

    @rule(output=st.sampled_from([10.0, 200.0, 3000.0]))
    def ask(self, output: float) -> None:
        charge: Charge = {"requests": 1.0, "day": 1.0, "tokens": INPUT_TOKENS + output}
        if not isinstance(self.route.readiness(charge, self.now), Ready):
            return
        assert all(self.now >= self.held_until.get(name, -math.inf) - 1e-6 for name in charge), "inside of a hold"
        permit = self.route.admit(charge, self.now, INTERACTIVE)
        self.open.append(permit)
        for name, ledger in self.ledgers.items():
            ledger.taken(permit.reservations[1][1].number, charge[name])

    @precondition(lambda self: self.open)
    @rule(place=places, output=st.sampled_from([0, 1, 200, 9000]))
    def answered(self, place: int, output: int) -> None:
        usage = Usage(input_tokens=int(INPUT_TOKENS), output_tokens=output)
        permit = self._end(place, "exact", INPUT_TOKENS + output, usage)
        self.route.succeeded(permit, usage, self.now)

    @precondition(lambda self: self.open)
    @rule(place=places, output=st.sampled_from([0, 1, 200, 9000]))
    def cut(self, place: int, output: int) -> None:
        """Never less than was reserved."""
        permit = self.open[place % len(self.open)]
        usage = Usage(output_tokens=output)
        self._end(place, "lower_bound", max(permit.charge["tokens"], float(output)), usage)

    @precondition(lambda self: self.open)
    @rule(place=places)
    def lost(self, place: int) -> None:
        """Timed out, or cancelled after it was sent: all of it stands."""
        self._end(place, "unknown", self.open[place % len(self.open)].charge["tokens"])

    @precondition(lambda self: self.open)
    @rule(place=places)
    def never_sent(self, place: int) -> None:
        self._end(place, "not_sent", 0.0, requests=0.0)

    @precondition(lambda self: self.open)
    @rule(
        place=places,
        dimension=st.sampled_from([None, *DIMENSIONS]),
        delay=st.one_of(st.none(), st.sampled_from([0.5, 20.0, 100.0])),
    )
    def refused(self, place: int, dimension: Dimension | None, delay: float | None) -> None:
        """It counts as a request and used no tokens."""
        before = self._holds()
        permit = self._end(place, "refused", 0.0)
        self.route.failed(permit, RateLimited("no", dimension=dimension, retry_after=delay), self.now)
        after = self._holds()
        assert all(after[name] >= until for name, until in before.items()), "a hold was cut short"
        held: Dimension = dimension or "requests"
        assert after[held] >= self.now + (delay or 0.0)
        self.held_until = after

    @precondition(lambda self: self.open)
    @rule(
        place=places,
        dimension=st.sampled_from(DIMENSIONS),
        limit=st.sampled_from([None, 2.0, 20.0, 6000.0, 60000.0]),
        part=st.one_of(st.none(), st.floats(0.0, 1.2)),
        rounding=roundings,
    )
    def told(self, place: int, dimension: Dimension, limit: float | None, part: float | None, rounding: float) -> None:
        """By the headers of a reply. They say nothing of what the lockfile says."""
        remaining = part * (limit or 1000.0) if part is not None else None
        update = LimitUpdate(dimension=dimension, limit=limit, remaining=remaining, rounding=rounding)
        self.route.observe((update,), self.open[place % len(self.open)], self.now)

    @precondition(lambda self: self.settled)
    @rule(place=places, outcome=st.sampled_from(["exact", "unknown", "not_sent"]))
    def settled_again(self, place: int, outcome: Outcome) -> None:
        """A mistake, and nothing changes by it."""
        before = self._levels(), self.route.in_flight, self.route.credential.in_flight
        with pytest.raises(AssertionError, match="settled once"):
            self.settled[place % len(self.settled)].settle(outcome, self.now)
        assert (self._levels(), self.route.in_flight, self.route.credential.in_flight) == before

    @invariant()
    def nothing_is_lost_or_won(self) -> None:
        assert self.route.in_flight == self.route.credential.in_flight == len(self.open)
        for budget in self.budgets:
            for name, bucket in budget.buckets.items():
                open_ones = sum(permit.charge.get(name, 0.0) for permit in self.open)
                assert budget.outstanding(name) == pytest.approx(open_ones)
                assert bucket.outstanding == pytest.approx(open_ones, abs=1e-6)
                bucket.advance(self.now)
                assert bucket.rate > 0.0
                assert bucket.level <= bucket.capacity + 1e-6 * bucket.limit.amount
        if self.counted == "continuously":
            for name, ledger in self.ledgers.items():
                assert self.budgets[1].buckets[name].level <= ledger.level + ledger.slack

    def teardown(self) -> None:
        if not hasattr(self, "route"):
            return
        while self.open:
            self.lost(0)
        self.nothing_is_lost_or_won()
        # What is missing after a while was taken for good.
        self.now += 1e6
        for budget in self.budgets:
            for bucket in budget.buckets.values():
                bucket.advance(self.now)
                assert bucket.level == pytest.approx(bucket.capacity)

    def _end(
        self, place: int, outcome: Outcome, tokens: float, usage: Usage | None = None, requests: float = 1.0
    ) -> Permit:
        permit = self.open.pop(place % len(self.open))
        permit.settle(outcome, self.now, usage)
        self.settled.append(permit)
        actual: Charge = {"requests": requests, "tokens": tokens}
        for name, amount in actual.items():
            self.ledgers[name].settled(permit.reservations[1][1].number, amount)
        return permit

    def _holds(self) -> dict[Dimension, float]:
        """The later one, where the route and its provider both hold a dimension."""
        holds: dict[Dimension, float] = {}
        for budget in self.budgets:
            for name, until in budget.holds.items():
                holds[name] = max(until, holds.get(name, -math.inf))
        return holds

    def _levels(self) -> list[float]:
        buckets = [bucket for budget in self.budgets for bucket in budget.buckets.values()]
        for bucket in buckets:
            bucket.advance(self.now)
        return [bucket.level for bucket in buckets]


class BucketPermits(Permits):
    counted = "continuously"


class WindowPermits(Permits):
    counted = "by window"


TestBucketPermits = BucketPermits.TestCase
TestBucketPermits.settings = MACHINE
TestWindowPermits = WindowPermits.TestCase
TestWindowPermits.settings = MACHINE
