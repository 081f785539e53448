"""Batches at Anthropic: handed in with one call; results are lines of JSON. Pure.

A batch has no name of ours, and the list of batches shows nothing of their rows: one whose id was lost is lost.
Results can be had for 29 days. Format: https://docs.claude.com/en/api/creating-message-batches.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from llmring.codecs.anthropic.faults import VERSION, classify
from llmring.codecs.batch import (
    Batch,
    BatchCounts,
    BatchPage,
    BatchResult,
    BatchState,
    BatchStatus,
    ResultLines,
    Unanswered,
    body_of,
    check,
)
from llmring.codecs.codec import HttpCall, HttpReply, NextCall
from llmring.codecs.replies import count, is_set, read_json, read_time, request_id
from llmring.errors import BadReply, InvalidRequest

_PATH = "/v1/messages/batches"
_ENDPOINT = "/v1/messages"
_HEADERS = (VERSION,)
_UNANSWERED: Mapping[str, Unanswered] = {"expired": "expired", "canceled": "cancelled"}

# https://docs.claude.com/en/api/errors: the status that each type comes with online.
_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class _Counts(msgspec.Struct):
    processing: float | None = None
    succeeded: float | None = None
    errored: float | None = None
    canceled: float | None = None
    expired: float | None = None


class _Batch(msgspec.Struct):
    id: str | None = None
    processing_status: str | None = None
    request_counts: _Counts | None = None
    expires_at: str | None = None
    cancel_initiated_at: str | None = None
    results_url: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


class _Typed(msgspec.Struct):
    type: str | None = None


class _Error(_Typed):
    error: _Typed | None = None


_BATCH = msgspec.json.Decoder(_Batch)
_LINE = msgspec.json.Decoder(_Line)
_ERROR = msgspec.json.Decoder(_Error)


class AnthropicBatches(msgspec.Struct, frozen=True, kw_only=True):
    """A BatchCodec."""

    most_rows: int = 100_000
    most_bytes: int = 256_000_000

    def submit(self, batch: Batch) -> HttpCall:
        check(batch, self.most_rows, self.most_bytes)
        if batch.rows[0].call.path != _ENDPOINT:
            raise InvalidRequest(f"a batch at Anthropic is of calls of {_ENDPOINT}")
        rows = b",".join(b'{"custom_id":"%s","params":%s}' % (row.key.encode(), body_of(row)) for row in batch.rows)
        # What a row needs a beta for, the batch needs it for.
        headers = dict.fromkeys(pair for row in batch.rows for pair in row.call.headers)
        return HttpCall(path=_PATH, body=b'{"requests":[%s]}' % rows, headers=tuple(headers))

    def read(self, reply: HttpReply, batch: Batch) -> BatchStatus | NextCall:
        return self.read_status(reply)

    def poll(self, batch_id: str) -> HttpCall:
        return HttpCall(path=_path(batch_id), method="GET", headers=_HEADERS)

    def read_status(self, reply: HttpReply) -> BatchStatus:
        """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
        asked = request_id(reply.headers)
        found = read_json(_BATCH, reply.body, status=reply.status, request_id=asked)
        if is_set(found.error):
            raise classify(reply)
        if not found.id:
            raise BadReply("the reply names no batch", status=reply.status, request_id=asked)
        state = _state(found)
        return BatchStatus(
            id=found.id,
            state=state,
            counts=_counts(found.request_counts or _Counts()),
            expires_at=read_time(found.expires_at),
            results=(found.results_url,) if found.results_url and state in ("ended", "cancelled") else (),
        )

    def results(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        """At the address that we know: the one in the reply is of another host behind a gateway."""
        if not status.results:
            return ()
        return (HttpCall(path=f"{_path(status.id)}/results", method="GET", headers=_HEADERS),)

    def open_results(self, status: BatchStatus, keys: Sequence[str]) -> ResultLines:
        return ResultLines(keys, _result)

    def cancel(self, batch_id: str) -> HttpCall:
        return HttpCall(path=f"{_path(batch_id)}/cancel", headers=_HEADERS)

    def find(self, page: str | None = None) -> None:
        """None: see above."""
        return

    def read_found(self, reply: HttpReply, tag: str) -> BatchPage:
        """Of nothing."""
        return BatchPage(batches=())

    def discard(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        return (HttpCall(path=_path(status.id), method="DELETE", headers=_HEADERS),)


def _path(batch_id: str) -> str:
    return f"{_PATH}/{quote(batch_id, safe='')}"


def _state(found: _Batch) -> BatchState:
    match found.processing_status:
        case "ended":
            return "cancelled" if found.cancel_initiated_at else "ended"
        case "canceling":
            return "cancelling"
        case _:
            return "running"


def _counts(counts: _Counts) -> BatchCounts:
    """Until a batch has ended, all of its rows are in `processing`."""
    told = [count(getattr(counts, name)) for name in counts.__struct_fields__]
    return BatchCounts(
        total=sum(told),
        succeeded=count(counts.succeeded),
        errored=count(counts.errored),
        expired=count(counts.expired),
        cancelled=count(counts.canceled),
    )


def _result(line: bytes) -> BatchResult | None:
    try:
        found = _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    result = found.result
    unanswered = _UNANSWERED.get(result.type)
    if unanswered is not None:
        return BatchResult(key=found.custom_id, outcome=unanswered)
    if result.type == "succeeded":
        reply = HttpReply(status=200, headers={}, body=bytes(result.message))
    else:
        reply = HttpReply(status=_status_of(bytes(result.error)), headers={}, body=bytes(result.error))
    return BatchResult(key=found.custom_id, outcome=reply)


def _status_of(error: bytes) -> int:
    try:
        found = _ERROR.decode(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 500
    return _STATUSES.get((found.error or found).type or "", 500)
