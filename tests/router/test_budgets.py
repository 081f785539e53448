"""Budgets in use: through chat, stream, embed and map, on virtual time and in memory."""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmring.chat import JSONSchema, Message
from llmring.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    InvalidRequest,
    LLMRingError,
    ProviderError,
    StreamBroken,
)
from llmring.lockfile import Budget
from llmring.parts import AudioPart, DocumentPart, Inline, Part, ProviderFile
from llmring.router.opening import open_router
from llmring.router.router import Router
from llmring.status import BudgetStatus
from llmring.testing import ScriptedProvider, Step, answer, cut, hang, no_connection, status
from tests.router.test_map_caps import CHEAP, DEAR, PRICED, worst
from tests.router.test_trace import VECTORS
from tests.router.world import collect, lockfile

Clock = trio.testing.MockClock

EACH = worst(4, 1000)
"""What a prompt of four letters with 1,000 tokens of answer may cost at the cheap model."""
EACH_DEAR = (28 * Decimal(1) + 1000 * Decimal(5)) / 10**6
NONE = Decimal(0)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@asynccontextmanager
async def world(
    script: Mapping[str, Sequence[Step]], *budgets: Budget, text: str = PRICED
) -> AsyncGenerator[tuple[Router, ScriptedProvider]]:
    """A router whose day begins at noon, twelve hours of the trio clock before the next one."""
    provider = ScriptedProvider(script)
    began = trio.current_time()

    def clock() -> datetime:
        return NOON + timedelta(seconds=trio.current_time() - began)

    async with open_router(
        lockfile(text), connect=provider, jitter=lambda: 0.0, budgets=budgets, clock=clock
    ) as router:
        yield router, provider


def daily(limit: Decimal | str | int, **fields: Any) -> Budget:
    return Budget(**{"name": "daily", "limit": limit, "per": "day", **fields})


def full(after: float = 1.0) -> Step:
    """An answer that costs what it may cost at the most."""
    return answer("ok", after=after, input_tokens=28, output_tokens=1000)


async def ask(router: Router, alias: str = "alone", **options: Any) -> None:
    given: dict[str, Any] = {"max_tokens": 1000, **options}
    await router.chat(alias, "abcd", **given)


def only(router: Router) -> BudgetStatus:
    (one,) = router.status().budgets
    return one


# What is spent.


async def test_what_was_answered_is_spent_and_what_would_pass_the_cap_is_refused_unsent(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full()]}, daily(3 * EACH + EACH / 2)) as (router, provider):
        for _ in range(3):
            await ask(router)
        with pytest.raises(BudgetExceeded) as caught:
            await ask(router)
        assert len(provider.calls) == 3
        assert (only(router).spent_usd, only(router).reserved_usd) == (3 * EACH, NONE)
    error = caught.value
    assert (error.budget, error.spent, error.reserved, error.needed) == ("daily", 3 * EACH, NONE, EACH)
    assert error.resets_at == datetime(2026, 11, 22, tzinfo=UTC)
    assert str(error) == (
        "budget 'daily' of $0.0021147 a day: $0.0018126 spent, $0 reserved, and this request may cost $0.0006042; it "
        "begins anew at 2026-11-22 00:00 UTC. To send it now, raise the limit, or lower max_tokens"
    )
    assert error.trace is not None
    assert "is shut, no money in budget 'daily'" in str(error.trace)


async def test_an_answer_costs_what_it_used(autojump_clock: Clock) -> None:
    script = {CHEAP: [answer("ok", input_tokens=10, output_tokens=5)]}
    async with world(script, daily("1")) as (router, _):
        response = await router.chat("alone", "abcd", max_tokens=1000)
        assert only(router).spent_usd == response.cost.usd == Decimal("0.0000045")


