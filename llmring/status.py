"""A router at one moment: what each of its models is waiting for, and how full every limit is. Values only."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from llmring.errors import Dimension
from llmring.refs import ModelRef

Readiness = Literal["ready", "busy", "shut"]
BreakerState = Literal["closed", "open", "probation", "recovering"]


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. `level` is what is left of `amount` per `period_seconds`, below 0 in debt; `held_seconds` how long the
    provider asked not to be asked. `shared`: with the provider's other models, or its other keys; `group`: with the
    models of that limit group."""

    dimension: Dimension
    amount: float | None
    level: float | None
    period_seconds: float | None
    held_seconds: float = 0.0
    shared: bool = False
    group: str | None = None


class RouteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model; where its provider has several keys, one with each, and `key` is the name of the variable that holds
    it. `why` says what a small request would wait for now, and `wait_seconds` how long; None where no time
    helps, and 0 where only the end of another request can tell.

    `asked`: a request has come since the router opened for an alias that it serves; before that, what stands here is
    what the first one would meet. `aliases` are those of the profile in use that it serves, in the lockfile's order.
    Where its provider cannot be asked at all, being unknown or without a key, it is shut, and `why` says what to do.

    `in_line` requests wait for it; `in_flight` are on the wire, of `connections` in use with its key, which may be
    `most_connections`. `seconds` is how long an answer of `expected_output_tokens` is expected to take, None until one
    has come.
    """

    model: ModelRef
    readiness: Readiness
    why: str
    wait_seconds: float | None
    breaker: BreakerState
    limits: tuple[LimitStatus, ...]
    in_line: int
    in_flight: int
    connections: int
    most_connections: int
    expected_output_tokens: float
    seconds: float | None
    key: str | None = None
    asked: bool = True
    aliases: tuple[str, ...] = ()


class ReceiptsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger of a router. `waiting` receipts are kept in memory until it can be written; `missing` attempts have no
    receipt, and no gap in the ledger tells of them yet; `why` is what is in the way, "" where nothing is."""

    waiting: int
    missing: int
    why: str


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its present period, in dollars, for one alias, profile or tenant where it is of each. `spent_usd`
    is by all processes, as far as this one has heard; `reserved_usd` by its requests under way, at the most that they
    may cost. `resets_at` is None for one of a run. `problem`: why it cannot be kept now, so that requests are refused.
    """

    name: str
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    per: Literal["day", "month", "run"]
    resets_at: datetime | None
    alias: str | None = None
    profile: str | None = None
    tenant: str | None = None
    waiting: int = 0
    problem: str | None = None


class RouterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All models that the lockfile binds in the profile in use, and all others that were asked for since it was read or
    that have requests under way, by provider and name. `lockfile_error` is what is wrong with an edited lockfile that
    is not used; `registry` the versions of the lists that prices come from; `receipts` is None where none are kept;
    `budgets` are those that were drawn on."""

    routes: tuple[RouteStatus, ...]
    lockfile_error: str | None
    registry: dict[str, int]
    receipts: ReceiptsStatus | None = None
    budgets: tuple[BudgetStatus, ...] = ()


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A process that shows its router. `program` is the name it was started by, `started_at` when its router was
    opened, `version` that of llmring."""

    pid: int
    program: str
    version: str
    started_at: Annotated[datetime, msgspec.Meta(tz=True)]
    lockfile: str
    router: RouterStatus
