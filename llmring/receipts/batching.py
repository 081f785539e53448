"""Which receipts a batch receipt is of, and what they come to. Pure: entries in, sums and a tree's root out.

The same sums are worked out when one is made and when it is checked, from nothing but what was signed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Context, Decimal
from functools import reduce

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt, Selection, Summary, Totals
from llmring.receipts.merkle import Frontier, leaf_hash
from llmring.receipts.receipt import VERSION, Gap, Receipt, read, readable
from llmring.receipts.signing import Signed

_DIGITS = 30
_EXACT = Context(prec=4 * _DIGITS)
"""Sums of money are exact: costs of `_DIGITS` digits on either side of the point, however many of them."""


class LowerBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How many costs in a sum are lower bounds, of all, by model and by alias: told beside a batch receipt, for it does
    not say."""

    count: int
    by_model: dict[str, int]
    by_alias: dict[str, int]


class _Sum:
    """Totals on their way."""

    def __init__(self) -> None:
        self.lower_bounds = 0
        self.receipts = self.without_tokens = self.without_cost = 0
        self.tokens = [0, 0, 0]
        self.costs = [Decimal(0)] * 3

    def add(self, tokens: list[int] | None, costs: list[Decimal] | None) -> None:
        self.receipts += 1
        if tokens is None:
            self.without_tokens += 1
        else:
            self.tokens = [one + other for one, other in zip(self.tokens, tokens, strict=True)]
        if costs is None:
            self.without_cost += 1
        else:
            self.costs = [_EXACT.add(one, other) for one, other in zip(self.costs, costs, strict=True)]

    def totals(self) -> Totals:
        prompt, completion, total = self.tokens
        paid_in, paid_out, paid = map(_money, self.costs)
        return Totals(
            receipts=self.receipts,
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=total,
            input_cost=paid_in,
            output_cost=paid_out,
            total_cost=paid,
            without_tokens=self.without_tokens,
            without_cost=self.without_cost,
        )


class Tally:
    """Receipts, one after the other, as a batch receipt sums them up: of each, only the name of its call is kept."""

    def __init__(self) -> None:
        self.missing = 0
        self._tree = Frontier()
        self._all = _Sum()
        self._by_model: dict[str, _Sum] = {}
        self._by_alias: dict[str, _Sum] = {}
        self._calls: set[str] = set()
        self._uncalled = 0
        self._times: tuple[str, str] | None = None

    def add(self, receipt: Receipt, leaf: bytes) -> None:
        """Raises ReceiptError for a cost that is no number."""
        self._tree.append(leaf)
        tokens, costs = _tokens(receipt), _costs(receipt)
        by_model = self._by_model.setdefault(f"{receipt.provider}:{receipt.model}", _Sum())
        by_alias = self._by_alias.setdefault(receipt.alias, _Sum())
        for one in (self._all, by_model, by_alias):
            one.add(tokens, costs)
            one.lower_bounds += receipt.is_lower_bound
        if receipt.call is None:
            self._uncalled += 1
        else:
            self._calls.add(receipt.call)
        first, last = self._times or (receipt.timestamp, receipt.timestamp)
        self._times = min(first, receipt.timestamp), max(last, receipt.timestamp)

    def batch(self, receipt_id: str, timestamp: str, selection: Selection | None = None) -> BatchReceipt:
        """What they come to, not signed. Raises ReceiptError where there are none."""
        if self._times is None:
            raise ReceiptError("there are no such receipts: nothing is to be signed")
        start, end = self._times
        summary = Summary(
            **msgspec.structs.asdict(self._all.totals()),
            calls=len(self._calls) + self._uncalled,
            start_date=start,
            end_date=end,
            by_model={name: one.totals() for name, one in self._by_model.items()},
            by_alias={name: one.totals() for name, one in self._by_alias.items()},
        )
        return BatchReceipt(
            llmring_batch_receipt=VERSION,
            receipt_id=receipt_id,
            timestamp=timestamp,
            batch_summary=summary,
            root=self._tree.root().hex(),
            selection=selection,
            missing=self.missing,
        )

    def lower_bounds(self) -> LowerBounds:
        return LowerBounds(
            count=self._all.lower_bounds,
            by_model={name: one.lower_bounds for name, one in self._by_model.items()},
            by_alias={name: one.lower_bounds for name, one in self._by_alias.items()},
        )