async def test_what_others_have_reserved_is_waited_for(autojump_clock: Clock) -> None:
    """Each may cost all that there is, and costs a hundredth."""
    script = {CHEAP: [answer("ok", after=1.0, input_tokens=28, output_tokens=10)]}
    async with world(script, daily(EACH + EACH / 10)) as (router, provider):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, router)
        assert [call.at for call in provider.calls] == [0.0, 1.0, 2.0, 3.0]


async def test_a_wait_ends_with_the_deadline_of_the_call(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full(after=100)]}, daily(EACH * 2 - EACH / 10)) as (router, provider):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, router)
            await trio.testing.wait_all_tasks_blocked()
            at = trio.current_time()
            with pytest.raises(BudgetExceeded) as caught:
                await ask(router, timeout=5, max_tokens=900)
            assert trio.current_time() - at == 5.0
            assert caught.value.reserved == EACH
        assert len(provider.calls) == 1


async def test_who_waits_at_midnight_goes_at_midnight(autojump_clock: Clock) -> None:
    began = NOON + timedelta(hours=12) - timedelta(seconds=30)
    provider = ScriptedProvider({CHEAP: [full(after=100)]})
    start = trio.current_time()

    def clock() -> datetime:
        return began + timedelta(seconds=trio.current_time() - start)

    async with open_router(lockfile(PRICED), connect=provider, budgets=[daily(EACH)], clock=clock) as router:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, router)
            await trio.sleep(1)
            # What is under way is of the old day, and reserves nothing of the new one.
            nursery.start_soon(ask, router)
        assert [round(call.at, 3) for call in provider.calls] == [0.0, 30.0]
        assert (only(router).spent_usd, only(router).resets_at) == (EACH, datetime(2026, 11, 23, tzinfo=UTC))


async def test_a_month_and_a_day_hold_together(autojump_clock: Clock) -> None:
    month = Budget(name="month", limit=EACH * 3, per="month")
    async with world({CHEAP: [full()]}, daily(EACH * 2), month) as (router, _):
        await ask(router)
        await ask(router)
        with pytest.raises(BudgetExceeded, match="'daily'"):
            await ask(router)
        await trio.sleep(12 * 3600)
        await ask(router)
        with pytest.raises(BudgetExceeded, match=r"'month'.* a month.*begins anew at 2026-12-01 00:00 UTC"):
            await ask(router)


# Whose.


async def test_each_tenant_has_its_own(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full()]}, daily(EACH, tenant="*")) as (router, provider):
        await ask(router, tenant="acme")
        with pytest.raises(BudgetExceeded, match=r"budget 'daily' \(tenant 'acme'\)"):
            await ask(router, tenant="acme")
        await ask(router, tenant="initech")
        await ask(router)
        assert [one.tenant for one in router.status().budgets] == ["", "acme", "initech"]
        assert len(provider.calls) == 3


async def test_an_alias_a_profile_and_a_tenant_narrow_a_budget(autojump_clock: Clock) -> None:
    budgets = [daily(0, name=name, **{name: "alone"}) for name in ("alias", "profile", "tenant")]
    text = PRICED + '[[profiles.alone.bindings]]\nalias = "more"\nmodels = "openai:first"\n'
    async with world({CHEAP: [full()]}, *budgets, text=text) as (router, _):
        with pytest.raises(BudgetExceeded, match=r"'alias' \(alias 'alone'\)"):
            await ask(router)
        with pytest.raises(BudgetExceeded, match=r"'tenant' \(tenant 'alone'\)"):
            await ask(router, f"openai:{CHEAP}", tenant="alone")
        await ask(router, f"openai:{CHEAP}", tenant="other")


async def test_the_lockfiles_budgets_hold_beside_the_programs_and_the_lower_of_two_that_are_one(
    autojump_clock: Clock,
) -> None:
    text = PRICED + f'[budgets.daily]\nlimit = "{EACH:f}"\nper = "day"\n'
    async with world({CHEAP: [full()]}, daily(5), text=text) as (router, _):
        await ask(router)
        assert only(router).limit_usd == EACH
        with pytest.raises(BudgetExceeded):
            await ask(router)


