"""Signatures: Ed25519 keys, DSSE envelopes around receipts, and the signer that programs use. Pure but for `generate`.

What is signed is DSSE's pre-authentication encoding of the payload's type and bytes, so a receipt can never pass for a
checkpoint (https://github.com/secure-systems-lab/dsse, protocol.md, version 1.0). A receipt's own `signature` and the
one in its envelope are the same 64 bytes, spelled twice.

PyNaCl and not `cryptography`: OpenSSL takes a signature that was made without any private key, where the public key is
of small order; libsodium refuses such keys, and keys that are not on the curve's main subgroup are refused here before.
"""

import base64
import binascii
import hashlib
from typing import Any

import msgspec

from llmring.errors import ReceiptError, SignatureInvalid
from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.canonical import canonical
from llmring.receipts.receipt import Receipt, payload, payload_type, readable

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_SCHEME = "ed25519:"
# RFC 8410: what stands in DER before the 32 bytes of a private key (PKCS #8) and of a public one (SPKI).
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_SPKI = bytes.fromhex("302a300506032b6570032100")


class PublicKey:
    """An Ed25519 public key, 32 raw bytes. `key_id` is its JWK thumbprint (RFC 7638), SHA-256 in base64url.

    Raises ReceiptError for bytes that are no key, or one by which anybody could sign.
    """

    __slots__ = ("key_id", "raw")

    def __init__(self, raw: bytes) -> None:
        from nacl.bindings import crypto_core_ed25519_is_valid_point

        if len(raw) != KEY_BYTES:
            raise ReceiptError(f"an Ed25519 public key has {KEY_BYTES} bytes, and this one {len(raw)}")
        if not crypto_core_ed25519_is_valid_point(raw):
            raise ReceiptError("not an Ed25519 public key: the point is not on the curve, or of small order")
        self.raw = raw
        self.key_id = base64url(hashlib.sha256(canonical(_required(raw))).digest())

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` was made over `message` by the private half of this key."""
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import BadSignatureError

        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            crypto_sign_open(signature + message, self.raw)
        except BadSignatureError:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """As a JSON Web Key (RFC 8037)."""
        return {**_required(self.raw), "alg": "EdDSA", "use": "sig", "kid": self.key_id}

    def pem(self) -> str:
        """As SubjectPublicKeyInfo, which OpenSSL reads."""
        return _pem("PUBLIC KEY", _SPKI + self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.key_id})"


class PrivateKey:
    """An Ed25519 private key, 32 raw bytes. Its repr shows the public half's id alone."""

    __slots__ = ("_expanded", "public")

    def __init__(self, raw: bytes) -> None:
        from nacl.bindings import crypto_sign_seed_keypair

        if len(raw) != KEY_BYTES:
            raise ReceiptError(f"an Ed25519 private key has {KEY_BYTES} bytes, and this one {len(raw)}")
        public, self._expanded = crypto_sign_seed_keypair(raw)
        self.public = PublicKey(public)

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new one, from the system's random numbers."""
        from nacl.utils import random

        return cls(random(KEY_BYTES))

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message."""
        from nacl.bindings import crypto_sign

        return crypto_sign(message, self._expanded)[:SIGNATURE_BYTES]

    def raw(self) -> bytes:
        """The secret itself."""
        return self._expanded[:KEY_BYTES]

    def pem(self) -> str:
        """The secret as PKCS #8, which OpenSSL reads."""
        return _pem("PRIVATE KEY", _PKCS8 + self.raw())

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.key_id})"

    def __reduce__(self) -> Any:
        raise TypeError("a private key is not pickled")


class Signed(msgspec.Struct, frozen=True):
    """A payload with its signature: what a DSSE envelope holds."""

    payload_type: str
    payload: bytes
    signature: bytes
    key_id: str


def pae(payload_type: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign(key: PrivateKey, payload_type: str, body: bytes) -> Signed:
    return Signed(payload_type, body, key.sign(pae(payload_type, body)), key.key_id)


def verifies(key: PublicKey, signed: Signed) -> bool:
    """Whether `key` has signed exactly this."""
    return key.verifies(pae(signed.payload_type, signed.payload), signed.signature)


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    payload: str
    payload_type: str
    signatures: tuple[_Signature, ...]


_ENVELOPES = msgspec.json.Decoder(_Envelope)


def encode_envelope(signed: Signed) -> bytes:
    """The DSSE envelope, JSON without a line break."""
    return msgspec.json.encode(
        _Envelope(
            payload=base64.b64encode(signed.payload).decode(),
            payload_type=signed.payload_type,
            signatures=(_Signature(signed.key_id, base64.b64encode(signed.signature).decode()),),
        )
    )


def decode_envelope(data: bytes | str) -> Signed:
    """What an envelope holds; nothing is verified yet. Raises ReceiptError for what is none, or has two signatures."""
    try:
        read = _ENVELOPES.decode(data)
        if len(read.signatures) != 1:
            raise ReceiptError(f"an envelope of ours has one signature, and this one {len(read.signatures)}")
        one = read.signatures[0]
        return Signed(read.payload_type, unbase64(read.payload), unbase64(one.sig), one.keyid)
    except (msgspec.DecodeError, ValueError) as error:
        raise ReceiptError(f"not a DSSE envelope: {error}") from error


class ReceiptSigner:
    """Signs receipts, those of batches too, with a private key, and verifies them with a public one.

    Raises ReceiptError for a key that was not loaded: `load_private_key` does that.
    """

    def __init__(self, private_key: PrivateKey | None = None) -> None:
        # Not every caller is checked for its types, and the key may be in what it gave.
        given: object = private_key
        if given is not None and not isinstance(given, PrivateKey):
            raise ReceiptError(
                f"a signer takes a PrivateKey, and not {type(given).__name__}: ReceiptSigner.load_private_key makes one"
            )
        self.private_key = private_key

    @classmethod
    def generate_keypair(cls) -> tuple[PrivateKey, PublicKey]:
        """A new private key and its public half."""
        key = PrivateKey.generate()
        return key, key.public

    @staticmethod
    def load_private_key(data: bytes | str) -> PrivateKey:
        """From 32 raw bytes, their base64, or PKCS #8 in PEM. Raises ReceiptError."""
        return PrivateKey(_key_bytes(data, "PRIVATE KEY", _PKCS8))

    @staticmethod
    def load_public_key(data: bytes | str) -> PublicKey:
        """From 32 raw bytes, their base64, or SubjectPublicKeyInfo in PEM. Raises ReceiptError."""
        return PublicKey(_key_bytes(data, "PUBLIC KEY", _SPKI))

    def sign_receipt(self, receipt: Receipt | BatchReceipt) -> str:
        """The `signature` of a receipt, `ed25519:` and base64url. Raises ReceiptError: no key, another's receipt, or
        one that could not be read again."""
        key = self._key()
        if receipt.key_id not in (None, key.key_id):
            raise ReceiptError(f"receipt {receipt.receipt_id} names the key {receipt.key_id}, and this is {key.key_id}")
        return spelled(sign(key, payload_type(receipt), readable(receipt)).signature)

    @staticmethod
    def verify_receipt(receipt: Receipt | BatchReceipt, public_key: PublicKey | bytes) -> bool:
        """Whether the receipt's `signature` is that of `public_key` over all its other fields. Raises ReceiptError for
        a key that is none."""
        key = public_key if isinstance(public_key, PublicKey) else PublicKey(public_key)
        if receipt.signature is None or receipt.key_id not in (None, key.key_id):
            return False
        try:
            return key.verifies(pae(payload_type(receipt), payload(receipt)), unspelled(receipt.signature))
        except ReceiptError:
            return False

    def export_private_key(self) -> bytes:
        """The secret, 32 raw bytes. Raises ReceiptError without one."""
        return self._key().raw()

    def export_public_key(self) -> bytes:
        """32 raw bytes. Raises ReceiptError without a key."""
        return self._key().public.raw

    def _key(self) -> PrivateKey:
        if self.private_key is None:
            raise ReceiptError("this signer has no private key")
        return self.private_key


def spelled(signature: bytes) -> str:
    """A signature as a receipt shows it."""
    return _SCHEME + base64url(signature)


def unspelled(text: str) -> bytes:
    """Raises SignatureInvalid for what is not spelled so: of one signature there is one spelling."""
    try:
        raw = unbase64(text.removeprefix(_SCHEME))
    except ValueError as error:
        raise SignatureInvalid(f"not a signature: {error}") from error
    if len(raw) != SIGNATURE_BYTES or spelled(raw) != text:
        raise SignatureInvalid("not a signature: expected 'ed25519:' and 64 bytes in base64url")
    return raw


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unbase64(text: str) -> bytes:
    """Either alphabet, with padding or without. Raises ValueError."""
    return base64.b64decode(
        text.replace("-", "+").replace("_", "/").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
    )


def _required(raw: bytes) -> dict[str, str]:
    """The members of a JWK that its thumbprint is of."""
    return {"crv": "Ed25519", "kty": "OKP", "x": base64url(raw)}


def _pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def _key_bytes(data: bytes | str, label: str, prefix: bytes) -> bytes:
    """Never says what it was given: it may be a secret."""
    if isinstance(data, bytes) and len(data) == KEY_BYTES:
        return data
    wrong = f"not an Ed25519 {label.lower()}: expected 32 bytes, their base64, or a PEM block {label!r}"
    try:
        text = (data.decode("ascii") if isinstance(data, bytes) else data).strip().replace("\\n", "\n")
        if not text.startswith("-----"):
            raw = unbase64(text)
        else:
            head, *lines, tail = text.splitlines()
            if (head, tail) != (f"-----BEGIN {label}-----", f"-----END {label}-----"):
                raise ReceiptError(wrong)
            der = unbase64("".join(lines))
            raw = der.removeprefix(prefix) if der.startswith(prefix) else b""
    except (ValueError, binascii.Error):
        raise ReceiptError(wrong) from None
    if len(raw) != KEY_BYTES:
        raise ReceiptError(wrong)
    return raw
