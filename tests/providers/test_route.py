"""Routes: what shuts one, what makes one busy, what each failure teaches, and that permits are settled once."""

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing

from llmring.chat import ChatRequest, Message
from llmring.codecs.codec import LimitUpdate
from llmring.errors import (
    AuthFailed,
    BadRequest,
    Dimension,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
)
from llmring.lockfile import Kind
from llmring.providers.bucket import Limit
from llmring.providers.budget import Budget
from llmring.providers.credential import Credential
from llmring.providers.estimate import input_tokens
from llmring.providers.known import regime
from llmring.providers.line import Waiter
from llmring.providers.readiness import READY, Busy, Shut
from llmring.providers.regime import Charge, Outcome
from llmring.providers.route import Permit, Route
from llmring.refs import ModelRef
from llmring.usage import Usage

REF = ModelRef("acme", "small")
ONE: Charge = {"requests": 1.0, "day": 1.0, "tokens": 100.0}
TEN_A_SECOND = Limit(dimension="requests", amount=600.0)
TOKENS = Limit(dimension="tokens", amount=6000.0)


def route(
    *limits: Limit, kind: Kind = "openai-compatible", connections: int = 10, jitter: float = 0.0, now: float = 0.0
) -> Route:
    """`limits` are those of the lockfile, shared by the credential."""
    credential = Credential(Budget(limits, now), connections, lambda: jitter)
    return Route(REF, credential, regime(kind), _nobody, now)


def _nobody() -> None:
    """Nobody waits."""


def request(text: str = "x" * 400, max_tokens: int | None = None) -> ChatRequest:
    return ChatRequest(model="fast", messages=(Message(role="user", content=text),), max_tokens=max_tokens)


def charge_of(tested: Route, asked: ChatRequest) -> Charge:
    return tested.charge(asked, input_tokens(asked, tested.counting))


def fail(tested: Route, error: ProviderError, now: float = 0.0) -> Permit:
    permit = tested.take(ONE, now)
    tested.failed(permit, error, now)
    return permit


def refuse(tested: Route, error: RateLimited, now: float = 0.0) -> None:
    """As an exchange does: settled first."""
    permit = tested.take(ONE, now)
    permit.settle("refused", now)
    tested.failed(permit, error, now)


def trip(tested: Route, now: float = 0.0) -> None:
    for _ in range(5):
        fail(tested, ServerFault("down"), now)
    tested.in_flight = tested.credential.in_flight = 0


def learn(tested: Route, dimension: Dimension, limit: float, remaining: float | None = None) -> None:
    permit = tested.take(ONE, 0.0)
    tested.observe((LimitUpdate(dimension=dimension, limit=limit, remaining=remaining),), permit, 0.0)
    tested.in_flight -= 1
    tested.credential.in_flight -= 1


def lasts(tested: Route, error: ProviderError) -> float:
    """How long `error` keeps the route from a request; infinite where no time is told."""
    fail(tested, error)
    match tested.room(ONE, 0.0):
        case Shut(wait_seconds=None):
            return math.inf
        case Busy(wait_seconds=seconds) | Shut(wait_seconds=float(seconds)):
            return seconds
        case _:
            return 0.0


def busy(tested: Route, needed: Charge, now: float) -> tuple[float, str]:
    """The wait, to the microsecond, and the reason."""
    answer = tested.readiness(needed, now)
    assert isinstance(answer, Busy)
    return round(answer.wait_seconds, 6), answer.why


# Readiness.


def test_a_fresh_route_is_ready() -> None:
    assert route().readiness(ONE, 0.0) is READY


def test_without_a_key_it_is_shut_and_says_which_to_set() -> None:
    tested = route()
    tested.credential.missing = "no key for acme: set ACME_KEY"
    assert tested.readiness(ONE, 0.0) == Shut(wait_seconds=None, why="no key for acme: set ACME_KEY")


@pytest.mark.parametrize(("tokens", "is_shut"), [(5970.0, False), (6000.0, False), (6000.5, True)])
def test_what_is_larger_than_a_whole_limit_is_told_at_once(tokens: float, is_shut: bool) -> None:
    expected = Shut(wait_seconds=None, why="ImpossibleRequest: 6,001 needed of the tokens limit, which is 6,000 in all")
    assert (route(TOKENS).readiness({**ONE, "tokens": tokens}, 0.0) == expected) is is_shut


