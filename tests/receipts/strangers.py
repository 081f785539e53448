"""How somebody without llmring reads a receipt: another canonicaliser, other trees, OpenSSL's Ed25519 behind
`cryptography`."""

import base64
import hashlib
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


def leaf(body: bytes) -> str:
    return hashlib.sha256(b"\0" + body).hexdigest()


def node(left: str, right: str) -> str:
    return hashlib.sha256(b"\1" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()


def root(leaves: list[str]) -> str:
    """The root over hashes of leaves, as RFC 6962 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node(root(leaves[:split]), root(leaves[split:]))


def goes_on(old_size: int, old_root: str, size: int, new_root: str, path: list[str]) -> bool:
    """Whether a tree goes on from another: the trees' own shape, from the top, tells what each hash is of."""
    told = list(path)

    def parts(low: int, high: int, *, is_whole: bool) -> tuple[str, str]:
        """The roots of what both trees have of the leaves from `low` to `high`: the older one's, the newer one's."""
        if old_size - low == high - low:
            one = old_root if is_whole else told.pop(0)
            return one, one
        split = 1
        while 2 * split < high - low:
            split *= 2
        split += low
        if old_size <= split:
            old, new = parts(low, split, is_whole=is_whole)
            return old, node(new, told.pop(0))
        old, new = parts(split, high, is_whole=False)
        left = told.pop(0)
        return node(left, old), node(left, new)

    return parts(0, size, is_whole=True) == (old_root, new_root) and not told
