"""Files at Gemini: an upload in two calls, then asking until the file has been processed. Pure.

The first call tells what will come, and is answered with the address for the bytes; the second sends them. Files expire
after 48 hours. Format: https://ai.google.dev/api/files.
"""

from datetime import datetime

import msgspec

from llmring.codecs.codec import FileBody, HttpCall, HttpReply, LocalFile, NextCall, StoredFile
from llmring.codecs.google.faults import classify
from llmring.codecs.replies import is_set, read_json, request_id, to_call
from llmring.errors import BadReply
from llmring.parts import ProviderFile

POLL_SECONDS = 2.0
"""Between two questions whether a file has been processed, which takes seconds for sound and longer for films."""


class _File(msgspec.Struct, rename="camel"):
    name: str | None = None
    uri: str | None = None
    mime_type: str | None = None
    state: str | None = None
    expiration_time: str | None = None


class _Reply(_File, rename="camel"):
    """The reply to an upload has the file in `file`; the one to a question is the file itself, with `error` when it
    could not be processed."""

    file: _File | None = None
    error: msgspec.Raw = msgspec.Raw()


_REPLY = msgspec.json.Decoder(_Reply)


class GoogleFiles(msgspec.Struct, frozen=True):
    """The codec."""

    @property
    def most_bytes(self) -> int:
        return 2 * 2**30

    def upload(self, file: LocalFile) -> HttpCall:
        headers = (
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-length", str(file.size)),
            ("x-goog-upload-header-content-type", file.media_type),
        )
        return to_call("/upload/v1beta/files", {"file": {"displayName": file.name}}, headers)

    def read(self, reply: HttpReply, file: LocalFile) -> StoredFile | NextCall:
        """Read a 2xx reply. Raises BadReply."""
        address = reply.headers.get("x-goog-upload-url")
        # The reply that ends an upload may repeat the address.
        if address and reply.headers.get("x-goog-upload-status") == "active":
            return NextCall(call=_bytes(address, file))
        known_as = request_id(reply.headers)
        found = read_json(_REPLY, reply.body, status=reply.status, request_id=known_as)
        stored = found.file or found
        if not stored.name or not stored.uri:
            if is_set(found.error):
                raise classify(reply)
            raise BadReply("the reply names no file", status=reply.status, request_id=known_as)
        if stored.state == "FAILED":
            raise BadReply("the file could not be processed", status=reply.status, request_id=known_as)
        if stored.state == "PROCESSING":
            return NextCall(call=HttpCall(path=f"/v1beta/{stored.name}", method="GET"), after=POLL_SECONDS)
        return StoredFile(
            file=ProviderFile(id=stored.name, uri=stored.uri, media_type=stored.mime_type or file.media_type),
            expires_at=_time(stored.expiration_time),
        )

    def delete(self, file: ProviderFile) -> HttpCall:
        return HttpCall(path=f"/v1beta/{file.id}", method="DELETE")


def _bytes(address: str, file: LocalFile) -> HttpCall:
    headers = (
        ("content-length", str(file.size)),
        ("x-goog-upload-offset", "0"),
        ("x-goog-upload-command", "upload, finalize"),
    )
    return HttpCall(
        path=address, body=FileBody(path=file.path, name=file.name, media_type=file.media_type), headers=headers
    )


def _time(text: str | None) -> datetime | None:
    """RFC 3339 with up to nine digits behind the second. None for what has no zone: it cannot be compared."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
