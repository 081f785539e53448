"""Every error that llmring raises, and the policy that hangs on its class.

    LLMRingError
    |- ConfigError                    the setup is wrong; nothing was sent
    |  |- LockfileMissing             path
    |  |- LockfileInvalid             path, line, expected
    |  |- EditRefused                 the lockfile cannot be edited as it is written
    |  |- EditFailed                  the lockfile could not be written; it is as it was
    |  |- UnknownProfile              profile, known
    |  |- UnknownAlias                alias, known
    |  |  `- PackageMissing           alias, path, problem
    |  |- UnknownProvider             provider, known
    |  |- InvalidRequest              the request cannot be sent to anybody as it stands
    |  `- MissingKey                  provider, variable
    |- ProviderError                  one attempt failed      fails over  breaker  tries  holds
    |  |- RateLimited *               kind, dimension            yes        no       4    dimension
    |  |- QuotaExhausted *                                       yes        no       1    quota
    |  |- Overloaded                                             yes      counts     2    if told
    |  |- ServerFault                                            yes      counts     2    nothing
    |  |- ConnectFailed                                          yes      counts     2    nothing
    |  |- TransportBroken                                        yes      counts     2    nothing
    |  |- AttemptTimeout                                         yes      counts     2    nothing
    |  |- DeadlineReached                                        yes        no       2    nothing
    |  |- BadReply                                               yes      counts     2    nothing
    |  |- ModelGone *                                            yes        no       1    route
    |  |- ContextTooLong                                         yes        no       1    nothing
    |  |- Unsupported                                            yes        no       1    nothing
    |  |- ImpossibleRequest *                                    yes        no       1    nothing
    |  |- Unanswered                                             yes        no       1    nothing
    |  |- BadRequest                                             no         no       1    nothing
    |  |- ContentRefused                                         no         no       1    nothing
    |  `- AuthFailed *                                           no         no       1    key
    |- AllModelsFailed                alias, attempts, retry_at
    |  `- RowStalled                  why: a row of a map that got nowhere
    |- StreamBroken                   the text so far; after the first chunk nothing can fail over
    |- TooManyFailures                failed: a map gave up
    |- BudgetExceeded                 cap, spent, reserved, needed, resets_at: there is no money left
    |- MapTimeout                     seconds, finished, not_done, more, checkpoint: a map's time is over
    |- RegistryError                  path
    |  `- RegistryStale               provider, updated_at, age_days
    |- ReceiptError                   a receipt, a ledger or a key cannot be used
    |  `- SignatureInvalid            what was signed is not what is there
    `- RouterClosed

Policy is data on the class: code asks `error.fails_over`, never `isinstance`, and never searches a message. `tries` is
how many attempts one request may spend on one route when the last of them ended in that error; `is_weather` errors
(RateLimited, Overloaded) say nothing of the request, so work that nobody waits for does not count them; an
`is_verdict` error (ContextTooLong) is about the request, so it is raised itself where every model has said the same.
One that is no evidence (DeadlineReached) neither trips a breaker nor closes it.
Errors with a star are the key's (`is_of_key`): with another key of the provider the same model may answer, and is asked
before other models. Any other is the server's or the request's, and counts as a try with all keys.
Messages hold what happened, to which model or file, and what to do; never a key, never a prompt.
"""

import difflib
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from llmring.refs import ModelRef
from llmring.trace import Trace, with_key
from llmring.usage import Cost, Usage

Dimension = Literal["requests", "tokens", "input", "output", "day"]
"""What a provider counts: requests and tokens per minute, input and output tokens apart, requests per day."""

RefusalKind = Literal["rate", "ramp", "daily"]

Holds = Literal["nothing", "dimension", "if told", "quota", "key", "route"]
"""What goes out of use after an error: nothing; the limit that refused; the route for as long as the provider said; the
credential, as it has no quota; the credential, as its key is wrong; the route, as its model is gone."""


class LLMRingError(Exception):
    """Root of the tree."""


class ConfigError(LLMRingError):
    """The setup is wrong: fix the lockfile, the environment or the call. Nothing was sent."""


class LockfileMissing(ConfigError):
    """The lockfile that was named does not exist or cannot be read."""

    def __init__(self, path: Path, why: str = "no such file") -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"lockfile {self.path}: {self.why}"


class LockfileInvalid(ConfigError):
    """The lockfile does not say what a lockfile must say. `line` counts from 1; None where no line is known."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}" if self.line is not None else str(self.path)
        return f"{place}: {self.problem}"


class EditRefused(ConfigError):
    """A lockfile cannot be edited as it is written."""


class EditFailed(ConfigError):
    """A lockfile could not be written; it is as it was."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be; None when nothing is close."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return matches[0] if matches else None


