"""map on virtual time: order, window, errors, leaving early, and nothing lost."""

import itertools
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

from llmring.chat import ChatRequest, Message
from llmring.errors import AllModelsFailed, AuthFailed, BadRequest, InvalidRequest, TooManyFailures, UnknownAlias
from llmring.router.map.given import OnError
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.testing import Step, answer, cut, hang, no_connection, status
from llmring.trace import Spill
from tests.router.world import CHAIN, world

Clock = trio.testing.MockClock

ONE_AT_A_TIME = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')


def texts(rows: list[Row]) -> list[str]:
    return [row.response.content if row.response else "-" for row in rows]


async def collect(run: MapRun, rows: list[Row]) -> None:
    """Row by row, so that those before an error are kept."""
    async with run:
        async for row in run:
            rows.append(row)  # noqa: PERF401 - a comprehension would lose them


async def test_rows_come_as_they_finish(autojump_clock: Clock) -> None:
    script = {"first": [answer("slow", after=3), answer("quick", after=1), answer("middle", after=2)]}
    async with world(script) as (router, _provider), router.map("alone", ["a", "b", "c"]) as run:
        assert [(row.index, row.response and row.response.content) async for row in run] == [
            (1, "quick"),
            (2, "middle"),
            (0, "slow"),
        ]


async def test_ordered_rows_come_in_the_order_of_the_inputs(autojump_clock: Clock) -> None:
    script = {"first": [answer("slow", after=3), answer("quick", after=1), answer("middle", after=2)]}
    async with world(script) as (router, _provider), router.map("alone", ["a", "b", "c"], ordered=True) as run:
        assert [row.index async for row in run] == [0, 1, 2]


async def test_to_list_is_in_the_order_of_the_inputs(autojump_clock: Clock) -> None:
    script = {"first": [answer("x", after=3), answer("y", after=1)]}
    async with world(script) as (router, _provider):
        assert texts(await router.map("alone", ["a", "b"]).to_list()) == ["x", "y"]


@pytest.mark.parametrize("ordered", [True, False])
async def test_no_more_than_the_window_is_read_ahead(autojump_clock: Clock, ordered: bool) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for read in itertools.count(1):
            yield f"prompt {read}"

    async with world({"first": [answer(after=1)]}) as (router, provider):
        async with router.map("alone", endless(), window=7, ordered=ordered) as run:
            for taken in range(50):
                await trio.sleep(0.3)
                assert read <= taken + 7
                await anext(run)
        assert provider.in_flight == 0


async def test_inputs_may_come_slowly(autojump_clock: Clock) -> None:
    async def slow() -> AsyncIterator[str]:
        for number in range(3):
            await trio.sleep(10)
            yield f"prompt {number}"

    async with world({"first": [answer(after=1)]}) as (router, _provider):
        start = trio.current_time()
        async with router.map("alone", slow()) as run:
            arrived = [trio.current_time() - start async for _ in run]
        assert arrived == [11.0, 21.0, 31.0]


async def test_a_failed_row_is_yielded_with_its_error(autojump_clock: Clock) -> None:
    script = {"first": [answer("a"), status(400), answer("c")]}
    async with world(script, ONE_AT_A_TIME) as (router, _provider):
        rows = await router.map("alone", ["a", "b", "c"]).to_list()
        assert texts(rows) == ["a", "-", "c"]
        assert isinstance(rows[1].error, BadRequest)
        assert rows[1].prompt == "b"


async def test_failed_rows_can_be_skipped_and_are_counted(autojump_clock: Clock) -> None:
    script = {"first": [answer("a"), status(400), answer("c")]}
    async with world(script, ONE_AT_A_TIME) as (router, _provider):
        run = router.map("alone", ["a", "b", "c"], on_error="skip")
        assert texts(await run.to_list()) == ["a", "c"]
        assert (run.report.rows, run.report.answered, run.report.failed) == (3, 2, 1)
        assert run.report.errors == {"BadRequest": 1}


