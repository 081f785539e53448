"""How many requests a server works on at once, found out by how long they take. Pure; takes `now` (seconds).

Where the limit is parallelism (Ollama, a vLLM of one's own), a request beyond it waits in the server's queue: twice as
many in flight take twice as long, and no more of them are answered. So the number in flight is doubled, then grown by
one, while that costs little time, and shrunk by as much as it costs too much. The rule is that of TCP Vegas and of the
gradient limits of Netflix's concurrency-limits (https://github.com/Netflix/concurrency-limits, "Gradient2"): the limit
times the time without a queue over the time now. Theirs compares with a long-term mean or minimum; here it is what was
taken at about half the number, measured again every five minutes. A server that takes longer for a fuller batch and
answers more for it is so not mistaken for one that lets requests wait.
"""

MOST = 64
LEAST_SAMPLES = 8
"""Of a round; with more in flight, as many as there are. They must have been sent since the number was changed."""

GROW_BELOW = 1.3
SHRINK_ABOVE = 1.6
SHRINK_AT_ONCE = 3.0
"""Times as long as at half the number. All of a full queue is 2; in between the number stays. Short of the last, two
rounds must say so: times scatter."""

SHRUNK_TO = 1.5
LEAST_STEP = 0.5
"""What a shrunk number aims at, and what it is multiplied by at the least."""

HOLD_ROUNDS = 10
"""Without growing, after it was shrunk: each try costs whoever waits for an answer."""

PROBE_SECONDS = 300.0
"""How often half the number is tried for a round, to know what it takes there now; sooner after it was shrunk, for then
maybe it was not the number, but the model has become slower."""

FLAT = 0.8
"""What takes as long with half the number, nearly, is no queue."""

NEWEST = 0.5
"""What a new measure counts of what it took at half the number."""


class Concurrency:
    """`limit` may be in flight at once: at least 1, at most `most`."""

    def __init__(self, most: int = MOST) -> None:
        self.limit = 1
        self._most = most
        self._base: dict[str, float] = {}
        self._samples: dict[str, tuple[float, float]] = {}
        self._count = 0
        self._peak = 0
        self._ticket = 0
        self._first_ticket = 0
        self._probed_at: float | None = None
        self._probing_from: int | None = None
        self._doubles = True
        self._suspects = False
        self._hold = 0
        self._rise_of_whole = 1.0
        self._was_shrunk = False

    def sent(self, in_flight: int) -> int:
        """A request is being sent; so many are under way with it. Returns its ticket."""
        self._peak = max(self._peak, in_flight)
        self._ticket += 1
        return self._ticket

    def answered(self, ticket: int, what: str, seconds: float, units: float, now: float) -> None:
        """`units` (tokens of an answer, or one first text) have taken so many seconds. Only the same `what` is
        compared: one model, streamed or not."""
        if units <= 0.0 or ticket < self._first_ticket:
            return
        before = self._samples.get(what, (0.0, 0.0))
        self._samples[what] = (before[0] + seconds, before[1] + units)
        self._count += 1
        if self._count >= max(LEAST_SAMPLES, self.limit):
            self._end_round(now)

    def refused(self, ticket: int) -> None:
        """The server was too busy. Half as many from now on; of many that were refused together, once."""
        if ticket >= self._first_ticket:
            self._shrink((self._probing_from or self.limit) // 2)

    def _end_round(self, now: float) -> None:
        means = {what: seconds / units for what, (seconds, units) in self._samples.items()}
        rise = self._rise(means)
        if self._probed_at is None:
            self._probed_at = now
        if self._probing_from is not None:
            self._end_probe(means, rise, self._probing_from)
            self._probed_at = now
        elif self.limit == 1:
            # Nothing of ours is in the way now: if it is slow, the model is.
            self._hold = self._hold if rise <= GROW_BELOW else 0
            self._rebase(means, NEWEST)
            self._doubles = True
            self._grow()
        elif rise > SHRINK_ABOVE:
            self._take_rise(rise)
        elif now - self._probed_at >= PROBE_SECONDS or (self._was_shrunk and self._hold == 0):
            self._probe(rise)
        else:
            self._suspects = False
            self._doubles = self._doubles and rise <= GROW_BELOW
            if self._doubles:
                # The next round has twice the number.
                self._rebase(means, 1.0)
            self._grow(may=rise <= GROW_BELOW)

    def _rise(self, means: dict[str, float]) -> float:
        """How many times as long it takes as at half the number: the mean over what was asked."""
        for what, mean in means.items():
            self._base.setdefault(what, mean)
        usual = sum(units * self._base[what] for what, (_, units) in self._samples.items())
        return sum(seconds for seconds, _ in self._samples.values()) / usual if usual > 0.0 else 1.0

    def _rebase(self, means: dict[str, float], share: float) -> None:
        for what, mean in means.items():
            self._base[what] += share * (mean - self._base[what])

    def _take_rise(self, rise: float) -> None:
        """It takes too long."""
        self._doubles = False
        if not self._suspects and (rise < SHRINK_AT_ONCE or self._was_shrunk):
            # What a probe is compared with must be settled too: a round in which the server changed is between.
            self._suspects = True
            self._begin_round()
        elif self._was_shrunk:
            self._probe(rise)
        else:
            self._shrink(int(self.limit * max(LEAST_STEP, SHRUNK_TO / rise)))

    def _end_probe(self, means: dict[str, float], rise: float, whole: int) -> None:
        if GROW_BELOW < rise < FLAT * self._rise_of_whole:
            # Half of it is too many still.
            self._shrink(self.limit)
        elif FLAT * rise > self._rise_of_whole:
            # Fewer do not take longer: the server has changed meanwhile, and the two are not to be compared.
            self._change(whole)
        else:
            self._rebase(means, NEWEST)
            self._was_shrunk = False
            self._change(whole)

    def _grow(self, *, may: bool = True) -> None:
        was_used = 2 * self._peak > self.limit
        if may and was_used and self._hold == 0 and self.limit < self._most:
            self._change(min(self._most, 2 * self.limit if self._doubles else self.limit + 1))
        else:
            self._hold = max(0, self._hold - 1)
            self._begin_round()

    def _shrink(self, limit: int) -> None:
        self._doubles, self._was_shrunk = False, True
        self._hold = HOLD_ROUNDS
        self._change(max(1, limit))

    def _probe(self, rise: float) -> None:
        self._rise_of_whole, whole = rise, self.limit
        self._change((whole + 1) // 2)
        self._probing_from = whole

    def _change(self, limit: int) -> None:
        self.limit = limit
        self._first_ticket = self._ticket + 1
        self._suspects, self._probing_from = False, None
        self._begin_round()

    def _begin_round(self) -> None:
        self._samples.clear()
        self._count = self._peak = 0