def test_an_empty_limit_names_itself_and_the_wait() -> None:
    tested = route(TEN_A_SECOND, TOKENS)
    tested.take({**ONE, "tokens": 5975.0}, 0.0)
    assert busy(tested, ONE, 0.0) == (1.0, "tokens limit")
    assert tested.readiness(ONE, 1.0) is READY


def test_of_learned_and_configured_limits_the_slower_one_binds() -> None:
    tested = route(TEN_A_SECOND)
    learn(tested, "tokens", 6000.0, remaining=25.0)
    assert busy(tested, ONE, 0.0) == (1.0, "tokens limit")
    tested.credential.budget.refused("requests", 5.0, 0.0)
    assert tested.readiness(ONE, 0.0) == Busy(wait_seconds=5.0, why="requests limit")


def test_connections_are_shared_by_the_routes_of_a_credential() -> None:
    tested = route(connections=2)
    other = Route(ModelRef("acme", "large"), tested.credential, {}, _nobody, 0.0)
    tested.take(ONE, 0.0)
    other.take(ONE, 0.0)
    for each in (tested, other):
        assert each.readiness(ONE, 0.0) == Busy(wait_seconds=0.0, why="all 2 connections in use")


def test_who_is_in_line_goes_before_a_newcomer() -> None:
    tested = route()
    waiter: Waiter[Permit] = Waiter(0, math.inf)
    tested.line.enter(waiter, ONE)
    assert tested.room(ONE, 0.0) is READY
    assert tested.readiness(ONE, 0.0) == Busy(wait_seconds=0.0, why="1 in line")
    waiter.send_away()
    assert tested.readiness(ONE, 0.0) is READY


def test_an_open_breaker_shuts_it_then_one_probe_goes_and_the_others_wait() -> None:
    tested = route()
    trip(tested)
    assert tested.readiness(ONE, 1.0) == Shut(wait_seconds=1.5, why="breaker open", trial_seconds=0.0)
    assert tested.readiness(ONE, 2.5) is READY
    permit = tested.take(ONE, 2.5)
    assert permit.probe
    assert tested.readiness(ONE, 2.5) == Busy(wait_seconds=0.0, why="waiting for the probe", failing=True)
    tested.succeeded(permit, None, 3.0)
    assert tested.readiness(ONE, 3.0) != READY
    assert tested.breaker.state(3.0) == "recovering"


@pytest.mark.parametrize(("connections", "shares"), [(10, [0.1, 0.2, 0.3, 1.0]), (3, [0.1, 2 / 3, 1.0]), (1, [0.1])])
def test_a_recovering_route_takes_a_growing_share_and_knows_to_the_moment_when(
    connections: int, shares: list[float]
) -> None:
    tested = route(connections=connections)
    trip(tested)
    tested.succeeded(tested.take(ONE, 10.0), None, 10.0)
    tested.in_flight = tested.credential.in_flight = 0
    for share in shares:
        tested.in_flight = tested.credential.in_flight = max(0, math.ceil(share * connections - 1e-9) - 1)
        at = max(10.0, tested.breaker.share_at(share)) if tested.in_flight else 10.0
        if at > 10.0:
            assert busy(tested, ONE, at - 0.125) == (0.125, "recovering")
        assert tested.readiness(ONE, at) is READY


# What failures teach.


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (RateLimited("slow", retry_after=20.0), 20.0),
        (RateLimited("slow", dimension="tokens", retry_after=20.0), 20.0),
        (RateLimited("slow", dimension="input", retry_after=20.0), 20.0),
        (RateLimited("slow"), 0.5),
        (RateLimited("slow", kind="daily"), 300.0),
        (RateLimited("slow", kind="daily", retry_after=7200.0), 7200.0),
        (Overloaded("full", retry_after=20.0), 20.0),
        (Overloaded("full"), 0.0),
        (ServerFault("broken", retry_after=20.0), 0.0),
        (BadRequest("wrong", retry_after=20.0), 0.0),
        (QuotaExhausted("no money"), math.inf),
        (AuthFailed("wrong key"), math.inf),
        (ModelGone("no such model"), math.inf),
    ],
)
def test_each_failure_holds_what_its_class_says(error: ProviderError, seconds: float) -> None:
    assert lasts(route(), error) == seconds


