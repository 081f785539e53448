"""What Anthropic serves besides answers: models, files, and the count of a prompt's tokens."""

from datetime import UTC, datetime

from llmring.sim import anthropic_wire
from llmring.sim.desk import Reply, Request, absent, page, told
from llmring.sim.memory import File, new_id
from llmring.sim.uploads import form
from llmring.sim.wire import Problem, Rejected

_SAMPLES = ("claude-sim", "claude-sim-mini")
_MOST_ON_A_PAGE = 1000
_ON_A_PAGE = 20
_FILES_BETA = b"files-api-"
#: The version from which on files need no beta header.
_FILES_VERSION = b"2026-10-21"


def models(request: Request) -> Reply:
    if request.method != "GET":
        raise absent(request)
    names = list(request.provider.config.models or _SAMPLES)
    name = request.path.partition("/")[2]
    if name:
        if not request.provider.has_model(name):
            raise Rejected(Problem(kind="unknown_model", model=name))
        return told(_model(name))
    return paged(request, [_model(one) for one in names])


def _model(name: str) -> dict[str, object]:
    yes, no = {"supported": True}, {"supported": False}
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "lifecycle": "active",
        "capabilities": {
            "batch": yes,
            "citations": no,
            "effort": {"supported": True, "low": yes, "medium": yes, "high": yes, "xhigh": yes, "max": yes},
            "image_input": yes,
            "pdf_input": yes,
            "structured_outputs": yes,
            "thinking": {"supported": True, "types": {"enabled": yes, "adaptive": yes}},
        },
    }


def paged(request: Request, entries: list[dict[str, object]]) -> Reply:
    """The entries that are asked for, known by their `id`."""
    asked = request.query.get("limit", str(_ON_A_PAGE))
    if not asked.isdigit() or not 1 <= int(asked) <= _MOST_ON_A_PAGE:
        detail = f"limit: Input should be between 1 and {_MOST_ON_A_PAGE}"
        raise Rejected(Problem(kind="bad_field", detail=detail))
    by_id = {str(entry["id"]): entry for entry in entries}
    names, more = page(list(by_id), request.query.get("after_id", ""), int(asked))
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return told({"data": [by_id[name] for name in names], "has_more": more, **ends})


def count_tokens(request: Request) -> Reply:
    if request.method != "POST":
        raise absent(request)
    return told({"input_tokens": anthropic_wire.read(request.headers, request.body, request.path).input_tokens})


def files(request: Request) -> Reply:
    old = request.headers.get(b"anthropic-version", b"") < _FILES_VERSION
    if old and _FILES_BETA not in request.headers.get(b"anthropic-beta", b""):
        raise absent(request)
    memory = request.provider.memory
    if request.path == "files":
        if request.method == "POST":
            return told(_file(_uploaded(request)))
        return paged(request, [_file(one) for one in memory.files.all_of(request.key, request.now)])
    name, _, part = request.path.removeprefix("files/").partition("/")
    found = memory.files.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="unknown_file", detail=name))
    if request.method == "DELETE":
        memory.files.take(name)
        return told({"id": name, "type": "file_deleted"})
    if part == "content":
        # As at the real one: only files that tools made can be downloaded, and no tool makes files here.
        raise Rejected(Problem(kind="bad_field", detail=f"File {name} is not downloadable."))
    return told(_file(found))


def _uploaded(request: Request) -> File:
    fields, upload = form(request.headers, request.body)
    if upload is None:
        raise Rejected(Problem(kind="missing_field", detail="file"))
    seconds = fields.get("expires_in_seconds", "")
    file = File(
        id=new_id("file_"),
        key=request.key,
        data=upload.data,
        filename=upload.filename,
        media_type=upload.media_type,
        created_at=datetime.now(UTC),
        expires_at=request.now + int(seconds) if seconds.isdigit() else None,
    )
    request.provider.memory.files.add(file)
    return file


def _file(file: File) -> dict[str, object]:
    return {
        "type": "file",
        "id": file.id,
        "filename": file.filename,
        "mime_type": file.media_type,
        "size_bytes": len(file.data),
        "created_at": file.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "downloadable": False,
    }