async def test_what_a_wrong_answer_makes_necessary_is_paid_by_its_alias(autojump_clock: Clock) -> None:
    schema = JSONSchema(
        name="x", schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    )
    script = {CHEAP: [answer("no json"), answer('{"a": 1}')]}
    async with world(script, daily(1, alias="alone")) as (router, provider):
        response = await router.chat("alone", "abcd", max_tokens=100, response_format=schema)
        assert len(provider.calls) == 2
        assert only(router).spent_usd == response.cost.usd


async def test_an_edited_lockfile_counts_at_once_and_what_was_spent_stays_spent(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "llmring.lock"
    budget = '[budgets.daily]\nlimit = "{:f}"\nper = "day"\n'
    path.write_text(PRICED + budget.format(EACH))
    provider = ScriptedProvider({CHEAP: [full()]})
    async with open_router(path, connect=provider, clock=lambda: NOON) as router:
        await ask(router)
        for times in (2, 3):
            with pytest.raises(BudgetExceeded):
                await ask(router)
            path.write_text(PRICED + budget.format(EACH * times))
            router.dispatcher.reload()
            await ask(router)
        path.write_text(PRICED + budget.format(EACH))
        router.dispatcher.reload()
        with pytest.raises(BudgetExceeded) as caught:
            await ask(router)
        assert (caught.value.cap, caught.value.spent) == (EACH, 3 * EACH)
        path.write_text(PRICED)
        router.dispatcher.reload()
        await ask(router)


# Chains.


async def test_a_cheaper_model_of_the_chain_answers_where_the_first_does_not_fit(autojump_clock: Clock) -> None:
    text = PRICED + f'[[profiles.default.bindings]]\nalias = "down"\nmodels = ["anthropic:{DEAR}", "openai:{CHEAP}"]\n'
    async with world({CHEAP: [full()], DEAR: [full()]}, daily(EACH * 2), text=text) as (router, provider):
        response = await router.chat("down", "abcd", max_tokens=1000)
        assert str(response.model) == f"openai:{CHEAP}"
        assert response.attempts[0].outcome.startswith(
            "skipped: no money in budget 'daily': $0.0012084 of $0.0012084 left"
        )
        assert [call.model for call in provider.calls] == [CHEAP]


async def test_where_a_chain_was_tried_its_error_names_the_budget(autojump_clock: Clock) -> None:
    async with world({CHEAP: [status(500)]}, daily(EACH * 2)) as (router, provider):
        with pytest.raises(AllModelsFailed, match=r"no money in budget 'daily'.* and it may cost \$0.005028"):
            await ask(router, "chain")
        # Refused is not billed: the second try had its money.
        assert len(provider.calls) == 2
        assert only(router).spent_usd == 0


async def test_money_for_a_dearer_model_is_not_waited_for_while_another_can_be_had(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full()], DEAR: [full(after=50)]}, daily(EACH_DEAR + EACH)) as (router, provider):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, router, f"anthropic:{DEAR}")
            await trio.testing.wait_all_tasks_blocked()
            await ask(router, "chain")
            assert trio.current_time() == 1.0
        assert [call.model for call in provider.calls] == [DEAR, CHEAP]


# What is billed.


@pytest.mark.parametrize("code", [400, 401, 429, 500, 503, 529])
async def test_what_was_refused_is_not_billed(autojump_clock: Clock, code: int) -> None:
    async with world({CHEAP: [status(code)]}, daily(EACH)) as (router, _):
        with pytest.raises(LLMRingError):
            await ask(router, timeout=3)
        assert (only(router).spent_usd, only(router).reserved_usd) == (NONE, NONE)