async def test_a_failed_row_can_be_raised(autojump_clock: Clock) -> None:
    script = {"first": [answer("a"), status(400), answer("c")]}
    async with world(script, ONE_AT_A_TIME) as (router, _provider):
        with pytest.raises(BadRequest) as caught:
            await router.map("alone", ["a", "b", "c"], on_error="raise").to_list()
        assert caught.value.__notes__ == ["row 1 of the map, counted from 0"]


async def test_a_function_decides_for_each_failed_row(autojump_clock: Clock) -> None:
    def choose(row: Row) -> OnError:
        return "skip" if row.prompt == "b" else "yield"

    async with world({"first": [status(400)]}) as (router, _provider):
        rows = await router.map("alone", ["a", "b", "c"], on_error=choose).to_list()
        assert [row.prompt for row in rows] == ["a", "c"]


async def test_a_refusal_or_an_overload_never_fails_a_row(autojump_clock: Clock) -> None:
    weather = [status(429, retry_after=3), status(529), status(529), status(503, retry_after=5)] * 8
    async with world({"first": [*weather, answer("through")]}) as (router, _provider):
        run = router.map("alone", ["a", "b", "c"])
        assert texts(await run.to_list()) == ["through"] * 3
        assert run.report.refused == 8


async def test_a_row_that_keeps_failing_is_failed_and_the_others_go_on(autojump_clock: Clock) -> None:
    script: dict[str, list[Step]] = {"first": [no_connection(), cut("half"), answer("fine")]}
    async with world(script, ONE_AT_A_TIME) as (router, _provider):
        rows = await router.map("alone", ["a", "b", "c"]).to_list()
        assert sorted(texts(rows)) in (["-", "fine", "fine"], ["fine", "fine", "fine"])
        assert all(isinstance(row.error, AllModelsFailed) for row in rows if not row.ok)


async def test_the_quotas_of_the_whole_chain_are_used(autojump_clock: Clock) -> None:
    """60 and 120 a minute, full buckets: 300 rows take (300 - 180) / 3 seconds."""
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')
    text = text.replace('"TEST_KEY_B"', '"TEST_KEY_B"\nrequests_per_minute = 120')
    async with world({"first": [answer()], "second": [answer()]}, text) as (router, _provider):
        run = router.map("chain", ["x"] * 300)
        rows = await run.to_list()
        assert all(row.ok for row in rows)
        assert run.report.by_model["openai:first"].served == 100
        assert run.report.by_model["anthropic:second"].served == 200
        assert run.report.failovers == 200
        assert 40.0 <= run.report.wall_seconds <= 41.0


