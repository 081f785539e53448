"""Batches at Gemini: small ones are handed in with one call, others as a file of lines. Pure.

A batch is of one model, and is named by what is asked as its `displayName`. Results of a small one stand in its own
description, in the order of its rows; some come without the keys that were sent with them, so that the order is all
there is. Those of a file are a file. Formats: https://ai.google.dev/api/batch-api and
https://ai.google.dev/gemini-api/docs/batch-api.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.codecs.batch import (
    Batch,
    BatchCounts,
    BatchPage,
    BatchReader,
    BatchResult,
    BatchRow,
    BatchState,
    BatchStatus,
    ResultLines,
    Unanswered,
    body_of,
    check,
    row_bytes,
)
from llmring.codecs.codec import HttpCall, HttpReply, NextCall
from llmring.codecs.google.faults import classify
from llmring.codecs.google.files import POLL_SECONDS
from llmring.codecs.replies import is_set, read_json, request_id, to_call
from llmring.errors import BadReply, InvalidRequest, ProviderError, ServerFault

MEDIA_TYPE = "application/jsonl"
_ONLINE, _BATCHED = ":generateContent", ":batchGenerateContent"
# Each may hold all of its results.
_ON_A_PAGE = 20

_STATES: Mapping[str, BatchState] = {
    "SUCCEEDED": "ended",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}

# google.rpc.Code: what the error of a row is numbered by, and the status and word it has online.
_CODES: Mapping[int, tuple[int, str]] = {
    2: (500, "UNKNOWN"),
    3: (400, "INVALID_ARGUMENT"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"),
    10: (409, "ABORTED"),
    11: (400, "OUT_OF_RANGE"),
    12: (501, "UNIMPLEMENTED"),
    13: (500, "INTERNAL"),
    14: (503, "UNAVAILABLE"),
    16: (401, "UNAUTHENTICATED"),
}
_UNANSWERED: Mapping[int, Unanswered] = {1: "cancelled", 4: "expired"}


class _Error(msgspec.Struct):
    code: int | None = None
    message: Any = None
    status: Any = None
    details: Any = None


class _Keyed(msgspec.Struct):
    key: str | None = None


class _Result(msgspec.Struct):
    """Of a row: the key is in `key` in a file, in `metadata` otherwise."""

    key: str | None = None
    metadata: _Keyed | None = None
    response: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class _Inlined(msgspec.Struct, rename="camel"):
    inlined_responses: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct, rename="camel"):
    responses_file: str | None = None
    inlined_responses: _Inlined | None = None


class _Stats(msgspec.Struct, rename="camel"):
    request_count: str | int | None = None
    successful_request_count: str | int | None = None
    failed_request_count: str | int | None = None


class _InputConfig(msgspec.Struct, rename="camel"):
    file_name: str | None = None


class _About(msgspec.Struct, rename="camel"):
    display_name: str | None = None
    state: str | None = None
    batch_stats: _Stats | None = None
    input_config: _InputConfig | None = None
    output: _Output | None = None


class _File(msgspec.Struct):
    name: str | None = None
    state: str | None = None


class _Operation(_File):
    """A batch; or, on the way in, the file with its lines, in `file` where it was just uploaded."""

    file: _File | None = None
    metadata: _About | None = None
    response: _Output | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Page(msgspec.Struct, rename="camel"):
    operations: list[_Operation] | None = None
    next_page_token: str | None = None


_OPERATION = msgspec.json.Decoder(_Operation)
_PAGE = msgspec.json.Decoder(_Page)
_RESULT = msgspec.json.Decoder(_Result)
_RESULTS = msgspec.json.Decoder(list[msgspec.Raw])
_ROW_ERROR = msgspec.json.Decoder(_Error)


class GoogleBatches(msgspec.Struct, frozen=True, kw_only=True):
    """A BatchCodec. A file may hold 2 GB; `most_bytes` is less, because a batch is made in memory.

    `most_inline_bytes` is what is handed in without a file; the API takes 20 MB.
    """

    most_rows: int = 100_000
    most_bytes: int = 256_000_000
    most_inline_bytes: int = 16_000_000

    def submit(self, batch: Batch) -> HttpCall:
        check(batch, self.most_rows, self.most_bytes)
        if not batch.rows[0].call.path.endswith(_ONLINE):
            raise InvalidRequest(f"a batch at Gemini is of calls of {_ONLINE.removeprefix(':')}")
        if sum(map(row_bytes, batch.rows)) > self.most_inline_bytes:
            return _upload(batch)
        rows = b",".join(_inline(row) for row in batch.rows)
        return _made(batch, b'{"requests":{"requests":[%s]}}' % rows)

    def read(self, reply: HttpReply, batch: Batch) -> BatchStatus | NextCall:
        address = reply.headers.get("x-goog-upload-url")
        # The reply that ends an upload may repeat the address.
        if address and reply.headers.get("x-goog-upload-status") == "active":
            return NextCall(call=_bytes(address, batch))
        found = _read(reply)
        file = found.file or found
        if not (file.name or "").startswith("files/"):
            return _status(found)
        if file.state == "FAILED":
            raise BadReply("the file with the batch could not be processed", status=reply.status)
        if file.state == "PROCESSING":
            return NextCall(call=HttpCall(path=_path(file.name or ""), method="GET"), after=POLL_SECONDS)
        return NextCall(call=_made(batch, msgspec.json.encode({"fileName": file.name})))

    def poll(self, batch_id: str) -> HttpCall:
        return HttpCall(path=_path(batch_id), method="GET")

    def read_status(self, reply: HttpReply) -> BatchStatus:
        """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
        return _status(_read(reply))

    def results(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        return tuple(
            HttpCall(path=f"/download{_path(name)}:download?alt=media" if _is_file(name) else _path(name), method="GET")
            for name in status.results
        )

    def open_results(self, status: BatchStatus, keys: Sequence[str]) -> BatchReader:
        return ResultLines(keys, _line_result) if any(map(_is_file, status.results)) else _InlineResults(keys)

    def cancel(self, batch_id: str) -> HttpCall:
        return HttpCall(path=f"{_path(batch_id)}:cancel")

    def find(self, page: str | None = None) -> HttpCall:
        token = f"&pageToken={quote(page, safe='')}" if page is not None else ""
        return HttpCall(path=f"/v1beta/batches?pageSize={_ON_A_PAGE}{token}", method="GET")

    def read_found(self, reply: HttpReply, tag: str) -> BatchPage:
        """Read a 2xx reply. Raises BadReply."""
        page = read_json(_PAGE, reply.body, status=reply.status, request_id=request_id(reply.headers))
        batches = [_status(one) for one in page.operations or () if one.name]
        return BatchPage(batches=tuple(one for one in batches if one.tag == tag), next=page.next_page_token or None)

    def discard(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        names = (*status.inputs, *filter(_is_file, status.results), status.id)
        return tuple(HttpCall(path=_path(name), method="DELETE") for name in names)


# On the way in.


def _inline(row: BatchRow) -> bytes:
    return b'{"request":%s,"metadata":{"key":"%s"}}' % (body_of(row), row.key.encode())


def _lines(batch: Batch) -> bytes:
    return b"\n".join(b'{"key":"%s","request":%s}' % (row.key.encode(), body_of(row)) for row in batch.rows)


def _made(batch: Batch, source: bytes) -> HttpCall:
    """The call that makes the batch, of rows or of a file with them."""
    path = batch.rows[0].call.path.removesuffix(_ONLINE) + _BATCHED
    body = b'{"batch":{"displayName":"%s","inputConfig":%s}}' % (batch.tag.encode(), source)
    return HttpCall(path=path, body=body, headers=(("content-type", "application/json"),))


def _upload(batch: Batch) -> HttpCall:
    headers = (
        ("x-goog-upload-protocol", "resumable"),
        ("x-goog-upload-command", "start"),
        ("x-goog-upload-header-content-length", str(len(_lines(batch)))),
        ("x-goog-upload-header-content-type", MEDIA_TYPE),
    )
    return to_call("/upload/v1beta/files", {"file": {"displayName": batch.tag}}, headers)


def _bytes(address: str, batch: Batch) -> HttpCall:
    headers = (("x-goog-upload-offset", "0"), ("x-goog-upload-command", "upload, finalize"))
    return HttpCall(path=address, body=_lines(batch), headers=headers)


# What is told of a batch.


def _path(name: str) -> str:
    return f"/v1beta/{quote(name)}"


def _is_file(name: str) -> bool:
    return name.startswith("files/")


def _read(reply: HttpReply) -> _Operation:
    asked = request_id(reply.headers)
    found = read_json(_OPERATION, reply.body, status=reply.status, request_id=asked)
    if found.name or found.file is not None:
        return found
    if is_set(found.error):
        raise classify(reply)
    raise BadReply("the reply names no batch", status=reply.status, request_id=asked)


def _status(found: _Operation) -> BatchStatus:
    about = found.metadata or _About()
    state = _STATES.get((about.state or "").rpartition("_STATE_")[2], "running")
    stats = about.batch_stats or _Stats()
    source = about.input_config.file_name if about.input_config is not None else None
    return BatchStatus(
        id=found.name or "",
        state=state,
        tag=about.display_name,
        counts=BatchCounts(
            total=_whole(stats.request_count),
            succeeded=_whole(stats.successful_request_count),
            errored=_whole(stats.failed_request_count),
        ),
        inputs=(source,) if source else (),
        results=_results(found, about) if state != "running" else (),
        error=_error(found.error) if state == "failed" else None,
    )


def _results(found: _Operation, about: _About) -> tuple[str, ...]:
    """Newer replies tell it twice."""
    for output in (found.response, about.output):
        if output is not None and output.responses_file:
            return (output.responses_file,)
        if output is not None and output.inlined_responses is not None:
            return (found.name or "",)
    return ()


def _whole(number: str | int | None) -> int:
    """int64 comes as text."""
    text = str(number)
    return int(text) if text.isascii() and text.isdigit() else 0


def _error(error: msgspec.Raw) -> ProviderError:
    try:
        found = _ROW_ERROR.decode(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ServerFault("the batch failed, and Gemini does not say why")
    return classify(_as_reply(found))


# Results.


class _InlineResults:
    """A BatchReader of a batch's own description, which is read when it is whole."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._body = bytearray()
        self._unread = 0

    @property
    def unread(self) -> int:
        return self._unread

    def feed(self, data: bytes) -> Sequence[BatchResult]:
        self._body += data
        return ()

    def close(self) -> Sequence[BatchResult]:
        found = read_json(_OPERATION, bytes(self._body))
        about = found.metadata or _About()
        inlined = [one.inlined_responses for one in (found.response, about.output) if one is not None]
        raw = next((one.inlined_responses for one in inlined if one is not None), None)
        if raw is None or not is_set(raw):
            raise BadReply("the batch has no results")
        rows = [_decoded(bytes(row)) for row in read_json(_RESULTS, bytes(raw))]
        known = frozenset(self._keys)
        results = [_result(row, key) for row, key in zip(rows, self._keyed(rows), strict=True) if row and key in known]
        self._unread = len(rows) - len(results)
        return results

    def _keyed(self, rows: Sequence[_Result | None]) -> Sequence[str]:
        """The rows' keys; by their order only where none has one and none is missing."""
        told = [(row.metadata.key if row is not None and row.metadata is not None else None) or "" for row in rows]
        return self._keys if len(rows) == len(self._keys) and not any(told) else told


def _decoded(row: bytes) -> _Result | None:
    try:
        return _RESULT.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line_result(line: bytes) -> BatchResult | None:
    row = _decoded(line)
    return _result(row, row.key) if row is not None and row.key else None


def _result(row: _Result, key: str) -> BatchResult:
    if row.error is None:
        return BatchResult(key=key, outcome=HttpReply(status=200, headers={}, body=bytes(row.response)))
    unanswered = _UNANSWERED.get(row.error.code or 0)
    return BatchResult(key=key, outcome=unanswered if unanswered is not None else _as_reply(row.error))


def _as_reply(error: _Error) -> HttpReply:
    """The error as it would have come online, where its number is that of HTTP."""
    code = error.code or 0
    status, word = _CODES.get(code, (code if 400 <= code <= 599 else 500, "INTERNAL"))
    told = {"code": status, "message": error.message, "status": error.status or word, "details": error.details}
    body = msgspec.json.encode({"error": {name: value for name, value in told.items() if value is not None}})
    return HttpReply(status=status, headers={}, body=body)
