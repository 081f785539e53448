"""What every provider's reply has in common: JSON that may be anything, a request id, a delay, counts. Pure.

Codecs read their own structures with `read_json`; what is in the structures is theirs.
"""

import math
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from llmring.chat import Note
from llmring.codecs.codec import HttpCall
from llmring.errors import BadReply, InvalidRequest

T = TypeVar("T")

# OpenRouter, before what a proxy in front of it may add: its bill names generations; OpenAI, Groq, xAI, Azure;
# Anthropic; Azure; Mistral; DeepSeek.
_REQUEST_ID_HEADERS = (
    "x-generation-id",
    "x-request-id",
    "request-id",
    "apim-request-id",
    "mistral-correlation-id",
    "x-ds-trace-id",
)
MAX_DELAY_SECONDS = 86_400.0
"""The longest delay that is kept to. Quotas by the week or the month name longer ones; but a payment raises them, too,
and a moment in place of a delay is a mistake that servers make. So a day is waited, and then one request asks again."""

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_DELAY_IN_TEXT = re.compile(
    r"(?:try again in|retry in|retry after|wait)\s{1,3}((?:\d{1,9}(?:\.\d{1,12})?\s?[a-z]{1,12}\s?){1,8})",
    re.IGNORECASE,
)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|milli|s|m|h|d)", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def read_json(
    decoder: msgspec.json.Decoder[T], data: bytes, *, status: int | None = None, request_id: str | None = None
) -> T:
    """Decode `data`. Raises BadReply, which never quotes it."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem = f"the reply is not of the expected form: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "the reply is not JSON"
    raise BadReply(problem, status=status, request_id=request_id)


def to_call(
    path: str,
    body: dict[str, Any],
    headers: tuple[tuple[str, str], ...] = (),
    notes: tuple[Note, ...] = (),
) -> HttpCall:
    """A POST of `body` as JSON. Raises InvalidRequest when it holds what JSON cannot."""
    try:
        data = msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Not the error's own text: a UnicodeEncodeError quotes the prompt.
        raise InvalidRequest(f"the request cannot be written as JSON ({type(error).__name__})") from None
    return HttpCall(path=path, body=data, headers=(("content-type", "application/json"), *headers), notes=notes)


def is_set(raw: msgspec.Raw) -> bool:
    """Whether a field that is kept undecoded is there and not null."""
    return bytes(raw) not in (b"", b"null", b"false")


def to_json_text(value: object) -> str:
    """`value`, which was read from JSON, as JSON text."""
    return msgspec.json.encode(value).decode()


def new_tool_call_id() -> str:
    """An id for a tool call that came without one: `call_` and 24 letters and digits, like OpenAI's own."""
    return "call_" + secrets.token_hex(12)


def read_time(text: str | None) -> datetime | None:
    """A moment as RFC 3339 writes it; None for nonsense, and for what has no zone: it cannot be compared."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def header_number(headers: Mapping[str, str], name: str) -> float | None:
    """A header that holds a plain number; None for an absent one, -1 (Azure: unknown) and nonsense."""
    text = headers.get(name)
    found = _NUMBER.fullmatch(text.strip()) if text is not None else None
    return float(found[0]) if found is not None else None


def retry_after(headers: Mapping[str, str], message: str = "") -> float | None:
    """How many seconds the provider asks to wait: `retry-after-ms`, then `retry-after`, then its message.

    Azure sends `retry-after-ms: 0` beside `retry-after: 1`: what is not positive counts as absent. More than a day is
    a day. An HTTP date is read against the reply's own `date`, for there is no clock here.
    """
    milliseconds = header_number(headers, "retry-after-ms")
    candidates = (
        milliseconds / 1000 if milliseconds is not None else None,
        header_number(headers, "retry-after"),
        _until_date(headers),
        delay_in_text(message),
    )
    return next((min(delay, MAX_DELAY_SECONDS) for delay in candidates if delay is not None and delay > 0), None)


def delay_in_text(message: str) -> float | None:
    """The delay that a message names ("Please try again in 6m0s"), in seconds."""
    found = _DELAY_IN_TEXT.search(message)
    if found is None:
        return None
    return sum(float(n) * _UNIT_SECONDS[unit.lower()] for n, unit in _DURATION_PART.findall(found[1]))


def _until_date(headers: Mapping[str, str]) -> float | None:
    try:
        end = parsedate_to_datetime(headers["retry-after"])
        delay = (end - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None
    return delay if math.isfinite(delay) else None


def count(value: float | None) -> int:
    """A number of tokens as providers send it: absent and negative ones are 0."""
    return max(0, int(value)) if value is not None else 0
