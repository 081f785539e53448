"""What a row of a map is known by in its journal: a digest of what is asked, and of whom. Pure.

It must not change with llmring: a row whose digest is another one is asked, and paid for, again. So only what differs
from its default counts, and a field that ChatRequest gets one day changes nothing for those who do not set it. Journals
of version 1 have digests of all fields that there were then, and go on with these.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from llmring.chat import ChatRequest
from llmring.errors import ReceiptError
from llmring.receipts.canonical import canonical
from llmring.refs import ModelRef

VERSION = 2
"""Of digests, and of the journals with them."""

_FIRST: Mapping[str, str] = {
    "ChatRequest": (
        "model messages temperature top_p top_k max_tokens stop seed presence_penalty frequency_penalty logprobs "
        "top_logprobs n tools tool_choice parallel_tool_calls response_format reasoning_effort reasoning_tokens "
        "show_reasoning cache files service_tier metadata user timeout strict_params extra_params"
    ),
    "Message": "role content tool_calls tool_call_id is_error cache native",
    "ToolCall": "id name arguments",
    "NativeTurn": "origin format items",
    "ModelRef": "provider model",
    "TextPart": "text cache",
    "ImagePart": "source detail cache",
    "DocumentPart": "source name cache",
    "AudioPart": "source cache",
    "Inline": "media_type data",
    "Link": "url",
    "RegisteredFile": "id",
    "ProviderFile": "id uri media_type",
    "Tool": "name description parameters strict cache",
    "NamedTool": "name",
    "JSONMode": "",
    "JSONSchema": "schema name description strict",
    "Cache": "ttl key content",
}
"""What digests of version 1 have of each struct, set or not, in this order. Never to be changed."""

_ENCODER = msgspec.json.Encoder(order="deterministic", enc_hook=repr)


def row_digest(request: ChatRequest, models: Sequence[ModelRef], version: int = VERSION) -> str:
    """What a row asks, and of whom: equal for equal rows on every machine. `timeout` does not count."""
    asked = msgspec.structs.replace(request, model="", timeout=None)
    asked_of = [str(ref) for ref in models]
    content = b"[%b,%b]" % (_ENCODER.encode(asked_of), _all(asked)) if version == 1 else _content([asked_of, asked])
    return hashlib.sha256(content).hexdigest()[:32]


def _content(value: Any) -> bytes:
    """RFC 8785, where there is such a form; not of a NaN, nor of objects that are no JSON."""
    plain = _set(value)
    try:
        return canonical(plain)
    except ReceiptError:
        return _ENCODER.encode(plain)


def _set(value: Any) -> Any:
    """Structs as dictionaries of what differs from its default."""
    if isinstance(value, msgspec.Struct):
        found = _tagged(value)
        for name, default in _fields(type(value)):
            given = getattr(value, name)
            if given is not default and given != default:
                found[name] = _set(given)
        return found
    return [_set(one) for one in value] if isinstance(value, list | tuple) else value


def _all(value: Any) -> bytes:
    """JSON with the fields of version 1, and of later ones those that are set."""
    if isinstance(value, msgspec.Struct):
        names = _FIRST[type(value).__name__].split()
        parts = [(name, _ENCODER.encode(tag)) for name, tag in _tagged(value).items()]
        parts += [(name, _all(getattr(value, name))) for name in names]
        for name, default in _fields(type(value)):
            given = getattr(value, name)
            if name not in names and given != default:
                parts.append((name, _all(given)))
        return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), spelled) for name, spelled in parts)
    if isinstance(value, list | tuple):
        return b"[%b]" % b",".join(map(_all, value))
    return _ENCODER.encode(value)


def _tagged(value: msgspec.Struct) -> dict[str, Any]:
    config = value.__struct_config__
    return {} if config.tag_field is None else {config.tag_field: config.tag}


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Its fields with their defaults; those without one have what equals nothing."""
    return tuple(
        (field.name, field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory())
        for field in msgspec.structs.fields(kind)
    )
