"""A request is cancelled at each of its checkpoints in turn: nothing is lost, whatever the moment."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.abc
import trio.testing
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from llmring.router.router import Router
from llmring.testing import ScriptedProvider, Step, answer, cut, status
from tests.router.observed import observed, watched
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock
MOST_STEPS = 200

LIMITED = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1\nrequests_per_minute = 60').replace(
    '"TEST_KEY_B"', '"TEST_KEY_B"\nmax_in_flight = 1\nrequests_per_minute = 60'
)


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when a task has been stepped so often: every checkpoint is such a step."""

    def __init__(self, task_name: str, step: int, scope: trio.CancelScope) -> None:
        self._task_name = task_name
        self._left = step
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == self._task_name:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def call(router: Router) -> None:
    await router.chat("chain", "hello")


async def stream(router: Router) -> None:
    async with router.stream("chain", "hello") as chunks:
        async for _ in chunks:
            pass


async def run_map(router: Router) -> None:
    await router.map("chain", ["a", "b", "c"]).to_list()


SCRIPTS: dict[str, dict[str, list[Step]]] = {
    "answers": {"first": [answer("a", "b", after=0.3, each=0.1)], "second": [answer()]},
    "fails over": {"first": [status(500, after=0.2)], "second": [answer("a", "b", after=0.3)]},
    "waits for a refusal": {
        "first": [status(429, retry_after=2), answer("late")],
        "second": [status(429, retry_after=3), answer("later")],
    },
    "is cut": {"first": [cut(after=0.1), answer()], "second": [cut(after=0.1), answer()]},
}


@pytest.mark.parametrize("work", [call, stream, run_map])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_cancel_at_any_checkpoint_loses_nothing(
    autojump_clock: Clock, work: Callable[[Router], Awaitable[None]], name: str
) -> None:
    for step in range(1, MOST_STEPS):
        script = {
            model: [*steps, answer("after")] if len(steps) > 1 else steps for model, steps in SCRIPTS[name].items()
        }
        async with world(script, LIMITED) as (router, provider):
            was_cancelled = await _cancelled_at(step, work, router)
            await trio.testing.wait_all_tasks_blocked()
            _check_nothing_is_lost(router, provider)
            await trio.sleep(600)
            await router.chat("chain", "and on it goes")
        assert provider.connections == 0
        if not was_cancelled:
            return
    pytest.fail(f"the work takes more than {MOST_STEPS} steps")


async def _cancelled_at(step: int, work: Callable[[Router], Awaitable[None]], router: Router) -> bool:
    scope = trio.CancelScope()

    async def task() -> None:
        with scope:
            await work(router)

    instrument = CancelAtStep("under test", step, scope)
    trio.lowlevel.add_instrument(instrument)
    try:
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - a task of its own has a name of its own
            nursery.start_soon(task, name="under test")
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


def _check_nothing_is_lost(router: Router, provider: ScriptedProvider) -> None:
    assert provider.in_flight == 0
    for route in router.dispatcher.routes("chain", None):
        assert (route.in_flight, route.credential.in_flight, len(route.line)) == (0, 0, 0)
        assert not route.breaker.probing
        for budget in (route.budget, route.credential.budget):
            assert budget.outstanding("requests") == 0.0
            assert all(bucket.outstanding == 0.0 for bucket in budget.buckets.values())
    sent = {"openai:first": len(provider.times("first")), "anthropic:second": len(provider.times("second"))}
    for route in router.dispatcher.routes("chain", None):
        bucket = route.credential.budget.buckets["requests"]
        bucket.advance(trio.current_time())
        # Every request that was sent has been charged, none that was not: refilled since, but never above full. After a
        # refusal the level is what the provider said, nothing.
        if route.credential.budget.holds:
            continue
        assert bucket.capacity - bucket.level <= sent[str(route.ref)] + 1e-6


class OpenSpans(SpanProcessor):
    """Counts the spans that have begun and not ended."""

    def __init__(self) -> None:
        self.count = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.count += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.count -= 1


@pytest.mark.parametrize("work", [call, stream, run_map])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_cancel_at_any_checkpoint_leaves_no_span_open(
    autojump_clock: Clock, work: Callable[[Router], Awaitable[None]], name: str
) -> None:
    for step in range(1, MOST_STEPS):
        spans, seen = OpenSpans(), observed()
        seen.tracers.add_span_processor(spans)
        async with watched(SCRIPTS[name], LIMITED, seen=seen) as (router, _):
            was_cancelled = await _cancelled_at(step, work, router)
            await trio.testing.wait_all_tasks_blocked()
            assert spans.count == 0
        if not was_cancelled:
            return
    pytest.fail(f"the work takes more than {MOST_STEPS} steps")


async def test_a_cancelled_waiter_leaves_the_line_to_the_others(autojump_clock: Clock) -> None:
    async with world({"first": [answer(after=1)]}, LIMITED) as (router, provider):
        done: list[str] = []

        async def one(name: str) -> None:
            await router.chat("alone", name)
            done.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a")
            await trio.sleep(0.1)
            with trio.move_on_after(0.5):
                await router.chat("alone", "b", timeout=100)
            nursery.start_soon(one, "c")
        assert done == ["a", "c"]
        assert [call.body["messages"][0]["content"] for call in provider.calls] == ["a", "c"]
