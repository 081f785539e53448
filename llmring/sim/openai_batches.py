"""OpenAI's batches: of an uploaded file of lines, with results in two files, one of answers and one of errors.

Mistakes in the lines fail the batch as a whole, after a while; mistakes in a request are its own result.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim import openai_dialect, openai_wire, responses_dialect, responses_wire
from llmring.sim.batch_state import Batch, Outcome, Phase, Progress, Row, is_over, phase
from llmring.sim.batches import cancel, out_of_order, work
from llmring.sim.desk import Reply, Request, absent, page, told
from llmring.sim.embeddings import OpenAIEmbeddings
from llmring.sim.memory import File, new_id
from llmring.sim.wire import Dialect, Operation, Problem, Rejected

_ENDPOINTS: Mapping[str, tuple[Dialect, Operation]] = {
    "/v1/chat/completions": (openai_dialect, openai_wire),
    "/v1/responses": (responses_dialect, responses_wire),
    "/v1/embeddings": (openai_dialect, OpenAIEmbeddings()),
}
_WINDOW = timedelta(hours=24)
_MOST_ROWS = 50_000
_ON_A_PAGE = 20
_STATUSES: Mapping[Phase, str] = {
    "checking": "validating",
    "running": "in_progress",
    "closing": "finalizing",
    "ended": "completed",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
}
_OVER = ("completed", "failed", "expired", "cancelled")
_UNANSWERED = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


class _Wanted(msgspec.Struct):
    input_file_id: str = ""
    endpoint: str = ""
    completion_window: str = ""
    metadata: dict[str, str] | None = None


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Named(msgspec.Struct):
    model: str = ""


def batches(request: Request) -> Reply:
    memory, (_, _, rest) = request.provider.memory, request.path.partition("/")
    if not rest:
        return told(_created(request)) if request.method == "POST" else _listed(request)
    name, _, command = rest.partition("/")
    found = memory.batches["openai"].get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="not_found", detail=f"No batch found with id '{name}'.", parameter="id"))
    if (request.method, command) == ("POST", "cancel"):
        status = _described(found, request)["status"]
        if status in _OVER:
            raise Rejected(Problem(kind="bad_field", detail=f"Cannot cancel a batch with status '{status}'."))
        cancel(found, request)
    elif (request.method, command) != ("GET", ""):
        raise absent(request)
    return told(_described(found, request))


def _created(request: Request) -> dict[str, object]:
    wanted = _wanted(request.body)
    endpoint = _ENDPOINTS.get(wanted.endpoint)
    if endpoint is None:
        detail = f"Invalid value: '{wanted.endpoint}'. Supported values are: {', '.join(_ENDPOINTS)}."
        raise Rejected(Problem(kind="bad_field", detail=detail, parameter="endpoint"))
    if wanted.completion_window != "24h":
        detail = f"Invalid value: '{wanted.completion_window}'. Value must be '24h'."
        raise Rejected(Problem(kind="bad_field", detail=detail, parameter="completion_window"))
    file = request.provider.memory.files.get(wanted.input_file_id, request.key, request.now)
    if file is None or file.purpose != "batch":
        detail = f"The file {wanted.input_file_id} does not exist, or is not of purpose 'batch'."
        raise Rejected(Problem(kind="bad_field", detail=detail, parameter="input_file_id"))
    rows, errors = _rows(file.data, wanted.endpoint)
    batch = Batch(
        id=new_id("batch_", 32),
        key=request.key,
        data=file.data,
        rows=() if errors else rows,
        dialect=endpoint[0],
        operation=endpoint[1],
        headers={},
        target=wanted.endpoint.removeprefix("/v1/"),
        begun_at=request.now,
        created_at=datetime.now(UTC),
        seconds=request.provider.config.batch_seconds,
        about={"wanted": wanted, "errors": errors},
        progress=Progress(),
    )
    request.provider.memory.batches["openai"].add(batch)
    return _about(batch, "validating", {})


def _wanted(body: bytes) -> _Wanted:
    try:
        return msgspec.json.decode(body, type=_Wanted)
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=f"Invalid type: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _rows(data: bytes, endpoint: str) -> tuple[tuple[Row, ...], list[dict[str, object]]]:
    """The requests of a file, and what is wrong with its lines."""
    rows: dict[str, Row] = {}
    errors: list[dict[str, object]] = []
    models: set[str] = set()

    def refuse(line: int | None, code: str, message: str, parameter: str | None = None) -> None:
        errors.append({"code": code, "line": line, "message": message, "param": parameter})

    for number, text in enumerate(data.splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=_Line)
            models.add(msgspec.json.decode(line.body, type=_Named).model)
        except msgspec.ValidationError as error:
            refuse(number, "missing_required_parameter", f"The line is not a request: {error}")
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            refuse(number, "invalid_json_line", "This line is not parseable as valid JSON.")
            continue
        if line.method != "POST":
            refuse(number, "invalid_method", "The HTTP method must be POST.", "method")
        if line.url != endpoint:
            refuse(number, "mismatched_url", f"The URL must be the batch's endpoint, {endpoint}.", "url")
        if line.custom_id in rows:
            refuse(number, "duplicate_custom_id", "The custom_id of this request is a duplicate.", "custom_id")
        rows[line.custom_id] = Row(name=line.custom_id, body=bytes(line.body))
    if not rows and not errors:
        refuse(None, "empty_file", "The input file contains no requests.")
    if len(rows) > _MOST_ROWS:
        refuse(None, "too_many_tasks", f"The file has {len(rows)} requests; the limit is {_MOST_ROWS}.")
    if len(models) > 1:
        refuse(None, "mismatched_model", "All requests of a batch must be for the same model.", "model")
    return tuple(rows.values()), errors


def _listed(request: Request) -> Reply:
    if request.method != "GET":
        raise absent(request)
    asked = request.query.get("limit", "")
    kept = {one.id: one for one in request.provider.memory.batches["openai"].all_of(request.key, request.now)}
    names, more = page(list(kept), request.query.get("after", ""), int(asked) if asked.isdigit() else _ON_A_PAGE)
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    data = [_described(kept[name], request) for name in names]
    return told({"object": "list", "data": data, **ends, "has_more": more})


def _described(batch: Batch, request: Request) -> dict[str, object]:
    """As it is now."""
    work(batch, request)
    at = phase(batch, request.now)
    status = _STATUSES[at]
    if batch.about["errors"] and at not in ("checking", "cancelling", "cancelled"):
        return _about(batch, "failed", {})
    if at == "ended" and batch.count("expired"):
        status = "expired"
    return _about(batch, status, _files(batch, request) if is_over(batch, request.now) else {})


def _about(batch: Batch, status: str, files: Mapping[str, str]) -> dict[str, object]:
    wanted, outcomes = batch.about["wanted"], batch.progress.outcomes
    assert isinstance(wanted, _Wanted)
    begun = status not in ("validating", "failed")
    cancelled = batch.cancelled_moment()
    tokens = {"input_tokens": sum(one.input_tokens for one in outcomes)}
    tokens["output_tokens"] = sum(one.output_tokens for one in outcomes)

    def when(happened: bool, share: float) -> int | None:
        return _stamp(batch.moment(share)) if happened else None

    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": wanted.endpoint,
        "model": msgspec.json.decode(batch.rows[0].body, type=_Named).model if begun and batch.rows else None,
        "errors": {"object": "list", "data": batch.about["errors"]} if status == "failed" else None,
        "input_file_id": wanted.input_file_id,
        "completion_window": wanted.completion_window,
        "status": status,
        "output_file_id": files.get("output"),
        "error_file_id": files.get("error"),
        "created_at": _stamp(batch.created_at),
        "in_progress_at": when(begun, 0.05),
        "expires_at": _stamp(batch.created_at + _WINDOW),
        "finalizing_at": when(status in ("finalizing", "completed"), 0.95),
        "completed_at": when(status == "completed", 1),
        "failed_at": when(status == "failed", 0.05),
        "expired_at": when(status == "expired", 1),
        "cancelling_at": None if cancelled is None else _stamp(cancelled),
        "cancelled_at": _stamp(cancelled) if cancelled is not None and status == "cancelled" else None,
        "request_counts": {
            "total": len(batch.rows) if begun else 0,
            "completed": batch.count("answered"),
            "failed": batch.count("refused", "expired"),
        },
        "usage": {
            **tokens,
            "total_tokens": sum(tokens.values()),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        "metadata": wanted.metadata,
    }


def _stamp(when: datetime) -> int:
    return int(when.timestamp())


def _files(batch: Batch, request: Request) -> Mapping[str, str]:
    """The ids of the files with its results, written when they are first asked for; none for no results."""
    if batch.progress.files is None:
        shuffled = out_of_order(batch.progress.outcomes)
        parts = {
            "output": [one for one in shuffled if one.fate == "answered"],
            "error": [one for one in shuffled if one.fate != "answered"],
        }
        batch.progress.files = {part: _written(batch, request, part, some) for part, some in parts.items() if some}
    return batch.progress.files


def _written(batch: Batch, request: Request, part: str, outcomes: list[Outcome]) -> str:
    file = File(
        id=new_id("file-"),
        key=batch.key,
        data=b"".join(msgspec.json.encode(_line(outcome)) + b"\n" for outcome in outcomes),
        filename=f"{batch.id}_{part}.jsonl",
        media_type="application/jsonl",
        created_at=datetime.now(UTC),
        purpose="batch_output",
    )
    request.provider.memory.files.add(file)
    return file.id


def _line(outcome: Outcome) -> dict[str, object]:
    line: dict[str, object] = {"id": new_id("batch_req_"), "custom_id": outcome.row.name, "response": None}
    unanswered = _UNANSWERED.get(outcome.fate)
    if unanswered is not None:
        return {**line, "error": {"code": unanswered[0], "message": unanswered[1]}}
    response = {"status_code": outcome.status, "request_id": new_id("req_", 32), "body": msgspec.Raw(outcome.body)}
    return {**line, "response": response, "error": None}
