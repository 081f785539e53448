"""Journey: one request under way, and on what terms it goes. Values; who begins it is the dispatcher, and who takes it
along its routes is going.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from llmring.chat import ChatRequest, Note
from llmring.lockfile import Binding, Lockfile
from llmring.money.payment import Payment
from llmring.providers.fairness import INTERACTIVE, Flow
from llmring.providers.regime import Charge
from llmring.providers.route import Permit, Route
from llmring.providers.worker import ProviderWorker
from llmring.router.account import Account
from llmring.router.admission import Admission
from llmring.router.failover import Plan
from llmring.router.records import JourneyKind
from llmring.router.retry_budget import RetryBudget
from llmring.router.tracing import Start, trace_of
from llmring.telemetry.spans import AttemptSpan, Call
from llmring.trace import Source, Spill

Answer = TypeVar("Answer")
Ended = Callable[["Journey", object, BaseException | None], None]
"""Is told of every attempt that was answered, with what, or failed, with which error."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a request goes: `flow` is whose work it is, `patient` that nobody waits for it, so that refusals
    use up none of its tries, `spill` when it may leave its first model, `account` its money in a map, where that is
    bounded, `admission` that of the work it belongs to, where that may be stopped, and `payer` the alias whose budgets
    pay, where it is not the request's own."""

    flow: Flow = INTERACTIVE
    patient: bool = False
    spill: Spill = "auto"
    account: Account | None = None
    admission: Admission | None = None
    payer: str | None = None


USUAL = Terms()


class Journey(msgspec.Struct, kw_only=True):
    """One request under way: its routes in order and the plan that decides among them.

    `attempt` and `sent_at` are those of the newest attempt; `number` keeps its place among the waiting. `start` is kept
    for the trace, and `lockfile` is the one that the routes are of. `call` is told of what happens, `ended` of every
    attempt. `payment` is its money, None where there are no budgets. `tried` counts its attempts; `origin` is the
    journey whose answer made this one necessary; `texts` are those of the newest attempt, of one for vectors, and
    `part` its number, from 1, where one request does not hold all texts.
    """

    request: ChatRequest
    profile: str | None
    binding: Binding
    routes: tuple[Route, ...]
    workers: tuple[ProviderWorker, ...]
    charges: tuple[Charge, ...]
    plan: Plan
    start: Start
    lockfile: Lockfile
    number: int
    terms: Terms
    retries: RetryBudget
    call: Call
    ended: Ended
    payment: Payment | None = None
    attempt: AttemptSpan | None = None
    index: int = 0
    waited_seconds: float = 0.0
    sent_at: float = 0.0
    left_out: frozenset[str] = frozenset()
    notes: list[Note] = []
    kind: JourneyKind = "chat"
    tried: int = 0
    origin: "Journey | None" = None
    texts: Sequence[str] = ()
    part: int | None = None

    @property
    def route(self) -> Route:
        """Where the newest attempt went."""
        return self.routes[self.index]

    @property
    def trace(self) -> Source:
        """Makes the trace; holds neither the request nor a route."""
        return partial(trace_of, self.plan, self.start)


Send = Callable[[ProviderWorker, Permit, Journey], Awaitable[Answer]]
"""Makes one attempt. Raises ProviderError."""
