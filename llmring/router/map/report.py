"""What a map did, counted row by row: served, failed, failed over, refused, tokens, dollars. Pure but for `now`."""

from collections import Counter
from decimal import Decimal

import msgspec

from llmring.chat import ChatResponse
from llmring.errors import AllModelsFailed, Attempt, LLMRingError, ProviderError, RateLimited
from llmring.refs import ModelRef
from llmring.usage import Cost, Usage


class ModelReport(msgspec.Struct, kw_only=True):
    """One model's part. `unpriced` answers are not in `usd`: their price is unknown, not nothing. `lower_bounds` are
    attempts that broke off when they had used something: they are in `usd` with the least that they can cost.
    """

    served: int = 0
    refused: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    lower_bounds: int = 0


class Report(msgspec.Struct, kw_only=True):
    """A map so far, or at its end.

    `resumed` rows had been answered by an earlier run of the same journal; they count in `rows` and `answered` alone.
    `duplicates` are rows that got the answer, or the failure, of an equal one: likewise. `bound_share` is the least
    time that the limits, as they were known at the end, allow for what was asked, over `wall_seconds`; None while
    unknown.
    `failovers` are rows answered by another model than the first of their alias, `refused` the 429s received,
    `requests` the HTTP requests that may have reached a provider. `usd` sums what is priced;
    `unpriced` answers are missing in it, and of `lower_bounds` attempts it has no more than what was seen of them.
    """

    rows: int = 0
    answered: int = 0
    resumed: int = 0
    duplicates: int = 0
    failed: int = 0
    failovers: int = 0
    refused: int = 0
    requests: int = 0
    wall_seconds: float = 0.0
    bound_share: float | None = None
    by_model: dict[str, ModelReport] = {}
    errors: dict[str, int] = {}

    @property
    def usd(self) -> Decimal:
        return sum((part.usd for part in self.by_model.values()), Decimal(0))

    @property
    def unpriced(self) -> int:
        return sum(part.unpriced for part in self.by_model.values())

    @property
    def lower_bounds(self) -> int:
        return sum(part.lower_bounds for part in self.by_model.values())

    @property
    def input_tokens(self) -> int:
        return sum(part.input_tokens for part in self.by_model.values())

    @property
    def output_tokens(self) -> int:
        return sum(part.output_tokens for part in self.by_model.values())

    def projected_usd(self, total: int) -> Decimal | None:
        """What `total` rows will have cost, if those that are left cost on average what those did that were paid for:
        as `usd` it lacks what has no price. None while nothing has one."""
        paid = sum(part.served for part in self.by_model.values())
        if paid == 0 or (self.unpriced and not self.usd):
            return None
        return self.usd + max(0, total - self.rows) * self.usd / paid

    def add_resumed(self) -> None:
        """Count a row that an earlier run has paid for."""
        self.rows += 1
        self.answered += 1
        self.resumed += 1

    def add_duplicate(self, error: LLMRingError | None) -> None:
        """Count a row that had what became of another one."""
        self.rows += 1
        self.duplicates += 1
        if error is None:
            self.answered += 1
        else:
            self._add_failure(error)

    def note_bound(self, least_seconds: float | None) -> None:
        """The run has ended, and could not have taken less than this; None where nothing is known."""
        if least_seconds is not None and self.wall_seconds > 0.0:
            # The limits are known by what was seen of them: no run is better than it can be.
            self.bound_share = min(1.0, least_seconds / self.wall_seconds)

    def add(self, response: ChatResponse | None, error: LLMRingError | None) -> None:
        """Count one finished row."""
        self.rows += 1
        if response is not None:
            self.answered += 1
            self.failovers += response.attempts[0].model != response.model
            self.add_attempts(response.attempts)
            self._add_answer(response)
        else:
            self._add_failure(error)
            if isinstance(error, AllModelsFailed):
                self.add_attempts(error.attempts)
            elif isinstance(error, ProviderError) and error.model is not None:
                met = Attempt(
                    model=error.model, outcome=error.described(), error=error, sent=error.sent, cost=error.cost
                )
                self.add_attempts((met,))

    def _add_failure(self, error: LLMRingError | None) -> None:
        self.failed += 1
        name = type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1

    def _add_answer(self, response: ChatResponse) -> None:
        part = self._part(response.model)
        usage = response.usage or Usage()
        part.served += 1
        part.input_tokens += usage.total_input_tokens
        part.output_tokens += usage.total_output_tokens
        if response.cost.usd is not None:
            part.usd += response.cost.usd
        else:
            part.unpriced += 1

    def add_attempts(self, attempts: tuple[Attempt, ...]) -> None:
        """Count the requests of one row."""
        counts: Counter[str] = Counter()
        for attempt in attempts:
            counts["requests"] += attempt.sent
            if attempt.error is not None:
                kind = "refused" if isinstance(attempt.error, RateLimited) else "failed"
                counts[kind] += 1
                part = self._part(attempt.model)
                setattr(part, kind, getattr(part, kind) + 1)
                _add_broken(part, attempt.cost)
        self.requests += counts["requests"]
        self.refused += counts["refused"]

    def _part(self, model: ModelRef) -> ModelReport:
        return self.by_model.setdefault(str(model), ModelReport())


def _add_broken(part: ModelReport, cost: Cost | None) -> None:
    if cost is None:
        return
    if cost.usd is None:
        part.unpriced += 1
    else:
        part.usd += cost.usd
        part.lower_bounds += 1
