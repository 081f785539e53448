"""What a batch receipt says: which receipts it is of, what they come to, and the root of the tree over them. Values.

The receipts are bound by the root and not listed, so a receipt of a million says as little as one of two, and one of
them can be proved to be in it without the others.
"""

import msgspec

from llmring.receipts.canonical import Count


class Totals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What receipts come to: sums of their tokens and costs, in dollars as text. Receipts that do not say their tokens,
    or not their cost, add nothing to the sums and are counted by `without_tokens` and `without_cost`."""

    receipts: Count
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    input_cost: str
    output_cost: str
    total_cost: str
    without_tokens: Count = 0
    without_cost: Count = 0


class Summary(Totals, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of all: `calls` of which there are attempts, the times of the earliest and the latest; and the same totals for
    each model, `provider:model`, and for each alias."""

    calls: Count
    start_date: str
    end_date: str
    by_model: dict[str, Totals]
    by_alias: dict[str, Totals]


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which receipts of a ledger: all of its entries from the number `entries_from` to before `entries_before` that
    ended at `since` or later and before `until` (RFC 3339, UTC, to the microsecond) and are of one of `aliases`."""

    entries_from: Count
    entries_before: Count
    since: str | None = None
    until: str | None = None
    aliases: tuple[str, ...] | None = None


class BatchReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One receipt of many. `root` is of the RFC 6962 tree over them in their order, 64 hexadecimal digits. `missing`
    are attempts of the same time that have no receipt, as the ledger's gaps say; `tags` and `description` are its
    maker's.

    Outside of a ledger there is no `selection`, and none of `ledger`, `sequence` and `previous`. `signature` is not
    signed itself, and not part of the receipt's bytes.
    """

    llmring_batch_receipt: int
    receipt_id: str
    timestamp: str
    batch_summary: Summary
    root: str
    selection: Selection | None = None
    missing: Count = 0
    description: str | None = None
    tags: tuple[str, ...] = ()
    ledger: str | None = None
    sequence: Count | None = None
    previous: str | None = None
    key_id: str | None = None
    signature: str | None = None
