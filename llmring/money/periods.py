"""The times that budgets are of: days and months of a time zone, or the life of a router. Pure; takes the time of day.

On the day that the clocks change a day has 23 or 25 hours.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec

from llmring.lockfile.budgets import Per


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is its name in the ledger: "2026-11-21", "2026-11", "run", with the time zone where that is not UTC:
    "2026-11-21 Europe/Berlin". `ends_at` is when the next one begins; both times are UTC, and a run has neither. Names
    of days, of months and of zones differ, so that one budget may have them all."""

    key: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether `now` is in it."""
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)


RUN = Period(key="run")


def period_of(per: Per, now: datetime, where: tzinfo = UTC) -> Period:
    """The period that `now`, an aware time, is in, by the clocks of `where`."""
    day = now.astimezone(where).date()
    named = "" if where is UTC else f" {where}"
    match per:
        case "run":
            return RUN
        case "day":
            following = day + timedelta(days=1)
            return _between(f"{day:%Y-%m-%d}{named}", day, following, where)
        case "month":
            # The 28th is in every month, and 4 days later is the next one.
            following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            return _between(f"{day:%Y-%m}{named}", day.replace(day=1), following, where)


def _between(key: str, first: date, following: date, where: tzinfo) -> Period:
    # In UTC: two times of one zone are compared by their clocks, which show an hour twice when they are put back.
    starts_at, ends_at = (datetime.combine(day, time(), where).astimezone(UTC) for day in (first, following))
    return Period(key=key, starts_at=starts_at, ends_at=ends_at)