@pytest.mark.parametrize(("told", "longest"), [(20.0, 22.0), (1.0, 1.25), (0.1, 0.35)])
def test_a_hold_is_lengthened_by_up_to_a_tenth_or_a_quarter_second(told: float, longest: float) -> None:
    assert lasts(route(jitter=0.0), RateLimited("slow", retry_after=told)) == pytest.approx(told)
    assert lasts(route(jitter=1.0), RateLimited("slow", retry_after=told)) == pytest.approx(longest)


def test_refusals_that_name_no_delay_double_it_up_to_eight_seconds_until_an_answer() -> None:
    tested = route()
    now, delays = 0.0, []
    for _ in range(6):
        refuse(tested, RateLimited("slow"), now)
        delays.append(busy(tested, ONE, now)[0])
        now += delays[-1]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    tested.succeeded(tested.take(ONE, now), None, now)
    refuse(tested, RateLimited("slow"), now)
    assert tested.budget.holds["requests"] == now + 0.5


def test_refusals_without_an_end_are_waited_out() -> None:
    tested = route(connections=10_000)
    now = 0.0
    for _ in range(2000):
        now = max(now, tested.budget.holds.get("requests", 0.0))
        refuse(tested, RateLimited("slow"), now)
    assert tested.room(ONE, now) == Busy(wait_seconds=8.0, why="requests limit")


def test_many_refused_at_once_are_one_step() -> None:
    """They had left before the first one's hold began."""
    tested = route(connections=10_000)
    for _ in range(64):
        fail(tested, RateLimited("slow"))
    assert tested.room(ONE, 0.0) == Busy(wait_seconds=0.5, why="requests limit")


def test_a_refusal_holds_the_limit_where_it_lives() -> None:
    """A limit of the lockfile is the whole provider's, a learned one the model's own."""
    configured = route(TEN_A_SECOND)
    fail(configured, RateLimited("slow", dimension="requests", retry_after=9.0))
    assert configured.credential.budget.holds == {"requests": 9.0}
    learned = route()
    fail(learned, RateLimited("slow", dimension="requests", retry_after=9.0))
    assert (learned.budget.holds, learned.credential.budget.holds) == ({"requests": 9.0}, {})


@pytest.mark.parametrize(("needed", "held"), [({"requests": 1.0, "day": 1.0}, "requests"), (ONE, "tokens")])
def test_a_refusal_in_a_dimension_that_requests_are_not_charged_to_holds_one_that_they_are(
    needed: Charge, held: Dimension
) -> None:
    tested = route()
    permits = [tested.take(needed, 0.0) for _ in range(2)]
    for permit in permits:
        tested.failed(permit, RateLimited("slow", dimension="output", retry_after=9.0), 0.0)
        permit.settle("refused", 0.0)
    assert tested.room(needed, 0.0) == Busy(wait_seconds=9.0, why=f"{held} limit")
    tested.take(needed, 9.0).settle("exact", 9.0, Usage(input_tokens=5, output_tokens=5))
    assert tested.in_flight == 0


def test_a_refusal_that_names_no_delay_waits_for_what_the_bucket_lacks() -> None:
    tested = route()
    learn(tested, "tokens", 6000.0, remaining=175.0)
    # 150 are left there of which this takes 100: 50 more are half a second away.
    fail(tested, RateLimited("slow", dimension="tokens"))
    assert tested.budget.holds == {"tokens": pytest.approx(0.5)}


def test_a_hold_of_one_limit_does_not_lengthen_that_of_another() -> None:
    tested = route()
    fail(tested, RateLimited("slow", kind="daily", dimension="day"))
    fail(tested, RateLimited("slow", dimension="requests"))
    assert tested.budget.holds == {"day": 300.0, "requests": 1.0}


def test_an_exhausted_quota_shuts_every_route_of_the_credential_for_five_minutes() -> None:
    tested = route()
    other = Route(ModelRef("acme", "large"), tested.credential, {}, _nobody, 0.0)
    fail(tested, QuotaExhausted("no money"))
    assert other.readiness(ONE, 299.9) == Shut(wait_seconds=None, why="quota exhausted: no money")
    assert other.readiness(ONE, 300.0) is READY


