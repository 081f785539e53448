"""Gemini's files: the resumable upload, what is told about a file, and the download of those that a batch wrote."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from llmring.sim.desk import Reply, Request, absent, page, told
from llmring.sim.google_desk import page_size
from llmring.sim.google_request import decoded
from llmring.sim.google_rules import refused
from llmring.sim.memory import File, Upload, new_id
from llmring.sim.wire import Problem, Rejected

GENERATED = "generated"
"""The purpose of a file that was not uploaded."""

_KEPT = timedelta(hours=48)
_MOST_BYTES = 32 * 2**20


class _About(msgspec.Struct, rename="camel"):
    name: str = ""
    display_name: str = ""
    mime_type: str = ""


class _Start(msgspec.Struct):
    file: _About = msgspec.field(default_factory=_About)


def upload(request: Request) -> Reply:
    """First a request that says what will come and is told where to; then the bytes, in one piece or in several."""
    if request.method != "POST":
        raise absent(request)
    upload_id = request.query.get("upload_id")
    if upload_id is None:
        return _begun(request)
    command = request.headers.get(b"x-goog-upload-command", b"").decode("latin-1")
    uploads = request.provider.memory.uploads
    found = uploads.take(upload_id)
    if found is None:
        raise Rejected(Problem(kind="not_found", detail="Upload has already been terminated."))
    if request.headers.get(b"x-goog-upload-offset", b"0") != b"%d" % len(found.data):
        raise refused(f"Upload offset must be {len(found.data)}.")
    grown = msgspec.structs.replace(found, data=found.data + request.body)
    if len(grown.data) > _MOST_BYTES:
        raise Rejected(Problem(kind="too_large_body"))
    if "finalize" not in command:
        uploads.add(grown)
        return told({}, headers=[(b"x-goog-upload-status", b"active")])
    return told({"file": _told(request, _kept(request, grown))}, headers=[(b"x-goog-upload-status", b"final")])


def _begun(request: Request) -> Reply:
    command = request.headers.get(b"x-goog-upload-command", b"").decode("latin-1")
    if command != "start" or request.headers.get(b"x-goog-upload-protocol") != b"resumable":
        raise refused("Uploads begin with X-Goog-Upload-Protocol: resumable and X-Goog-Upload-Command: start.")
    try:
        about = msgspec.convert(decoded(request.body or b"{}"), _Start).file
    except msgspec.ValidationError as error:
        raise refused(f"Invalid value: {error}") from error
    media_type = request.headers.get(b"x-goog-upload-header-content-type", b"").decode("latin-1")
    begun = Upload(
        id=new_id("upload-"),
        key=request.key,
        data=b"",
        filename=about.display_name,
        media_type=media_type or about.mime_type or "application/octet-stream",
        name=about.name or new_id("files/", 12),
    )
    request.provider.memory.uploads.add(begun)
    url = f"{request.url}/upload/v1beta/files?upload_id={begun.id}&upload_protocol=resumable"
    headers = [
        (b"x-goog-upload-url", url.encode()),
        (b"x-goog-upload-status", b"active"),
        (b"x-goog-upload-chunk-granularity", b"8388608"),
    ]
    return Reply(body=b"", headers=[(b"content-type", b"text/plain; charset=utf-8"), *headers])


def _kept(request: Request, whole: Upload) -> File:
    file = File(
        id=whole.name,
        key=whole.key,
        data=whole.data,
        filename=whole.filename,
        media_type=whole.media_type,
        created_at=datetime.now(UTC),
        expires_at=request.now + _KEPT.total_seconds(),
    )
    request.provider.memory.files.add(file)
    return file


def files(request: Request) -> Reply:
    memory = request.provider.memory
    if request.path == "files":
        if request.method != "GET":
            raise absent(request)
        kept = {one.id: one for one in memory.files.all_of(request.key, request.now)}
        names, more = page(list(kept), request.query.get("pageToken", ""), page_size(request))
        listed: dict[str, object] = {"files": [_told(request, kept[name]) for name in names]} if names else {}
        return told({**listed, "nextPageToken": names[-1]} if more else listed)
    if request.path.endswith(":download"):
        return download(request)
    found = _found(request, request.path)
    if request.method == "DELETE":
        memory.files.take(request.path)
        return told({})
    return told(_told(request, found))


def download(request: Request) -> Reply:
    """GET files/{id}:download, for what a client did not upload itself."""
    if request.method != "GET":
        raise absent(request)
    found = _found(request, f"files/{request.path.rpartition('files/')[2].removesuffix(':download')}")
    if found.purpose != GENERATED:
        raise refused("Only generated files can be downloaded.")
    return Reply(body=found.data, headers=[(b"content-type", found.media_type.encode())])


def _found(request: Request, name: str) -> File:
    found = request.provider.memory.files.get(name, request.key, request.now)
    if found is None:
        raise Rejected(Problem(kind="unknown_file", detail=name.removeprefix("files/")))
    return found


def _told(request: Request, file: File) -> dict[str, object]:
    digest = hashlib.sha256(file.data).hexdigest().encode()
    shown: dict[str, object] = {"displayName": file.filename} if file.filename else {}
    return {
        "name": file.id,
        **shown,
        "mimeType": file.media_type,
        "sizeBytes": str(len(file.data)),
        "createTime": _stamp(file.created_at),
        "updateTime": _stamp(file.created_at),
        "expirationTime": _stamp(file.created_at + _KEPT),
        "sha256Hash": base64.b64encode(digest).decode(),
        "uri": f"{request.url}/v1beta/{file.id}",
        "state": "ACTIVE",
        "source": "GENERATED" if file.purpose == GENERATED else "UPLOADED",
    }


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
