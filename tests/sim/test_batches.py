"""Batches in every format: over time, cancelled, expired, with wrong rows, and counted apart."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.sim import openai_dialect, openai_wire
from llmring.sim.batch_state import Batch, Phase, Progress, Row, due, is_over, phase
from llmring.sim.batches import out_of_order
from tests.sim.batching import OVER, Batching, lines
from tests.sim.calls import Caller

FORMATS = ["openai", "responses", "anthropic", "google", "google_file"]


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def batching(caller: Caller, form: str) -> Batching:
    return Batching(caller, form)


def _rows(batching: Batching, number: int) -> dict[str, object]:
    return {f"row-{at}": batching.body(f"hello number {at}") for at in range(number)}


def test_a_batch_is_not_over_when_it_is_made_and_is_when_its_time_has_passed(batching: Batching) -> None:
    made = batching.create(_rows(batching, 3)).json()
    assert batching.status(made) in ("validating", "in_progress", "PENDING")
    ended = batching.get(made)
    assert batching.status(ended) in ("completed", "ended", "SUCCEEDED")
    assert sorted(batching.results(ended)) == [(f"row-{at}", "succeeded") for at in range(3)]


def test_results_come_out_of_order_but_for_geminis(batching: Batching) -> None:
    ended = batching.wait(batching.create(_rows(batching, 4)).json())
    keys = [key for key, _ in batching.results(ended)]
    assert (keys == sorted(keys)) == batching.form.startswith("google")


def test_a_wrong_row_is_its_own_result(batching: Batching) -> None:
    rows = _rows(batching, 2) | {"wrong": {"model": batching.model}}
    ended = batching.wait(batching.create(rows).json())
    assert sorted(batching.results(ended)) == [("row-0", "succeeded"), ("row-1", "succeeded"), ("wrong", "errored")]


# At Gemini a stream is asked for by the address.
@pytest.mark.parametrize("form", ["openai", "responses", "anthropic"])
def test_a_row_that_asks_for_a_stream_is_refused(batching: Batching) -> None:
    ended = batching.wait(batching.create({"s": batching.body("x", stream=True)}).json())
    assert batching.results(ended) == [("s", "errored")]


def test_rows_that_expire_are_told_apart_from_those_that_failed(caller: Caller, form: str) -> None:
    batching = Batching(caller, form, "expiring")
    ended = batching.wait(batching.create(_rows(batching, 8)).json())
    fates = dict(batching.results(ended))
    assert sorted(fates.values()) == ["expired"] * 2 + ["succeeded"] * 6
    if form in ("openai", "responses"):
        assert ended["status"] == "expired" and ended["request_counts"] == {"total": 8, "completed": 6, "failed": 2}


def test_a_batch_of_gemini_in_which_nothing_was_tried_has_expired(caller: Caller) -> None:
    batching = Batching(caller, "google", "late")
    ended = batching.wait(batching.create(_rows(batching, 2)).json())
    assert batching.status(ended) == "EXPIRED" and "response" not in ended and ended["error"]["code"] == 4


def test_a_cancelled_batch_stops_and_keeps_what_was_answered(caller: Caller, form: str) -> None:
    batching = Batching(caller, form, "cancelling")
    made = batching.create(_rows(batching, 4)).json()
    assert batching.cancel(made).status_code == 200
    assert batching.status(batching.get(made)) in ("cancelling", "canceling", "RUNNING", "cancelled", "CANCELLED")
    ended = batching.wait(made)
    assert batching.status(ended) in ("cancelled", "ended", "CANCELLED")
    if form.startswith("google"):
        assert ended["error"]["code"] == 1 and "response" not in ended
    else:
        assert {fate for _, fate in batching.results(ended)} <= {"canceled", "succeeded"}
        assert len(batching.results(ended)) == 4


def test_a_batch_takes_its_time(caller: Caller, form: str) -> None:
    batching = Batching(caller, form, "batching")
    made = batching.create(_rows(batching, 2)).json()
    seen = [batching.status(made)]
    while seen[-1] not in OVER:
        seen.append(batching.status(batching.get(made)))
    first, last = ("in_progress", "ended") if form == "anthropic" else ("validating", "completed")
    if form.startswith("google"):
        first, last = "PENDING", "SUCCEEDED"
    assert (seen[0], seen[-1]) == (first, last) and len(seen) > 2


def test_online_limits_do_not_hold_for_rows_which_are_counted_apart(caller: Caller, form: str) -> None:
    batching = Batching(caller, form, "few")
    for _ in range(2):
        batching.wait(batching.create(_rows(batching, 10)).json())
    cell = caller.cell("few", batching.model)
    assert cell.batch_rows == {"answered": 20}
    assert (cell.received, cell.statuses, cell.refused) == (0, {}, {})
    assert cell.batch_output_tokens == 20 * 16 and cell.output_tokens == 0
    assert cell.batch_input_tokens > 0 and cell.input_tokens == 0


def test_faults_on_a_model_strike_rows_too(batching: Batching) -> None:
    batching.model += "+status_503"
    ended = batching.wait(batching.create(_rows(batching, 1)).json())
    assert batching.results(ended) == [("row-0", "errored")]
    batching.model = "missing"
    made = batching.create(_rows(batching, 1))
    if batching.form.startswith("google"):
        assert made.status_code == 404
    else:
        assert batching.results(batching.wait(made.json())) == [("row-0", "errored")]


def test_a_batch_is_seen_by_the_key_that_made_it_alone(caller: Caller, batching: Batching) -> None:
    made = batching.create(_rows(batching, 1)).json()
    stranger = Batching(Caller(caller.simulator, caller.client, f"{caller.key}-2"), batching.form)
    assert stranger.send("GET", batching.path(made)).status_code == 404
    assert batching.send("GET", batching.path(made)).status_code == 200


def test_nonsense_is_refused(batching: Batching) -> None:
    bodies: tuple[object, ...] = (
        [],
        {},
        {"requests": []},
        {"batch": {}},
        {"batch": {"inputConfig": {}}},
        {"input_file_id": "x"},
    )
    for body in bodies:
        path = "/v1/batches" if batching.form in ("openai", "responses") else "/v1/messages/batches"
        if batching.form.startswith("google"):
            path = "/v1beta/models/m:batchGenerateContent"
        assert batching.send("POST", path, body).status_code == 400
    assert batching.send("DELETE", batching.path({"id": "none", "name": "batches/none"})).status_code == 404


LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}
BROKEN = [
    (b"", "empty_file", None),
    (b"{", "invalid_json_line", 1),
    (lines([LINE, {"custom_id": "b"}]), "missing_required_parameter", 2),
    (lines([LINE, LINE]), "duplicate_custom_id", 2),
    (lines([LINE | {"url": "/v1/responses"}]), "mismatched_url", 1),
    (lines([LINE, LINE | {"custom_id": "b", "body": {"model": "other"}}]), "mismatched_model", None),
]


@pytest.mark.parametrize(("data", "code", "line"), BROKEN)
def test_mistakes_in_openais_file_fail_the_batch(caller: Caller, data: bytes, code: str, line: int | None) -> None:
    batching = Batching(caller, "openai")
    made = batching.create_of(data, "/v1/chat/completions").json()
    assert made["status"] == "validating" and made["errors"] is None
    failed = batching.get(made)
    assert failed["status"] == "failed" and failed["output_file_id"] is None
    assert [(one["code"], one["line"]) for one in failed["errors"]["data"]] == [(code, line)]
    assert batching.cancel(made).status_code == 400


def _batch(rows: int, seconds: float) -> Batch:
    return Batch(
        id="b",
        key="k",
        data=b"",
        rows=tuple(Row(name=str(at), body=b"") for at in range(rows)),
        dialect=openai_dialect,
        operation=openai_wire,
        headers={},
        target="",
        begun_at=100.0,
        created_at=datetime.now(UTC),
        seconds=seconds,
        about={},
        progress=Progress(),
    )


PHASES: list[tuple[float, Phase, int]] = [
    (100.0, "checking", 0),
    (104.9, "checking", 0),
    (105.0, "running", 0),
    (150.0, "running", 5),
    (194.9, "running", 9),
    (195.0, "closing", 10),
    (199.9, "closing", 10),
    (200.0, "ended", 10),
]


@pytest.mark.parametrize(("now", "expected", "done"), PHASES)
def test_how_far_a_batch_is_follows_from_the_time_alone(now: float, expected: Phase, done: int) -> None:
    batch = _batch(10, 100.0)
    assert (phase(batch, now), due(batch, now)) == (expected, done)
    assert is_over(batch, now) == (expected == "ended")


def test_a_cancelled_batch_takes_as_long_to_stop_as_to_begin() -> None:
    batch = _batch(10, 100.0)
    batch.progress.cancelled_at = 150.0
    assert [phase(batch, now) for now in (150.0, 154.9, 155.0, 300.0)] == ["cancelling"] * 2 + ["cancelled"] * 2


@given(rows=st.integers(0, 50), seconds=st.floats(0, 1e5), times=st.lists(st.floats(0, 2e5), min_size=2))
def test_a_batch_never_goes_back(rows: int, seconds: float, times: list[float]) -> None:
    batch = _batch(rows, seconds)
    dues = [due(batch, 100.0 + time) for time in sorted(times)]
    assert dues == sorted(dues) and all(0 <= one <= rows for one in dues)
    assert due(batch, 100.0 + seconds) == rows


@given(st.integers(0, 30))
def test_out_of_order_is_all_of_them_and_never_as_they_were(number: int) -> None:
    shuffled = out_of_order(list(range(number)))
    assert sorted(shuffled) == list(range(number))
    assert number < 2 or shuffled != list(range(number))
