"""Bars of text."""

from hypothesis import given
from hypothesis import strategies as st

from llmring.reports.bars import Bar, bar_lines


def test_bars_are_in_proportion() -> None:
    bars = [Bar("a", 4.0, "$4"), Bar("long", 2.0, "$2"), Bar("none", 0.0, "")]
    assert list(bar_lines(bars, 20)) == ["a     ██████████ $4", "long  █████ $2", "none"]
    assert list(bar_lines(bars, 20, blocks=False)) == ["a     ########## $4", "long  ##### $2", "none"]


def test_something_is_not_shown_as_nothing() -> None:
    assert "▏" in list(bar_lines([Bar("a", 1e6, ""), Bar("b", 1e-6, "")], 40))[1]


@given(st.lists(st.floats(0, 1e12), max_size=20), st.integers(0, 200))
def test_no_line_is_wider_than_there_is_room_for(amounts: list[float], width: int) -> None:
    bars = [Bar(f"label {number}", amount, "$1.00") for number, amount in enumerate(amounts)]
    assert all(len(line) <= max(width, 8 + 5 + 4 + 10) for line in bar_lines(bars, width))
