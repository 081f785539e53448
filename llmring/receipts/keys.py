"""Signing keys on disk: made on first use, readable by their owner alone, published by their public halves. Effects.

A key file is PKCS #8 in PEM. It appears whole and once: of processes that make it together, one wins and all use its
key. A key is replaced in three steps, for a process may die between any two: the new one is written beside it
(`.next`), the ledger says that it is handed over to, and then the new file takes the old one's place. Whoever finds the
second done and not the third does it.
"""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from llmring.errors import ReceiptError
from llmring.receipts.signing import PrivateKey, PublicKey, ReceiptSigner

_OWNER_ONLY = 0o600
_MOST_BYTES = 4096


def read_key(path: Path) -> PrivateKey:
    """The key in a file. Raises ReceiptError: no such file, no key, or one that others may read."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise ReceiptError(f"cannot read the key {path}: {(error.strerror or str(error)).lower()}") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ReceiptError(f"the key {path} may be read by others: `chmod 600 {path}`, and replace it if it was")
    try:
        return ReceiptSigner.load_private_key(data)
    except ReceiptError as error:
        raise ReceiptError(f"{path}: {error}") from error


def read_or_make_key(path: Path) -> PrivateKey:
    """The key in a file, which is made where there is none. Raises ReceiptError."""
    if not path.exists():
        make_key(path)
    return read_key(path)


def make_key(path: Path) -> bool:
    """Write a new key, unless there is one; whether this call made it. Raises ReceiptError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = _write_beside(path, PrivateKey.generate())
        try:
            # Unlike a rename, this fails where another process was first.
            os.link(new, path)
        except FileExistsError:
            return False
        finally:
            new.unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise ReceiptError(f"cannot write the key {path}: {(error.strerror or str(error)).lower()}") from error
    return True


def next_path(path: Path) -> Path:
    """Where the key is that the one at `path` gives way to, until it has done so."""
    return path.with_name(path.name + ".next")


def prepare_next(path: Path) -> PrivateKey:
    """The key that the one at `path` will give way to: a new one, or what an earlier attempt has left."""
    return read_or_make_key(next_path(path))


def take_next(path: Path) -> None:
    """Put the next key in the place of the one at `path`, which is gone by that. Raises ReceiptError."""
    try:
        next_path(path).replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise ReceiptError(f"cannot replace the key {path}: {(error.strerror or str(error)).lower()}") from error


def key_for(path: Path, current: str | None) -> PrivateKey:
    """The key by which a ledger goes on: `current` is the id of its newest one, None for a ledger without entries.

    Made where the ledger is new and there is no file. Raises ReceiptError where the file holds another key.
    """
    if current is None:
        return read_or_make_key(path)
    key = read_key(path)
    if key.key_id == current:
        return key
    with suppress(ReceiptError):
        if read_key(next_path(path)).key_id == current:
            take_next(path)
            return read_key(path)
    # Another process may have replaced it since it was read.
    return read_key(path)


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys of a ledger, the oldest first, and the one that signs now."""

    keys: tuple[PublicKey, ...]
    current_key_id: str | None


def encode_key_set(keys: KeySet) -> dict[str, Any]:
    """As a JWK set (RFC 7517), with `current_key_id` beside."""
    return {"keys": [key.jwk() for key in keys.keys], "current_key_id": keys.current_key_id}


class _Jwk(msgspec.Struct, frozen=True):
    kty: str
    crv: str
    x: str


class _Jwks(msgspec.Struct, frozen=True):
    keys: tuple[_Jwk, ...]
    current_key_id: str | None = None


def read_public_keys(data: bytes) -> KeySet:
    """Public keys as somebody published them: a JWK set, one JWK, PEM, or base64. Raises ReceiptError."""
    text = data.strip()
    if not text.startswith(b"{"):
        key = ReceiptSigner.load_public_key(text)
        return KeySet(keys=(key,), current_key_id=key.key_id)
    try:
        found = (
            msgspec.json.decode(text, type=_Jwks)
            if b'"keys"' in text
            else _Jwks(keys=(msgspec.json.decode(text, type=_Jwk),))
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a set of public keys: {error}") from error
    wrong = [one for one in found.keys if (one.kty, one.crv) != ("OKP", "Ed25519")]
    if wrong or not found.keys:
        raise ReceiptError("not a set of public keys: expected keys of the type OKP on the curve Ed25519")
    keys = tuple(ReceiptSigner.load_public_key(one.x) for one in found.keys)
    return KeySet(keys=keys, current_key_id=found.current_key_id or keys[-1].key_id)


def _write_beside(path: Path, key: PrivateKey) -> Path:
    """A file that nobody else can read, from its first moment, and whose bytes are on disk."""
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(key.pem().encode())
        file.flush()
        os.fsync(file.fileno())
    os.chmod(name, _OWNER_ONLY)
    return Path(name)


def _sync_directory(path: Path) -> None:
    """A file system that cannot do that has done what it can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