def tally(receipts: Iterable[Receipt]) -> Tally:
    """Of receipts that were made by hand, in this order. Raises ReceiptError."""
    found = Tally()
    for receipt in receipts:
        if not isinstance(receipt, Receipt):
            raise ReceiptError(f"a batch receipt is of receipts, not {type(receipt).__name__}")
        found.add(receipt, leaf_hash(readable(receipt)))
    return found


def tally_selected(
    entries: Iterable[Signed], selection: Selection, confirm: Callable[[Signed, Receipt], None] | None = None
) -> Tally:
    """Of those entries of a ledger that are selected. `confirm` is asked about each of them and raises for one that is
    not to be counted. Raises ReceiptError for an entry that cannot be read."""
    found = Tally()
    for signed, entry in selected(entries, selection):
        if isinstance(entry, Gap):
            found.missing += entry.missing
            continue
        if confirm is not None:
            confirm(signed, entry)
        found.add(entry, leaf_hash(signed.payload))
    return found


def selected(entries: Iterable[Signed], selection: Selection) -> Iterator[tuple[Signed, Receipt | Gap]]:
    """Receipts and gaps, in the order of the ledger. Raises ReceiptError for an entry that cannot be read."""
    aliases = frozenset(selection.aliases) if selection.aliases is not None else None
    since, until = selection.since or "", selection.until
    for signed in entries:
        entry = read(signed.payload_type, signed.payload)
        number = entry.sequence
        if number is None or not selection.entries_from <= number < selection.entries_before:
            continue
        if isinstance(entry, Receipt):
            is_in_time = entry.timestamp >= since and (until is None or entry.timestamp < until)
            if is_in_time and (aliases is None or entry.alias in aliases):
                yield signed, entry
        elif isinstance(entry, Gap) and entry.ended_at >= since and (until is None or entry.began_at < until):
            yield signed, entry


def differences(said: BatchReceipt, found: BatchReceipt) -> list[str]:
    """In what a batch receipt is not what its ledger adds up to; empty where it is."""
    told: list[str] = []
    if said.root != found.root:
        told.append("the receipts of the ledger are not those that were signed for: their root is another one")
    if said.missing != found.missing:
        told.append(f"it says that {said.missing} attempts have no receipt, and the ledger {found.missing}")
    ours, theirs = msgspec.to_builtins(found.batch_summary), msgspec.to_builtins(said.batch_summary)
    names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    return told + [
        f"its {name} is {_shown(theirs.get(name))}, and the ledger's {_shown(ours.get(name))}" for name in names
    ]


def check_sums(said: BatchReceipt) -> None:
    """That a batch receipt adds up in itself: its models and its aliases to the whole. Raises ReceiptError."""
    for what, parts in (("models", said.batch_summary.by_model), ("aliases", said.batch_summary.by_alias)):
        whole = _whole(parts)
        for name, found in whole.items():
            if found != _number(getattr(said.batch_summary, name)):
                raise ReceiptError(f"the {name} of its {what} do not add up to its own")


def _whole(parts: Mapping[str, Totals]) -> dict[str, Decimal]:
    return {
        name: reduce(_EXACT.add, (_number(getattr(one, name)) for one in parts.values()), Decimal(0))
        for name in Totals.__struct_fields__
    }


def _tokens(receipt: Receipt) -> list[int] | None:
    counts = (receipt.prompt_tokens, receipt.completion_tokens, receipt.total_tokens)
    return None if receipt.total_tokens is None else [count or 0 for count in counts]


def _costs(receipt: Receipt) -> list[Decimal] | None:
    costs = (receipt.input_cost, receipt.output_cost, receipt.total_cost)
    return None if receipt.total_cost is None else [_number(cost or "0") for cost in costs]


def _number(value: int | str) -> Decimal:
    try:
        number = Decimal(value)
    except ArithmeticError as error:
        raise ReceiptError(f"a cost is no number: {str(value)[:40]!r}") from error
    if not number.is_finite() or len(number.as_tuple().digits) > _DIGITS or abs(number.adjusted()) > _DIGITS:
        raise ReceiptError(f"a cost is no number of dollars: {str(value)[:40]!r}")
    return number


def _money(usd: Decimal) -> str:
    return f"{_EXACT.normalize(usd):f}" if usd else "0"


def _shown(value: object) -> str:
    return "not told" if value is None else str(value)[:200]