@pytest.mark.parametrize("step", [cut("half"), status(504), status(408), hang()])
async def test_what_may_have_been_billed_stays_spent_with_all_that_it_may_cost(
    autojump_clock: Clock, step: Step
) -> None:
    async with world({CHEAP: [step]}, daily(EACH)) as (router, provider):
        with pytest.raises(LLMRingError):
            await ask(router, timeout=3)
        assert (only(router).spent_usd, only(router).reserved_usd) == (EACH, NONE)
        assert len(provider.calls) == 1


async def test_what_was_never_sent_costs_nothing(autojump_clock: Clock) -> None:
    async with world({CHEAP: [no_connection()]}, daily(EACH)) as (router, _):
        with pytest.raises(LLMRingError):
            await ask(router, timeout=3)
        assert (only(router).spent_usd, only(router).reserved_usd) == (NONE, NONE)


async def test_cancelled_at_any_moment_nothing_stays_reserved(autojump_clock: Clock) -> None:
    script = {CHEAP: [answer("ok", after=1.0), hang()]}
    async with world(script, daily(EACH * 20)) as (router, _):
        for seconds in (0.0, 0.5, 1.5):
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(ask, router)
            for one in router.status().budgets:
                assert (one.reserved_usd, one.waiting) == (NONE, 0)
                assert one.spent_usd <= EACH * 12


async def test_a_stream_settles_at_its_end_and_at_the_most_when_it_is_left_or_breaks(autojump_clock: Clock) -> None:
    script = {CHEAP: [answer("a", "b", input_tokens=28, output_tokens=10), answer("a", "b", each=1), cut("a", "b")]}
    async with world(script, daily(EACH * 3)) as (router, _):
        async with router.stream("alone", "abcd", max_tokens=1000) as stream:
            assert only(router).reserved_usd == EACH
            assert [chunk.content async for chunk in stream] == ["a", "b", ""]
        whole = only(router).spent_usd
        assert stream.response is not None
        assert whole == stream.response.cost.usd == Decimal("0.0000102")
        async with router.stream("alone", "abcd", max_tokens=1000) as stream:
            await anext(stream)
        assert (only(router).spent_usd, only(router).reserved_usd) == (whole + EACH, NONE)
        with pytest.raises(StreamBroken):
            async with router.stream("alone", "abcd", max_tokens=1000) as stream:
                _ = [chunk async for chunk in stream]
        assert (only(router).spent_usd, only(router).reserved_usd) == (whole + 2 * EACH, NONE)
        with pytest.raises(BudgetExceeded):
            async with router.stream("alone", "abcd", max_tokens=1000):
                pass


async def test_vectors_are_paid_for_in_all_their_parts_by_the_alias_that_was_asked(autojump_clock: Clock) -> None:
    """A part may cost $0.016, and one part waits for the other."""
    text = PRICED + '[[profiles.default.bindings]]\nalias = "vectors"\nmodels = ["openai:text-embedding-3-small"]\n'
    budget = daily("0.02", alias="vectors", tenant="acme")
    async with world({"text-embedding-3-small": [VECTORS]}, budget, text=text) as (router, provider):
        response = await router.embed("vectors", ["x" * 800_000] * 3, tenant="acme")
        assert len(provider.calls) == 3
        assert only(router).spent_usd == response.cost.usd == Decimal("0.00000018")
        with pytest.raises(BudgetExceeded, match=r"'daily' \(alias 'vectors', tenant 'acme'\)"):
            await router.embed("vectors", ["x" * 1_000_000], tenant="acme")
        await router.embed("vectors", ["x" * 1_000_000])
        assert (only(router).reserved_usd, only(router).spent_usd) == (NONE, response.cost.usd)


# What cannot be bounded.


async def test_a_chain_with_a_model_without_a_price_is_refused_before_anything_is_sent(autojump_clock: Clock) -> None:
    text = PRICED + '[[profiles.default.bindings]]\nalias = "odd"\nmodels = ["openai:gpt-4o-mini", "openai:who"]\n'
    async with world({CHEAP: [full()], "who": [full()]}, daily(1), text=text) as (router, provider):
        with pytest.raises(ConfigError, match=r"budget 'daily': openai:who has no price .*unpriced = \"allow\""):
            await ask(router, "odd")
        assert provider.calls == []
    async with world({CHEAP: [full()], "who": [full()]}, daily(EACH, unpriced="allow"), text=text) as (
        router,
        provider,
    ):
        await ask(router, "odd")
        await ask(router, "openai:who")
        assert only(router).spent_usd == EACH


