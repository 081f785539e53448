"""What the headers of chat completions say of limits, in the dialects of those who serve them. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

from llmring.codecs.codec import HttpReply, LimitUpdate
from llmring.codecs.limits import binding, read_limits, used_up
from llmring.codecs.openai.dialect import OPENAI, Dialect
from llmring.codecs.ratelimit_fields import read_fields, seconds_until_reset
from llmring.codecs.replies import header_number
from llmring.errors import Dimension

_LIMIT, _REMAINING, _RESET = "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"
_MINUTE = timedelta(seconds=61)
"""And the second that a date leaves out."""


class _Metadata(msgspec.Struct):
    headers: dict[str, str] = {}


class _Error(msgspec.Struct):
    metadata: _Metadata | None = None


class _Body(msgspec.Struct):
    error: _Error | None = None


_BODY = msgspec.json.Decoder(_Body, strict=False)


def limits(headers: Mapping[str, str], dialect: Dialect = OPENAI) -> tuple[LimitUpdate, ...]:
    """What the headers say, one limit for each dimension."""
    return binding(_all(headers, dialect))


def empty(headers: Mapping[str, str], dialect: Dialect) -> tuple[Dimension, ...]:
    """The dimensions of which the headers say that nothing remains."""
    return used_up(_all(headers, dialect))


def until_reset(reply: HttpReply, dialect: Dialect) -> float | None:
    """How many seconds the limit that refused is used up for, where a reply tells that and names no delay."""
    if dialect.resets_at_moment:
        told = {**_quoted(reply.body), **reply.headers}
        left = _left(told)
        if header_number(told, _REMAINING) == 0 and left is not None:
            return max(1.0, left.total_seconds())
    return seconds_until_reset(reply.headers)


def _all(headers: Mapping[str, str], dialect: Dialect) -> tuple[LimitUpdate, ...]:
    told = read_limits(headers, dialect.limit_headers) + read_fields(headers)
    return told + _by_the_minute(headers) if dialect.resets_at_moment else told


def _by_the_minute(headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
    """OpenRouter tells the minute's limit and the day's by the same names; only the reset tells them apart, and nothing
    in the last minute of a day. The day's is not taken: it comes back all at once, at a time that only refusals tell,
    and answers do not say what is left of it."""
    limit, left, now = header_number(headers, _LIMIT), _left(headers), _date(headers)
    if not limit or left is None or now is None or not timedelta() < left <= _MINUTE:
        return ()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    if midnight - now <= _MINUTE:
        return ()
    return (LimitUpdate(dimension="requests", limit=limit, remaining=header_number(headers, _REMAINING)),)


def _left(headers: Mapping[str, str]) -> timedelta | None:
    """From the reply's own date to the reset, in milliseconds since 1970; there is no clock here."""
    reset, now = header_number(headers, _RESET), _date(headers)
    if not reset or now is None:
        return None
    try:
        return datetime.fromtimestamp(reset / 1000, UTC) - now
    except (ValueError, OverflowError, OSError):
        return None


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None


def _quoted(body: bytes) -> dict[str, str]:
    """The headers that OpenRouter repeats in the error's `metadata`."""
    try:
        error = _BODY.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if error is None or error.metadata is None:
        return {}
    return {name.lower(): value for name, value in error.metadata.headers.items()}
