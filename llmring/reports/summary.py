"""A ledger's attempts summed in one pass, in total and by group. Pure; memory is bounded however long the ledger is.

Groups beyond MOST_GROUPS, tenants above all, are summed together as others. Which calls have failed so far is kept for
the newest OPEN_CALLS of them, to know of an answer whether another attempt had failed before it: where the first
attempt is not among the rows, or so far back, the answer counts as none of a failover.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from llmring.reports.attempts import Attempt, Missing
from llmring.reports.totals import Totals

MOST_GROUPS = 10_000
OPEN_CALLS = 65_536

By = Literal["alias", "model", "day", "tenant", "profile"]
DayOf = Callable[[str], str]
"""From a receipt's timestamp to the day that it is counted in."""


class Grouping(msgspec.Struct, kw_only=True):
    """Totals by group, in the order in which groups came up. None is the group of what has no such name. `others` are
    those of the groups that there was no room for."""

    by: By
    groups: dict[str | None, Totals] = {}
    others: Totals | None = None

    def of(self, key: str | None) -> Totals:
        """The totals to count in."""
        found = self.groups.get(key)
        if found is None:
            if len(self.groups) >= MOST_GROUPS:
                self.others = self.others or Totals()
                return self.others
            found = self.groups[key] = Totals()
        return found

    def ranked(self) -> list[tuple[str | None, Totals]]:
        """Days in their order, others by cost and then attempts, the greatest first."""
        if self.by == "day":
            return sorted(self.groups.items(), key=lambda group: group[0] or "")
        return sorted(self.groups.items(), key=lambda group: (-group[1].cost_usd, -group[1].attempts, group[0] or ""))


class Summary(msgspec.Struct, kw_only=True):
    """`missing` attempts have no receipt, as gaps say. `first` and `last` are timestamps of receipts, None of none;
    `unpriced_why` counts attempts without a price by `cost_status`."""

    total: Totals
    groupings: dict[By, Grouping]
    missing: int = 0
    first: str | None = None
    last: str | None = None
    unpriced_why: dict[str, int] = {}


def summarize(entries: Iterable[Attempt | Missing], by: Iterable[By], day_of: DayOf) -> Summary:
    """Count all of them, by each of `by`. Raises what `entries` does."""
    summary = Summary(total=Totals(), groupings={name: Grouping(by=name) for name in by})
    keys = _keys(day_of)
    counted = [(grouping, keys[name]) for name, grouping in summary.groupings.items()]
    calls = _Calls()
    for one in entries:
        if isinstance(one, Missing):
            summary.missing += one.missing
            continue
        _note(summary, one)
        answers, first = calls.ended(one)
        fails_over = first is not None and first != one.ref
        retries = first is not None and first == one.ref
        summary.total.add(one, answers=answers, fails_over=fails_over, retries=retries)
        for grouping, key in counted:
            grouping.of(key(one)).add(one, answers=answers, fails_over=fails_over, retries=retries)
    return summary


def _keys(day_of: DayOf) -> Mapping[By, Callable[[Attempt], str | None]]:
    return {
        "alias": lambda one: one.alias,
        "model": lambda one: one.ref,
        "day": lambda one: day_of(one.timestamp),
        "tenant": lambda one: one.tenant,
        "profile": lambda one: one.profile,
    }


def _note(summary: Summary, one: Attempt) -> None:
    """Processes that share a ledger write in turns: its timestamps are in order but for seconds."""
    if summary.first is None or one.timestamp < summary.first:
        summary.first = one.timestamp
    if summary.last is None or one.timestamp > summary.last:
        summary.last = one.timestamp
    if one.total_cost is None:
        why = one.cost_status or "unknown"
        summary.unpriced_why[why] = summary.unpriced_why.get(why, 0) + 1


class _Calls:
    """The calls whose attempts have failed so far, with the model that was asked first."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, str] = OrderedDict()

    def ended(self, one: Attempt) -> tuple[bool, str | None]:
        """Whether this is the first answer of its call; and the model that failed it first, None where none did.

        A call may be answered twice: where the first answer did not fit its schema.
        """
        is_first = one.attempt is None or one.attempt == 1
        if one.call is None:
            return one.is_answered, None
        if not one.is_answered:
            if is_first:
                self._failed[one.call] = one.ref
                if len(self._failed) > OPEN_CALLS:
                    self._failed.popitem(last=False)
            return False, None
        first = self._failed.pop(one.call, None)
        return is_first or first is not None, first