async def test_a_provider_that_fails_for_a_while_costs_no_row(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')
    text = text.replace('"TEST_KEY_B"', '"TEST_KEY_B"\nrequests_per_minute = 60')
    script = {"first": [answer(), *[status(500)] * 12, answer()], "second": [answer()]}
    async with world(script, text) as (router, _provider):
        run = router.map("chain", ["x"] * 200)
        assert all(row.ok for row in await run.to_list())
        assert run.report.by_model["openai:first"].failed == 12


async def test_leaving_early_cancels_what_is_in_flight(autojump_clock: Clock) -> None:
    async with world({"first": [answer("a"), hang()]}) as (router, provider):
        async with router.map("alone", ["a", "b", "c"]) as run:
            async for _ in run:
                break
        assert provider.in_flight == 0
        assert run.report.rows == 1


async def test_cancelling_the_consumer_ends_the_run(autojump_clock: Clock) -> None:
    async with world({"first": [answer(after=1)]}) as (router, provider):
        run = router.map("alone", itertools.repeat("x"), window=2)
        with trio.move_on_after(2.5):
            await collect(run, [])
        assert provider.in_flight == 0
        assert run.report.rows == 4


async def test_an_error_in_the_inputs_comes_after_the_rows_already_paid_for(autojump_clock: Clock) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        yield "b"
        raise OSError("disk gone")

    async with world({"first": [answer(after=1)]}) as (router, _provider):
        rows: list[Row] = []
        with pytest.raises(OSError, match="disk gone"):
            await collect(router.map("alone", broken()), rows)
        assert len(rows) == 2


async def test_a_refused_key_stops_the_run_after_its_finished_rows(autojump_clock: Clock) -> None:
    script = {"first": [answer("a"), answer("b"), status(401)]}
    async with world(script, ONE_AT_A_TIME) as (router, provider):
        rows: list[Row] = []
        with pytest.raises(AuthFailed):
            await collect(router.map("alone", itertools.repeat("x"), window=5), rows)
        assert [row.ok for row in rows][:2] == [True, True]
        assert len(rows) < 10
        assert len(provider.calls) == 3


async def test_an_unknown_alias_stops_the_run_before_it_begins(autojump_clock: Clock) -> None:
    async with world({}) as (router, _provider):
        with pytest.raises(UnknownAlias):
            await router.map("chian", ["a"]).to_list()


async def test_a_prompt_that_is_none_fails_its_row_alone(autojump_clock: Clock) -> None:
    prompts: list[object] = ["a", [{"role": "nobody", "content": "x"}], 7, "b"]
    async with world({"first": [answer("ok")]}) as (router, _provider):
        rows = await router.map("alone", prompts).to_list()  # type: ignore[arg-type]
        assert texts(rows) == ["ok", "-", "-", "ok"]
        assert all(isinstance(rows[index].error, InvalidRequest) for index in (1, 2))


async def test_an_input_that_could_not_be_read_stands_as_its_error(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}) as (router, _provider):
        rows = await router.map("alone", ["a", InvalidRequest("line 2: not JSON"), "b"]).to_list()
        assert texts(rows) == ["ok", "-", "ok"]
        assert str(rows[1].error) == "line 2: not JSON"


async def test_rows_may_be_whole_requests(autojump_clock: Clock) -> None:
    request = ChatRequest(model="alone", messages=(Message(role="user", content="x"),), max_tokens=5)
    async with world({"first": [answer("ok")]}) as (router, provider):
        await router.map("alone", [request, "plain"], temperature=0.5).to_list()
        assert [sorted(call.body) for call in provider.calls] == [
            ["max_completion_tokens", "messages", "model"],
            ["messages", "model", "temperature"],
        ]


async def test_the_report_counts_tokens_and_money(autojump_clock: Clock) -> None:
    script = {"gpt-4o": [answer(input_tokens=1_000_000, output_tokens=100_000)]}
    async with world(script) as (router, _provider):
        run = router.map("openai:gpt-4o", ["a", "b"])
        await run.to_list()
        part = run.report.by_model["openai:gpt-4o"]
        assert (part.input_tokens, part.output_tokens) == (2_000_000, 200_000)
        assert run.report.usd == Decimal("7.0")


