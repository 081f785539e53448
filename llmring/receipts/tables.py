"""What a ledger's tables say, to values and back, whichever database they are in; and an error of one. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.signing import Signed
from llmring.receipts.store import Head, Key, Row

_TYPE = "application/vnd.llmring.{}+json"

HEAD_COLUMNS = "id, size, last, frontier, key_id, checkpoint_size, checkpoint_at"
ROW_COLUMNS = "sequence, kind, payload, signature, key_id, receipt_id, timestamp, hash, salt"
KEY_COLUMNS = "key_id, public_key, since"
CHECKPOINT_COLUMNS = "size, payload, signature, key_id"

Cells = Sequence[Any]


def head_of(found: Sequence[Cells], name: str) -> Head:
    """The head of the ledger called `name`. Raises ReceiptError where there is none, or it is none."""
    if len(found) != 1:
        raise ReceiptError(f"the ledger {name} is damaged: it does not say how many entries it has")
    cells = dict(zip(Head.__struct_fields__, found[0], strict=True))
    try:
        # Whoever edits a file of SQLite may write text where a number was.
        return msgspec.convert(cells, Head, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise ReceiptError(f"the ledger {name} is damaged: its head cannot be read: {error}") from error


def hash_of(cells: Cells) -> bytes:
    return _bytes(cells[0])


def head_cells(head: Head) -> Cells:
    """In the order of HEAD_COLUMNS, without the id, which never changes."""
    return (head.size, head.last, head.frontier, head.key_id, head.checkpoint_size, head.checkpoint_at)


def row_of(cells: Cells) -> Row:
    sequence, kind, payload, signature, key_id, receipt_id, timestamp, digest, salt = cells
    signed = Signed(_TYPE.format(kind), _bytes(payload), _bytes(signature), str(key_id))
    return Row(sequence, signed, receipt_id, timestamp, _bytes(digest), salt)


def row_cells(row: Row) -> Cells:
    """In the order of ROW_COLUMNS."""
    signed = row.signed
    return (
        row.sequence,
        kind_of(signed.payload_type),
        signed.payload,
        signed.signature,
        signed.key_id,
        row.receipt_id,
        row.timestamp,
        row.hash,
        row.salt,
    )


def kind_of(payload_type: str) -> str:
    """As the column `kind` has it."""
    return payload_type.removeprefix("application/vnd.llmring.").removesuffix("+json")


def key_of(cells: Cells) -> Key:
    key_id, raw, since = cells
    return Key(str(key_id), _bytes(raw), since)


def key_cells(key: Key) -> Cells:
    """In the order of KEY_COLUMNS."""
    return (key.key_id, key.raw, key.since)


def checkpoint_of(cells: Cells) -> Signed:
    _size, payload, signature, key_id = cells
    return Signed(_TYPE.format("checkpoint"), _bytes(payload), _bytes(signature), str(key_id))


def size_of(cells: Cells) -> int:
    """The size that a checkpoint is kept under."""
    return int(cells[0])


def checkpoint_cells(signed: Signed, size: int) -> Cells:
    """In the order of CHECKPOINT_COLUMNS."""
    return (size, signed.payload, signed.signature, signed.key_id)


def failed(name: str, why: str) -> ReceiptError:
    """What a disk or a database refuses, in one line."""
    return ReceiptError(f"the ledger {name}: {why}")


def _bytes(value: Any) -> bytes:
    """As it was written; of a row that somebody changed by hand, whatever it is now."""
    return value if isinstance(value, bytes) else str(value).encode()
