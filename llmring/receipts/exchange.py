"""A ledger as a file for somebody else: JSON lines, the first with the public keys, then an envelope a line.

    {"llmring_export": 1, "ledger": "5f0c…", "size": 812, "keys": {"keys": […]}, "checkpoint": {…}}
    {"payload": "…", "payloadType": "application/vnd.llmring.receipt+json", "signatures": […]}

Entries come in their order, checkpoints after them. The first line has their number, and the newest checkpoint, so that
a file that was cut off is known for one; the number is nobody's word but the file's. Salts stay in the ledger, so
nobody guesses prompts from an export.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    size: int | None = None
    keys: dict[str, Any]
    checkpoint: msgspec.Raw = msgspec.Raw()


class Opened(msgspec.Struct, frozen=True):
    """What the first line says; `size` None: it is of an llmring that did not say so."""

    ledger: str
    keys: KeySet
    size: int | None
    checkpoints: tuple[Signed, ...]


def export_lines(
    ledger: str, keys: KeySet, size: int, entries: Iterable[Signed], checkpoints: Sequence[Signed]
) -> Iterator[bytes]:
    """The lines of an export, each with its end. `size` is how many entries there are at the least; of `checkpoints`
    the newest is the last."""
    newest = msgspec.Raw(encode_envelope(checkpoints[-1])) if checkpoints else msgspec.Raw(b"null")
    head = Head(llmring_export=VERSION, ledger=ledger, size=size, keys=encode_key_set(keys), checkpoint=newest)
    yield msgspec.json.encode(head) + b"\n"
    for signed in entries:
        yield encode_envelope(signed) + b"\n"
    for signed in checkpoints:
        yield encode_envelope(signed) + b"\n"


def read_head(line: bytes) -> Opened:
    """Raises ReceiptError for what is no export."""
    try:
        head = msgspec.json.decode(line, type=Head)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not an export of receipts: {error}") from error
    if head.llmring_export != VERSION:
        raise ReceiptError(f"an export of version {head.llmring_export}; this llmring reads {VERSION}")
    named = bytes(head.checkpoint) not in (b"", b"null")
    newest = (read_line(bytes(head.checkpoint)),) if named else ()
    return Opened(head.ledger, read_public_keys(msgspec.json.encode(head.keys)), head.size, newest)


def read_line(line: bytes) -> Signed:
    """An envelope; what is none counts as an entry that cannot be read, so that an audit names its place."""
    try:
        return decode_envelope(line)
    except ReceiptError:
        return Signed("", line, b"", "")
