"""What a receipt says, and what else stands in a ledger's chain: gaps and hand-overs. Values and their bytes. Pure.

    receipt     one attempt at one model: who was asked, what came of it, how many tokens, for how much
    gap         attempts that have no receipt, as nothing could be written for a while
    handover    the key by which the entries after this one are signed
    batch       a receipt of many receipts (batch_receipt.py)

Names and money are text, counters whole numbers: nothing here is a fraction, so every language writes the same bytes.
What is not known is null or absent, never 0. No prompt, answer, or provider's key is in any of them.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.canonical import MOST, Count, canonical, encode_plain

VERSION = 1
Kind = Literal["chat", "stream", "embed", "batch"]

RECEIPT = "application/vnd.llmring.receipt+json"
GAP = "application/vnd.llmring.gap+json"
HANDOVER = "application/vnd.llmring.handover+json"
BATCH_RECEIPT = "application/vnd.llmring.batch-receipt+json"


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One attempt. `timestamp` is when it ended (RFC 3339, UTC); costs are dollars.

    `prompt_tokens` are all of the input, what was read from or written to a cache included, and `completion_tokens` all
    of the output, reasoning included; `usage` has the counters that add up to them, `cost_breakdown` what each cost,
    both without zeros. `lock_digest` is the lockfile's (`llmring lock check`), `registry_version` and `price_digest`
    say by which prices: that is the registry's digest of the model's facts, as lockfiles pin it.

    `tenant` is the word by which the caller named whose work it was, and absent where it named nobody.

    `call` is the same for all attempts of one call, `attempt` counts them from 1; where texts to embed are sent in
    several requests, `part` numbers these from 1, and each counts its own attempts. `outcome` is "answered", the class
    of the error, "cancelled", or "left" for a stream that its caller did not read to the end. `batch` is the provider's
    id of the batch that it was a row of; such a one `took` from handing in to reading. `request_digest` and
    `response_digest` bind the content without telling it: see contents.py.

    `ledger`, `sequence` (from 0) and `previous`, the hash of the entry before, place it in a ledger's chain; a receipt
    outside of one has none of them. `signature` is not signed itself, and not part of the receipt's bytes.
    """

    llmring_receipt: int
    receipt_id: str
    timestamp: str
    alias: str
    profile: str
    lock_digest: str
    provider: str
    model: str
    prompt_tokens: Count | None
    completion_tokens: Count | None
    total_tokens: Count | None
    input_cost: str | None
    output_cost: str | None
    total_cost: str | None
    cost_status: str | None = None
    cost_breakdown: dict[str, str] | None = None
    usage: dict[str, Count] | None = None
    registry_version: Count | None = None
    price_digest: str | None = None
    kind: Kind | None = None
    tenant: str | None = None
    call: str | None = None
    part: Count | None = None
    attempt: Count | None = None
    outcome: str | None = None
    status: Count | None = None
    served_model: str | None = None
    provider_request_id: str | None = None
    batch: str | None = None
    waited_milliseconds: Count | None = None
    took_milliseconds: Count | None = None
    request_digest: str | None = None
    response_digest: str | None = None
    ledger: str | None = None
    sequence: Count | None = None
    previous: str | None = None
    key_id: str | None = None
    signature: str | None = None

    @property
    def is_lower_bound(self) -> bool:
        """Whether more may be billed than it says: it broke off, and was priced by what was told and seen of it."""
        return self.total_cost is not None and self.outcome not in (None, "answered")


class Gap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`missing` attempts that ended between two moments have no receipt; `why` says what could not be done."""

    llmring_gap: int
    missing: Count
    began_at: str
    ended_at: str
    why: str
    timestamp: str
    ledger: str
    sequence: Count
    previous: str | None = None
    key_id: str


class Handover(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The key `key_id`, by which this is signed, gives way to the one that is named: its id and, in base64url, its
    public half."""

    llmring_handover: int
    to_key_id: str
    to_public_key: str
    timestamp: str
    ledger: str
    sequence: Count
    previous: str | None = None
    key_id: str


