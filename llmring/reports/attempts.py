"""What reports read of a ledger's rows: of a receipt what is counted, of a gap how many it stands for. Pure.

Only these fields are decoded, and nothing is verified: that is what `llmring receipts verify` is for, and it takes
six times as long (measured: docs/measurements.md).
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.receipt import GAP, RECEIPT, VERSION, read
from llmring.receipts.store import Row
from llmring.usage import Usage

Timestamp = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01])T\d\d:\d\d:\d\d.*Z$")]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A receipt, as far as it is counted. `total_cost` is dollars; the fields are those of `Receipt`."""

    llmring_receipt: int
    timestamp: Timestamp
    alias: str
    profile: str
    provider: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_cost: Decimal | None = None
    cost_status: str | None = None
    usage: Usage | None = None
    tenant: str | None = None
    call: str | None = None
    attempt: int | None = None
    outcome: str | None = None
    served_model: str | None = None
    provider_request_id: str | None = None
    took_milliseconds: int | None = None

    @property
    def ref(self) -> str:
        """`provider:model`."""
        return f"{self.provider}:{self.model}"

    @property
    def is_answered(self) -> bool:
        """True of a receipt that does not say, too: it was made by hand, of an answer."""
        return self.outcome is None or self.outcome == "answered"

    @property
    def is_lower_bound(self) -> bool:
        """Of an answer that broke off only what was told and seen of it is priced."""
        return self.total_cost is not None and not self.is_answered

    @property
    def used(self) -> Usage | None:
        """Its counters; where there are only the two sums, these."""
        if self.usage is not None or (self.prompt_tokens is None and self.completion_tokens is None):
            return self.usage
        return Usage(input_tokens=self.prompt_tokens or 0, output_tokens=self.completion_tokens or 0)


class Detailed(Attempt, frozen=True, kw_only=True, gc=False):
    """With what each kind of token cost, in dollars."""

    cost_breakdown: dict[str, Decimal] | None = None


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A gap: so many attempts have no receipt."""

    llmring_gap: int
    missing: int
    timestamp: Timestamp


Read = TypeVar("Read", bound=Attempt)
_GAPS = msgspec.json.Decoder(Missing)


def attempts(rows: Iterable[Row]) -> Iterator[Attempt | Missing]:
    """What there is to count in rows of a ledger, in their order. Raises ReceiptError for one that cannot be read."""
    return _read(rows, msgspec.json.Decoder(Attempt))


def detailed(rows: Iterable[Row]) -> Iterator[Detailed | Missing]:
    """The same, with what each kind of token cost."""
    return _read(rows, msgspec.json.Decoder(Detailed))


def _read(rows: Iterable[Row], receipts: msgspec.json.Decoder[Read]) -> Iterator[Read | Missing]:
    for row in rows:
        kind = row.signed.payload_type
        try:
            if kind == RECEIPT:
                one = receipts.decode(row.signed.payload)
                if one.llmring_receipt != VERSION:
                    raise ValueError("of another version")
                if one.total_cost is not None and not one.total_cost.is_finite():
                    raise ValueError("its cost is no number")
                yield one
            elif kind == GAP:
                gap = _GAPS.decode(row.signed.payload)
                if gap.llmring_gap != VERSION:
                    raise ValueError("of another version")
                yield gap
        except (msgspec.DecodeError, ValueError) as error:
            raise ReceiptError(f"entry {row.sequence} of the ledger: {_why(row, error)}") from error


def _why(row: Row, error: Exception) -> str:
    """What an audit would say of it, which knows versions."""
    try:
        read(row.signed.payload_type, row.signed.payload)
    except ReceiptError as said:
        return str(said)
    return str(error)
