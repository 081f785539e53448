"""A limit that nobody tells, or of which others take a part: learned from refusals alone. Pure; takes `now` (seconds).

At a refusal the provider's bucket is empty. What it took until the next refusal is therefore no more than what came in
between: the rate, measured without knowing the bucket. A little less than that is asked for from then on, and carefully
more after a while, until it refuses again.

Where another program takes a part, no two measures are the same, and right after a refusal the next one is near, for
nothing is in reserve: a few requests then say little, measures are taken together, and less is asked for at first.
"""

import math

import msgspec

LESS = 0.97
"""Of the measured rate."""

RESERVE = 0.7
"""Of that, at first, where a rate was asked for before: until it has grown back some twenty requests are in reserve.
Without them a provider of which another program took 30 % at random moments refused in clusters: 0.8 % of all requests,
with them 0.5 % (bench/simulate)."""

SURE_SECONDS = 20.0
"""A rate measured over less than this is a guess, and grows as one."""

CONFIRMED_SHARE = 0.85
"""Unless it is nearly what was asked for."""

KNOWN_SECONDS = 2.0
"""A guess is a mean with what is known already, as if that were measured over so long: of a single request within half
a second came 1 a second where it was 3.4, and two minutes until it had grown back."""

SAME_SHARE = 0.8
REMEMBERED_SECONDS = 120.0
"""Measures that differ by less are of one limit, and are taken together: so many seconds of the earlier ones."""

GROW_EVERY_SECONDS = 5.0
GUESS_GROWS = 1.05
"""A guess, every 5 seconds."""

QUIET_SECONDS = 120.0
GROWTH_PER_MINUTE = 0.02
GROWTH_DOUBLES_SECONDS = 300.0
GROWTH_MOST = 0.3
"""A measured rate stays for two minutes, then grows by 2 % a minute, and faster the longer it goes well."""


class Learned(msgspec.Struct, kw_only=True):
    """One dimension. `taken` is what the provider took since `at`, a refusal; `rate` a second is what may be asked for,
    None before the first refusal is understood. `told` is what the lockfile says, 0 where it says nothing.

    `measured` is the rate that refusals which lie apart have taught, over `measured_seconds`, 0 before that; a `rate`
    below it grows back to it as a guess. `refused_at` is the last refusal.

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
    told: float = 0.0
    measured: float = 0.0
    measured_seconds: float = 0.0
    refused_at: float = -math.inf

    @property
    def known(self) -> float:
        """What a lower rate grows back to; 0 where nothing is known."""
        return max(self.kept_rate, self.measured)

    def refused(self, sent_at: float, held_until: float, now: float) -> bool:
        """A request was refused. True when it taught something: those that left before the last hold began do not, nor
        does a provider that takes nothing at all."""
        news = sent_at >= self.held_until and self.taken > 0.0
        if not news or self._teach(now - self.at):
            self.at, self.taken = now, 0.0
        self.refused_at, self.held_until, self.grown_at = now, max(held_until, self.held_until), now
        return news

    def _teach(self, seconds: float) -> bool:
        """Learn from what was taken. Whether the next measure begins anew: a short one goes on."""
        # What had been in the bucket when a process began is not what came in.
        began, self.kept_rate = self.kept_rate > 0.0, 0.0
        if seconds >= SURE_SECONDS and not began:
            self._measure(self.taken / seconds, seconds)
            return True
        self._guess(seconds)
        return began

    def _measure(self, rate: float, seconds: float) -> None:
        """From two refusals that lie apart; with earlier ones, unless the limit has changed."""
        again = self.measured > 0.0 and SAME_SHARE <= LESS * rate / self.measured <= 1.0 / SAME_SHARE
        if again:
            earlier = self.measured_seconds
            rate = (self.measured / LESS * earlier + rate * seconds) / (earlier + seconds)
            seconds += earlier
        self.measured, self.measured_seconds = LESS * rate, min(seconds, REMEMBERED_SECONDS)
        too_much = self.rate is not None and self.measured < self.rate
        self.rate = (RESERVE if again or too_much else 1.0) * self.measured
        self.sure = True

    def _guess(self, seconds: float) -> None:
        """From a few seconds: never more than what was asked for."""
        rate = self.taken / max(seconds, 1.0)
        confirms = self.rate is not None and rate >= CONFIRMED_SHARE * self.rate
        self.sure = self.measured > 0.0 or (confirms and seconds >= GROW_EVERY_SECONDS)
        known = self.measured or self.told
        if known:
            rate = (known * KNOWN_SECONDS + self.taken) / (KNOWN_SECONDS + seconds)
        if self.rate is not None:
            rate = min(rate, self.rate)
        elif self.told:
            rate *= RESERVE
        self.rate = LESS * rate

    def grow(self, now: float) -> bool:
        """Dare more, when it is time. True when the rate has changed."""
        passed = now - self.grown_at
        if self.rate is None or passed < GROW_EVERY_SECONDS:
            return False
        self.grown_at = now
        known, quiet = self.known, now - max(self.at, self.refused_at)
        if not self.sure or self.rate < known or (not known and quiet >= SURE_SECONDS):
            most = known if self.sure and known else math.inf
            self.rate = min(self.rate * GUESS_GROWS, most)
            return True
        quiet -= QUIET_SECONDS
        if quiet < 0.0:
            return False
        doublings = min(quiet / GROWTH_DOUBLES_SECONDS, 10.0)
        growth = min(GROWTH_PER_MINUTE * 2.0 ** math.floor(doublings), GROWTH_MOST)
        # A pause teaches nothing: after an idle hour the rate is what it was, and a step more.
        self.rate *= 1.0 + growth * min(passed, 2 * GROW_EVERY_SECONDS) / 60.0
        return True
