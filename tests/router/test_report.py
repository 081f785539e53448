"""Reports: rows counted by example; what has no price is unknown, not free."""

from decimal import Decimal as D

from llmring.chat import ChatResponse
from llmring.errors import (
    AllModelsFailed,
    Attempt,
    BadRequest,
    ConnectFailed,
    ProviderError,
    RateLimited,
    RouterClosed,
    ServerFault,
)
from llmring.refs import ModelRef
from llmring.router.map.report import ModelReport, Report
from llmring.usage import Cost, Usage

FIRST, SECOND = ModelRef("acme", "first"), ModelRef("zenith", "second")


def answered(model: ModelRef) -> Attempt:
    return Attempt(model=model, outcome="answered", sent=True)


def failed(model: ModelRef, error: ProviderError) -> Attempt:
    return Attempt(model=model, outcome="failed", error=error, sent=error.sent)


def skipped(model: ModelRef) -> Attempt:
    return Attempt(model=model, outcome="skipped: requests limit")


def response(model: ModelRef, *attempts: Attempt, usd: str | None = "0.5", usage: Usage | None = None) -> ChatResponse:
    cost = Cost(status="no_pricing_in_registry") if usd is None else Cost(status="priced", usd=D(usd))
    return ChatResponse(
        content="ok",
        model=model,
        alias="fast",
        finish_reason="stop",
        usage=usage,
        cost=cost,
        attempts=(*attempts, answered(model)),
    )


def test_an_answered_row_counts_its_tokens_and_dollars() -> None:
    report = Report()
    usage = Usage(input_tokens=10, cache_read_tokens=5, output_tokens=3, reasoning_tokens=2)
    for _ in range(2):
        report.add(response(FIRST, usage=usage), None)
    assert report.by_model == {"acme:first": ModelReport(served=2, input_tokens=30, output_tokens=10, usd=D("1.0"))}
    assert (report.rows, report.answered, report.failed, report.requests) == (2, 2, 0, 2)
    assert (report.input_tokens, report.output_tokens, report.usd, report.unpriced) == (30, 10, D("1.0"), 0)


def test_an_answer_without_a_price_is_unpriced_and_not_free() -> None:
    report = Report()
    report.add(response(FIRST, usd=None), None)
    report.add(response(FIRST, usd="0"), None)
    assert (report.usd, report.unpriced) == (D(0), 1)


def test_an_answer_by_another_than_the_first_model_is_a_failover() -> None:
    report = Report()
    report.add(response(FIRST), None)
    report.add(response(SECOND, skipped(FIRST)), None)
    assert (report.failovers, report.answered, report.requests) == (1, 2, 2)


def test_refusals_are_counted_apart_from_failures_and_each_at_its_model() -> None:
    report = Report()
    refused, broken = RateLimited("slow"), ServerFault("broken")
    report.add(response(SECOND, failed(FIRST, refused), failed(SECOND, broken), failed(FIRST, refused)), None)
    assert report.by_model == {
        "acme:first": ModelReport(refused=2),
        "zenith:second": ModelReport(served=1, failed=1, usd=D("0.5")),
    }
    assert (report.refused, report.requests, report.failed) == (2, 4, 0)


def test_only_what_may_have_reached_a_provider_is_a_request() -> None:
    report = Report()
    report.add(response(SECOND, failed(FIRST, ConnectFailed("nobody")), skipped(FIRST)), None)
    assert report.requests == 1
    assert report.by_model["acme:first"] == ModelReport(failed=1)


def test_a_failed_row_counts_its_attempts_and_its_error_by_name() -> None:
    report = Report()
    error = AllModelsFailed("fast", [failed(FIRST, RateLimited("slow")), failed(SECOND, ServerFault("broken"))])
    report.add(None, error)
    report.add(None, error)
    assert (report.rows, report.answered, report.failed) == (2, 0, 2)
    assert report.errors == {"AllModelsFailed": 2}
    assert (report.requests, report.refused) == (4, 2)
    assert report.by_model == {"acme:first": ModelReport(refused=2), "zenith:second": ModelReport(failed=2)}


def test_a_row_that_one_provider_ended_counts_the_request_that_met_it() -> None:
    report = Report()
    error = BadRequest("wrong")
    error.model = SECOND
    report.add(None, error)
    assert (report.errors, report.requests) == ({"BadRequest": 1}, 1)
    assert report.by_model == {"zenith:second": ModelReport(failed=1)}


def test_a_row_that_was_never_sent_counts_no_request() -> None:
    report = Report()
    report.add(None, RouterClosed("closed"))
    assert (report.rows, report.failed, report.requests, report.by_model) == (1, 1, 0, {})


def test_two_reports_share_nothing() -> None:
    one, other = Report(), Report()
    one.add(response(FIRST), None)
    one.add(None, RouterClosed("closed"))
    assert other == Report()
