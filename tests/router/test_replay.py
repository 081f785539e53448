"""Decisions made again: from the record alone exactly as they were, and along other routes by the rules of a replay."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from llmring.errors import (
    AllModelsFailed,
    AuthFailed,
    BadRequest,
    ContextTooLong,
    LLMRingError,
    ModelGone,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    Unsupported,
)
from llmring.lockfile import Binding, Lockfile
from llmring.pricing import Prices
from llmring.providers.readiness import READY, Busy, Readiness, Shut
from llmring.refs import ModelRef
from llmring.registry.catalog import Catalog, ModelFacts, Source
from llmring.router.comparison import compare
from llmring.router.failover import Go, Plan, Wait
from llmring.router.opening import open_router
from llmring.router.ordering import Room
from llmring.router.records import VERSION, Record, encode, read_records
from llmring.router.replay import Replayed, difference, replay, waited_seconds
from llmring.router.tracing import Start, trace_of
from llmring.testing import ScriptedProvider, answer, status
from llmring.trace import Trace
from llmring.usage import Usage
from tests.router.world import CHAIN, lockfile, world

Clock = trio.testing.MockClock
MODELS = [ModelRef("acme", "first"), ModelRef("acme", "second"), ModelRef("zenith", "third")]

# As it was: whatever a plan meets, its decisions depend on nothing that is not in the record.

seconds = st.floats(0.0, 900.0) | st.sampled_from([0.0, 0.5, 600.0])
readiness = st.one_of(
    st.just(READY),
    st.builds(Busy, wait_seconds=seconds, why=st.just("requests limit"), failing=st.booleans()),
    st.builds(Shut, wait_seconds=st.none() | seconds, why=st.just("model gone")),
    st.builds(Shut, wait_seconds=seconds, why=st.just("breaker open"), trial_seconds=st.sampled_from([0.0, 1.0, 7.5])),
    st.just(Shut(wait_seconds=None, why="key refused: no", error=AuthFailed("no"))),
)
failing = st.sampled_from([RateLimited, ServerFault, Overloaded, ModelGone, ContextTooLong, QuotaExhausted, AuthFailed])
unit = st.floats(0.0, 1.0, exclude_max=True)


def start(models: Sequence[ModelRef], rooms: Sequence[Room] = ()) -> Start:
    return Start(
        rooms=rooms,
        profile="default",
        binding=Binding(alias="fast", models=tuple(models)),
        charges=tuple({"requests": 1.0} for _ in models),
        outlooks=tuple((10, 20, None, None) for _ in models),
    )


@st.composite
def aliases(draw: st.DrawFn) -> tuple[list[ModelRef], tuple[str | None, ...], tuple[Room, ...]]:
    """The models of an alias, each once with every key of its provider; the names of the keys, and what they have left,
    where one has several."""
    chosen = MODELS[: draw(st.integers(1, 3))]
    counts = [draw(st.integers(1, 3)) for _ in chosen] if draw(st.booleans()) else [1] * len(chosen)
    models = [model for model, count in zip(chosen, counts, strict=True) for _ in range(count)]
    if len(models) == len(chosen):
        return models, (), ()
    keys = tuple(f"KEY_{number}" if count > 1 else None for count in counts for number in range(count))
    # The emptiest last, model by model.
    return models, keys, tuple((-float(place), 0) for place in range(len(models)))


def goes_on(draw: st.DrawFn, plan: Plan, taken: int, now: float, counts: Sequence[int]) -> bool:
    """Let an attempt end somehow; whether its request goes on after it."""
    match draw(st.sampled_from(["answered", "failed", "failed", "failed", "again", "raised", "cut off"])):
        case "answered":
            plan.succeeded(taken, 0.0, 1.0)
        case "failed":
            error = draw(failing)("no", status=draw(st.sampled_from([429, 503])), retry_after=draw(st.none() | seconds))
            if not error.fails_over and not plan.another_key(taken):
                plan.note(taken, error, 0.0, 1.0)
                return False
            plan.failed(taken, error, 0.0, 1.0, now, *counts)
            if isinstance(error, ContextTooLong):
                plan.rule_out([place for place in range(len(plan.models)) if draw(st.booleans())], "no larger")
            return True
        case "again":
            plan.note(taken, Unsupported("no"), 0.0, 1.0)
            return True
        case "raised":
            plan.note(taken, BadRequest("no"), 0.0, 1.0)
        case _:
            pass
    return False


@st.composite
def ways(draw: st.DrawFn) -> Trace:
    """A plan driven through whatever may happen to it, at times and delays of any length."""
    models, keys, rooms = draw(aliases())
    began_at = draw(st.floats(1e4, 1e6))
    deadline = began_at + draw(seconds) if draw(st.booleans()) else math.inf
    plan = Plan(
        "fast",
        models,
        keys,
        deadline=deadline,
        random=lambda: draw(unit),
        patient=draw(st.booleans()),
        spill=draw(st.sampled_from(["auto", "on_failure"])),
    )
    now, answered_at, counts = began_at, -math.inf, [0, 0]
    for _ in range(draw(st.integers(1, 12))):
        seen: list[Readiness] = [draw(readiness) for _ in models]
        if draw(st.booleans()):
            answered_at = now - draw(seconds)
        match plan.next(seen, now, answered_at, used_up=draw(st.booleans())):
            case Go(index):
                taken = index
            case Wait(indexes=indexes, until=until):
                if not indexes or draw(st.booleans()):
                    now = until if until < math.inf else now + 1.0
                    continue
                taken = draw(st.sampled_from(indexes))
                plan.given(taken)
            case _:
                break
        now += draw(seconds)
        counts = [count + draw(st.integers(0, 2)) for count in counts]
        if not goes_on(draw, plan, taken, now, counts):
            break
    return trace_of(plan, start(models, rooms))


def through_json(trace: Trace) -> Trace:
    return msgspec.json.decode(msgspec.json.encode(trace), type=Trace)


@given(ways())
def test_every_decision_comes_out_of_its_record_as_it_was(trace: Trace) -> None:
    assert difference(through_json(trace)) is None


@given(ways())
def test_a_record_that_was_changed_is_found_out(trace: Trace) -> None:
    last = trace.decisions[-1]
    changed = msgspec.structs.replace(
        last, action="fail" if last.action != "fail" else "go", error="AllModelsFailed", routes=(0,)
    )
    forged = msgspec.structs.replace(trace, decisions=(*trace.decisions[:-1], changed))
    found = difference(forged)
    assert found is not None
    assert found.startswith(f"decision {len(trace.decisions)}, at ")


@pytest.mark.parametrize("order", ["cheapest", "fastest", "spread"])
async def test_an_order_comes_out_of_its_record_as_it_was(order: str, autojump_clock: Clock) -> None:
    text = f"""
