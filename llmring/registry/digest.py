"""Hashes: of a model's facts, of a published list, and the chain that the published lists form. Pure.

`facts_digest` goes into lockfiles and receipts, `published_digest` beside published lists: both are SHA-256 over RFC
8785 (JSON Canonicalization Scheme), so they are the same on every machine and in every language. `chain_holds` is the
rule by which the real registry fills `content_sha256_jcs`, which is not JCS whatever its name says.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from llmring.errors import RegistryError
from llmring.pricing import Prices
from llmring.registry.catalog import ModelFacts
from llmring.registry.published import HASH_KEY

FACTS_DIGITS = 16


def facts_digest(facts: ModelFacts) -> str:
    """16 hexadecimal digits over what a binding relies on: every price, the limits, the end date, whether it is active.

    Prices are hashed as plain decimal strings without trailing zeros, so 2.50 and 2.5 are one price; what the registry
    does not say is null. Names, capabilities and the list's version do not count.
    """
    prices = facts.prices if facts.prices is not None else Prices()
    relied_on = {
        "prices": {
            **{name: _plain(getattr(prices, name)) for name in prices.__struct_fields__},
            "cache_storage": _plain(facts.cache_storage_usd),
        },
        "limits": {
            "max_input_tokens": facts.max_input_tokens,
            "max_output_tokens": facts.max_output_tokens,
        },
        "deprecated_date": _plain(facts.deprecated_date),
        "is_active": facts.is_active,
    }
    return hashlib.sha256(_canonical(relied_on)).hexdigest()[:FACTS_DIGITS]


def published_digest(data: bytes) -> str:
    """64 hexadecimal digits over a published list without its `content_sha256_jcs`, as a file cannot hold its own hash.

    Raises RegistryError for what is no JSON object, or holds what RFC 8785 cannot write: NaN, an integer above 2**53.
    """
    from rfc8785 import CanonicalizationError

    document = _object(data)
    document.pop(HASH_KEY, None)
    try:
        return hashlib.sha256(_canonical(document)).hexdigest()
    except (CanonicalizationError, ValueError, RecursionError) as error:
        raise RegistryError("list", f"has no RFC 8785 form: {error}") from error


def chain_holds(data: bytes, previous_sha256: str | None) -> bool:
    """Whether a published list's `content_sha256_jcs` follows from its content and from the hash of the version before.

    It is the SHA-256 of `json.dumps(..., sort_keys=True, separators=(",", ":"))`, all ASCII, of the file with the hash
    of the previous version still in that field; None: the first of a chain, hashed without the field. Found by trying:
    19 of the 21 versions up to August 2026 hold. Raises RegistryError for what is no JSON object.
    """
    document = _object(data)
    said = document.pop(HASH_KEY, None)
    if previous_sha256 is not None:
        document[HASH_KEY] = previous_sha256
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise RegistryError("list", "is nested without end") from error
    return bool(said == hashlib.sha256(text.encode("ascii")).hexdigest())


def _canonical(value: Mapping[str, Any]) -> bytes:
    import rfc8785

    return rfc8785.dumps(dict(value))


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise RegistryError("list", f"no registry list: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise RegistryError("list", "no registry list: expected an object")
    return document


def _plain(value: Decimal | int | date | None) -> str | None:
    """As text that does not depend on how a number was written: 2.50, 2.5 and 25e-1 are "2.5"."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    return None if value is None else str(value)
