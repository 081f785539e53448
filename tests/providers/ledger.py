"""What a limit may let through by the plain rule alone: the model that the tests of budgets hold beside them.

A limit holds so much and brings so much a second. No margin, no cushion, no guess at what others take: whatever a
budget adds to the rule may only make it more careful. What was reserved counts from then on; what is settled above or
below it counts when it is settled; what the provider grants by its own word, when it says so.
"""

import msgspec

from llmring.providers.bucket import Limit

CLOCK_SECONDS = 1e-5
"""Waits below a microsecond count as none."""


class _Entry(msgspec.Struct, frozen=True):
    at: float
    brought: float
    amount: float


class Ledger:
    """Of one limit. Raises AssertionError when more goes out than was there."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.level = limit.amount
        self._at = now
        self._brought = 0.0
        self._amounts = [(now, limit.amount)]
        self._entries: list[_Entry] = []
        self._kept: dict[int, tuple[float, float]] = {}
        self._granted: list[tuple[float, float]] = []

    @property
    def slack(self) -> float:
        return max(amount for _, amount in self._amounts) * (1e-6 + CLOCK_SECONDS / self.limit.period)

    def advance(self, now: float) -> None:
        brought = self.limit.amount / self.limit.period * (now - self._at)
        self.level = min(self.limit.amount, self.level + brought)
        self._brought += brought
        self._at = now

    def taken(self, number: int, amount: float) -> None:
        """A request was let go."""
        self._enter(amount)
        self._kept[number] = (self._at, amount)
        self._check()

    def settled(self, number: int, actual: float) -> None:
        """A request has taken `actual` in the end."""
        at, before = self._kept[number]
        self._kept[number] = (at, actual)
        self._enter(actual - before)
        self.level = min(self.limit.amount, self.level)

    def granted(self, amount: float) -> None:
        """The provider has said that so much more is there."""
        self._enter(-amount)
        self._granted.append((self._at, amount))

    def resized(self, amount: float) -> None:
        """The provider has said that the limit is another."""
        self.limit = msgspec.structs.replace(self.limit, amount=amount)
        self.level = min(self.level, amount)
        self._amounts.append((self._at, amount))

    def _enter(self, amount: float) -> None:
        self.level -= amount
        self._entries.append(_Entry(self._at, self._brought, amount))

    def _check(self) -> None:
        """Of every stretch of time that ends now."""
        if self.limit.counted == "by window":
            since = self._at - self.limit.period
            kept = sum(amount for at, amount in self._kept.values() if at > since)
            granted = sum(amount for at, amount in self._granted if at > since)
            assert kept <= self._most_since(since) + granted + self.slack, "more than the limit in one period"
            return
        total = 0.0
        for entry in reversed(self._entries):
            total += entry.amount
            there = self._most_since(entry.at) + self._brought - entry.brought
            assert total <= there + self.slack, f"more than limit and refill since {entry.at}"

    def _most_since(self, at: float) -> float:
        """The largest limit that was in force since then."""
        before = [amount for when, amount in self._amounts if when < at]
        return max([amount for when, amount in self._amounts if when >= at] + before[-1:])
