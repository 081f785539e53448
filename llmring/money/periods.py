"""The times that budgets are of: days and months of UTC, or the life of a router. Pure; takes the time of day."""

from datetime import UTC, date, datetime, time, timedelta

import msgspec

from llmring.lockfile.budgets import Per


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is its name in the ledger: "2026-11-21", "2026-11", "run". `ends_at` is when the next one begins; a run has
    neither times. Names of days and of months differ, so that one budget may have both."""

    key: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether `now` is in it."""
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)


RUN = Period(key="run")


def period_of(per: Per, now: datetime) -> Period:
    """The period that `now`, an aware time, is in."""
    day = now.astimezone(UTC).date()
    match per:
        case "run":
            return RUN
        case "day":
            following = day + timedelta(days=1)
            return Period(key=f"{day:%Y-%m-%d}", starts_at=_midnight(day), ends_at=_midnight(following))
        case "month":
            # The 28th is in every month, and 4 days later is the next one.
            following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            return Period(key=f"{day:%Y-%m}", starts_at=_midnight(day.replace(day=1)), ends_at=_midnight(following))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
