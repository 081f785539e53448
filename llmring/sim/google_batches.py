"""Gemini's batches: handed in with one request, or as an uploaded file of lines; results come the same way.

Results that are not in a file are in the batch's own description, in the order of the requests. A row that was not
tried in time is an error of its own here; where none was, the batch itself has expired, without results.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from llmring.sim import google_dialect, google_wire
from llmring.sim.batch_state import Batch, Outcome, Phase, Progress, Row, is_over, phase
from llmring.sim.batches import cancel, work
from llmring.sim.desk import Reply, Request, absent, page, told
from llmring.sim.google_desk import page_size
from llmring.sim.google_files import GENERATED
from llmring.sim.google_request import model_of
from llmring.sim.google_rules import refused
from llmring.sim.memory import File, new_id
from llmring.sim.wire import Problem, Rejected

_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_STATES: Mapping[Phase, str] = {
    "checking": "PENDING",
    "running": "RUNNING",
    "closing": "RUNNING",
    "ended": "SUCCEEDED",
    "cancelling": "RUNNING",
    "cancelled": "CANCELLED",
}
#: google.rpc.Code, by the words of an error.
_CODES = {
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
_EXPIRED = {"code": 4, "message": "The request was not processed before the batch expired."}
_CANCELLED = {"code": 1, "message": "The batch was cancelled."}


def create(request: Request) -> Reply:
    """POST models/{model}:batchGenerateContent."""
    model = model_of(request.path)
    if not request.provider.has_model(model):
        raise Rejected(Problem(kind="unknown_model", model=model))
    asked = _table(_decoded(request.body), "batch")
    source = _table(asked, "inputConfig")
    file_name = _field(source, "fileName")
    if isinstance(file_name, str):
        data = _file(request, file_name)
        rows = _rows_of_file(data)
    else:
        data, rows = request.body, _rows(_table(source, "requests"))
    batch = Batch(
        id=new_id("batches/", 36),
        key=request.key,
        data=data,
        rows=tuple(rows),
        dialect=google_dialect,
        operation=google_wire,
        headers={},
        target=f"models/{model}:generateContent",
        model=model,
        begun_at=request.now,
        created_at=datetime.now(UTC),
        seconds=request.provider.config.batch_seconds,
        about={"display_name": _field(asked, "displayName"), "file_name": file_name},
        progress=Progress(),
    )
    request.provider.memory.batches["google"].add(batch)
    return told(_operation(batch, request, "checking"))


def batches(request: Request) -> Reply:
    shelf, (name, _, command) = request.provider.memory.batches["google"], request.path.partition(":")
    if name == "batches":
        return _listed(request)
    found = shelf.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="not_found", detail=f"{name} is not found."))
    match request.method, command:
        case "GET", "":
            work(found, request)
            return told(_operation(found, request, phase(found, request.now)))
        case "POST", "cancel":
            cancel(found, request)
            return told({})
        case "DELETE", "":
            shelf.take(name)
            return told({})
        case _:
            raise absent(request)


def _listed(request: Request) -> Reply:
    if request.method != "GET":
        raise absent(request)
    kept = {one.id: one for one in request.provider.memory.batches["google"].all_of(request.key, request.now)}
    names, more = page(list(kept), request.query.get("pageToken", ""), page_size(request))
    shown = []
    for name in names:
        work(kept[name], request)
        shown.append(_operation(kept[name], request, phase(kept[name], request.now)))
    listed: dict[str, object] = {"operations": shown} if shown else {}
    return told({**listed, "nextPageToken": names[-1]} if more else listed)


# What was asked. Names come in camelCase or in snake_case; what is in `metadata` stays as it is.


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error


def _field(table: object, name: str) -> object:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return table.get(name, table.get(snake)) if isinstance(table, dict) else None


def _table(table: object, name: str) -> object:
    found = _field(table, name)
    if not isinstance(found, dict):
        raise Rejected(Problem(kind="missing_field", detail=name))
    return found


def _rows(source: object) -> list[Row]:
    """The name of a row is its metadata, which is given back as it is."""
    listed = _field(source, "requests")
    if not isinstance(listed, list) or not listed:
        raise refused("* BatchGenerateContentRequest.batch.input_config.requests: at least one request is expected")
    return [
        Row(
            name=msgspec.json.encode(_field(one, "metadata")).decode(),
            body=msgspec.json.encode(_field(one, "request")),
        )
        for one in listed
    ]


class _Line(msgspec.Struct):
    request: msgspec.Raw
    key: str = ""


def _file(request: Request, name: str) -> bytes:
    file = request.provider.memory.files.get(name, request.key, request.now)
    if file is None:
        raise Rejected(Problem(kind="unknown_file", detail=name.removeprefix("files/")))
    return file.data


def _rows_of_file(data: bytes) -> list[Row]:
    """The name of a row is its key, in JSON."""
    rows = []
    for number, text in enumerate(data.splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refused(f"Line {number} of the file is not a request: {error}") from error
        rows.append(Row(name=msgspec.json.encode(line.key).decode(), body=bytes(line.request)))
    if not rows:
        raise refused("The file holds no requests.")
    return rows


# What is told.


def _operation(batch: Batch, request: Request, at: Phase) -> dict[str, object]:
    over, state = is_over(batch, request.now) and at != "checking", _STATES[at]
    if at == "ended" and batch.count("expired") == len(batch.rows):
        state = "EXPIRED"
    output = _output(batch, request) if over and state == "SUCCEEDED" else None
    shown: dict[str, object] = {"displayName": batch.about["display_name"]} if batch.about["display_name"] else {}
    if output is not None:
        shown["output"] = output
    told_of: dict[str, object] = {
        "name": batch.id,
        "metadata": {
            "@type": _TYPE,
            "model": f"models/{batch.model}",
            **shown,
            "inputConfig": {"fileName": batch.about["file_name"]} if batch.about["file_name"] else {},
            "createTime": _stamp(batch.created_at),
            "updateTime": _stamp(datetime.now(UTC)),
            **({"endTime": _stamp(batch.moment(1))} if over else {}),
            "batchStats": _stats(batch),
            "state": f"BATCH_STATE_{state}",
            "name": batch.id,
        },
    }
    if not over:
        return told_of
    ended: dict[str, object] = {"error": _CANCELLED if state == "CANCELLED" else _EXPIRED}
    if output is not None:
        ended = {"response": {"@type": f"{_TYPE}Output", **output}}
    return {**told_of, "done": True, **ended}


def _stats(batch: Batch) -> dict[str, str]:
    """Numbers as text; those that are 0 are left out."""
    counted = {
        "requestCount": len(batch.rows),
        "successfulRequestCount": batch.count("answered"),
        "failedRequestCount": batch.count("refused", "expired", "cancelled"),
        "pendingRequestCount": len(batch.rows) - len(batch.progress.outcomes),
    }
    return {name: str(number) for name, number in counted.items() if number}


def _output(batch: Batch, request: Request) -> dict[str, object]:
    outcomes = batch.progress.outcomes
    if not batch.about["file_name"]:
        inlined = [_result(one) | _metadata(one) for one in outcomes]
        return {"inlinedResponses": {"inlinedResponses": inlined}}
    if batch.progress.files is None:
        lines = [_result(one) | {"key": msgspec.Raw(one.row.name.encode())} for one in outcomes]
        file = File(
            id=new_id("files/batch-"),
            key=batch.key,
            data=b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
            filename="",
            media_type="application/jsonl",
            created_at=datetime.now(UTC),
            purpose=GENERATED,
        )
        request.provider.memory.files.add(file)
        batch.progress.files = {"output": file.id}
    return {"responsesFile": batch.progress.files["output"]}


def _metadata(outcome: Outcome) -> dict[str, object]:
    return {} if outcome.row.name == "null" else {"metadata": msgspec.Raw(outcome.row.name.encode())}


def _result(outcome: Outcome) -> dict[str, object]:
    match outcome.fate:
        case "answered":
            return {"response": msgspec.Raw(outcome.body)}
        case "expired":
            return {"error": _EXPIRED}
        case "cancelled":
            return {"error": _CANCELLED}
        case "refused":
            error = msgspec.json.decode(outcome.body)["error"]
            details = {"details": error["details"]} if "details" in error else {}
            return {"error": {"code": _CODES.get(error["status"], 13), "message": error["message"], **details}}


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
