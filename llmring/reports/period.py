"""Spans of time as a person writes them, and the days that receipts are counted in. Pure; takes `now`.

A day is UTC's unless another time zone is asked for, with its summer time: on the day that the clocks change it has 23
or 25 hours.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from llmring.errors import ConfigError
from llmring.receipts.receipt import timestamp

_AGO = re.compile(r"(\d{1,5})([dh])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MINUTE = len("2026-08-01T12:00")
_DAY = len("2026-08-01")
_MINUTES_KEPT = 4096


def bound(text: str, where: tzinfo, now: datetime, *, ends: bool) -> str:
    """The timestamp that a span begins at or, with `ends`, ends before: of a date, a time, or so long ago (7d, 12h).

    A span that ends with a date has that day in it. Raises ConfigError.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            length = timedelta(days=int(ago[1])) if ago[2] == "d" else timedelta(hours=int(ago[1]))
            return timestamp(now - length)
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=int(ends))
            return timestamp(datetime.combine(day, time(), where))
        moment = datetime.fromisoformat(text)
        return timestamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=where))
    except OverflowError as error:
        raise ConfigError(
            f"{text!r} is beyond the dates that are counted: the first is 0001-01-02, the last 9999-12-30"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no date: write 2026-08-01, 2026-08-01T14:30, or how long ago, such as 7d or 12h"
        ) from error


def day_in(where: tzinfo) -> Callable[[str], str]:
    """From a receipt's timestamp to its day, as `2026-08-01`."""
    if where is UTC:
        return lambda text: text[:_DAY]

    @lru_cache(maxsize=_MINUTES_KEPT)
    def of_minute(minute: str) -> str:
        # No zone's offset changes within a minute.
        return datetime.fromisoformat(f"{minute}:00+00:00").astimezone(where).date().isoformat()

    return lambda text: of_minute(text[:_MINUTE])


def days(first: str, last: str, *, most: int) -> Iterator[str]:
    """Every day from one to the other, both included; of more than `most` the last ones."""
    low, high = date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal()
    return (date.fromordinal(day).isoformat() for day in range(max(low, high - most + 1), high + 1))


def week_of(day: str) -> str:
    """The Monday that its week begins with."""
    found = date.fromisoformat(day)
    return (found - timedelta(days=found.weekday())).isoformat()