async def test_progress_names_the_limit_that_binds_and_the_time_left(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')
    async with world({"first": [answer(after=0.5)]}, text) as (router, _provider):
        async with router.map("alone", ["x"] * 120, window=200) as run:
            async for _ in run:
                if run.report.rows == 100:
                    break
            progress = run.progress(total=120)
            left_at = trio.current_time()
            async for _ in run:
                pass
            assert progress.eta_seconds == pytest.approx(trio.current_time() - left_at, abs=2.0)
        assert progress.binding == "openai requests limit"
        assert progress.rows == 100


BOTH_LIMITED = CHAIN.replace('_KEY_A"', '_KEY_A"\nrequests_per_minute = 60').replace(
    '_KEY_B"', '_KEY_B"\nrequests_per_minute = 120'
)


@pytest.mark.parametrize("spill", ["auto", "on_failure"])
async def test_a_model_that_cannot_be_asked_is_not_counted_on(autojump_clock: Clock, spill: Spill) -> None:
    """The second one, and the faster, is out of money after five answers, or waits for the first to fail."""
    script = {"first": [answer(after=0.5)], "second": [*[answer(after=0.5)] * 5, status(402)]}
    async with (
        world(script, BOTH_LIMITED) as (router, _provider),
        router.map("chain", map(str, range(300)), spill=spill) as run,
    ):
        await trio.sleep(30.0)
        asked_at, progress = trio.current_time(), run.progress(total=300)
        async for _ in run:
            pass
        took = trio.current_time() - asked_at
    assert progress.binding == "openai requests limit"
    assert progress.eta_seconds == pytest.approx(took, rel=0.05)


async def test_where_no_model_can_be_asked_there_is_no_time_left_to_tell(autojump_clock: Clock) -> None:
    async with (
        world({"first": [answer(after=0.5), answer(after=0.5), status(402)]}, ONE_AT_A_TIME) as (router, _),
        router.map("alone", map(str, range(300)), window=9) as run,
    ):
        await trio.sleep(0.9)
        assert run.progress(total=300).binding == "openai connections"
        await trio.sleep(9.0)
        progress = run.progress(total=300)
    assert (progress.binding, progress.eta_seconds) == ("openai quota exhausted", None)


async def test_the_cost_of_a_whole_run_is_told_from_what_was_paid(autojump_clock: Clock) -> None:
    answers = [
        answer(after=1.0, input_tokens=1_000_000, output_tokens=0),
        answer(after=2.0, input_tokens=3_000_000, output_tokens=0),
    ]
    async with (
        world({"gpt-4o": answers}) as (router, _provider),
        router.map("openai:gpt-4o", map(str, range(10)), window=2) as run,
    ):
        assert run.progress(total=10).projected_usd is None
        await trio.sleep(2.5)
        assert run.report.usd == Decimal(10)
        assert run.progress().projected_usd is None
        assert run.progress(total=10).projected_usd == Decimal(50)
        assert run.progress(total=2).projected_usd == Decimal(10)


async def test_a_map_runs_once(autojump_clock: Clock) -> None:
    async with world({"first": [answer()]}) as (router, _provider):
        run = router.map("alone", ["a"])
        await run.to_list()
        with pytest.raises(InvalidRequest, match="once"):
            await run.to_list()


async def test_a_window_of_nothing_is_refused(autojump_clock: Clock) -> None:
    async with world({}) as (router, _provider):
        with pytest.raises(InvalidRequest, match="window"):
            router.map("alone", ["a"], window=0)


@pytest.mark.parametrize("one", ["hello", b"hello", Message(role="user", content="hello"), {"role": "user"}])
async def test_one_prompt_is_not_taken_for_many(autojump_clock: Clock, one: Any) -> None:
    async with world({}) as (router, _provider):
        with pytest.raises(InvalidRequest, match="not one prompt"):
            router.map("alone", one)


async def test_an_empty_map_ends_at_once(autojump_clock: Clock) -> None:
    async with world({}) as (router, _provider):
        assert await router.map("alone", []).to_list() == []


async def test_a_map_that_goes_wrong_is_stopped(autojump_clock: Clock) -> None:
    refused = status(400, after=1.0, error={"message": "no", "type": "invalid_request_error"})
    script = {"first": [answer("ok"), *[refused] * 3, answer("ok", after=5.0)]}
    async with world(script) as (router, provider):
        rows: list[Row] = []
        run = router.map("alone", (f"row {number}" for number in range(1000)), window=5, max_failures=2)
        with pytest.raises(TooManyFailures, match=r"stopped after 3 failed rows; the last, row \d: .*no") as caught:
            await collect(run, rows)
        assert caught.value.failed == 3
        assert caught.value.row == [row.index for row in rows if not row.ok][-1]
    assert (len(rows), sum(not row.ok for row in rows)) == (len(provider.calls), 3)
    assert len(provider.calls) < 20


async def test_no_fewer_failures_than_none_can_be_asked_for(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}) as (router, _):
        with pytest.raises(InvalidRequest, match="max_failures must be at least 0"):
            router.map("alone", ["a"], max_failures=-1)
