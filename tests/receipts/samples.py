"""Receipts for tests: every field filled, and whatever hypothesis thinks of."""

from typing import Any

import msgspec
from hypothesis import strategies

from llmring.receipts.canonical import MOST
from llmring.receipts.receipt import Receipt
from llmring.receipts.signing import PrivateKey

KEY = PrivateKey(bytes(range(32)))
OTHER_KEY = PrivateKey(bytes(range(1, 33)))

FULL = Receipt(
    llmring_receipt=1,
    receipt_id="rcpt_00112233445566778899aabbccddeeff",
    timestamp="2026-08-01T12:00:00.000000Z",
    alias="summarizer",
    profile="default",
    lock_digest="ab" * 32,
    provider="openai",
    model="gpt-4o-mini",
    prompt_tokens=1200,
    completion_tokens=80,
    total_tokens=1280,
    input_cost="0.00018",
    output_cost="0.000048",
    total_cost="0.000228",
    cost_status="priced",
    cost_breakdown={"input": "0.00018", "output": "0.000048"},
    usage={"input_tokens": 1200, "output_tokens": 80},
    registry_version=12,
    price_digest="0123456789abcdef",
    kind="chat",
    call="9f2c-17",
    attempt=1,
    outcome="answered",
    status=200,
    served_model="gpt-4o-mini-2024-07-18",
    provider_request_id="req_1",
    waited_milliseconds=0,
    took_milliseconds=812,
    request_digest="cd" * 32,
    response_digest="ef" * 32,
)

_texts = strategies.text(max_size=12)
_counts = strategies.integers(0, MOST)


def _strategy(name: str, kind: object) -> strategies.SearchStrategy[Any]:
    if name == "llmring_receipt":
        return strategies.just(1)
    if name == "kind":
        return strategies.sampled_from(["chat", "stream", "embed"])
    if name == "signature":
        return strategies.none()
    if name in ("usage", "cost_breakdown"):
        names = strategies.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)
        values = _counts if name == "usage" else _texts
        return strategies.one_of(strategies.none(), strategies.dictionaries(names, values, max_size=4))
    values = _texts if "str" in str(kind) else _counts
    return values if "None" not in str(kind) else strategies.one_of(strategies.none(), values)


receipts = strategies.builds(
    Receipt, **{field.name: _strategy(field.name, field.type) for field in msgspec.structs.fields(Receipt)}
)
