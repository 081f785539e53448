"""A map that is stopped sends nothing more: who waits is called back, what is on the wire is finished. On virtual
time."""

import itertools
from pathlib import Path

import pytest
import trio
import trio.testing

from llmring.chat import JSONSchema
from llmring.errors import AuthFailed, BadRequest, BudgetExceeded, TooManyFailures
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.testing import answer, cut, status
from tests.router.world import CHAIN, collect, world

Clock = trio.testing.MockClock

SLOW = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')
NARROW = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 2')
PRICED = SLOW.replace('alias = "alone"\nmodels = ["openai:first"]', 'alias = "alone"\nmodels = ["openai:gpt-4o-mini"]')


async def stopped_after(run: MapRun, seconds: float) -> list[Row]:
    """The rows of a run that is stopped then."""
    rows: list[Row] = []
    async with trio.open_nursery() as nursery, run:

        async def stop() -> None:
            await trio.sleep(seconds)
            run.stop()

        nursery.start_soon(stop)
        rows += [row async for row in run]
    return rows


async def test_after_one_failure_too_many_nothing_more_is_sent(autojump_clock: Clock) -> None:
    async with world({"first": [status(400, after=0.2)]}, SLOW) as (router, provider):
        rows, error = await collect(router.map("alone", map(str, itertools.count()), window=100, max_failures=0))
    assert isinstance(error, TooManyFailures)
    # A minute's worth was on the wire when the first one failed; those in line behind it stay there.
    assert len(rows) == len(provider.calls)
    assert max(provider.times("first")) < 0.2


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_row_that_is_raised_waits_for_those_on_the_wire_and_nothing_more_is_sent(
    autojump_clock: Clock, tmp_path: Path, ordered: bool
) -> None:
    path = tmp_path / "run.jsonl"
    script = {"first": [answer("ok", after=5.0), status(400, after=1.0), answer("ok", after=3.0)]}
    async with world(script, NARROW.replace("= 2", "= 3")) as (router, provider):
        run = router.map("alone", map(str, range(9)), on_error="raise", checkpoint=path, ordered=ordered)
        rows, error = await collect(run)
        assert isinstance(error, BadRequest)
        # By the time that the row has failed, the next one may have its place on the wire.
        assert len(provider.calls) - 1 == len(rows) == run.report.answered <= 3
        assert sorted(row.index for row in rows)[:2] == [0, 2]
        # Paid, and not asked again.
        await router.map("alone", ["0", "2"], checkpoint=path).to_list()
        assert len(provider.calls) - 1 == len(rows)


async def test_a_function_may_end_the_run_with_a_row(autojump_clock: Clock) -> None:
    """Also when the row is read after all others have finished."""
    script = {"first": [answer("ok", after=1.0), status(400), answer("ok", after=1.0)]}
    async with world(script, NARROW.replace("= 2", "= 3")) as (router, _):
        rows: list[Row] = []
        async with router.map("alone", ["0", "1", "2"], on_error=lambda row: "raise", ordered=True) as run:
            await trio.sleep(5.0)
            rows.append(await anext(run))
            rows.append(await anext(run))
            with pytest.raises(BadRequest):
                await anext(run)
    assert [row.index for row in rows] == [0, 2]
    assert run.stopped_at == 1


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_first_row_that_failed_is_raised(autojump_clock: Clock, ordered: bool) -> None:
    """Others may fail while those on the wire are finished: they are counted, and not handed out."""
    script = {"first": [status(422, after=2.0), status(400, after=1.0), answer("ok", after=3.0)]}
    async with world(script, NARROW.replace("= 2", "= 3")) as (router, _):
        run = router.map("alone", ["0", "1", "2"], on_error="raise", ordered=ordered)
        rows, error = await collect(run)
    assert isinstance(error, BadRequest)
    assert (error.status, error.__notes__) == (400, ["row 1 of the map, counted from 0"])
    assert [row.index for row in rows] == [2]
    assert run.report.failed == 2


