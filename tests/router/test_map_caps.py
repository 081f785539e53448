"""What a map may not go beyond: money, time, patience; and whom it asks once, or not at all. On virtual time."""

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmring.chat import ChatRequest, Message
from llmring.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    InvalidRequest,
    MapTimeout,
    MissingKey,
    RowStalled,
)
from llmring.router.map.rows import Row
from llmring.router.map.run import MapRun
from llmring.testing import Step, answer, cut, hang, status
from tests.router.world import CHAIN, collect, world

Clock = trio.testing.MockClock

# $0.15 and $0.60 a million tokens; $1 and $5.
PRICED = CHAIN.replace('["openai:first", "anthropic:second"]', '["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]')
PRICED = PRICED.replace(
    'alias = "alone"\nmodels = ["openai:first"]', 'alias = "alone"\nmodels = ["openai:gpt-4o-mini"]'
)
CHEAP, DEAR = "gpt-4o-mini", "claude-haiku-4-5"


def worst(characters: int, output_tokens: int) -> Decimal:
    """Of a prompt of so many bytes at gpt-4o-mini: one message, and what may stand around it."""
    return ((characters + 24) * Decimal("0.15") + output_tokens * Decimal("0.60")) / 10**6


# Money.


async def test_a_map_stops_at_its_cap_after_the_rows_under_way(autojump_clock: Clock) -> None:
    """Every answer costs exactly what is set aside for it; a fourth would pass the cap."""
    each = worst(4, 1000)
    script = {CHEAP: [answer("ok", after=1.0, input_tokens=28, output_tokens=1000)]}
    async with world(script, PRICED) as (router, provider):
        run = router.map("alone", itertools.repeat("abcd"), max_tokens=1000, budget=3 * each + each / 2)
        rows, error = await collect(run)
    assert isinstance(error, BudgetExceeded)
    assert (error.spent, error.reserved, error.needed) == (3 * each, Decimal(0), each)
    assert [row.ok for row in rows] == [True] * 3
    assert len(provider.calls) == 3
    assert run.report.usd == 3 * each


