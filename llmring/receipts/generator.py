"""Receipts made by hand, for programs that keep their own books: outside of a ledger, signed where there is a key."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from llmring.arguments import as_text
from llmring.errors import ReceiptError
from llmring.pricing import Prices, cost_of
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.batching import tally
from llmring.receipts.given import given_cost, given_count, given_prices, given_tokens
from llmring.receipts.receipt import VERSION, Receipt, dollars, readable, timestamp
from llmring.receipts.signing import ReceiptSigner
from llmring.usage import CostBreakdown, Usage

_ID_BYTES = 16


def new_receipt_id(random: bytes | None = None) -> str:
    """`rcpt_` and 32 hexadecimal digits."""
    return f"rcpt_{(random if random is not None else os.urandom(_ID_BYTES)).hex()}"


class ReceiptGenerator:
    """Without a `signer` receipts are not signed."""

    def __init__(self, signer: ReceiptSigner | None = None) -> None:
        self.signer = signer

    def generate_receipt(
        self,
        alias: str,
        profile: str,
        lock_digest: str,
        provider: str,
        model: str,
        usage: Usage | Mapping[str, int] | None,
        costs: Mapping[str, Decimal | str | None],
        receipt_id: str | None = None,
    ) -> Receipt:
        """A receipt of now. `usage` is an answer's, or has `prompt_tokens` and `completion_tokens`; `costs` is what
        `calculate_costs` gives. Raises ReceiptError for a count that is no whole number from 0, for a cost below 0 or
        without an end, for one that is a float: it would be rounded, and for what is no text: it could not be read
        again."""
        prompt, completion = given_tokens(usage)
        key = self.signer.private_key if self.signer is not None else None
        receipt = Receipt(
            llmring_receipt=VERSION,
            receipt_id=as_text("receipt_id", receipt_id, ReceiptError) if receipt_id is not None else new_receipt_id(),
            timestamp=timestamp(datetime.now(UTC)),
            alias=as_text("alias", alias, ReceiptError),
            profile=as_text("profile", profile, ReceiptError),
            lock_digest=as_text("lock_digest", lock_digest, ReceiptError),
            provider=as_text("provider", provider, ReceiptError),
            model=as_text("model", model, ReceiptError),
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=None if prompt is None or completion is None else prompt + completion,
            input_cost=given_cost(costs, "input_cost"),
            output_cost=given_cost(costs, "output_cost"),
            total_cost=given_cost(costs, "total_cost"),
            usage=counters(usage) if isinstance(usage, Usage) else None,
            key_id=key.key_id if key is not None else None,
        )
        readable(receipt)
        if self.signer is None or key is None:
            return receipt
        return msgspec.structs.replace(receipt, signature=self.signer.sign_receipt(receipt))

    def generate_batch_receipt(
        self, receipts: Iterable[Receipt], description: str | None = None, tags: Sequence[str] = ()
    ) -> BatchReceipt:
        """One receipt of many, in this order: what they come to, and the root of the tree over them. Raises
        ReceiptError where there are none, a cost is no number, or the description or a tag no text."""
        if isinstance(tags, str):
            raise ReceiptError("tags is a list of texts, not one text")
        key = self.signer.private_key if self.signer is not None else None
        batch = msgspec.structs.replace(
            tally(receipts).batch(new_receipt_id(), timestamp(datetime.now(UTC))),
            description=as_text("description", description, ReceiptError) if description is not None else None,
            tags=tuple(as_text("a tag", tag, ReceiptError) for tag in tags),
            key_id=key.key_id if key is not None else None,
        )
        if self.signer is None or key is None:
            return batch
        return msgspec.structs.replace(batch, signature=self.signer.sign_receipt(batch))

    def calculate_costs(
        self,
        provider: str,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        model_info: Prices | Mapping[str, Any] | None = None,
    ) -> dict[str, str | None]:
        """What one online request costs: `input_cost`, `output_cost` and `total_cost` in dollars, as text.

        By `model_info`, prices or a model of the registry's list, and the rule that `provider` bills by, as a router
        works it out: a long prompt costs what long ones do. None where the prices are not told: unknown, not free. All
        of the prompt is taken to be uncached. Raises ReceiptError for a count that is no whole number from 0, and for a
        price below 0 or without an end.
        """
        used = Usage(
            input_tokens=given_count(prompt_tokens, "prompt_tokens"),
            output_tokens=given_count(completion_tokens, "completion_tokens"),
        )
        prices = given_prices(provider, model, model_info) if model_info is not None else None
        return costs_of(cost_of((used,), prices, known=True).breakdown)


def costs_of(parts: CostBreakdown | None) -> dict[str, str | None]:
    """A receipt's three costs: what went in with its caching, what came out with its reasoning, and both."""
    if parts is None:
        return dict.fromkeys(("input_cost", "output_cost", "total_cost"))
    output = parts.output + parts.reasoning
    return {
        "input_cost": dollars(parts.total - output),
        "output_cost": dollars(output),
        "total_cost": dollars(parts.total),
    }


def counters(usage: Usage) -> dict[str, int]:
    """Those that are not 0."""
    return {name: count for name in usage.__struct_fields__ if (count := getattr(usage, name))}