async def test_a_refused_key_has_no_more_rows_sent(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=1.0), status(401, after=2.0)]}, NARROW) as (router, provider):
        rows, error = await collect(router.map("alone", map(str, range(9))))
    assert isinstance(error, AuthFailed)
    assert [call.at for call in provider.calls] == [0.0, 0.0, 1.0]
    # Those in line may see for themselves that the key is refused, in the moment in which they are called back.
    assert rows[0].ok and not any(row.ok for row in rows[1:])
    assert 3 <= len(rows) < 9


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_stopped_run_finishes_what_is_on_the_wire_and_a_later_one_does_the_rest(
    autojump_clock: Clock, tmp_path: Path, ordered: bool
) -> None:
    path = tmp_path / "run.jsonl"
    async with world({"first": [answer("ok", after=1.0)]}, NARROW) as (router, provider):
        prompts = list(map(str, range(9)))
        run = router.map("alone", prompts, checkpoint=path, ordered=ordered)
        rows = await stopped_after(run, 1.5)
        assert [row.ok for row in rows] == [True] * 4
        assert (len(provider.calls), run.report.rows, run.progress().in_flight) == (4, 4, 0)
        again = router.map("alone", prompts, checkpoint=path)
        rows = await again.to_list()
        assert [row.resumed for row in rows] == [True] * 4 + [False] * 5
        assert len(provider.calls) == 9


async def test_a_stopped_run_reads_no_more(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=1.0)]}) as (router, provider):
        receive = trio.open_memory_channel[str](1)
        receive[0].send_nowait("one")
        assert len(await stopped_after(router.map("alone", receive[1]), 5.0)) == 1
        receive[0].send_nowait("two")
    assert len(provider.calls) == 1


async def test_what_fails_on_the_wire_after_a_stop_is_not_sent_again(autojump_clock: Clock) -> None:
    """Not done either, for another try might have answered it; what it has met is counted."""
    script = {"first": [answer("ok", after=2.0), status(503, after=2.0), status(400, after=2.0)]}
    async with world(script) as (router, provider):
        run = router.map("chain", ["a", "b", "c"], ordered=True)
        rows = await stopped_after(run, 1.0)
    assert [(row.index, row.ok) for row in rows] == [(0, True), (2, False)]
    assert len(provider.calls) == 3
    assert (run.report.rows, run.report.requests) == (2, 3)
    assert run.report.by_model["openai:first"].failed == 2


async def test_an_answer_that_was_to_be_corrected_is_handed_out_as_it_is(autojump_clock: Clock) -> None:
    schema = JSONSchema(schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    async with world({"first": [answer("no JSON", after=2.0)]}) as (router, provider):
        (row,) = await stopped_after(router.map("alone", ["a"], response_format=schema), 1.0)
    assert row.response is not None and row.response.content == "no JSON"
    assert len(provider.calls) == 1


async def test_who_waits_for_money_is_called_back_too(autojump_clock: Clock) -> None:
    """The first one breaks off, and waits until the others have given back enough for another try."""
    script = {"gpt-4o-mini": [cut("half", after=1.0), answer("ok", after=5.0, input_tokens=8, output_tokens=10)]}
    async with world(script, PRICED) as (router, provider):
        (most,) = router.estimate("alone", "abcd", max_tokens=1000)
        assert most.high_usd is not None
        budget = most.high_usd * 2 + most.high_usd / 2
        rows = await stopped_after(router.map("alone", ["abcd"] * 9, max_tokens=1000, budget=budget), 2.0)
    assert [row.ok for row in rows] == [True]
    assert len(provider.calls) == 2


async def test_a_cap_that_is_reached_has_nothing_more_sent(autojump_clock: Clock) -> None:
    script = {"gpt-4o-mini": [cut("half", after=1.0), cut("half", after=3.0)]}
    async with world(script, PRICED) as (router, provider):
        (most,) = router.estimate("alone", "abcd", max_tokens=1000)
        assert most.high_usd is not None
        budget = most.high_usd * 2 + most.high_usd / 2
        rows, error = await collect(router.map("alone", ["abcd"] * 9, max_tokens=1000, budget=budget))
    assert isinstance(error, BudgetExceeded)
    assert len(provider.calls) == 2
    assert all(isinstance(row.error, BudgetExceeded) for row in rows)


async def test_a_permit_that_comes_with_the_stop_goes_back(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok", after=1.0)]}, NARROW) as (router, provider):
        run = router.map("alone", map(str, range(9)))
        async with run:
            # Handed out in the moment in which two in line have been given its place.
            rows = [await anext(run)]
            run.stop()
            rows += [row async for row in run]
        calls = len(provider.calls)
        assert len(rows) == calls
        (route,) = router.dispatcher.routes("alone", None)
        assert (route.in_flight, len(route.line)) == (0, 0)