async def test_what_rows_do_not_need_is_waited_for(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """One may be under way at a time, and costs a tenth of what it might."""
    each = worst(4, 1000)
    script = {CHEAP: [answer("ok", after=1.0, input_tokens=0, output_tokens=100)]}
    async with world(script, PRICED) as (router, provider):
        run = router.map("alone", ["abcd"] * 5, max_tokens=1000, budget=str(each * Decimal("1.5")))
        rows, error = await collect(run)
    assert error is None
    assert [call.at for call in provider.calls] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(rows) == 5
    # Why it is slow is said once.
    (warning,) = [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]
    assert "bounds the rows under way to 1" in warning


async def test_the_dearest_model_that_may_be_asked_counts(autojump_clock: Clock) -> None:
    # 1,000 tokens are $0.0006 at the first model, $0.005 at the second.
    async with world({CHEAP: [answer("ok")]}, PRICED) as (router, provider):
        rows, error = await collect(router.map("chain", ["abcd"], max_tokens=1000, budget=0.002))
        assert (rows, provider.calls) == ([], [])
        assert isinstance(error, BudgetExceeded)
        assert error.needed == (28 * Decimal(1) + 1000 * Decimal(5)) / 10**6
        rows, error = await collect(router.map("chain", ["abcd"], max_tokens=1000, budget=0.002, spill="never"))
        assert ([row.ok for row in rows], error) == ([True], None)


async def test_an_attempt_that_may_have_been_billed_counts_as_if_it_was(autojump_clock: Clock) -> None:
    each = worst(4, 1000)
    script = {CHEAP: [cut("half"), answer("ok", input_tokens=28, output_tokens=1000)]}
    async with world(script, PRICED) as (router, provider):
        rows, error = await collect(router.map("alone", ["abcd"], max_tokens=1000, budget=2 * each))
        assert ([row.ok for row in rows], error, len(provider.calls)) == ([True], None, 2)
    async with world(script, PRICED) as (router, provider):
        rows, error = await collect(router.map("alone", ["abcd"], max_tokens=1000, budget=each + each / 2))
        assert isinstance(error, BudgetExceeded)
        assert (error.spent, len(provider.calls)) == (each, 1)
        assert [type(row.error) for row in rows] == [BudgetExceeded]


async def test_what_was_refused_was_not_billed(autojump_clock: Clock) -> None:
    each = worst(4, 1000)
    weather = [status(429, retry_after=2), status(503), status(500)]
    script = {CHEAP: [*weather, answer("ok", input_tokens=28, output_tokens=1000)]}
    async with world(script, PRICED) as (router, provider):
        rows, error = await collect(router.map("alone", ["abcd"], max_tokens=1000, budget=each))
    assert ([row.ok for row in rows], error, len(provider.calls)) == ([True], None, 4)


async def test_a_model_without_a_price_is_refused_before_anything_is_sent(autojump_clock: Clock) -> None:
    async with world({"first": [answer("ok")]}) as (router, provider):
        with pytest.raises(ConfigError, match="openai:first has no price"):
            await router.map("alone", ["a"], budget=1).to_list()
        other = ChatRequest(model="openai:first", messages=(Message(role="user", content="x"),), max_tokens=5)
        rows, error = await collect(router.map("openai:gpt-4o-mini", [other], budget=1))
        assert rows == []
        assert isinstance(error, ConfigError)
        assert provider.calls == []


async def test_a_model_without_a_key_needs_no_price(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY_B")
    text = PRICED.replace("anthropic:claude-haiku-4-5", "anthropic:nobody-knows")
    async with world({CHEAP: [answer("ok")]}, text) as (router, _):
        assert (await router.map("chain", ["a"], budget=1, max_tokens=9).to_list())[0].ok


@pytest.mark.parametrize("wrong", ["much", -1, "nan", float("inf"), ""])
async def test_a_budget_is_dollars(autojump_clock: Clock, wrong: float | str) -> None:
    async with world({}) as (router, _):
        with pytest.raises(InvalidRequest, match="budget must be"):
            router.map("alone", ["a"], budget=wrong)


steps = st.sampled_from(
    [
        answer("ok", after=1.0, input_tokens=28, output_tokens=1000),
        answer("ok", after=0.1, input_tokens=3, output_tokens=10),
        answer("ok", after=3.0, input_tokens=28, output_tokens=700),
        cut("half", after=0.5),
        status(429, retry_after=1),
        status(529),
        status(500, after=0.2),
        hang(),
    ]
)


@given(st.lists(steps, min_size=1, max_size=8), st.lists(steps, min_size=1, max_size=8), st.integers(1, 60))
@settings(max_examples=60)
def test_whatever_happens_the_cap_is_not_passed(first: list[Step], second: list[Step], tenths: int) -> None:
    """The answers that were sent out, at their price, plus every cut and hanging one at its most."""
    cap = Decimal(tenths) / 10 * Decimal("0.005")

    async def run() -> tuple[Decimal, Decimal]:
        script = {CHEAP: [*first, answer("ok")], DEAR: [*second, answer("ok")]}
        async with world(script, PRICED) as (router, _):
            run = router.map("chain", ["abcd"] * 12, max_tokens=1000, budget=cap, window=5)
            rows, error = await collect(run)
        assert error is None or isinstance(error, BudgetExceeded)
        assert error is not None or len(rows) == 12
        spent = error.spent if isinstance(error, BudgetExceeded) else Decimal(0)
        return run.report.usd, spent

    usd, spent = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert usd <= cap
    assert spent <= cap


# Time.


async def test_when_its_time_is_over_a_map_hands_out_what_is_finished_and_cuts_off_the_rest(
    autojump_clock: Clock,
) -> None:
    script = {"first": [answer("a", after=1), answer("slow", after=100), answer("c", after=2)]}
    async with world(script) as (router, provider):
        start = trio.current_time()
        rows, error = await collect(router.map("alone", ["a", "b", "c"], deadline=30, ordered=True))
        assert trio.current_time() - start == 30.0
        assert provider.in_flight == 0
    assert [row.index for row in rows] == [0, 2]
    assert isinstance(error, MapTimeout)
    assert (error.finished, error.not_done, error.more, error.checkpoint) == (2, 1, False, None)


async def test_when_the_inputs_are_not_all_read_it_says_so(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    async with world({"first": [answer("a", after=1)]}) as (router, _):
        run = router.map("alone", map(str, itertools.count()), deadline=2.5, window=3, checkpoint=path)
        rows, error = await collect(run)
    assert len(rows) == 6
    assert isinstance(error, MapTimeout)
    assert (error.finished, error.not_done, error.more, error.checkpoint) == (6, 3, True, path)
    async with world({"first": [answer("a", after=1)]}) as (router, provider):
        rest = await router.map("alone", map(str, range(9)), deadline=2.5, checkpoint=path).to_list()
    assert [row.resumed for row in rest] == [True] * 6 + [False] * 3
    assert len(provider.calls) == 3


async def test_a_map_that_is_done_in_time_knows_no_deadline(autojump_clock: Clock) -> None:
    async with world({"first": [answer("a", after=1)]}) as (router, _):
        async with router.map("alone", ["a"], deadline=2) as run:
            await trio.sleep(5)
            assert [row.ok async for row in run] == [True]
        with pytest.raises(InvalidRequest, match="deadline must be a positive number"):
            router.map("alone", ["a"], deadline=0)


# Patience.


async def test_a_row_that_fails_the_same_way_while_others_are_answered_is_given_up(autojump_clock: Clock) -> None:
    """One connection: the first row is refused, and while it pauses the next one is answered, and so on."""
    pairs = [status(503), answer("ok", after=1.0)] * 4
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    async with world({"first": [*pairs, answer("ok")]}, text) as (router, _):
        rows = await router.map("alone", ["large", *(["small"] * 9)]).to_list()
    assert [row.ok for row in rows] == [False] + [True] * 9
    error = rows[0].error
    assert isinstance(error, RowStalled)
    assert error.why == "Overloaded 4 times, while others were answered"
    assert [attempt.sent for attempt in error.attempts] == [True] * 4


async def test_a_chain_that_answers_nobody_for_ten_minutes_fails_its_rows(autojump_clock: Clock) -> None:
    async with world({CHEAP: [status(529)]}, PRICED) as (router, _):
        start = trio.current_time()
        run = router.map("alone", ["a", "b"])
        rows = await run.to_list()
        assert 600.0 <= trio.current_time() - start <= 660.0
    assert [str(row.error).partition(": its")[2].partition(":")[0] for row in rows] == [
        " models have answered nobody for 600 s"
    ] * 2
    assert run.report.errors == {"RowStalled": 2}
    assert all(isinstance(row.error, AllModelsFailed) for row in rows)


async def test_a_limit_of_our_own_is_waited_for_as_long_as_it_takes(autojump_clock: Clock) -> None:
    text = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_day = 48')
    async with world({"first": [answer("ok")]}, text) as (router, _):
        start = trio.current_time()
        assert all(row.ok for row in await router.map("alone", map(str, range(50))).to_list())
        assert trio.current_time() - start > 1800.0


# Equal rows.


async def test_equal_rows_are_asked_once(autojump_clock: Clock) -> None:
    prompts = ["a", "b", "a", "a", "b"]
    script = {CHEAP: [answer("x", after=1), answer("y", after=2)]}
    async with world(script, PRICED) as (router, provider):
        run = router.map("alone", prompts, dedupe=True)
        rows = await run.to_list()
    assert [row.response and row.response.content for row in rows] == ["x", "y", "x", "x", "y"]
    assert [row.duplicate_of for row in rows] == [None, None, 0, 0, 1]
    assert len(provider.calls) == 2
    assert (run.report.rows, run.report.answered, run.report.duplicates, run.report.requests) == (5, 5, 3, 2)
    assert run.report.usd == sum(
        (row.response.cost.usd or 0 for row in rows if row.response and row.duplicate_of is None), Decimal(0)
    )


async def test_a_row_that_comes_after_its_equal_has_ended_gets_the_answer_too(autojump_clock: Clock) -> None:
    async with world({"first": [answer("x"), answer("y")]}) as (router, provider):
        run = router.map("alone", ["a", "b", "a", "b", "a"], window=1, dedupe=True)
        rows = [row async for row in await entered(run)]
        await run.__aexit__(None, None, None)
    assert [row.response and row.response.content for row in rows] == ["x", "y", "x", "y", "x"]
    assert len(provider.calls) == 2


async def entered(run: MapRun) -> MapRun:
    return await run.__aenter__()


async def test_rows_that_differ_in_a_setting_are_not_equal(autojump_clock: Clock) -> None:
    message = Message(role="user", content="a")
    warm, cold = (ChatRequest(model="alone", messages=(message,), temperature=t) for t in (1.0, 0.0))
    async with world({"first": [answer("x")]}) as (router, provider):
        await router.map("alone", [warm, cold, warm], dedupe=True).to_list()
    assert len(provider.calls) == 2


async def test_those_that_wait_share_a_failure_and_later_ones_are_asked_again(autojump_clock: Clock) -> None:
    script = {"first": [status(400, after=1.0), answer("ok")]}
    one = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')

    def prompts() -> Iterator[str]:
        yield from ["a", "a", "b", "a"]

    async with world(script, one) as (router, provider):
        run = router.map("alone", prompts(), dedupe=True, window=2)
        rows = await run.to_list()
    assert [row.ok for row in rows] == [False, False, True, True]
    assert [row.duplicate_of for row in rows] == [None, 0, None, None]
    assert (run.report.failed, run.report.duplicates, len(provider.calls)) == (2, 1, 3)


async def test_equal_rows_of_a_journal_are_asked_once_in_all_runs(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    async def mapped(prompts: Sequence[str]) -> tuple[list[Row], int]:
        async with world({"first": [answer("x")]}) as (router, provider):
            rows = await router.map("alone", prompts, dedupe=True, checkpoint=path).to_list()
        return rows, len(provider.calls)

    rows, sent = await mapped(["a", "a"])
    assert (sent, [row.duplicate_of for row in rows]) == (1, [None, 0])
    rows, sent = await mapped(["b", "a", "a", "a"])
    assert (sent, [row.duplicate_of for row in rows]) == (1, [None, None, 1, 1])
    assert [row.resumed for row in rows] == [False, True, True, True]


# Keys of one's own.


async def test_rows_may_be_known_by_a_key_of_the_callers(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    async def mapped(*prompts: str) -> int:
        async with world({"first": [answer("x")]}) as (router, provider):
            run = router.map("alone", prompts, checkpoint=path, key=lambda item: str(item).partition(" ")[0])
            assert all(row.ok for row in await run.to_list())
        return len(provider.calls)

    assert await mapped("1 one", "2 two") == 2
    assert await mapped("2 deux", "3 three", "1 un") == 1
    assert '"key":"3"' in path.read_text()


async def test_two_rows_with_one_key_stop_the_map(autojump_clock: Clock) -> None:
    async with world({"first": [answer("x")]}) as (router, _):
        rows, error = await collect(router.map("alone", ["a", "b"], key=lambda _: "same"))
        assert [row.ok for row in rows] == [True]
        assert str(error) == "two rows of this map have the key 'same'"
        _, error = await collect(router.map("alone", ["a"], key=lambda _: 7))  # type: ignore[arg-type, return-value]
        assert str(error) == "the key of a row must be text, not int"


# Whether the next models are used.

SHARED = CHAIN.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nrequests_per_minute = 60')


@pytest.mark.parametrize(
    ("spill", "seconds", "second"), [("auto", 0.0, 40), ("on_failure", 40.0, 0), ("never", 40.0, 0)]
)
async def test_the_next_models_quota_is_used_or_not(
    autojump_clock: Clock, spill: str, seconds: float, second: int
) -> None:
    script = {"first": [answer("ok")], "second": [answer("ok")]}
    async with world(script, SHARED) as (router, provider):
        start = trio.current_time()
        await router.map("chain", ["x"] * 100, window=100, spill=spill).to_list()  # type: ignore[arg-type]
        assert abs(trio.current_time() - start - seconds) < 1.0
    assert abs(sum(call.model == "second" for call in provider.calls) - second) <= 1


@pytest.mark.parametrize(("spill", "ok"), [("on_failure", True), ("never", False)])
async def test_when_the_first_model_fails(autojump_clock: Clock, spill: str, ok: bool) -> None:
    script = {"first": [status(500)], "second": [answer("ok")]}
    async with world(script) as (router, _):
        rows = await router.map("chain", ["x"], spill=spill).to_list()  # type: ignore[arg-type]
    assert [row.ok for row in rows] == [ok]


async def test_never_needs_the_key_of_the_first(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY_A")
    async with world({"second": [answer("ok")]}) as (router, _):
        with pytest.raises(MissingKey):
            await router.map("chain", ["x"], spill="never").to_list()
        with pytest.raises(InvalidRequest, match="spill must be one of 'auto', 'on_failure', 'never'"):
            router.map("chain", ["x"], spill="maybe")  # type: ignore[arg-type]


# The bound.


async def test_the_report_says_how_near_a_run_came_to_what_its_limits_allow(autojump_clock: Clock) -> None:
    script = {"first": [answer("ok", after=1.0)]}
    async with world(script, SHARED) as (router, _):
        run = router.map("alone", ["x"] * 300, window=100)
        await run.to_list()
    assert run.report.bound_share is not None
    assert 0.97 < run.report.bound_share <= 1.0
    async with world({"first": [status(400)]}) as (router, _):
        failed = router.map("alone", ["x"])
        await failed.to_list()
    assert failed.report.bound_share is None


async def test_models_on_own_machines_are_free_in_a_map_too(autojump_clock: Clock) -> None:
    async with world({"llama3.3": [answer("ok")]}) as (router, _):
        run = router.map("ollama:llama3.3", ["a", "b"], budget=0)
        assert [row.ok for row in await run.to_list()] == [True, True]


async def test_what_a_model_turns_out_not_to_take_is_set_aside_for_rows_that_wait_for_their_turn(
    autojump_clock: Clock,
) -> None:
    """One connection: the first row teaches that no bound is taken while the second waits. It may cost 16,400 tokens
    then, for which there is no money."""
    refusal = {"message": "no", "code": "unsupported_parameter", "param": "max_completion_tokens"}
    other = {**refusal, "param": "max_tokens"}
    script = {
        CHEAP: [
            status(400, after=1.0, error=refusal),
            status(400, after=1.0, error=other),
            answer("ok", input_tokens=28, output_tokens=16_000),
        ]
    }
    text = PRICED.replace('"TEST_KEY_A"', '"TEST_KEY_A"\nmax_in_flight = 1')
    longest = worst(4, 16_400)
    async with world(script, text) as (router, _):
        run = router.map("alone", ["abcd"] * 3, max_tokens=10, budget=longest + worst(4, 1000))
        rows, error = await collect(run)
        assert isinstance(error, BudgetExceeded)
    assert [row.ok for row in rows][:1] == [True]
    assert run.report.usd <= longest + worst(4, 1000)
