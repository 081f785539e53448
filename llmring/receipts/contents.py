"""Digests of what was asked and answered, which tell nothing of it until their owner opens one. Pure.

A plain hash of a short prompt can be guessed: whoever holds the receipt tries prompts until one fits. So every digest
is HMAC-SHA256 under a key that only the ledger has, drawn from a random salt of 32 bytes for each receipt:

    opening = HMAC-SHA256(salt, "request" or "response")        digest = HMAC-SHA256(opening, content)

A receipt can be given to anybody. Its owner proves a prompt by giving the opening of `request` beside it, which opens
neither the answer nor any other receipt; and takes every proof away for good by deleting the salt. HMAC's keys are of
one length here, so two openings never stand for one another.

The content is RFC 8785 JSON of the fields that are set, so a field that a later llmring adds changes no digest. Of
vectors it is their number, their dimensions, and then each number as eight bytes, least significant first.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

import msgspec

from llmring.chat import ChatRequest, Completion
from llmring.embeddings import Embeddings
from llmring.errors import ReceiptError
from llmring.receipts.canonical import canonical

SALT_BYTES = 32
Side = Literal["request", "response"]

_ANSWER = ("content", "finish_reason", "tool_calls", "refusal", "reasoning", "choices")
"""What a caller gets of an answer, without what a provider says of itself."""


def request_bytes(asked: ChatRequest | tuple[str, ...]) -> bytes:
    """What was asked: a request as it was sent on, or the texts to embed. Raises ReceiptError: no RFC 8785 form."""
    return canonical(_set(asked))


def response_bytes(answered: Completion | Embeddings) -> bytes:
    """What was answered. Raises ReceiptError: no RFC 8785 form."""
    if isinstance(answered, Embeddings):
        return _vector_bytes(answered.vectors)
    fields = _set(answered)
    return canonical({name: fields[name] for name in _ANSWER if name in fields})


def opening(salt: bytes, side: Side) -> bytes:
    """What opens one digest of a receipt and no other."""
    return hmac.digest(salt, side.encode(), hashlib.sha256)


def is_salt(value: object) -> bool:
    """Whether a ledger's salt can be one: whoever may write to it may have put anything there."""
    return isinstance(value, bytes) and len(value) == SALT_BYTES


def digest(key: bytes, content: bytes) -> str:
    """The digest that `key`, an opening, opens: 64 hexadecimal digits."""
    return hmac.digest(key, content, hashlib.sha256).hex()


def request_digest(asked: ChatRequest | tuple[str, ...], salt: bytes) -> str | None:
    """None where what was asked has no RFC 8785 form: a number beyond 2**53 or a NaN in `extra_params`."""
    try:
        return digest(opening(salt, "request"), request_bytes(asked))
    except ReceiptError:
        return None


def response_digest(answered: Completion | Embeddings, salt: bytes) -> str | None:
    """None where what was answered has no RFC 8785 form."""
    try:
        return digest(opening(salt, "response"), response_bytes(answered))
    except ReceiptError:
        return None


def is_opened(told: str, key: bytes, content: Any) -> bool:
    """Whether `key`, an opening, opens the digest that is `told` on this content: JSON data of the fields of a request,
    of an answer, or texts or vectors of an embedding. Fields that are set to what they are by default are nothing, and
    with any that the digest is not of it is not opened."""
    return any(hmac.compare_digest(told, digest(key, one)) for one in _spellings(content))


def _spellings(content: Any) -> Iterator[bytes]:
    with suppress(ReceiptError):
        yield canonical(content)
    with suppress(msgspec.ValidationError, ReceiptError):
        asked = msgspec.convert(content, ChatRequest)
        if _is_within(content, msgspec.to_builtins(asked)):
            yield request_bytes(asked)
    with suppress(msgspec.ValidationError, ReceiptError):
        answered = msgspec.convert(content, Completion)
        if content.keys() <= set(_ANSWER) and _is_within(content, msgspec.to_builtins(answered)):
            yield response_bytes(answered)
    with suppress(msgspec.ValidationError):
        yield _vector_bytes(msgspec.convert(content, tuple[tuple[float, ...], ...]))


def _is_within(content: Any, read: Any) -> bool:
    """Whether all of it was read: a field that is not known is passed over in reading."""
    if isinstance(content, dict) and isinstance(read, dict):
        return all(name in read and _is_within(one, read[name]) for name, one in content.items())
    if isinstance(content, list) and isinstance(read, list | tuple):
        return len(content) == len(read) and all(map(_is_within, content, read))
    return bool(content == read)


def _vector_bytes(vectors: tuple[tuple[float, ...], ...]) -> bytes:
    head = canonical({"vectors": len(vectors), "dimensions": [len(vector) for vector in vectors]})
    return head + b"\n" + b"".join(struct.pack(f"<{len(vector)}d", *vector) for vector in vectors)


def _set(value: Any) -> Any:
    """As JSON data; of structs only the fields that are not as they are by default."""
    if isinstance(value, msgspec.Struct):
        kind = type(value)
        found = {
            name: _set(one)
            for name, default in _defaults(kind)
            if (one := getattr(value, name)) != default or type(one) is not type(default)
        }
        tag, field = kind.__struct_config__.tag, kind.__struct_config__.tag_field
        return found if field is None else {field: tag, **found}
    if isinstance(value, dict):
        return {name: _set(one) for name, one in value.items()}
    return [_set(one) for one in value] if isinstance(value, list | tuple) else value


@lru_cache(maxsize=64)
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Names of fields with their defaults; NODEFAULT, which equals nothing, where there is none."""
    return tuple(
        (
            field.name,
            field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default,
        )
        for field in msgspec.structs.fields(kind)
    )