[[profiles.default.bindings]]
alias = "x"
models = ["openai:gpt-4o", "openai:gpt-4o-mini", "openai:unheard-of"]
order = "{order}"
weights = {{ "openai:gpt-4o" = 3 }}
[providers.openai]
api_key_env = "TEST_KEY_A"
"""
    names = ["gpt-4o", "gpt-4o-mini", "unheard-of"]
    provider = ScriptedProvider({name: [answer("ok", after=3.0 - place)] for place, name in enumerate(names)})
    draws = iter([0.9, 0.2, 0.8, 0.1, 0.5, 0.3] * 20)
    async with open_router(lockfile(text), connect=provider, jitter=lambda: next(draws)) as router:
        traces = [(await router.chat("x", "hello")).trace for _ in range(5)]
    for trace in traces:
        assert trace is not None
        assert difference(through_json(trace)) is None
    turned = next(trace for trace in traces if trace is not None and trace.written != (0, 1, 2))
    routes = [msgspec.structs.replace(one, cost_usd=None, seconds=None, weight=1.0) for one in turned.routes]
    forged = difference(msgspec.structs.replace(turned, routes=tuple(routes), draws=()))
    assert forged == f"the models are asked in the order [0, 1, 2] of the lockfile, not {list(turned.written)}"


# Along other routes.


def chain(*models: str, more: str = "") -> Lockfile:
    return lockfile(f'[[profiles.default.bindings]]\nalias = "chain"\nmodels = {list(models)!r}\n{more}')


def unknown(model: ModelRef, like: object) -> None:
    return None


def along(trace: Trace | None, *models: str, more: str = "") -> Replayed:
    assert trace is not None
    return replay(trace, chain(*models, more=more), None, unknown)


REFUSED = {"first": [status(429, retry_after=20)], "second": [answer("next", after=1)]}


async def test_the_same_lockfile_changes_nothing(autojump_clock: Clock) -> None:
    script = {"first": [status(429, retry_after=7.5), answer("ok")], "second": [status(500), answer("ok", after=1)]}
    async with world(script) as (router, _):
        traces = [(await router.chat(alias, "hello")).trace for alias in ("chain", "alone", "chain", "chain")]
    for trace in traces:
        assert trace is not None
        found = replay(trace, lockfile(), None, unknown)
        assert found.model == trace.model
        assert found.waited_seconds == pytest.approx(waited_seconds(trace), abs=1e-5)
        assert not found.assumed


async def test_what_failed_fails_again_at_the_same_model(autojump_clock: Clock) -> None:
    async with world(REFUSED) as (router, _):
        trace = (await router.chat("chain", "hello")).trace
    turned = along(trace, "anthropic:second", "openai:first")
    assert (str(turned.model), turned.waited_seconds, turned.assumed) == ("anthropic:second", 0.0, False)
    # Alone, it would be asked, refused, waited for, and asked again.
    alone = along(trace, "openai:first")
    assert str(alone.model) == "openai:first"
    assert alone.waited_seconds == pytest.approx(20.0)


async def test_what_was_held_is_held_for_what_is_left(autojump_clock: Clock) -> None:
    async with world(REFUSED) as (router, _):
        await router.chat("chain", "hello")
        trace = (await router.chat("chain", "hello")).trace
    assert along(trace, "openai:first").waited_seconds == pytest.approx(19.0)


async def test_a_model_that_is_not_in_the_record_is_assumed_to_be_ready(autojump_clock: Clock) -> None:
    async with world(REFUSED) as (router, _):
        trace = (await router.chat("chain", "hello")).trace
    found = along(trace, "openai:first", "google:other")
    assert (str(found.model), found.assumed) == ("google:other", True)


async def test_a_lockfile_without_the_alias_or_without_time_fails(autojump_clock: Clock) -> None:
    async with world(REFUSED) as (router, _):
        trace = (await router.chat("chain", "hello", timeout=10)).trace
    assert trace is not None
    other = lockfile('[[profiles.default.bindings]]\nalias = "y"\nmodels = ["openai:first"]')
    assert replay(trace, other, None, unknown).error == "UnknownAlias"
    assert along(trace, "openai:first").error == "AllModelsFailed"


async def test_the_order_of_the_other_lockfile_is_applied(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}) as (router, _):
        trace = (await router.chat("chain", "hello")).trace
    assert trace is not None
    other = chain("openai:first", "anthropic:second", more='order = "cheapest"')
    costs = {"openai:first": Decimal("2"), "anthropic:second": Decimal("1")}
    assert str(replay(trace, other, None, lambda ref, _: costs[str(ref)]).model) == "anthropic:second"
    assert str(replay(trace, other, None, lambda ref, _: -costs[str(ref)]).model) == "openai:first"


@given(ways(), st.permutations(MODELS))
def test_every_replay_ends(trace: Trace, models: list[ModelRef]) -> None:
    found = along(trace, *map(str, models))
    assert (found.model is None) is (found.error is not None)
    assert found.error != "no end"
    assert found.waited_seconds >= 0.0


async def test_the_keys_of_a_model_are_those_of_its_record(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '["TEST_KEY_A", "TEST_KEY_B"]')
    held = {"key-a": {"first": [status(429, retry_after=20)]}, "key-b": {"first": [status(429, retry_after=30)]}}
    provider = ScriptedProvider({"second": [answer("ok")]}, held)
    async with open_router(lockfile(text), connect=provider, jitter=lambda: 0.0) as router:
        trace = (await router.chat("chain", "hello")).trace
    assert trace is not None
    assert [route.key for route in trace.routes] == ["TEST_KEY_A", "TEST_KEY_B", None]
    assert difference(through_json(trace)) is None
    again = replay(trace, lockfile(text), None, unknown)
    assert (again.model, again.waited_seconds, again.assumed) == (trace.model, 0.0, False)
    alone = along(trace, "openai:first")
    assert str(alone.model) == "openai:first"
    assert alone.waited_seconds == pytest.approx(20.0)


SOURCE = Source(provider="openai", version=1, published=None)


def facts(ref: str, dollars: str) -> ModelFacts:
    prices = Prices(input=Decimal(dollars), output=Decimal(dollars))
    return ModelFacts(ref=ModelRef.parse(ref), display_name=ref, prices=prices, source=SOURCE)


CATALOG = Catalog([facts("anthropic:second", "4"), facts("google:cheap", "1")], [SOURCE])


def record(trace: Trace | None, *usages: Usage) -> Record:
    assert trace is not None
    return Record(
        llmring_decisions=VERSION, ended_at=datetime.now(UTC), kind="chat", lock="0", usages=usages, trace=trace
    )


async def test_a_comparison_counts_models_dollars_waits_and_failures(autojump_clock: Clock) -> None:
    async with world(REFUSED) as (router, _):
        answered = (await router.chat("chain", "hello")).trace
        held = (await router.chat("chain", "hello")).trace
        with pytest.raises(AllModelsFailed) as caught:
            await router.chat("alone", "hello", timeout=5)
    cut = msgspec.structs.replace(held, decisions=()) if held is not None else None
    long = msgspec.structs.replace(held, left_out=3) if held is not None else None
    usage = Usage(input_tokens=600_000, output_tokens=400_000)
    records = [
        record(answered, usage),
        record(held, usage),
        record(caught.value.trace),
        record(cut),
        record(long),
    ]
    text = """
