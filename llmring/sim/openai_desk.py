"""What OpenAI serves besides answers: models, files, stored responses, and the count of a response's input."""

from datetime import UTC, datetime

from llmring.sim import responses_wire
from llmring.sim.desk import Reply, Request, absent, told
from llmring.sim.memory import File, new_id
from llmring.sim.uploads import form
from llmring.sim.wire import Problem, Rejected

_SAMPLES = ("gpt-sim", "gpt-sim-mini", "text-embedding-sim")
#: When the simulated models were made: 2026-01-01.
_CREATED = 1767225600
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


def models(request: Request) -> Reply:
    if request.method != "GET":
        raise absent(request)
    names = request.provider.config.models or _SAMPLES
    name = request.path.partition("/")[2]
    if not name:
        return told({"object": "list", "data": [_model(one) for one in names]})
    if not request.provider.has_model(name):
        raise Rejected(Problem(kind="unknown_model", model=name))
    return told(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulated"}


def files(request: Request) -> Reply:
    memory = request.provider.memory
    if request.path == "files":
        if request.method == "POST":
            return told(_file(_uploaded(request)))
        listed = [_file(one) for one in memory.files.all_of(request.key, request.now)]
        return told({"object": "list", "data": listed, "has_more": False})
    name, _, part = request.path.removeprefix("files/").partition("/")
    found = memory.files.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="unknown_file", detail=name, parameter="id"))
    if request.method == "DELETE":
        memory.files.take(name)
        return told({"object": "file", "id": name, "deleted": True})
    if part == "content":
        return Reply(body=found.data, headers=[(b"content-type", b"application/octet-stream")])
    return told(_file(found))


def _uploaded(request: Request) -> File:
    fields, upload = form(request.headers, request.body)
    if upload is None:
        raise Rejected(Problem(kind="missing_field", detail="file"))
    purpose = fields.get("purpose")
    if purpose is None:
        raise Rejected(Problem(kind="missing_field", detail="purpose"))
    if purpose not in _PURPOSES:
        detail = f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'"
        raise Rejected(Problem(kind="bad_field", detail=detail, parameter="purpose"))
    seconds = fields.get("expires_after[seconds]", "")
    file = File(
        id=new_id("file-"),
        key=request.key,
        data=upload.data,
        filename=upload.filename,
        media_type=upload.media_type,
        created_at=datetime.now(UTC),
        purpose=purpose,
        expires_at=request.now + int(seconds) if seconds.isdigit() else None,
    )
    request.provider.memory.files.add(file)
    return file


def _file(file: File) -> dict[str, object]:
    return {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": len(file.data),
        "created_at": int(file.created_at.timestamp()),
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }


def responses(request: Request) -> Reply:
    """A stored response by its id, or the count of the input of one that is not made."""
    name = request.path.removeprefix("responses/")
    if request.method == "POST" and name == "input_tokens":
        ask = responses_wire.read(request.headers, request.body)
        return told({"object": "response.input_tokens", "input_tokens": ask.input_tokens})
    replies = request.provider.memory.replies
    found = replies.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="not_found", detail=f"Response with id '{name}' not found."))
    if request.method == "DELETE":
        replies.take(name)
        return told({"id": name, "object": "response", "deleted": True})
    if request.method != "GET":
        raise absent(request)
    return Reply(body=found.data)
