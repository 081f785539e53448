"""A limit that nobody tells: learned from refusals alone. Pure; takes `now` (seconds).

At a refusal the provider's bucket is empty. What it took until the next refusal is therefore no more than what came in
between: the rate, measured without knowing the bucket. A little less than that is asked for from then on, and carefully
more after a while, until it refuses again.
"""

import math

import msgspec

LESS = 0.97
"""Of the measured rate."""

SURE_SECONDS = 20.0
"""A rate measured over less than this is a guess, and grows as one."""

CONFIRMED_SHARE = 0.85
"""Unless it is nearly what was asked for."""

GROW_EVERY_SECONDS = 5.0
GUESS_GROWS = 1.05
"""A guess, every 5 seconds."""

QUIET_SECONDS = 120.0
GROWTH_PER_MINUTE = 0.02
GROWTH_DOUBLES_SECONDS = 300.0
GROWTH_MOST = 0.3
"""A measured rate stays for two minutes, then grows by 2 % a minute, and faster the longer it goes well."""


class Learned(msgspec.Struct, kw_only=True):
    """One dimension. `taken` is what the provider took since `at`, its last refusal; `rate` a second is what may be
    asked for, None before the first refusal is understood.

    `kept_rate` is what an earlier process had learned by `kept_at`, 0 once a refusal has taught anew: till then `at` is
    no refusal but the beginning, and a `rate` below it grows back as a guess."""

    at: float
    held_until: float
    taken: float = 0.0
    rate: float | None = None
    sure: bool = False
    grown_at: float = 0.0
    kept_rate: float = 0.0
    kept_at: float = 0.0

    def refused(self, sent_at: float, held_until: float, now: float) -> bool:
        """A request was refused. True when it taught something: those that left before the last hold began do not, nor
        does a provider that takes nothing at all."""
        news = sent_at >= self.held_until and self.taken > 0.0
        if news:
            seconds = now - self.at
            measured = self.taken / max(seconds, 1.0)
            # What had been in the bucket when a process began is not what came in.
            long = seconds >= SURE_SECONDS and not self.kept_rate
            confirms = self.rate is not None and measured >= CONFIRMED_SHARE * self.rate
            self.sure = long or (confirms and seconds >= GROW_EVERY_SECONDS)
            # Of a first moment's burst nobody knows what came in and what had been there.
            self.rate = LESS * (measured if self.rate is None or long else min(measured, self.rate))
            self.kept_rate = 0.0
        self.at, self.held_until, self.taken, self.grown_at = now, max(held_until, self.held_until), 0.0, now
        return news

    def grow(self, now: float) -> bool:
        """Dare more, when it is time. True when the rate has changed."""
        passed = now - self.grown_at
        if self.rate is None or passed < GROW_EVERY_SECONDS:
            return False
        self.grown_at = now
        if not self.sure or self.rate < self.kept_rate:
            most = self.kept_rate if self.sure else math.inf
            self.rate = min(self.rate * GUESS_GROWS, most)
            return True
        quiet = now - self.at - QUIET_SECONDS
        if quiet < 0.0:
            return False
        doublings = min(quiet / GROWTH_DOUBLES_SECONDS, 10.0)
        growth = min(GROWTH_PER_MINUTE * 2.0 ** math.floor(doublings), GROWTH_MOST)
        # A pause teaches nothing: after an idle hour the rate is what it was, and a step more.
        self.rate *= 1.0 + growth * min(passed, 2 * GROW_EVERY_SECONDS) / 60.0
        return True
