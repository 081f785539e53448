"""A report as a page: whole by itself, in order, and text is text."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmring.reports.attempts import Attempt
from llmring.reports.charts import ceiling
from llmring.reports.page import write_page
from llmring.reports.summary import summarize
from tests.reports.samples import attempt, attempts

NOW = datetime(2026, 8, 15, tzinfo=UTC)
EMPTY = {"meta", "rect", "path", "!doctype"}


class Page(HTMLParser):
    """The elements of a page; closing one that is not the innermost fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(*found: Attempt) -> str:
    return "".join(write_page(summarize(found, ("day", "alias", "model"), lambda text: text[:10]), NOW, "UTC"))


def days_of(text: str) -> Iterator[str]:
    """What is told of the shapes of the first chart."""
    chart = re.findall(r"<svg.*?</svg>", text, re.DOTALL)[0]
    return iter(re.findall(r"<title>(.*?)</title>", chart))


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b'c", "</style>"])
def test_names_are_text(text: str) -> None:
    told = Page(page(attempt(alias=text, provider=text, model=text)))
    assert not {"script", "img"} & set(told.names)
    assert not [name for name, _ in told.attributes if name.startswith("on")]
    assert text in told.texts


def test_it_asks_nobody_for_anything() -> None:
    text = page(attempt(), attempt(outcome="ServerFault"))
    told = Page(text)
    assert not {"script", "link", "iframe", "img", "object"} & set(told.names)
    assert not [value for name, value in told.attributes if name in ("src", "href", "xlink:href", "action")]
    assert "default-src 'none'" in text
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")


@given(st.lists(attempts, max_size=12))
def test_whatever_was_asked_the_page_is_well_formed(found: list[Attempt]) -> None:
    text = page(*found)
    assert Page(text).open == []
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_there_is_a_table_behind_every_chart() -> None:
    told = Page(page(attempt(), attempt(timestamp="2026-08-03T00:00:00.000000Z")))
    assert told.names.count("figure") == told.names.count("table") == told.names.count("caption") == 5
    assert told.names.count("svg") == [name for name, _ in told.attributes].count("role")


def test_a_day_on_which_nothing_was_asked_is_there() -> None:
    text = page(attempt(), attempt(timestamp="2026-08-03T00:00:00.000000Z"))
    assert list(days_of(text)) == [
        "2026-08-01: $0.2500, 1 call",
        "2026-08-02: nothing asked",
        "2026-08-03: $0.2500, 1 call",
    ]


def test_what_has_no_price_is_not_shown_as_free() -> None:
    text = page(attempt(total_cost=None, cost_status="model_not_in_registry"))
    assert list(days_of(text)) == ["2026-08-01: 1 unpriced, 1 call"]
    assert "1 attempt without a price is not in the cost" in text
    assert 'class="mark"' in text


def test_a_ledger_without_receipts_is_a_page_that_says_so() -> None:
    told = Page(page())
    assert "No receipts" in told.texts
    assert "figure" not in told.names


@given(st.floats(1e-9, 1e12))
def test_an_axis_ends_at_or_a_little_above_what_it_shows(most: float) -> None:
    assert most * 0.999 <= ceiling(most) <= most * 1.7


def test_more_than_a_dozen_are_one_bar_at_the_end() -> None:
    found = [attempt(alias=f"alias {number}", total_cost=Decimal(number)) for number in range(20)]
    told = Page(page(*found))
    assert "all others" in told.texts
    assert "alias 19" in told.texts


def test_of_a_long_time_weeks_are_drawn_and_nothing_is_lost() -> None:
    ends = ("2026-01-01T00:00:00.000000Z", "2026-12-31T00:00:00.000000Z")
    text = page(*(attempt(timestamp=end) for end in ends), attempt(timestamp="2026-01-02T00:00:00.000000Z"))
    told = list(days_of(text))
    assert (told[0], told[1], told[-1]) == (
        "2025-12-29: $0.5000, 2 calls",
        "2026-01-05: nothing asked",
        "2026-12-28: $0.2500, 1 call",
    )
    assert len(told) == 53
    assert "<h2>Cost a week</h2>" in text and '<th scope="row">2026-01-02</th>' in text
