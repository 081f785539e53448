"""A provider has said that its traffic grows too fast: how fast may it grow? Pure; takes `now` (trio clock, seconds).

Such a refusal (OpenAI's `slow_down`, Anthropic's acceleration limit) is of no limit: the same rate, come to slowly, is
taken. So the model is asked as often as it was answered in the minute before, evenly, and then more: half as much again
every minute. Each further refusal halves the growth. After a quarter of an hour without one, which OpenAI asks for, it
is over.
"""

import math

WINDOW_SECONDS = 60
SPAN_LEAST_SECONDS = 10
"""What was taken in a first moment's burst is spread over ten seconds at least."""

LEAST_PER_SECOND = 1.0
GROWTH_PER_MINUTE = 0.5
GROWTH_LEAST = 0.02
QUIET_SECONDS = 900.0
_SLACK_SECONDS = 1e-6
"""A wait shorter than this is none; see budget.py."""


class Ramp:
    """Of one model. `took` is told of every request, `refused` of every one that was too much."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        self._rate: float | None = None
        self._growth = GROWTH_PER_MINUTE
        self._refused_at = -math.inf
        self._held_until = -math.inf
        self._next_at = -math.inf

    @property
    def growth(self) -> float:
        """The part by which the rate grows in a minute."""
        return self._growth

    def rate(self, now: float) -> float | None:
        """How many requests a second may go; None where nobody has complained of late."""
        if self._rate is None or now >= self._refused_at + QUIET_SECONDS:
            return None
        return self._rate * math.pow(1.0 + self._growth, max(0.0, now - self._held_until) / 60.0)

    def wait(self, now: float) -> float:
        """Seconds until the next request may go."""
        if self._rate is None or self.rate(now) is None:
            return 0.0
        left = self._next_at - now
        return left if left > _SLACK_SECONDS else 0.0

    def took(self, now: float) -> None:
        """A request is sent."""
        second = math.floor(now)
        self._taken[second] = self._taken.get(second, 0) + 1
        if len(self._taken) > 2 * WINDOW_SECONDS:
            self._taken = {one: count for one, count in self._taken.items() if one > second - WINDOW_SECONDS}
        rate = self.rate(now) if self._rate is not None else None
        if rate is not None:
            self._next_at = max(now, self._next_at) + 1.0 / rate

    def refused(self, sent_at: float, held_until: float, now: float) -> None:
        """A request was refused for the growth; nothing goes before `held_until`. Of those that left before the last
        hold began only the number counts: one step was one too many, not all of its requests."""
        sent = math.floor(sent_at)
        if self._taken.get(sent, 0) > 0:
            self._taken[sent] -= 1
        if sent_at >= self._held_until or self._rate is None:
            quiet = now >= self._refused_at + QUIET_SECONDS
            self._growth = GROWTH_PER_MINUTE if quiet else max(GROWTH_LEAST, self._growth / 2.0)
            self._rate = self._accepted(now)
        else:
            self._rate = min(self._rate, self._accepted(now))
        self._refused_at = now
        self._held_until = max(held_until, self._held_until)
        self._next_at = self._held_until

    def _accepted(self, now: float) -> float:
        """How many requests a second were taken lately."""
        first = math.floor(now) - WINDOW_SECONDS
        recent = {second: count for second, count in self._taken.items() if second > first}
        span = max(SPAN_LEAST_SECONDS, min(WINDOW_SECONDS, now - min(recent, default=now)))
        return max(LEAST_PER_SECOND, sum(recent.values()) / span)