async def test_an_answer_and_a_tier_without_a_bound_are_refused(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full()]}, daily(1)) as (router, _):
        with pytest.raises(InvalidRequest, match="service tier 'priority'"):
            await ask(router, service_tier="priority")


async def test_models_on_own_machines_are_free_also_when_nothing_is_left(autojump_clock: Clock) -> None:
    script = {"llama3.3": [answer("ok")]}
    async with world(script, daily(0)) as (router, _):
        await ask(router, "ollama:llama3.3")
        with pytest.raises(BudgetExceeded):
            await ask(router)


# Maps.


async def test_a_map_ends_at_a_budget_without_failing_its_rows(autojump_clock: Clock) -> None:
    async with world({CHEAP: [full()]}, daily(EACH * 3 + EACH / 2)) as (router, provider):
        run = router.map("alone", ["abcd"] * 1000, max_tokens=1000, window=50)
        rows, error = await collect(run)
        assert isinstance(error, BudgetExceeded)
        assert (error.budget, [row.ok for row in rows]) == ("daily", [True] * 3)
        assert (run.report.answered, run.report.failed) == (3, 0)
        assert len(provider.calls) == 3


async def test_a_map_waits_for_what_its_rows_do_not_need(autojump_clock: Clock) -> None:
    script = {CHEAP: [answer("ok", after=1.0, input_tokens=0, output_tokens=100)]}
    async with world(script, daily(EACH * Decimal("1.9"))) as (router, _):
        rows = await router.map("alone", ["abcd"] * 5, max_tokens=1000).to_list()
        assert [row.ok for row in rows] == [True] * 5


# Whatever happens.

steps = st.sampled_from(
    [
        full(),
        answer("ok", after=0.1, input_tokens=3, output_tokens=10),
        answer("ok", after=3.0, input_tokens=28, output_tokens=700),
        cut("half", after=0.5),
        status(429, retry_after=1),
        status(529),
        status(500, after=0.2),
        status(504, after=0.2),
        no_connection(),
        hang(),
    ]
)
calls = st.lists(
    st.tuples(
        st.sampled_from(["alone", "chain"]),
        st.sampled_from(["", "acme"]),
        st.booleans(),
        st.integers(1000, 3000),
        st.floats(0, 20),
        st.one_of(st.just(math.inf), st.floats(0, 8)),
    ),
    min_size=1,
    max_size=12,
)


@given(st.lists(steps, max_size=8), st.lists(steps, max_size=8), calls, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_no_budget_is_passed_at_any_moment(
    first: list[Step],
    second: list[Step],
    asked: list[tuple[str, str, bool, int, float, float]],
    everybody: int,
    tenant: int,
) -> None:
    """Calls and streams, cancelled anywhere, over a midnight; looked at twice a second."""
    unit = Decimal("0.0005")
    budgets = [daily(unit * everybody), daily(unit * tenant, name="each", tenant="*")]
    seen: list[BudgetStatus] = []

    async def run() -> None:
        provider = ScriptedProvider({CHEAP: [*first, full()], DEAR: [*second, full()]})
        began = datetime(2026, 11, 21, 23, 59, 50, tzinfo=UTC)

        def clock() -> datetime:
            return began + timedelta(seconds=trio.current_time())

        async def one(
            router: Router, alias: str, tenant: str, streams: bool, tokens: int, at: float, cut_at: float
        ) -> None:
            await trio.sleep(at)
            try:
                with trio.move_on_after(cut_at):
                    if streams:
                        async with router.stream(alias, "abcd", max_tokens=tokens, tenant=tenant, timeout=30) as stream:
                            _ = [chunk async for chunk in stream]
                    else:
                        await router.chat(alias, "abcd", max_tokens=tokens, tenant=tenant, timeout=30)
            except (ProviderError, AllModelsFailed, BudgetExceeded, StreamBroken):
                pass

        async def look(router: Router) -> None:
            while True:
                seen.extend(router.status().budgets)
                await trio.sleep(0.5)

        async with open_router(lockfile(PRICED), connect=provider, budgets=budgets, clock=clock) as router:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look, router)
                async with trio.open_nursery() as callers:
                    for each in asked:
                        callers.start_soon(one, router, *each)
                nursery.cancel_scope.cancel()
            last = router.status().budgets
        assert all(one.reserved_usd == 0 and one.waiting == 0 for one in last)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert all(one.spent_usd + one.reserved_usd <= one.limit_usd for one in seen)


