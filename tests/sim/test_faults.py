"""Which fault strikes."""

import msgspec
import pytest

from llmring.sim.faults import KINDS, Fault, Schedule, named_fault, refused_parameter


def _strikes(schedule: Schedule, times: list[float], model: str = "m") -> list[bool]:
    return [schedule.choose(model, now) is not None for now in times]


@pytest.mark.parametrize("kind", sorted(KINDS - {"status", "unsupported_parameter"}))
def test_a_name_asks_for_a_fault(kind: str) -> None:
    for model in (f"fault-{kind}", f"gpt-sim+{kind}", f"a+b+{kind}"):
        fault = named_fault(model)
        assert isinstance(fault, Fault) and fault.kind == kind


@pytest.mark.parametrize("model", ["gpt-sim", "my-fault", "default"])
def test_an_ordinary_name_asks_for_none(model: str) -> None:
    assert named_fault(model) is None


@pytest.mark.parametrize(
    "model", ["gpt-sim+hangs", "fault-cute", "fault-", "gpt+", "m+status", "m+unsupported_parameter"]
)
def test_a_misspelt_fault_is_not_an_ordinary_model(model: str) -> None:
    assert named_fault(model) == "unknown"


def test_a_name_can_refuse_parameters() -> None:
    fault = named_fault("gpt-sim+unsupported_parameter:temperature,top_p")
    assert isinstance(fault, Fault) and fault.parameters == ("temperature", "top_p")


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b'{"temperature": 0}', "temperature"),
        (b'{"temperature": null}', None),
        (b'{"top_p": 1}', None),
        (b'{"generationConfig": {"temperature": 1}}', "generationConfig.temperature"),
        (b'{"reasoning": {"effort": "low"}}', "reasoning.effort"),
    ],
)
def test_a_parameter_is_refused_where_the_request_carries_it(body: bytes, refused: str | None) -> None:
    fault = Fault(kind="unsupported_parameter", parameters=("temperature", "reasoning.effort"))
    assert refused_parameter(fault, body) == refused


def test_a_refused_parameter_does_not_count_where_it_is_absent() -> None:
    schedule = Schedule([Fault(kind="unsupported_parameter", parameters=("seed",), count=1)], seed=0)
    assert schedule.choose("m", 1, b"{}") is None
    assert schedule.choose("m", 2, b'{"seed": 7}') is not None
    assert schedule.choose("m", 3, b'{"seed": 7}') is None


def test_times_of_a_configured_fault_count_from_the_first_request() -> None:
    schedule = Schedule([Fault(kind="status_503", from_seconds=10, until_seconds=20)], seed=0)
    assert _strikes(schedule, [100, 109.9, 110, 119.9, 120]) == [False, False, True, True, False]


def test_times_of_an_added_fault_count_from_its_arrival() -> None:
    schedule = Schedule([], seed=0)
    schedule.choose("m", 0)
    schedule.add(Fault(kind="hang", until_seconds=5), now=50)
    assert _strikes(schedule, [50, 54.9, 55]) == [True, True, False]


def test_a_counted_fault_strikes_that_often() -> None:
    assert _strikes(Schedule([Fault(kind="reset", count=2)], seed=0), [1, 2, 3]) == [True, True, False]


def test_a_fault_of_one_model_leaves_the_others_alone() -> None:
    schedule = Schedule([Fault(kind="reset", model="weak")], seed=0)
    assert schedule.choose("strong", 1) is None
    assert schedule.choose("weak", 1) is not None


def test_an_added_fault_comes_before_a_configured_one_and_can_be_cleared() -> None:
    schedule = Schedule([Fault(kind="reset")], seed=0)
    schedule.add(Fault(kind="hang"), now=0)
    schedule.add(Fault(kind="cut"), now=0)
    first = schedule.choose("m", 1)
    schedule.clear()
    then = schedule.choose("m", 2)
    assert first is not None and first.kind == "cut"
    assert then is not None and then.kind == "reset"


def test_probability_is_a_share_of_the_requests_and_repeats_with_its_seed() -> None:
    def run() -> list[bool]:
        schedule = Schedule([Fault(kind="status_500", probability=0.3)], seed=5)
        return _strikes(schedule, [0.0] * 2000)

    assert sum(run()) == pytest.approx(600, abs=60)
    assert run() == run()


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "explode"},
        {"kind": "status"},
        {"kind": "status_500", "status": 501},
        {"kind": "status", "status": 200},
        {"kind": "hang", "from_seconds": 5, "until_seconds": 5},
        {"kind": "hang", "probability": 0},
        {"kind": "hang", "count": 0},
        {"kind": "hang", "secs": 1},
        {"kind": "hang", "parameters": ["seed"]},
        {"kind": "unsupported_parameter"},
    ],
)
def test_impossible_faults_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Fault)
