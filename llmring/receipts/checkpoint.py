"""Checkpoints: a signed statement of how many entries a ledger has, and of the root of the tree over them. Pure.

Kept by somebody else, a checkpoint shows for ever after that its entries were neither changed nor cut off. Without the
ledger, a receipt with its proof and a checkpoint is verified, and of two checkpoints that one goes on from the other.
"""

from collections.abc import Mapping, Sequence

import msgspec

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts.canonical import Count, encode_plain
from llmring.receipts.merkle import HASH_BYTES, extends, leaf_hash, root_from
from llmring.receipts.receipt import Entry, read
from llmring.receipts.signing import (
    PrivateKey,
    PublicKey,
    Signed,
    decode_envelope,
    encode_envelope,
    sign,
    verifies,
)

VERSION = 1
CHECKPOINT = "application/vnd.llmring.checkpoint+json"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first `size` entries of a ledger have the tree `root`, 64 hexadecimal digits."""

    llmring_checkpoint: int
    ledger: str
    size: Count
    root: str
    timestamp: str
    key_id: str


_CHECKPOINTS = msgspec.json.Decoder(Checkpoint)


def sign_checkpoint(key: PrivateKey, ledger: str, size: int, root: bytes, timestamp: str) -> Signed:
    """Say how a ledger stands."""
    said = Checkpoint(
        llmring_checkpoint=VERSION,
        ledger=ledger,
        size=size,
        root=root.hex(),
        timestamp=timestamp,
        key_id=key.key_id,
    )
    return sign(key, CHECKPOINT, encode_plain(said))


def read_checkpoint(signed: Signed) -> Checkpoint:
    """What a checkpoint says; its signature is not looked at. Raises ReceiptError for what is none."""
    if signed.payload_type != CHECKPOINT:
        raise ReceiptError(f"not a checkpoint: it is of the type {signed.payload_type!r}")
    try:
        said = _CHECKPOINTS.decode(signed.payload)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a checkpoint: {error}") from error
    if said.llmring_checkpoint != VERSION:
        raise ReceiptError(f"a checkpoint of version {said.llmring_checkpoint}; this llmring reads {VERSION}")
    if encode_plain(said) != signed.payload:
        raise ReceiptError("a checkpoint that is not spelled as RFC 8785 says")
    try:
        read_path([said.root])
    except ValueError as error:
        raise ReceiptError(f"not a checkpoint: its root is {error}") from error
    return said


def verify_checkpoint(signed: Signed, keys: Mapping[str, PublicKey]) -> Checkpoint:
    """What a checkpoint says, signed by one of `keys`. Raises SignatureInvalid, ReceiptError."""
    said = read_checkpoint(signed)
    check_signature(signed, said.key_id, keys, f"the checkpoint of {said.size} entries")
    return said


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry and the way from it to a checkpoint's root, for whoever does not have the ledger. `entry` and
    `checkpoint` are DSSE envelopes, `path` hashes in hexadecimal, the lowest first."""

    llmring_proof: int
    entry: msgspec.Raw
    index: Count
    path: tuple[str, ...]
    checkpoint: msgspec.Raw


_PROOFS = msgspec.json.Decoder(Proof)


def encode_proof(entry: Signed, index: int, path: Sequence[bytes], checkpoint: Signed) -> bytes:
    """JSON without a line break."""
    return msgspec.json.encode(
        Proof(
            llmring_proof=VERSION,
            entry=msgspec.Raw(encode_envelope(entry)),
            index=index,
            path=tuple(one.hex() for one in path),
            checkpoint=msgspec.Raw(encode_envelope(checkpoint)),
        )
    )