Entry = Receipt | Gap | Handover | BatchReceipt
TYPES: dict[str, type[Receipt] | type[Gap] | type[Handover] | type[BatchReceipt]] = {
    RECEIPT: Receipt,
    GAP: Gap,
    HANDOVER: Handover,
    BATCH_RECEIPT: BatchReceipt,
}
_DECODERS = {name: msgspec.json.Decoder(form) for name, form in TYPES.items()}
_VERSIONS = {
    RECEIPT: "llmring_receipt",
    GAP: "llmring_gap",
    HANDOVER: "llmring_handover",
    BATCH_RECEIPT: "llmring_batch_receipt",
}
_NAMES = {RECEIPT: "receipt", GAP: "gap", HANDOVER: "handover", BATCH_RECEIPT: "batch receipt"}
_HEADS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def payload_type(entry: Entry) -> str:
    """The media type by which it is signed."""
    match entry:
        case Receipt():
            return RECEIPT
        case Gap():
            return GAP
        case Handover():
            return HANDOVER
        case BatchReceipt():
            return BATCH_RECEIPT


def receipt_id_of(entry: Entry) -> str | None:
    """The id of a receipt, of one attempt or of a batch; None for what is none."""
    return entry.receipt_id if isinstance(entry, Receipt | BatchReceipt) else None


def payload(entry: Entry) -> bytes:
    """What is signed and hashed: RFC 8785, without the signature. Raises ReceiptError for a counter beyond 2**53, and
    for what JSON cannot say. What is signed here for the first time goes through `readable`."""
    if isinstance(entry, Receipt | BatchReceipt) and entry.signature is not None:
        entry = msgspec.structs.replace(entry, signature=None)
    try:
        if isinstance(entry, BatchReceipt):
            # Aliases and models are names of members there: any text.
            return canonical(msgspec.to_builtins(entry))
        if isinstance(entry, Receipt):
            counters = (entry.prompt_tokens, entry.completion_tokens, entry.total_tokens, *(entry.usage or {}).values())
            if any(count is not None and not 0 <= count <= MOST for count in counters):
                raise ReceiptError(f"receipt {entry.receipt_id}: a counter is below 0 or above 2**53 - 1")
        return encode_plain(entry)
    except (AttributeError, TypeError, ValueError) as error:
        raise ReceiptError(f"no receipt can be written: {error}") from error


def readable(entry: Entry) -> bytes:
    """Its payload, of which it is certain that `read` takes it again: one entry that cannot be read makes a ledger
    unreadable from there on, and once it is signed nobody can mend that. Raises ReceiptError."""
    data = payload(entry)
    read(payload_type(entry), data)
    return data


def read(kind: str, data: bytes) -> Entry:
    """The entry that was signed as `kind`. Raises ReceiptError: no such kind, another version, not its canonical bytes.

    Only one spelling is read, so that no two readers can see two things in it.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise ReceiptError(f"nothing of a ledger is of the type {kind!r}")
    try:
        entry: Entry = decoder.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(_other_version(kind, data) or f"not a {_NAMES[kind]}: {error}") from error
    if getattr(entry, _VERSIONS[kind]) != VERSION:
        raise ReceiptError(_other_version(kind, data) or "of another version")
    if payload(entry) != data:
        raise ReceiptError("it is not spelled as RFC 8785 says")
    return entry


def _other_version(kind: str, data: bytes) -> str | None:
    """What to say of an entry of another llmring; None where it is of this version, or does not say."""
    try:
        version = _HEADS.decode(data).get(_VERSIONS[kind])
    except (msgspec.DecodeError, ValueError):
        return None
    if version is None or bytes(version) == str(VERSION).encode():
        return None
    return f"it is of version {bytes(version).decode(errors='replace')[:20]}, and this llmring reads {VERSION}"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond: `2026-08-01T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def dollars(usd: Decimal) -> str:
    """Money as text that does not depend on how it was worked out: 0.10 and 1E-1 are "0.1"."""
    return f"{usd.normalize():f}" if usd else "0"
