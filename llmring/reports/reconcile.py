"""A provider's bill against the ledger: what stands on both sides, on one of them, and at another price. Pure.

By request where the file names requests, else by sums of a day, a model and a kind of token, as far as the file tells
them apart. A difference is what the provider says less what the receipts say; that which has no price in the ledger, or
stands on one side alone, differs by all of it.
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Literal

import msgspec

from llmring.errors import ConfigError
from llmring.reports.attempts import Detailed
from llmring.reports.billed import Billed, Reading, Tokens, every_day
from llmring.reports.exports import Kind, model_key

Status = Literal["same", "differs", "not in the ledger", "not in the file"]
Key = tuple[str, str | None, Kind | None]
"""A span of days or a request, the key of a model, a kind of token; None where the file does not tell them apart."""

_CENT = Decimal("0.01")
_PARTS: dict[str, Kind] = {
    "input": "input",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "cache_write_other": "cache_write",
    "output": "output",
    "reasoning": "output",
}


class Side(msgspec.Struct, kw_only=True):
    """What one side says of a line. `rows` are lines of the file, or attempts; `unpriced` of them have no price."""

    rows: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None

    def add(self, usd: Decimal | None, tokens: Tokens, *, is_priced: bool) -> None:
        self.rows += 1
        self.unpriced += is_priced and usd is None
        self.usd += usd or 0
        self.input_tokens = _sum(self.input_tokens, tokens.input)
        self.cached_tokens = _sum(self.cached_tokens, tokens.cached)
        self.output_tokens = _sum(self.output_tokens, tokens.output)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`when` is a day, a span of days, or a request's id. `counts`: it is more than may be."""

    when: str
    model: str | None
    kind: Kind | None
    status: Status
    theirs: Side | None
    ours: Side | None
    difference_usd: Decimal | None
    token_differences: dict[str, int]
    counts: bool

    @property
    def lacks_prices(self) -> bool:
        """Whether attempts without a price are in it: what they cost cannot be held against the file."""
        return self.ours is not None and self.ours.unpriced > 0


class Reconciled(msgspec.Struct, kw_only=True):
    """`lines` are those that are not the same, `same` how many are. `by` is what was compared, `first` and `last` the
    days of the file, where it has any. `exceeds`: a line, or the sum, differs by more than the tolerance, attempts of
    the ledger have no price (`unpriced` of them), or where the file has no costs, a count of tokens differs at all."""

    by: Literal["request", "day"]
    first: str
    last: str
    same: int = 0
    lines: list[Line] = []
    theirs_usd: Decimal | None = None
    ours_usd: Decimal = Decimal(0)
    allowed_usd: Decimal = Decimal(0)
    unpriced: int = 0
    exceeds: bool = False

    def count(self, status: Status) -> int:
        return self.same if status == "same" else sum(line.status == status for line in self.lines)

    @property
    def difference_usd(self) -> Decimal | None:
        return self.theirs_usd - self.ours_usd if self.theirs_usd is not None else None

    @property
    def differs_in_all(self) -> bool:
        """Whether the sums differ by more than the tolerance; where they do not, lines may."""
        return self.difference_usd is not None and abs(self.difference_usd) > self.allowed_usd


class Bill:
    """The rows of a file, kept until the ledger has been read: as many as it has, in memory. `since` and `until` are
    its first and last day that count. Raises ConfigError where there is nothing to compare."""

    def __init__(self, reading: Reading, file: str, *, since: str | None = None, until: str | None = None) -> None:
        low, high = since or "", until or "9999-12-31"
        self.rows = [row for row in reading.rows if not row.day or (low <= row.day and row.end <= high)]
        if not self.rows:
            raise ConfigError(
                f"{file}: it has no rows with a cost or tokens{' in this time' if since or until else ''}"
            )
        self.by_request = "request" in reading.roles
        self.has_costs = any(row.usd is not None for row in self.rows)
        self._has_models = any(row.model for row in self.rows) and not self.by_request
        self._has_kinds = any(row.kind for row in self.rows) and self.has_costs and not self.by_request
        self._has_amounts = "amount" in reading.roles
        days = [day for row in self.rows for day in (row.day, row.end) if day]
        self.first, self.last = (min(days), max(days)) if days else ("", "9999-12-31")
        self._spans = self._spans_of_days()
        self.step = reading.export.rounds_to if reading.export is not None else Decimal(0)
        self._names: dict[str | None, str] = {}
        self._our_names: dict[str | None, str] = {}

    def _spans_of_days(self) -> dict[str, str]:
        spans: dict[str, str] = {}
        for low, high in sorted({(row.day, row.end) for row in self.rows if row.day}):
            name = low if low == high else f"{low} to {high}"
            spans |= {day: name for day in every_day(low, high) if day not in spans}
        return spans

    def key(self, row: Billed) -> Key:
        if self.by_request:
            return row.request or "", None, None
        model = model_key(row.model) if self._has_models and row.model else None
        self._names.setdefault(model, row.model or "")
        return self._spans.get(row.day, row.day), model, row.kind if self._has_kinds else None

    def name(self, model: str | None) -> str | None:
        """A model as receipts call it, or else as the file does."""
        return self._our_names.get(model) or self._names.get(model) or model

    def shares(self, one: Detailed, day: str) -> Iterator[tuple[Key, Decimal | None, Tokens]]:
        """A receipt as the file would have it: in one line, or in one for each kind of token."""
        used = one.used
        tokens = Tokens(
            input=used.total_input_tokens if used is not None else None,
            cached=used.cache_read_tokens if used is not None else None,
            output=used.total_output_tokens if used is not None else None,
        )
        if self.by_request:
            yield (one.provider_request_id or "", None, None), one.total_cost, tokens
            return
        span = self._spans.get(day)
        if span is None:
            return
        model = model_key(one.served_model or one.model) if self._has_models else None
        # A provider may serve a dated name of what was asked for, or a name of its own.
        if model not in self._names and model_key(one.model) in self._names:
            model = model_key(one.model)
        if model is not None:
            self._our_names.setdefault(model, one.model)
        if not self._has_kinds or one.cost_breakdown is None:
            yield (span, model, None), one.total_cost, tokens
            return
        for kind, usd in _by_kind(one.cost_breakdown).items():
            yield (span, model, kind), usd, _of_kind(tokens, kind) if self._has_amounts else Tokens()