def verify_proof(data: bytes, keys: Mapping[str, PublicKey], kept: Sequence[Signed] = ()) -> tuple[Entry, Checkpoint]:
    """The entry that is proved, and by what. `kept` are checkpoints that the verifier has from before, one of which it
    must be; none: whichever it is. Raises SignatureInvalid; ReceiptError for no proof, or of another tree."""
    try:
        proof = _PROOFS.decode(data)
        path = read_path(proof.path)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a proof: {error}") from error
    if proof.llmring_proof != VERSION:
        raise ReceiptError(f"a proof of version {proof.llmring_proof}; this llmring reads {VERSION}")
    signed = decode_envelope(bytes(proof.entry))
    said = verify_checkpoint(decode_envelope(bytes(proof.checkpoint)), keys)
    entry = read(signed.payload_type, signed.payload)
    check_signature(signed, entry.key_id, keys, f"entry {entry.sequence}")
    if (entry.ledger, entry.sequence) != (said.ledger, proof.index):
        raise ReceiptError(f"the entry is number {entry.sequence} of {entry.ledger}, not what the checkpoint is about")
    if kept and _state(said) not in [_state(read_checkpoint(one)) for one in kept]:
        raise ReceiptError(
            f"it is by a checkpoint of {said.size} entries that is not the one that was kept: `llmring receipts prove "
            "--since` shows whether the one goes on from the other"
        )
    root = root_from(leaf_hash(signed.payload), proof.index, said.size, path)
    if root is None or root.hex() != said.root:
        raise ReceiptError(f"entry {proof.index} is not in the tree of the checkpoint of {said.size} entries")
    return entry, said


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two checkpoints of one ledger, DSSE envelopes both, and the hashes that show the new one to go on where the old
    one ended."""

    llmring_extension: int
    old: msgspec.Raw
    new: msgspec.Raw
    path: tuple[str, ...]


_EXTENSIONS = msgspec.json.Decoder(Extension)


def encode_extension(old: Signed, new: Signed, path: Sequence[bytes]) -> bytes:
    """JSON without a line break."""
    return msgspec.json.encode(
        Extension(
            llmring_extension=VERSION,
            old=msgspec.Raw(encode_envelope(old)),
            new=msgspec.Raw(encode_envelope(new)),
            path=tuple(one.hex() for one in path),
        )
    )


def verify_extension(
    data: bytes, keys: Mapping[str, PublicKey], kept: Sequence[Signed] = ()
) -> tuple[Checkpoint, Checkpoint]:
    """The old and the new checkpoint: nothing of what was in the ledger by the old one was changed or left out of the
    new one. `kept` are checkpoints that the verifier has from before, one of which the old one must be; none: whichever
    it is. Raises SignatureInvalid; ReceiptError for no such proof, and where the one does not go on from the other.
    """
    try:
        told = _EXTENSIONS.decode(data)
        path = read_path(told.path)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a proof: {error}") from error
    if told.llmring_extension != VERSION:
        raise ReceiptError(f"a proof of version {told.llmring_extension}; this llmring reads {VERSION}")
    old = verify_checkpoint(decode_envelope(bytes(told.old)), keys)
    new = verify_checkpoint(decode_envelope(bytes(told.new)), keys)
    if kept and _state(old) not in [_state(read_checkpoint(one)) for one in kept]:
        raise ReceiptError(f"it goes on from a checkpoint of {old.size} entries that is not the one that was kept")
    if old.ledger != new.ledger:
        raise ReceiptError(f"the checkpoints are of two ledgers, {old.ledger} and {new.ledger}")
    if not extends(old.size, bytes.fromhex(old.root), new.size, bytes.fromhex(new.root), path):
        raise ReceiptError(
            f"the ledger of {new.size} entries does not go on from the one of {old.size}: entries were changed or left "
            "out, or the proof was"
        )
    return old, new


def _state(said: Checkpoint) -> tuple[str, int, str]:
    """What a checkpoint is about, whoever signed it when."""
    return said.ledger, said.size, said.root


def read_path(texts: Sequence[str]) -> list[bytes]:
    """Hashes as proofs spell them. Raises ValueError for what is none, or is spelled in another way."""
    path: list[bytes] = []
    for text in texts:
        raw = bytes.fromhex(text)
        if len(raw) != HASH_BYTES or raw.hex() != text:
            raise ValueError(f"no hash of {2 * HASH_BYTES} hexadecimal digits")
        path.append(raw)
    return path


def check_signature(signed: Signed, key_id: str | None, keys: Mapping[str, PublicKey], what: str) -> None:
    key = keys.get(key_id or "")
    if key is None:
        raise SignatureInvalid(f"{what} is signed by {key_id}, which is none of the keys that are trusted")
    if signed.key_id != key_id or not verifies(key, signed):
        raise SignatureInvalid(f"{what}: the signature does not fit")
