"""Is a model worth asking? A circuit breaker per model and key. Pure; every call takes `now` (trio clock, seconds).

    state       trips or ends when                                   then
    closed      5 failures in a row, or half of >= 10 calls in 30 s   open
    open        its time is over                                      probation
    probation   the one probe, a real request, succeeds               recovering
                the probe fails                                       open, twice as long, 20 s at most; longer
                                                                      where a probe costs its caller more than 2 s
                the probe is cancelled                                probation, for the next one
    recovering  10 s have passed (a share from 10 % to 100 % goes)    closed
                a failure                                             open, twice as long

An open one may be tried all the same where a request has too few other models (failover.py): one trial at a time, a
second apart, longer where it costs its caller more than 100 ms. One that succeeds ends the opening; one that fails
does not make it longer.

Failures are the classes of error that say so (`trips_breaker`). A refusal or the caller's own mistake shows a living
server and counts as a success; what is no evidence counts as a cancel. Results of requests sent before the breaker
opened change nothing.

What counts as a failure is the server's doing, not the key's, so the breakers of a model's other keys hear of it: five
in a row, with whatever key, open all of them, and a provider that is down costs as many requests as with one key. Only
successes stay each key's own. So a key whose calls alone fail is left out alone: the answers to the others' calls keep
theirs closed.
"""

import math
from collections.abc import Callable

from llmring.status import BreakerState

IN_A_ROW = 5
WINDOW_SECONDS = 30.0
WINDOW_LEAST_CALLS = 10
WINDOW_FAILED_SHARE = 0.5
OPEN_SECONDS = 5.0
OPEN_MOST_SECONDS = 300.0
OPEN_USUAL_SECONDS = 20.0
"""The most, where failing is quick: a provider that is back should not stay unused for minutes (of a pool of three, one
of them down for two minutes in ten, that cost 8 to 10 % of the time)."""

PROBE_SHARE = 0.1
"""Of the time, at most, is spent on probes that fail."""

TRIAL_SECONDS = 1.0
"""Between two trials of a model whose breaker is open, and before the first."""

_SLACK_SECONDS = 1e-6

RECOVERY_SECONDS = 10.0
RECOVERY_FIRST_SHARE = 0.1


class Breaker:
    """`jitter()` gives a number in [0, 1): an open breaker stays open for a random half to whole of its time, so that
    many clients do not come back in the same moment."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._state: BreakerState = "closed"
        self._in_a_row = 0
        self._seconds: dict[int, tuple[int, int]] = {}
        self._trips = 0
        self._until = -math.inf
        self._recovering_since = -math.inf
        self._probing = False
        self._tried = False
        self._trial_at = -math.inf
        self.generation = 0

    def state(self, now: float) -> BreakerState:
        if self._state == "open" and now >= self._until:
            # A trial that is still under way is the probe.
            self._state = "probation"
        elif self._state == "recovering" and now >= self._recovering_since + RECOVERY_SECONDS:
            self._state = "closed"
            self._trips = 0
        return self._state

    @property
    def until(self) -> float:
        """When an open breaker lets its probe go."""
        return self._until

    @property
    def probing(self) -> bool:
        """Whether the probe, or a trial, is under way: everybody else waits for what it finds."""
        return self._probing

    def trial_seconds(self, now: float) -> float:
        """In how many seconds an open breaker lets the next trial go, at the soonest."""
        left = self._trial_at - now
        # Less than rounding adds to a clock is none: a sleeper would wake in the same moment for ever.
        return TRIAL_SECONDS if self._probing else left if left > _SLACK_SECONDS else 0.0

    def share(self, now: float) -> float:
        """The part of the connections that may be used: grows from 10 % to 1 while recovering."""
        if self.state(now) != "recovering":
            return 1.0
        grown = (now - self._recovering_since) / RECOVERY_SECONDS
        return RECOVERY_FIRST_SHARE + (1.0 - RECOVERY_FIRST_SHARE) * grown

    def share_at(self, share: float) -> float:
        """When `share` of the connections may be used."""
        grown = (share - RECOVERY_FIRST_SHARE) / (1.0 - RECOVERY_FIRST_SHARE)
        return self._recovering_since + RECOVERY_SECONDS * min(1.0, max(0.0, grown))

    def begin(self, now: float) -> bool:
        """A request is being sent. True when it is the probe, or a trial."""
        state = self.state(now)
        if state == "open":
            self._tried = True
            self._trial_at = now + TRIAL_SECONDS
        self._probing = self._probing or state in ("open", "probation")
        return self._probing

    def record(self, *, ok: bool, generation: int, now: float, took: float) -> None:
        """A request that began in `generation` has ended, after `took` seconds."""
        state = self.state(now)
        if generation != self.generation:
            return
        if state == "open":
            self._judge_trial(now, took, ok=ok)
        elif state == "probation":
            self._recover(now) if ok else self._open(now, took)
        elif ok:
            self._in_a_row = 0
            self._count(now, failed=False)
        else:
            self._in_a_row += 1
            self._count(now, failed=True)
            if state == "recovering" or self._in_a_row >= IN_A_ROW or self._mostly_failing(now):
                self._open(now, took)

    def heard(self, now: float, took: float) -> None:
        """A request with another key has failed at the same model, after `took` seconds."""
        if self.state(now) in ("closed", "recovering"):
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self._open(now, took)

    def abandon_probe(self) -> None:
        """The probe was cancelled and has found nothing out: the next request is the probe."""
        self._probing = False

    def _judge_trial(self, now: float, took: float, *, ok: bool) -> None:
        if not self._tried:
            return
        self._probing = False
        if ok:
            self._recover(now)
        else:
            self._trial_at = now + max(TRIAL_SECONDS, took / PROBE_SHARE)

    def _open(self, now: float, took: float) -> None:
        whole = OPEN_SECONDS * 2.0**self._trips
        if whole < OPEN_MOST_SECONDS:
            # Not counted on for ever: a provider that is down for days would overflow the power.
            self._trips += 1
        whole = min(whole, OPEN_MOST_SECONDS, max(OPEN_USUAL_SECONDS, took / PROBE_SHARE))
        self._until = now + whole / 2.0 + whole / 2.0 * self._jitter()
        self._trial_at = now + max(TRIAL_SECONDS, took / PROBE_SHARE)
        self._enter("open")

    def _recover(self, now: float) -> None:
        self._recovering_since = now
        self._enter("recovering")

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._in_a_row = 0
        self._seconds.clear()
        self._probing = self._tried = False
        self.generation += 1

    def _count(self, now: float, *, failed: bool) -> None:
        second = math.floor(now)
        calls, failures = self._seconds.get(second, (0, 0))
        self._seconds[second] = (calls + 1, failures + failed)
        if len(self._seconds) > WINDOW_SECONDS + 1:
            self._forget(now)

    def _forget(self, now: float) -> None:
        oldest = now - WINDOW_SECONDS
        self._seconds = {second: counts for second, counts in self._seconds.items() if second >= oldest}

    def _mostly_failing(self, now: float) -> bool:
        self._forget(now)
        calls = sum(calls for calls, _ in self._seconds.values())
        failures = sum(failures for _, failures in self._seconds.values())
        return calls >= WINDOW_LEAST_CALLS and failures >= WINDOW_FAILED_SHARE * calls
