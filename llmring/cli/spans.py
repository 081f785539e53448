"""`--since`, `--until` and `--timezone`: the receipts that a command is about, read from its ledger."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import click
import msgspec

from llmring.cli.ledgers import chosen_ledger, reading
from llmring.errors import ConfigError
from llmring.receipts.store import Row
from llmring.reports.period import bound
from llmring.zones import zone

Work = TypeVar("Work", bound=Callable[..., Any])


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From one timestamp to before another, as receipts spell them; `where` is the time zone of its days."""

    since: str | None
    until: str | None
    where: tzinfo = UTC

    @property
    def place(self) -> str:
        """The name of the time zone."""
        return str(getattr(self.where, "key", None) or "UTC")


def span_options(work: Work) -> Work:
    """Adds the three options."""
    options = (
        click.option("--since", metavar="DATE", help="From this day or time: 2026-08-01, 2026-08-01T14:30, 7d, 12h."),
        click.option("--until", metavar="DATE", help="Up to this day, which counts, or to before this time."),
        click.option("--timezone", metavar="ZONE", help="Whose days and times these are.  [default: UTC]"),
    )
    for option in reversed(options):
        work = option(work)
    return work


def read_span(since: str | None, until: str | None, timezone: str | None) -> Span:
    """What the options say. Raises ConfigError."""
    where, now = zone(timezone), datetime.now(UTC)
    span = Span(
        since=bound(since, where, now, ends=False) if since is not None else None,
        until=bound(until, where, now, ends=True) if until is not None else None,
        where=where,
    )
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise ConfigError(f"--since {since} is not before --until {until}: there is no time between the two")
    return span


@contextmanager
def rows_of(ledger: str | None, span: Span) -> Generator[Iterator[Row]]:
    """The rows of the chosen ledger in a span of time, one by one, from the state in which it is now: another process
    may go on writing. Raises ConfigError, ReceiptError."""
    with reading(chosen_ledger(ledger)) as store:
        yield store.rows(since=span.since, until=span.until)
