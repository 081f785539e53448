"""Proof that the simulator itself wrote a thought: what stands for Anthropic's signature, Gemini's
thoughtSignature and OpenAI's encrypted content.

A seal carries the thought and a MAC over it, its format and its model, so it is verified without being
remembered, and one made by another format or model is not accepted, as at the real ones. The key is no secret:
it keeps clients from passing for the provider by accident, nothing more.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Literal

Format = Literal["openai", "anthropic", "google"]

_KEY = b"llmring simulator"
_MAC_BYTES = 16


def seal(form: Format, model: str, thought: str) -> str:
    """Base64 text that `unseal` turns back into the thought."""
    data = thought.encode()
    return base64.b64encode(_mac(form, model, data) + data).decode()


def unseal(form: Format, model: str, sealed: str) -> str | None:
    """The thought; None when this format and model did not seal it."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, data = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    return data.decode() if hmac.compare_digest(mac, _mac(form, model, data)) else None


def _mac(form: Format, model: str, data: bytes) -> bytes:
    # Without the fault a name may end in: the model is the same one.
    own_name = model.partition("+")[0]
    return hmac.digest(_KEY, f"{form}\0{own_name}\0".encode() + data, hashlib.sha256)[:_MAC_BYTES]