def test_a_shorter_time_out_does_not_shorten_a_longer_one() -> None:
    tested = route()
    fail(tested, QuotaExhausted("spend limit", retry_after=3600.0))
    fail(tested, QuotaExhausted("no money"))
    assert tested.readiness(ONE, 3599.0) == Shut(wait_seconds=None, why="quota exhausted: spend limit")


def test_a_refused_key_fails_the_next_calls_with_the_same_error_for_a_minute() -> None:
    tested, error = route(), AuthFailed("wrong key")
    fail(tested, error)
    assert tested.readiness(ONE, 59.9) == Shut(wait_seconds=None, why="key refused: wrong key", error=error)
    assert tested.readiness(ONE, 60.0) is READY


def test_a_model_that_is_gone_shuts_its_own_route_alone() -> None:
    tested = route()
    other = Route(ModelRef("acme", "large"), tested.credential, {}, _nobody, 0.0)
    fail(tested, ModelGone("no such model"))
    assert tested.readiness(ONE, 1e6) == Shut(wait_seconds=None, why="model gone: no such model")
    assert other.readiness(ONE, 0.0) is READY


@pytest.mark.parametrize("error", [RateLimited("slow", retry_after=0.1), BadRequest("wrong")])
def test_refusals_and_wrong_requests_never_open_the_breaker(error: ProviderError) -> None:
    tested = route(connections=100)
    for _ in range(50):
        fail(tested, error)
    assert tested.breaker.state(0.0) == "closed"


# What requests take.


def test_a_request_takes_its_input_and_the_output_of_answers_like_the_last_ones() -> None:
    tested = route()
    cold = {"requests": 1.0, "day": 1.0, "tokens": 356.0, "input": 100.0, "output": 256.0}
    assert charge_of(tested, request()) == cold
    tested.succeeded(tested.take(ONE, 0.0), Usage(input_tokens=9, output_tokens=20), 0.0)
    assert charge_of(tested, request()) == {**cold, "tokens": 120.0, "output": 20.0}
    assert charge_of(tested, request(max_tokens=5)) == {**cold, "tokens": 105.0, "output": 5.0}


def test_an_answer_longer_than_the_whole_limit_does_not_shut_the_route_for_good() -> None:
    tested = route(kind="anthropic")
    learn(tested, "output", 8000.0)
    tested.succeeded(tested.take(ONE, 0.0), Usage(output_tokens=10_000), 0.0)
    needed = charge_of(tested, request())
    assert needed["output"] == 8000.0
    assert tested.readiness(needed, 0.0) is READY
    tested.take(needed, 0.0)
    assert busy(tested, needed, 0.0) == (60.0, "output limit")


def test_input_larger_than_the_whole_limit_is_impossible_still() -> None:
    tested = route(TOKENS)
    assert isinstance(tested.readiness(charge_of(tested, request("x" * 24_004)), 0.0), Shut)
    assert tested.readiness(charge_of(tested, request("x" * 24_000)), 0.0) is READY


# Permits.

USED = Usage(input_tokens=70, output_tokens=10)


@pytest.mark.parametrize(
    ("kind", "outcome", "usage", "tokens", "requests"),
    [
        ("openai-compatible", "exact", USED, 80.0, 1.0),
        ("openai-compatible", "exact", None, 0.0, 1.0),
        ("openai-compatible", "lower_bound", USED, 100.0, 1.0),
        ("openai-compatible", "lower_bound", Usage(output_tokens=130), 130.0, 1.0),
        ("openai-compatible", "unknown", None, 100.0, 1.0),
        ("openai-compatible", "not_sent", None, 0.0, 0.0),
        ("openai", "exact", USED, 100.0, 1.0),
        ("openai", "lower_bound", Usage(output_tokens=130), 100.0, 1.0),
        ("openai", "unknown", None, 100.0, 1.0),
        ("openai", "not_sent", None, 0.0, 0.0),
        ("openai", "refused", None, 0.0, 1.0),
        ("openai-compatible", "refused", None, 0.0, 1.0),
    ],
)
def test_a_settled_permit_leaves_what_its_outcome_says(
    kind: Kind, outcome: Outcome, usage: Usage | None, tokens: float, requests: float
) -> None:
    now = 0.0
    tested = route(TEN_A_SECOND, TOKENS, kind=kind, now=now)
    permit = tested.take(ONE, now)
    permit.settle(outcome, now, usage)
    levels = {dimension: bucket.level for dimension, bucket in tested.credential.budget.buckets.items()}
    assert levels == {"requests": 597.5 - requests, "tokens": 5975.0 - tokens}
    assert (tested.in_flight, tested.credential.in_flight) == (0, 0)


