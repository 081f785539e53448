"""A ledger as a file for somebody else: JSON lines, the first with the public keys, then an envelope a line.

    {"llmring_export": 1, "ledger": "5f0c…", "keys": {"keys": […], "current_key_id": "…"}}
    {"payload": "…", "payloadType": "application/vnd.llmring.receipt+json", "signatures": […]}

Entries come in their order, checkpoints after them. Salts stay in the ledger, so nobody guesses prompts from an export.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.keys import KeySet, encode_key_set, read_public_keys
from llmring.receipts.signing import Signed, decode_envelope, encode_envelope

VERSION = 1


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    llmring_export: int
    ledger: str
    keys: dict[str, Any]


def export_lines(
    ledger: str, keys: KeySet, entries: Iterable[Signed], checkpoints: Iterable[Signed]
) -> Iterator[bytes]:
    """The lines of an export, each with its end."""
    yield msgspec.json.encode(Head(llmring_export=VERSION, ledger=ledger, keys=encode_key_set(keys))) + b"\n"
    for signed in entries:
        yield encode_envelope(signed) + b"\n"
    for signed in checkpoints:
        yield encode_envelope(signed) + b"\n"


def read_head(line: bytes) -> tuple[str, KeySet]:
    """The ledger's id and its keys, by the first line. Raises ReceiptError for what is no export."""
    try:
        head = msgspec.json.decode(line, type=Head)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not an export of receipts: {error}") from error
    if head.llmring_export != VERSION:
        raise ReceiptError(f"an export of version {head.llmring_export}; this llmring reads {VERSION}")
    return head.ledger, read_public_keys(msgspec.json.encode(head.keys))


def read_line(line: bytes) -> Signed:
    """An envelope; what is none counts as an entry that cannot be read, so that an audit names its place."""
    try:
        return decode_envelope(line)
    except ReceiptError:
        return Signed("", line, b"", "")
