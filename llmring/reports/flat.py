"""A receipt as the row of a table: every field of it in a column of its own, the same for JSON, CSV and Parquet. Pure.

Names are the receipt's own; what it has by kind of token is spelled `usage_input_tokens`, `cost_breakdown_output`.
Where a receipt knows its usage, a kind that is not in it is 0; where it does not, the cells are empty.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Literal

from llmring.errors import ReceiptError
from llmring.receipts.receipt import Receipt
from llmring.usage import CostBreakdown, Usage

Cell = str | int | bool | Decimal | None
Kind = Literal["text", "integer", "dollars", "truth", "time"]
"""What a column holds. A time is a receipt's timestamp, as text."""

_TOKENS = tuple((f"usage_{name}", name) for name in Usage.__struct_fields__)
_PARTS = tuple((f"cost_breakdown_{name}", name) for name in CostBreakdown.__struct_fields__)

COLUMNS: Mapping[str, Kind] = {
    "receipt_id": "text",
    "timestamp": "time",
    "call": "text",
    "part": "integer",
    "attempt": "integer",
    "kind": "text",
    "outcome": "text",
    "status": "integer",
    "alias": "text",
    "profile": "text",
    "tenant": "text",
    "provider": "text",
    "model": "text",
    "served_model": "text",
    "prompt_tokens": "integer",
    "completion_tokens": "integer",
    "total_tokens": "integer",
    **dict.fromkeys((column for column, _ in _TOKENS), "integer"),
    "input_cost": "dollars",
    "output_cost": "dollars",
    "total_cost": "dollars",
    "cost_status": "text",
    "cost_is_lower_bound": "truth",
    **dict.fromkeys((column for column, _ in _PARTS), "dollars"),
    "waited_milliseconds": "integer",
    "took_milliseconds": "integer",
    "provider_request_id": "text",
    "batch": "text",
    "lock_digest": "text",
    "registry_version": "integer",
    "price_digest": "text",
    "request_digest": "text",
    "response_digest": "text",
    "ledger": "text",
    "sequence": "integer",
    "previous": "text",
    "key_id": "text",
    "signature": "text",
}


def flat(receipt: Receipt) -> dict[str, Cell]:
    """The cells in the order of COLUMNS. Dollars are Decimal, to the last digit. Raises ReceiptError for others."""
    cells: dict[str, Cell] = {name: getattr(receipt, name, None) for name in COLUMNS}
    for name in ("input_cost", "output_cost", "total_cost"):
        cells[name] = _dollars(getattr(receipt, name))
    if receipt.total_cost is not None:
        cells["cost_is_lower_bound"] = receipt.outcome not in (None, "answered")
    if receipt.usage is not None:
        cells |= {column: receipt.usage.get(name, 0) for column, name in _TOKENS}
    if receipt.cost_breakdown is not None:
        cells |= {column: _dollars(receipt.cost_breakdown.get(name, "0")) for column, name in _PARTS}
    return cells


def _dollars(text: str | None) -> Decimal | None:
    try:
        usd = Decimal(text) if text is not None else None
    except InvalidOperation:
        usd = Decimal("NaN")
    if usd is not None and not usd.is_finite():
        raise ReceiptError(f"a receipt has a cost that is no number: {text!r}")
    return usd


def plain(cell: Cell) -> str | int | bool | None:
    """For JSON: dollars as text, for a number would be read as a binary fraction."""
    return f"{cell:f}" if isinstance(cell, Decimal) else cell
