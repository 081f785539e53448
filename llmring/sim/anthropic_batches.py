"""Anthropic's batches: handed in with one request; results are lines of JSON at an address of their own.

A batch has no name of its client's. What is wrong with the list of requests is refused at once, what is wrong with a
request is its own result.
"""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim import anthropic_dialect, anthropic_wire
from llmring.sim.anthropic_desk import paged
from llmring.sim.batch_state import Batch, Outcome, Phase, Progress, Row, is_over, phase
from llmring.sim.batches import cancel, out_of_order, work
from llmring.sim.desk import Reply, Request, absent, told
from llmring.sim.memory import new_id
from llmring.sim.wire import Problem, Rejected

_MOST_ROWS = 100_000
_WINDOW = timedelta(hours=24)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Request(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Wanted(msgspec.Struct):
    requests: list[_Request]


def batches(request: Request) -> Reply:
    memory, rest = request.provider.memory, request.path.removeprefix("messages/batches").strip("/")
    if not rest:
        if request.method == "POST":
            batch = _created(request)
            return told(_about(batch, request, "running"))
        return paged(
            request, [_described(one, request) for one in memory.batches["anthropic"].all_of(request.key, request.now)]
        )
    name, _, command = rest.partition("/")
    found = memory.batches["anthropic"].get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="not_found", detail=f"Message batch not found: {name}"))
    match request.method, command:
        case "GET", "":
            return told(_described(found, request))
        case "GET", "results":
            return _results(found, request)
        case "POST", "cancel":
            cancel(found, request)
            return told(_described(found, request))
        case "DELETE", "":
            if not is_over(found, request.now):
                raise Rejected(Problem(kind="bad_field", detail=f"Message batch {name} is still being processed."))
            memory.batches["anthropic"].take(name)
            return told({"id": name, "type": "message_batch_deleted"})
        case _:
            raise absent(request)


def _created(request: Request) -> Batch:
    batch = Batch(
        id=new_id("msgbatch_"),
        key=request.key,
        data=request.body,
        rows=_rows(request.body),
        dialect=anthropic_dialect,
        operation=anthropic_wire,
        headers=request.headers,
        target="messages",
        begun_at=request.now,
        created_at=datetime.now(UTC),
        seconds=request.provider.config.batch_seconds,
        about={},
        progress=Progress(),
    )
    request.provider.memory.batches["anthropic"].add(batch)
    return batch


def _rows(body: bytes) -> tuple[Row, ...]:
    try:
        wanted = msgspec.json.decode(body, type=_Wanted).requests
    except msgspec.ValidationError as error:
        raise Rejected(Problem(kind="bad_field", detail=f"requests: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_json", detail=str(error))) from error
    if not 1 <= len(wanted) <= _MOST_ROWS:
        detail = f"requests: List should have between 1 and {_MOST_ROWS} items, not {len(wanted)}"
        raise Rejected(Problem(kind="bad_field", detail=detail))
    rows: dict[str, Row] = {}
    for at, one in enumerate(wanted):
        if not _NAME.fullmatch(one.custom_id):
            detail = f"requests.{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            raise Rejected(Problem(kind="bad_field", detail=detail))
        if one.custom_id in rows:
            raise Rejected(Problem(kind="bad_field", detail=f"requests.{at}.custom_id: custom_id must be unique"))
        rows[one.custom_id] = Row(name=one.custom_id, body=bytes(one.params))
    return tuple(rows.values())


def _described(batch: Batch, request: Request) -> dict[str, object]:
    """As it is now."""
    work(batch, request)
    return _about(batch, request, phase(batch, request.now))


def _about(batch: Batch, request: Request, at: Phase) -> dict[str, object]:
    """Rows are counted as being processed until all of them have been."""
    over, cancelled = at in ("ended", "cancelled"), batch.cancelled_moment()
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if over else "canceling" if at == "cancelling" else "in_progress",
        "request_counts": {
            "processing": 0 if over else len(batch.rows),
            "succeeded": batch.count("answered") if over else 0,
            "errored": batch.count("refused") if over else 0,
            "canceled": batch.count("cancelled") if over else 0,
            "expired": batch.count("expired") if over else 0,
        },
        "ended_at": (cancelled or batch.moment(1)).isoformat() if over else None,
        "created_at": batch.created_at.isoformat(),
        "expires_at": (batch.created_at + _WINDOW).isoformat(),
        "archived_at": None,
        "cancel_initiated_at": None if cancelled is None else cancelled.isoformat(),
        "results_url": f"{request.url}/v1/messages/batches/{batch.id}/results" if over else None,
    }


def _results(batch: Batch, request: Request) -> Reply:
    work(batch, request)
    if not is_over(batch, request.now):
        raise Rejected(Problem(kind="not_found", detail=f"Batch {batch.id} has no available results."))
    lines = [msgspec.json.encode(_line(outcome)) + b"\n" for outcome in out_of_order(batch.progress.outcomes)]
    return Reply(body=b"".join(lines), headers=[(b"content-type", b"application/x-jsonl")])


def _line(outcome: Outcome) -> dict[str, object]:
    return {"custom_id": outcome.row.name, "result": _result(outcome)}


def _result(outcome: Outcome) -> dict[str, object]:
    match outcome.fate:
        case "answered":
            message = msgspec.json.decode(outcome.body)
            message["usage"]["service_tier"] = "batch"
            return {"type": "succeeded", "message": message}
        case "refused":
            return {"type": "errored", "error": msgspec.Raw(outcome.body)}
        case "expired":
            return {"type": "expired"}
        case "cancelled":
            return {"type": "canceled"}