def _by_kind(breakdown: dict[str, Decimal]) -> dict[Kind, Decimal]:
    found: dict[Kind, Decimal] = {}
    for part, usd in breakdown.items():
        kind = _PARTS.get(part)
        if kind is not None:
            found[kind] = found.get(kind, Decimal(0)) + usd
    return found


def _of_kind(tokens: Tokens, kind: Kind) -> Tokens:
    match kind:
        case "input":
            return Tokens(input=(tokens.input or 0) - (tokens.cached or 0))
        case "cache_read":
            return Tokens(input=tokens.cached, cached=tokens.cached)
        case "output":
            return Tokens(output=tokens.output)
        case _:
            return Tokens()


def reconcile(
    bill: Bill, entries: Iterable[Detailed], day_of: Callable[[str], str], tolerance_usd: Decimal
) -> Reconciled:
    """`entries` are the receipts of the provider. One that says nothing of usage and is not in the file is left out: a
    refusal, for which nothing is due."""
    theirs: dict[Key, Side] = {}
    for row in bill.rows:
        theirs.setdefault(bill.key(row), Side()).add(row.usd, row.tokens, is_priced=bill.has_costs)
    ours: dict[Key, Side] = {}
    for one in entries:
        day = day_of(one.timestamp)
        is_due = one.used is not None and bill.first <= day <= bill.last
        for key, usd, tokens in bill.shares(one, day):
            if is_due or (bill.by_request and key in theirs and key[0]):
                ours.setdefault(key, Side()).add(usd, tokens, is_priced=True)
    return _judged(bill, theirs, ours, tolerance_usd)


def _judged(bill: Bill, theirs: dict[Key, Side], ours: dict[Key, Side], tolerance_usd: Decimal) -> Reconciled:
    result = Reconciled(by="request" if bill.by_request else "day", first=bill.first, last=bill.last, lines=[])
    for key in sorted({*theirs, *ours}, key=lambda one: tuple(part or "" for part in one)):
        line = _line(bill, key, theirs.get(key), ours.get(key), tolerance_usd)
        if line.status == "same":
            result.same += 1
        else:
            result.lines.append(line)
    result.ours_usd = sum((side.usd for side in ours.values()), Decimal(0))
    result.unpriced = sum(side.unpriced for side in ours.values())
    result.exceeds = any(line.counts for line in result.lines)
    if bill.has_costs:
        result.theirs_usd = sum((side.usd for side in theirs.values()), Decimal(0))
        result.allowed_usd = tolerance_usd + bill.step / 2 * len(bill.rows)
        result.exceeds = result.exceeds or result.differs_in_all
    return result


def _line(bill: Bill, key: Key, theirs: Side | None, ours: Side | None, tolerance_usd: Decimal) -> Line:
    difference = (theirs.usd if theirs else Decimal(0)) - (ours.usd if ours else Decimal(0))
    tokens = _token_differences(theirs, ours)
    allowed = tolerance_usd + bill.step / 2 * (theirs.rows if theirs else 0)
    unpriced = ours.unpriced if ours is not None else 0
    counts = abs(difference) > allowed or unpriced > 0 if bill.has_costs else bool(tokens)
    status: Status = "same"
    if theirs is None:
        status = "not in the file"
    elif ours is None:
        status = "not in the ledger"
    elif counts or tokens:
        status = "differs"
    return Line(
        when=key[0] or "(no request id)",
        model=bill.name(key[1]),
        kind=key[2],
        status=status,
        theirs=theirs,
        ours=ours,
        difference_usd=difference if bill.has_costs else None,
        token_differences=tokens,
        counts=counts,
    )


def _token_differences(theirs: Side | None, ours: Side | None) -> dict[str, int]:
    """By kind, of what the file counts."""
    found: dict[str, int] = {}
    for name in ("input_tokens", "cached_tokens", "output_tokens"):
        said = getattr(theirs, name) if theirs is not None else 0
        if said is not None:
            difference = said - ((getattr(ours, name) or 0) if ours is not None else 0)
            if difference:
                found[name] = difference
    return found


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other
