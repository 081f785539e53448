"""The line of a map and the table at its end: what they say of money."""

from decimal import Decimal as D

from llmring.cli.progress import progress_line, report_text
from llmring.router.map.progress import Progress
from llmring.router.map.report import ModelReport, Report


def told(projected: D | None) -> Progress:
    return Progress(
        rows=4,
        failed=0,
        in_flight=1,
        rows_per_second=2.0,
        binding="acme requests limit",
        eta_seconds=83.0,
        projected_usd=projected,
    )


def test_the_cost_is_told_with_what_the_whole_run_will_cost() -> None:
    report = Report(rows=4, answered=4, by_model={"acme:m": ModelReport(served=4, usd=D("0.4"))})
    line = progress_line(told(report.projected_usd(10)), report, 10)
    assert line == "4/10 rows · 2.0/s · $0.400000 of $1.000000 · bound by acme requests limit · 1:23 left"
    assert "$0.400000 of $1.000000" in report_text(report, 10)
    assert "of $" not in report_text(report, 4)
    assert "of $" not in report_text(report)


def test_what_has_no_price_is_not_projected() -> None:
    report = Report(rows=4, answered=4, by_model={"acme:m": ModelReport(served=4, unpriced=4)})
    assert report.projected_usd(10) is None
    assert "4 unpriced · bound" in progress_line(told(None), report, 10)
    assert Report().projected_usd(10) is None
    free = Report(rows=4, answered=4, by_model={"acme:m": ModelReport(served=4)})
    assert free.projected_usd(10) == 0


def test_rows_that_were_not_asked_cost_nothing_on_average() -> None:
    report = Report(rows=6, answered=6, resumed=3, duplicates=1, by_model={"acme:m": ModelReport(served=2, usd=D(4))})
    assert report.projected_usd(10) == D(12)
