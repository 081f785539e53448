"""Batches at OpenAI: a file of lines is uploaded, then a batch of it is made; results are files again. Pure.

For chat completions and Responses alike: the endpoint is that of the rows. Answers are in one file, refusals and rows
that were not tried in another. Files stay for 30 days. Format: https://platform.openai.com/docs/api-reference/batch.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.codecs.batch import (
    Batch,
    BatchCounts,
    BatchPage,
    BatchResult,
    BatchRow,
    BatchState,
    BatchStatus,
    ResultLines,
    Unanswered,
    body_of,
    check,
)
from llmring.codecs.codec import HttpCall, HttpReply, NextCall
from llmring.codecs.openai.faults import classify
from llmring.codecs.replies import count, is_set, read_json, request_id, to_call
from llmring.errors import BadReply, ProviderError, ServerFault

TAG = "llmring"
"""The entry of a batch's metadata that holds its tag."""

WINDOW = "24h"
_VERSION = "/v1"
_ON_A_PAGE = 100

# A delimiter begins with a carriage return, which no line holds: any boundary is safe.
_BOUNDARY = "llmring-batch-of-lines"
_HEAD = (
    f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
    "content-type: application/jsonl\r\n\r\n"
).encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()

_STATES: Mapping[str, BatchState] = {
    "completed": "ended",
    "failed": "failed",
    "expired": "expired",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
}
_UNANSWERED: Mapping[str, Unanswered] = {"batch_expired": "expired", "batch_cancelled": "cancelled"}


class _Counts(msgspec.Struct):
    total: float | None = None
    completed: float | None = None
    failed: float | None = None


class _Problem(msgspec.Struct):
    code: Any = None
    message: Any = None
    param: Any = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class _Batch(msgspec.Struct):
    """A batch; or, on the way in, the file with its lines."""

    object: str | None = None
    id: str | None = None
    status: str | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    expires_at: Any = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None
    errors: _Problems | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _Response(msgspec.Struct):
    status_code: int
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Problem | None = None


_BATCH = msgspec.json.Decoder(_Batch)
_PAGE = msgspec.json.Decoder(_Page)
_LINE = msgspec.json.Decoder(_Line)


class OpenAIBatches(msgspec.Struct, frozen=True, kw_only=True):
    """A BatchCodec."""

    most_rows: int = 50_000
    most_bytes: int = 200_000_000

    def submit(self, batch: Batch) -> HttpCall:
        check(batch, self.most_rows, self.most_bytes)
        headers = (("content-type", f"multipart/form-data; boundary={_BOUNDARY}"),)
        return HttpCall(path="/files", body=_HEAD + b"\n".join(map(_line, batch.rows)) + _TAIL, headers=headers)

    def read(self, reply: HttpReply, batch: Batch) -> BatchStatus | NextCall:
        found = _read(reply)
        if found.object != "file":
            return _status(found)
        endpoint = _VERSION + batch.rows[0].call.path
        made = {"input_file_id": found.id, "endpoint": endpoint, "completion_window": WINDOW}
        return NextCall(call=to_call("/batches", {**made, "metadata": {TAG: batch.tag}}))

    def poll(self, batch_id: str) -> HttpCall:
        return HttpCall(path=f"/batches/{quote(batch_id, safe='')}", method="GET")

    def read_status(self, reply: HttpReply) -> BatchStatus:
        """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
        return _status(_read(reply))

    def results(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        return tuple(HttpCall(path=f"{_file(name)}/content", method="GET") for name in status.results)

    def open_results(self, status: BatchStatus, keys: Sequence[str]) -> ResultLines:
        return ResultLines(keys, _result)

    def cancel(self, batch_id: str) -> HttpCall:
        return HttpCall(path=f"/batches/{quote(batch_id, safe='')}/cancel")

    def find(self, page: str | None = None) -> HttpCall:
        after = f"&after={quote(page, safe='')}" if page is not None else ""
        return HttpCall(path=f"/batches?limit={_ON_A_PAGE}{after}", method="GET")

    def read_found(self, reply: HttpReply, tag: str) -> BatchPage:
        """Read a 2xx reply. Raises BadReply."""
        page = read_json(_PAGE, reply.body, status=reply.status, request_id=request_id(reply.headers))
        tagged = [one for one in page.data if one.id and (one.metadata or {}).get(TAG) == tag]
        last = page.data[-1].id if page.data else None
        return BatchPage(batches=tuple(map(_status, tagged)), next=last if page.has_more else None)

    def discard(self, status: BatchStatus) -> tuple[HttpCall, ...]:
        """Its files. The batch itself stays in the list, without prompts and answers."""
        return tuple(HttpCall(path=_file(name), method="DELETE") for name in (*status.inputs, *status.results))


def _line(row: BatchRow) -> bytes:
    url = msgspec.json.encode(_VERSION + row.call.path)
    return b'{"custom_id":"%s","method":"POST","url":%s,"body":%s}' % (row.key.encode(), url, body_of(row))


def _file(name: str) -> str:
    return f"/files/{quote(name, safe='')}"


def _read(reply: HttpReply) -> _Batch:
    asked = request_id(reply.headers)
    found = read_json(_BATCH, reply.body, status=reply.status, request_id=asked)
    if is_set(found.error):
        raise classify(reply)
    if not found.id:
        raise BadReply("the reply names no batch", status=reply.status, request_id=asked)
    return found


def _status(found: _Batch) -> BatchStatus:
    counts, tag = found.request_counts or _Counts(), (found.metadata or {}).get(TAG)
    state = _STATES.get(found.status or "", "running")
    # The name of a file that is not there may come as null or as "".
    files = [name for name in (found.output_file_id, found.error_file_id) if name]
    return BatchStatus(
        id=found.id or "",
        state=state,
        tag=tag if isinstance(tag, str) else None,
        counts=BatchCounts(total=count(counts.total), succeeded=count(counts.completed), errored=count(counts.failed)),
        expires_at=_time(found.expires_at),
        inputs=(found.input_file_id,) if found.input_file_id else (),
        results=tuple(files) if state not in ("running", "cancelling") else (),
        error=_error(found) if state == "failed" else None,
    )


def _error(found: _Batch) -> ProviderError:
    """Why OpenAI refused a batch: the first of the reasons. Its queue of tokens being full is a limit like others."""
    problems = found.errors.data if found.errors is not None else None
    if not problems:
        return ServerFault("the batch failed, and OpenAI does not say why")
    first = problems[0]
    told = {"code": first.code, "message": first.message, "param": first.param}
    status = 429 if first.code == "token_limit_exceeded" else 400
    return classify(HttpReply(status=status, headers={}, body=msgspec.json.encode({"error": told})))


def _time(value: Any) -> datetime | None:
    """Seconds since 1970."""
    if not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _result(line: bytes) -> BatchResult | None:
    try:
        found = _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    response = found.response
    if response is not None and response.status_code:
        headers = {"x-request-id": response.request_id} if response.request_id else {}
        reply = HttpReply(status=response.status_code, headers=headers, body=bytes(response.body))
        return BatchResult(key=found.custom_id, outcome=reply)
    problem = found.error or _Problem(message="the result holds neither a response nor an error")
    unanswered = _UNANSWERED.get(problem.code) if isinstance(problem.code, str) else None
    if unanswered is not None:
        return BatchResult(key=found.custom_id, outcome=unanswered)
    body = msgspec.json.encode({"error": {"code": problem.code, "message": problem.message}})
    status = 408 if problem.code == "request_timeout" else 500
    return BatchResult(key=found.custom_id, outcome=HttpReply(status=status, headers={}, body=body))