@pytest.mark.parametrize("outcome", ["exact", "lower_bound", "unknown", "refused", "not_sent"])
def test_a_permit_is_settled_once(outcome: Outcome) -> None:
    tested = route()
    permit = tested.take(ONE, 0.0)
    permit.settle(outcome, 0.0)
    with pytest.raises(AssertionError, match="settled once"):
        permit.settle(outcome, 0.0)
    assert (tested.in_flight, tested.credential.in_flight) == (0, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_settling_tells_those_who_wait_that_something_has_changed(waits: bool) -> None:
    changes: list[Callable[[], None]] = []
    credential = Credential(Budget((), 0.0), 1, lambda: 0.0)
    tested = Route(REF, credential, {}, lambda: changes.append(_nobody), 0.0)
    permit = tested.take(ONE, 0.0)
    if waits:
        tested.line.enter(Waiter(1, math.inf), ONE)
    changes.clear()
    permit.settle("unknown", 0.0)
    assert len(changes) == waits


async def test_a_probe_that_is_given_back_lets_the_next_one_probe(autojump_clock: trio.testing.MockClock) -> None:
    tested = route(now=trio.current_time())
    trip(tested, trio.current_time())
    await trio.sleep(2.5)
    tested.take(ONE, trio.current_time()).settle("not_sent", trio.current_time())
    assert tested.readiness(ONE, trio.current_time()) is READY
    assert tested.take(ONE, trio.current_time()).probe


async def test_a_late_settlement_does_not_give_up_the_probe_of_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tested = route(now=trio.current_time())
    late = tested.take(ONE, trio.current_time())
    trip(tested, trio.current_time())
    tested.in_flight = tested.credential.in_flight = 1
    await trio.sleep(2.5)
    tested.take(ONE, trio.current_time())
    tested.failed(late, ServerFault("late"), trio.current_time())
    late.settle("unknown", trio.current_time())
    assert tested.breaker.probing


def test_the_pace_is_that_of_learned_and_configured_limits_together() -> None:
    tested = route(TEN_A_SECOND)
    learn(tested, "tokens", 6000.0)
    tested.succeeded(tested.take(ONE, 0.0), None, 1.0)
    found = tested.pace(60.0)
    assert (found.rows_per_second, found.binding) == (1.0, "tokens limit")


# How long an answer may take.


def test_an_answer_may_take_three_times_what_its_most_tokens_take_here_once_that_is_known() -> None:
    tested = route(connections=100)
    asked = request(max_tokens=1000)
    for _ in range(20):
        assert tested.longest_seconds(asked) == math.inf
        # A tenth of a second a token.
        tested.succeeded(tested.take(ONE, 0.0), Usage(output_tokens=100), 10.0)
    assert tested.longest_seconds(asked) == pytest.approx(300.0)
    assert tested.longest_seconds(request(max_tokens=10)) == 60.0
    assert tested.longest_seconds(request()) == math.inf


@pytest.mark.parametrize("kind", ["openai", "google", "groq", "openai-compatible"])
def test_a_limit_that_a_reply_tells_is_charged_in_a_dimension_that_the_kind_does_not_have(kind: Kind) -> None:
    tested = route(kind=kind)
    needed = charge_of(tested, request(max_tokens=100))
    first = tested.take(needed, 0.0)
    tested.observe((LimitUpdate(dimension="output", limit=1000.0, remaining=500.0),), first, 0.0)
    tested.take(needed, 0.0)
    assert tested.budget.buckets["output"].level == pytest.approx(400.0, abs=5.0)
