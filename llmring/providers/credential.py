"""Credential: what all routes of one key share. Synchronous; takes `now`."""

import logging
import math
from collections.abc import Callable

from llmring.errors import ProviderError
from llmring.providers.budget import Budget
from llmring.providers.concurrency import Concurrency
from llmring.providers.fairness import Fairness
from llmring.providers.readiness import Shut

_LOG = logging.getLogger("llmring")


class Credential:
    """A key: its configured limits, its connections, and whether the key works.

    `max_in_flight` bounds the connections; with a `concurrency` fewer are used, as many as the server works on at once.
    `random()` gives a number in [0, 1); `called_at` is when the newest call came that somebody waits for. `key` is the
    name of the key's variable where its provider has several, never the key; `shared_with` are the other keys of its
    account, whose limits and turns are its own.
    """

    def __init__(
        self,
        budget: Budget,
        max_in_flight: int,
        random: Callable[[], float],
        concurrency: Concurrency | None = None,
        key: str | None = None,
        fairness: Fairness | None = None,
    ) -> None:
        self.budget = budget
        self.max_in_flight = max_in_flight
        self.concurrency = concurrency
        self.random = random
        self.key = key
        self.in_flight = 0
        self.fairness = fairness if fairness is not None else Fairness()
        self.called_at = -math.inf
        self.shared_with: tuple[Credential, ...] = ()
        self.missing: str | None = None
        self._out: Shut | None = None
        self._out_until = -math.inf
        self._told: str | None = None

    def called(self, now: float) -> None:
        """A call came that somebody waits for."""
        self.called_at = now
        for other in self.shared_with:
            other.called_at = now

    def inherit(self, previous: "Credential", now: float) -> None:
        """Go on where the same key stood before an edit of the lockfile. Before the first route."""
        if self.shared_with or previous.shared_with:
            self.budget.inherit(previous.budget, now)
        else:
            # Who stands in line there still takes out of the same limits.
            previous.budget.renew(self.budget.limits, now)
            self.budget = previous.budget
        self._out, self._out_until, self._told = previous._out, previous._out_until, previous._told

    def tell(self, provider: str, what: str, seconds: float) -> None:
        """Log, once, what a key is out for, where other keys hide it from the caller."""
        if self.key is not None and self._told != what:
            self._told = what
            _LOG.warning("%s: the key in %s is %s: left out for %g s at a time", provider, self.key, what, seconds)

    def works(self) -> None:
        """The key was taken."""
        self._told = None

    @property
    def most_in_flight(self) -> int:
        """How many may be in flight now."""
        return self.max_in_flight if self.concurrency is None else self.concurrency.limit

    def put_out(self, until: float, why: str, error: ProviderError | None) -> None:
        """Nothing goes out with this key until `until`. A shorter time does not shorten an earlier one."""
        if until < self._out_until:
            return
        self._out_until = until
        self._out = Shut(wait_seconds=None, why=why, error=error)

    def readiness(self, now: float) -> Shut | None:
        if self.missing is not None:
            return Shut(wait_seconds=None, why=self.missing)
        if self._out is not None and now < self._out_until:
            return self._out
        return None
