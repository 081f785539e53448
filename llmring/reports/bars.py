"""Bars of text, for a terminal: a label, a bar in proportion, the amount. Pure.

In eighths of a character, so that small differences show in few columns; a terminal that cannot spell the blocks gets
whole ones of `#`.
"""

from collections.abc import Iterator, Sequence

import msgspec

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_LEAST_WIDTH = 10
MOST_BARS = 60


class Bar(msgspec.Struct, frozen=True):
    """`text` is the amount as it is shown."""

    label: str
    amount: float
    text: str


def bar_lines(bars: Sequence[Bar], width: int, *, blocks: bool = True) -> Iterator[str]:
    """A line for each, at most `width` wide where labels and amounts leave room for a bar of ten columns."""
    labels = max((len(bar.label) for bar in bars), default=0)
    texts = max((len(bar.text) for bar in bars), default=0)
    room = max(_LEAST_WIDTH, width - labels - texts - 4)
    most = max((bar.amount for bar in bars), default=0.0)
    for bar in bars:
        share = bar.amount / most if most > 0 else 0.0
        drawn = _blocks(share * room) if blocks else "#" * round(share * room)
        yield f"{bar.label.ljust(labels)}  {drawn or ' '} {bar.text}".rstrip()


def _blocks(columns: float) -> str:
    """Something is not shown as nothing."""
    eighths = max(round(columns * 8), 1 if columns > 0 else 0)
    rest = eighths % 8
    return _FULL * (eighths // 8) + (_EIGHTHS[rest] if rest else "")
