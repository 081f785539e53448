"""From an attempt that has ended to the receipt of it: tokens, costs, digests of what was said. Pure but for the salt.

Runs in the ledger's thread: what a request's path leaves behind is the attempt as it is, and what has to be worked out
is worked out here.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from llmring.billing import rule_of
from llmring.chat import ChatRequest, Completion
from llmring.embeddings import Embeddings
from llmring.pricing import Prices, cost_of, for_texts, in_a_batch, least_tier
from llmring.receipts.canonical import MOST
from llmring.receipts.contents import SALT_BYTES, request_digest, response_digest
from llmring.receipts.generator import costs_of, counters, new_receipt_id
from llmring.receipts.receipt import VERSION, Kind, Receipt, dollars, timestamp
from llmring.refs import ModelRef
from llmring.usage import CostBreakdown, Usage

ID_BYTES = 16
RANDOM_BYTES = ID_BYTES + SALT_BYTES


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says of a model: `version` of its provider's list, `digest` of its facts, its prices; `known`,
    whether it has the model at all."""

    version: int | None = None
    digest: str | None = None
    prices: Prices | None = None
    known: bool = False


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended, as its request leaves it. `asked` is what was sent on, texts for vectors; `answered`
    the whole answer, None where there is none, and `partial` what had come of one; `usage` what is known to have been
    used; `service_tier` is that of a failure, where it is known; `tenant` is empty where nobody is named. `lock` and
    `facts` are asked in the ledger's thread. `identity`, 16 bytes, is of one that may be left twice, by two processes
    even: it gets one receipt. Other fields are those of the receipt."""

    kind: Kind
    ended_at: datetime
    call: str
    attempt: int
    part: int | None = None
    alias: str
    profile: str
    tenant: str = ""
    model: ModelRef
    outcome: str
    asked: ChatRequest | tuple[str, ...]
    answered: Completion | Embeddings | None = None
    partial: Completion | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    status: int | None = None
    request_id: str | None = None
    batch: str | None = None
    identity: bytes | None = None
    waited_seconds: float = 0.0
    took_seconds: float = 0.0
    lock: Callable[[], str]
    facts: Callable[[], Facts]


class Draft(msgspec.Struct, frozen=True):
    """A receipt without its place in a chain, and the salt that its digests are under. `once`: the ledger may have it
    already, under the same id."""

    receipt: Receipt
    salt: bytes
    once: bool = False


def draft(ended: Attempted, random: bytes) -> Draft:
    """`random` is RANDOM_BYTES from the system."""
    salt = random[ID_BYTES:]
    usage = ended.usage if ended.usage is not None and _is_sane(ended.usage) else None
    facts = ended.facts()
    answered = ended.answered
    seen = answered if answered is not None else ended.partial
    prices = for_texts(facts.prices) if ended.kind == "embed" else facts.prices
    tier = seen.service_tier if isinstance(seen, Completion) else ended.service_tier
    if answered is None:
        asked = ended.asked.service_tier if isinstance(ended.asked, ChatRequest) else None
        tier = least_tier(prices, tier, asked)
    cost = cost_of((usage,) if usage is not None else (), prices, known=facts.known, service_tier=tier)
    if ended.kind == "batch":
        cost = in_a_batch(cost, rule_of(ended.model.provider))
    costs = costs_of(cost.breakdown)
    receipt = Receipt(
        llmring_receipt=VERSION,
        receipt_id=new_receipt_id(ended.identity or random[:ID_BYTES]),
        timestamp=timestamp(ended.ended_at),
        alias=ended.alias,
        profile=ended.profile,
        lock_digest=ended.lock(),
        provider=ended.model.provider,
        model=ended.model.model,
        prompt_tokens=usage.total_input_tokens if usage is not None else None,
        completion_tokens=usage.total_output_tokens if usage is not None else None,
        total_tokens=usage.total_tokens if usage is not None else None,
        input_cost=costs["input_cost"],
        output_cost=costs["output_cost"],
        total_cost=costs["total_cost"],
        cost_status=cost.status,
        cost_breakdown=_breakdown(cost.breakdown) if cost.breakdown is not None else None,
        usage=counters(usage) if usage is not None else None,
        registry_version=facts.version,
        price_digest=facts.digest,
        kind=ended.kind,
        tenant=ended.tenant or None,
        call=ended.call,
        part=ended.part,
        attempt=ended.attempt,
        outcome=ended.outcome,
        status=ended.status,
        served_model=seen.served_model if seen is not None else None,
        provider_request_id=ended.request_id,
        batch=ended.batch,
        waited_milliseconds=_milliseconds(ended.waited_seconds),
        took_milliseconds=_milliseconds(ended.took_seconds),
        request_digest=request_digest(ended.asked, salt),
        response_digest=response_digest(answered, salt) if answered is not None else None,
    )
    return Draft(receipt, salt, once=ended.identity is not None)


def _is_sane(usage: Usage) -> bool:
    """A provider may say anything."""
    return all(0 <= count <= MOST // 8 for count in msgspec.structs.astuple(usage))


def _breakdown(parts: CostBreakdown) -> dict[str, str]:
    return {name: dollars(usd) for name in parts.__struct_fields__ if (usd := getattr(parts, name))}


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