class _UnknownName(ConfigError):
    what: ClassVar[str]

    def __init__(self, name: str, known: Sequence[str] = (), where: str = "") -> None:
        super().__init__(name, known, where)
        self.name = name
        self.known = tuple(known)
        self.where = where

    def __str__(self) -> str:
        near = nearest(self.name, self.known)
        if near is not None:
            hint = f"did you mean {near!r}?"
        elif self.known:
            hint = "known: " + ", ".join(self.known[:12]) + (", ..." if len(self.known) > 12 else "")
        else:
            hint = f"there is no {self.what} at all"
        return f"unknown {self.what} {self.name!r}{self.where}: {hint}"


class UnknownProfile(_UnknownName):
    what = "profile"


class UnknownAlias(_UnknownName):
    what = "alias"

    @property
    def alias(self) -> str:
        return self.name


class PackageMissing(UnknownAlias):
    """An alias of a package that the lockfile extends, whose own lockfile cannot be read. `problem` says why."""

    def __init__(self, alias: str, path: Path, problem: str) -> None:
        super().__init__(alias)
        self.args = (alias, path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        package = self.name.partition(":")[0]
        return f"unknown alias {self.name!r}: package {package!r}, which {self.path} extends: {self.problem}"


class UnknownProvider(_UnknownName):
    what = "provider"


class InvalidRequest(ConfigError):
    """The request cannot be sent to anybody: no messages, a bad role, a tool result without its call."""


class MissingKey(ConfigError):
    """No key for a provider. Names the variables that are looked at, never a value. `given`: they are looked at in the
    `keys` of the program, and not in the environment."""

    def __init__(self, provider: str, variables: Sequence[str], given: bool = False) -> None:
        super().__init__(provider, variables, given)
        self.provider = provider
        self.variables = tuple(variables)
        self.given = given

    def __str__(self) -> str:
        names = " or ".join(self.variables)
        if self.given:
            return f"no key for {self.provider}: `keys`, which stands in for the environment, has no {names}"
        return f"no key for {self.provider}: set {names}"


class ProviderError(LLMRingError):
    """One attempt failed. Raised alone only where there is nothing left to fail over to by policy.

    `model` and `sent` are filled in by the worker; `sent` is False when the provider cannot have seen the request.
    `status` is the HTTP status, None when there was none; `retry_after` is the provider's own delay in seconds, None
    when it named none. `usage` is what an answer had used when it broke off, as far as it was told or seen,
    `service_tier` the tier that it was told to be of, or else was asked for, and `cost`, filled in by the router, what
    it costs at least; None when nothing was.
    """

    fails_over: ClassVar[bool] = True
    trips_breaker: ClassVar[bool] = False
    is_evidence: ClassVar[bool] = True
    tries: ClassVar[int] = 1
    holds: ClassVar[Holds] = "nothing"
    is_weather: ClassVar[bool] = False
    is_verdict: ClassVar[bool] = False
    is_of_key: ClassVar[bool] = False
    sent: bool = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.request_id = request_id
        self.model: ModelRef | None = None
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self.cost: Cost | None = None

    def described(self) -> str:
        """What happened, without the model's name."""
        status = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{type(self).__name__}: {self.message}{status}"

    def __str__(self) -> str:
        about = f"{self.model}: " if self.model is not None else ""
        return f"{about}{self.described()}"


class RateLimited(ProviderError):
    """The provider said "not now". `dimension` is the limit that refused, None when it did not say which."""

    is_of_key = True
    tries = 4
    holds = "dimension"
    is_weather = True

    def __init__(
        self,
        message: str,
        *,
        kind: RefusalKind = "rate",
        dimension: Dimension | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after, request_id=request_id)
        self.kind: RefusalKind = kind
        self.dimension: Dimension | None = dimension


class QuotaExhausted(ProviderError):
    """Money, spend cap or quota is used up: waiting does not help, the credential is out."""

    is_of_key = True
    holds = "quota"


class Overloaded(ProviderError):
    """The provider has no capacity (503, 529)."""

    trips_breaker = True
    tries = 2
    holds = "if told"
    is_weather = True


class ServerFault(ProviderError):
    """The provider failed (5xx)."""

    trips_breaker = True
    tries = 2


class ConnectFailed(ProviderError):
    """No connection: name, TCP or TLS. The provider has not seen the request."""

    trips_breaker = True
    tries = 2
    sent = False


class TransportBroken(ProviderError):
    """The connection broke, or the stream was cut, before the answer was whole."""

    trips_breaker = True
    tries = 2


class AttemptTimeout(ProviderError):
    """Our own time limit for one attempt ran out."""

    trips_breaker = True
    tries = 2


class DeadlineReached(ProviderError):
    """The caller's own deadline left the attempt only seconds. Says nothing of the provider."""

    is_evidence = False
    tries = 2


class BadReply(ProviderError):
    """The provider's answer is not what its protocol says: not JSON, no choices, malformed stream."""

    trips_breaker = True
    tries = 2


class ModelGone(ProviderError):
    """The provider does not have this model, or not for this account."""

    is_of_key = True
    holds = "route"


class ContextTooLong(ProviderError):
    """The request is longer than the model's context window."""

    is_verdict = True


class Unsupported(ProviderError):
    """The model does not take a feature or parameter of this request. `parameter` is its name on the wire ("top_p",
    "reasoning.effort"), or a field of ChatRequest; None when the provider does not name it."""

    def __init__(
        self,
        message: str,
        *,
        parameter: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after, request_id=request_id)
        self.parameter = parameter


class ImpossibleRequest(ProviderError):
    """The request is larger than the whole limit: no waiting makes it fit."""

    is_of_key = True


class Unanswered(ProviderError):
    """A batch ended without an answer to this row, and nothing was charged for it: its time had run out, it was
    cancelled, or the provider has lost it."""


class BadRequest(ProviderError):
    """The provider calls the request wrong; every other one would too."""

    fails_over = False


class ContentRefused(ProviderError):
    """A content policy refused the request."""

    fails_over = False


class AuthFailed(ProviderError):
    """The key is wrong. Does not fail over, but to another key of the provider: a wrong setting must not hide behind a
    dearer model."""

    is_of_key = True
    fails_over = False
    holds = "key"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of one route, or one decision not to try it.

    `error` is None for the try that answered. `sent` is whether the provider may have seen a request. `waited_seconds`
    were spent in line, `took_seconds` on the wire. `cost` is that of this try alone, of one that broke off the least it
    can be; None where nothing is known of it, or the provider did nothing. `key` is the name of the variable whose key
    was used, where the provider has several.
    """

    model: ModelRef
    outcome: str
    error: ProviderError | None = None
    sent: bool = False
    waited_seconds: float = 0.0
    took_seconds: float = 0.0
    cost: Cost | None = None
    key: str | None = None

    def __str__(self) -> str:
        return f"{with_key(self.model, self.key)}: {self.outcome}"


class AllModelsFailed(LLMRingError):
    """Every route of an alias was tried or could not be waited for.

    `attempts` lists every try and every skip, in order. `retry_at` is the earliest time on the trio clock at which one
    of the routes may be ready again, `retry_after` the same in seconds from when this was raised; None when unknown.
    `trace` is filled in by the router: what was seen and decided on the way.
    """

    trace: Trace | None = None

    def __init__(
        self,
        alias: str,
        attempts: Sequence[Attempt],
        *,
        retry_at: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(alias, attempts)
        self.alias = alias
        self.attempts = tuple(attempts)
        self.retry_at = retry_at
        self.retry_after = retry_after

    def __str__(self) -> str:
        tries = "; ".join(str(attempt) for attempt in self.attempts)
        again = f" (earliest retry in {self.retry_after:.3g} s)" if self.retry_after is not None else ""
        return f"all models of {self.alias!r} failed{again}: {tries}"


class RowStalled(AllModelsFailed):
    """A row of a map was given up, for waiting on would not have helped it. `why` says what it was given up for."""

    def __init__(self, alias: str, attempts: Sequence[Attempt], why: str) -> None:
        super().__init__(alias, attempts)
        self.args = (alias, attempts, why)
        self.why = why

    def __str__(self) -> str:
        tries = "; ".join(str(attempt) for attempt in self.attempts)
        return f"a row of {self.alias!r} was given up: {self.why}: {tries}"


class StreamBroken(LLMRingError):
    """A stream failed after text had been handed out. `cause` says how, `partial` is the text so far.

    `usage` and `cost`, filled in by the router, are the least that it can have used and cost; None where unknown.
    """

    usage: Usage | None = None
    cost: Cost | None = None

    def __init__(self, cause: ProviderError, partial: str) -> None:
        super().__init__(cause, partial)
        self.cause = cause
        self.partial = partial

    def __str__(self) -> str:
        return f"stream broke after {len(self.partial)} characters: {self.cause}"


class TooManyFailures(LLMRingError):
    """A map stopped, for more rows failed than its caller accepts. `last` is the error of the newest of them, and `row`
    its index, counted from 0; None where that is not known."""

    def __init__(self, failed: int, last: LLMRingError, row: int | None = None) -> None:
        super().__init__(failed, last, row)
        self.failed = failed
        self.last = last
        self.row = row

    def __str__(self) -> str:
        which = f", row {self.row}" if self.row is not None else ""
        return f"the map was stopped after {self.failed} failed rows; the last{which}: {self.last}"


class BudgetExceeded(LLMRingError):
    """What would be asked next may cost more than is left of a budget. All in dollars: `cap` as it was given; `spent`
    by what was answered, and at the most by attempts whose cost is unknown; `reserved` for requests under way, other
    processes' among them; `needed` by the request at the most.

    `budget` is the name of one of the lockfile's or of the program's, `scope` whose it is in words, and `resets_at`
    when there is money again, None for one of a run. Of a map's own `budget` they are None. `trace` is filled in by the
    router: what was seen and decided on the way.
    """

    trace: Trace | None = None

    def __init__(
        self,
        cap: Decimal,
        spent: Decimal,
        reserved: Decimal,
        needed: Decimal,
        *,
        budget: str | None = None,
        scope: str = "",
        per: str | None = None,
        resets_at: datetime | None = None,
    ) -> None:
        super().__init__(cap, spent, reserved, needed)
        self.cap = cap
        self.spent = spent
        self.reserved = reserved
        self.needed = needed
        self.budget = budget
        self.scope = scope
        self.per = per
        self.resets_at = resets_at

    def __reduce__(self) -> tuple[object, ...]:
        about = {"budget": self.budget, "scope": self.scope, "per": self.per, "resets_at": self.resets_at}
        return partial(BudgetExceeded, **about), self.args  # type: ignore[arg-type] # as they were given

    def __str__(self) -> str:
        cap, spent, reserved, needed = (
            f"${usd.normalize():f}" for usd in (self.cap, self.spent, self.reserved, self.needed)
        )
        if self.budget is None:
            return (
                f"the map was stopped at its cap of {cap}: {spent} spent, {reserved} reserved, and the next request "
                f"may cost {needed}. To go on, raise the cap, or give max_tokens, a lower one where it is given"
            )
        scope = f" ({self.scope})" if self.scope else ""
        again = (
            f"it begins anew at {self.resets_at:%Y-%m-%d %H:%M} {self.resets_at.tzinfo}"
            if self.resets_at is not None
            else "it holds for as long as the router is open"
        )
        return (
            f"budget {self.budget!r}{scope} of {cap} a {self.per}: {spent} spent, {reserved} reserved, and this "
            f"request may cost {needed}; {again}. To send it now, raise the limit, or lower max_tokens"
        )


class MapTimeout(LLMRingError):
    """A map's deadline of `seconds` has passed. `finished` rows are done, `not_done` are not; `more`: at least so many,
    for the inputs were not read to their end. `checkpoint` is the journal to go on with, None when there is none."""

    def __init__(self, seconds: float, finished: int, not_done: int, *, more: bool, checkpoint: Path | None) -> None:
        super().__init__(seconds, finished, not_done)
        self.seconds = seconds
        self.finished = finished
        self.not_done = not_done
        self.more = more
        self.checkpoint = checkpoint

    def __reduce__(self) -> tuple[object, ...]:
        return partial(MapTimeout, more=self.more, checkpoint=self.checkpoint), self.args

    def __str__(self) -> str:
        least = "at least " if self.more else ""
        resume = f"; the same map with the journal {self.checkpoint} goes on there" if self.checkpoint else ""
        return (
            f"the map was stopped after {self.seconds:g} s: {self.finished} rows are finished, {least}{self.not_done} "
            f"are not done{resume}"
        )


class RouterClosed(LLMRingError):
    """The router is closing or closed; the call was not made, or was cut off when the grace period ended."""


class RegistryError(LLMRingError):
    """The registry's data cannot be read. `path` is the file, or says where else it is from, such as a URL."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"registry {self.path}: {self.problem}"


class RegistryStale(RegistryError):
    """A provider's list is older than the caller accepts. None: it does not say how old it is."""

    def __init__(self, provider: str, updated_at: date | None, age_days: float | None) -> None:
        age = "of an unknown day" if updated_at is None else f"of {updated_at}, {age_days:.0f} days old"
        super().__init__(provider, f"the list is {age}")
        self.args = (provider, updated_at, age_days)
        self.provider = provider
        self.updated_at = updated_at
        self.age_days = age_days


class ReceiptError(LLMRingError):
    """A receipt, a ledger of receipts or a signing key cannot be used. Says which, and never holds a secret."""


class SignatureInvalid(ReceiptError):
    """A signature does not fit what it stands under."""