# What is not seen here.


def unseen(part: Part) -> Message:
    return Message(role="user", content=(part,))


async def test_a_document_that_is_elsewhere_may_be_as_long_as_what_its_model_reads(autojump_clock: Clock) -> None:
    """144,000 tokens by the registry, answer included: $0.0216 at $0.15 a million; and $0.0006 of answer."""
    document = unseen(DocumentPart(source=ProviderFile(id="file-1")))
    long = answer("ok", input_tokens=120_000, output_tokens=1000)
    async with world({CHEAP: [long]}, daily("0.0221")) as (router, provider):
        with pytest.raises(BudgetExceeded) as caught:
            await router.chat("alone", [document], max_tokens=1000)
        assert provider.calls == []
        assert caught.value.needed == Decimal("0.0222")
    async with world({CHEAP: [long]}, daily("0.0222")) as (router, _):
        await router.chat("alone", [document], max_tokens=1000)
        assert only(router).spent_usd == Decimal("0.0186")


async def test_what_is_billed_apart_is_refused_unless_it_may_go_uncounted(autojump_clock: Clock) -> None:
    sound = unseen(AudioPart(source=Inline(media_type="audio/mpeg", data="AAAA")))
    async with world({CHEAP: [full()]}, daily(1)) as (router, provider):
        with pytest.raises(InvalidRequest, match=r"audio.*unpriced = \"allow\""):
            await router.chat("alone", [sound], max_tokens=1000)
        assert provider.calls == []
    async with world({CHEAP: [full()]}, daily(1, unpriced="allow")) as (router, _):
        await router.chat("alone", [sound], max_tokens=1000)
        assert only(router).spent_usd == 0


async def test_a_registered_file_is_bounded_as_what_it_is_sent_as(autojump_clock: Clock, tmp_path: Path) -> None:
    for name, match in (("talk.mp3", "audio"), ("report.pdf", "'daily' of")):
        path = tmp_path / name
        path.write_bytes(b"x")
        async with world({CHEAP: [full()]}, daily("0.02")) as (router, _):
            with pytest.raises(LLMRingError, match=match):
                await router.chat("alone", "what is it?", files=[router.register_file(path)], max_tokens=1000)


async def test_a_day_begins_at_the_midnight_of_the_budgets_zone(autojump_clock: Clock) -> None:
    """Noon in London is one in the morning in Auckland, in their summer."""
    auckland = daily(EACH, timezone="Pacific/Auckland")
    async with world({CHEAP: [full()]}, auckland, daily(2 * EACH)) as (router, _):
        await ask(router)
        with pytest.raises(BudgetExceeded, match="begins anew at 2026-11-23 00:00 Pacific/Auckland") as caught:
            await ask(router)
        assert caught.value.resets_at == datetime(2026, 11, 22, 11, tzinfo=UTC)
        assert [one.spent_usd for one in router.status().budgets] == [EACH, EACH]
        await trio.sleep(23 * 3600)
        await ask(router)
