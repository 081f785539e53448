"""How somebody without llmring reads a receipt: another canonicaliser, and OpenSSL's Ed25519 behind `cryptography`."""

import base64
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def canonical(value: Any) -> str:
    """RFC 8785 as its text says, for values without fractions."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(one)}" for name, one in members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(_character, value)) + '"'
    assert value is None or isinstance(value, bool | int)
    return json.dumps(value)


_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _character(one: str) -> str:
    return _SHORT.get(one) or (f"\\u{ord(one):04x}" if ord(one) < 0x20 else one)


def raw(jwk: dict[str, str]) -> bytes:
    return base64.urlsafe_b64decode(jwk["x"] + "=")


def pre_authentication(kind: str, body: bytes) -> bytes:
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(body)).encode(), body])


def opens(envelope: bytes | str, jwk: dict[str, str]) -> Any:
    """The payload of a DSSE envelope that `jwk` has signed; None where it has not."""
    read = json.loads(envelope)
    body = base64.b64decode(read["payload"])
    signature = base64.b64decode(read["signatures"][0]["sig"])
    key = Ed25519PublicKey.from_public_bytes(raw(jwk))
    try:
        key.verify(signature, pre_authentication(read["payloadType"], body))
    except InvalidSignature:
        return None
    return json.loads(body)