[[profiles.default.bindings]]
alias = "chain"
models = ["google:cheap"]
[[profiles.default.bindings]]
alias = "alone"
models = ["openai:first", "anthropic:second"]
"""
    found = compare(records, lockfile(text), None, CATALOG)
    assert (found.requests, found.cut_off, found.too_long, found.assumed) == (5, 1, 1, 3)
    assert found.moved == {(ModelRef("anthropic", "second"), ModelRef("google", "cheap")): 2}
    assert (found.newly_failed, found.newly_answered, found.estimated) == (0, 1, 1)
    assert (found.before.usd, found.before.errors) == (Decimal("8"), {"AllModelsFailed": 1})
    assert found.after.usd == Decimal("2") + Decimal("4") * 258 / 1_000_000
    assert (found.before.unpriced, found.after.unpriced, found.after.failed) == (0, 0, 0)
    without = compare(records[:1], lockfile(text), None, Catalog([], []))
    assert (without.before.unpriced, without.after.unpriced, without.after.usd) == (1, 1, Decimal(0))
    gone = compare(records[:2], chain("openai:first"), None, CATALOG)
    assert gone.newly_failed == 0
    assert gone.after.longest_wait_seconds == pytest.approx(20.0)


# Files.


async def test_a_line_reads_back_as_it_was_written(autojump_clock: Clock, tmp_path: Path) -> None:
    async with world(REFUSED) as (router, _):
        kept = record((await router.chat("chain", "hello")).trace, Usage(input_tokens=3))
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(encode(kept) + b"\n" + encode(kept) + encode(kept)[:40])
    assert list(read_records(path)) == [(1, kept), (3, kept)]


GOOD = record(
    trace_of(Plan("fast", MODELS, deadline=1.0, random=lambda: 0.5), start(MODELS)),
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: b"{}", "missing required field"),
        (lambda line: b"not json", "JSON is malformed"),
        (lambda line: line.replace(b'"llmring_decisions":1', b'"llmring_decisions":2'), "it is of version 2"),
        (lambda line: line.replace(b'"written":[0,1,2]', b'"written":[0,1,7]'), "no order of its routes"),
        (
            lambda line: line.replace(b'"acme","model":"second"', b'"acme","model":"first"').replace(
                b"acme:second", b"acme:first"
            ),
            "one of its routes is there twice",
        ),
        (lambda line: line.replace(b'"weight":1.0', b'"weight":0.0'), "a weight not above 0"),
        (lambda line: line.replace(b'"order":"ordered"', b'"order":"best"'), "Invalid enum value"),
        (
            lambda line: line.replace(b'"decisions":[]', b'"decisions":[{"at":0,"considered":[],"action":"go"}]'),
            "decision 0 is not about its routes",
        ),
    ],
)
def test_a_bad_line_is_named(change: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    line = encode(msgspec.structs.replace(GOOD)).rstrip(b"\n")
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(line + b"\n" + change(line) + b"\n")
    with pytest.raises(LLMRingError, match=f"line 2: not a record of decisions: .*{said}"):
        list(read_records(path))


def test_a_providers_class_is_not_any_class() -> None:
    from llmring.router.records import error_class

    assert error_class("RateLimited") is RateLimited
    assert error_class("AllModelsFailed") is None
    assert error_class("nearest") is None
    assert issubclass(error_class("ServerFault") or Exception, ProviderError)
