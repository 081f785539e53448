"""May a request go to a route now? The three answers, and what each lets the caller do. Values only."""

import msgspec

from llmring.errors import ProviderError


class Ready(msgspec.Struct, frozen=True):
    """Yes: there is room in every limit and a free connection."""


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """Not now, but it can be waited for in line.

    `wait_seconds` is the least possible wait; it is 0 where only the end of another request can tell. `failing`: what
    is waited for is the probe of a model that was left out.
    """

    wait_seconds: float
    why: str
    failing: bool = False


class Shut(msgspec.Struct, frozen=True, kw_only=True):
    """No. `wait_seconds` until it may be asked again, None when no time helps.

    `error` is the failure that a caller has to see instead of a failover (a wrong key); None otherwise.
    `trial_seconds`: its breaker alone is against it, and so many seconds from now it may be tried all the same; None
    where the reason is another one.
    """

    wait_seconds: float | None
    why: str
    error: ProviderError | None = None
    trial_seconds: float | None = None


Readiness = Ready | Busy | Shut
READY = Ready()
