"""Files at Anthropic: one call uploads one. Pure.

They stay until they are deleted, unless the workspace says otherwise. Format: https://docs.claude.com/en/api/files-create.
"""

from urllib.parse import quote

import msgspec

from llmring.codecs.anthropic.faults import VERSION, classify
from llmring.codecs.codec import FileBody, HttpCall, HttpReply, LocalFile, NextCall, StoredFile
from llmring.codecs.replies import is_set, read_json, read_time, request_id
from llmring.errors import BadReply
from llmring.parts import ProviderFile

BETA = ("anthropic-beta", "files-api-2025-04-14")
"""The header of every call that names a file."""

_HEADERS = (VERSION, BETA)


class _File(msgspec.Struct):
    id: str | None = None
    mime_type: str | None = None
    expires_at: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_FILE = msgspec.json.Decoder(_File)


class AnthropicFiles(msgspec.Struct, frozen=True):
    """The codec."""

    @property
    def most_bytes(self) -> int:
        return 500 * 10**6

    def upload(self, file: LocalFile) -> HttpCall:
        body = FileBody(path=file.path, name=file.name, media_type=file.media_type, field="file")
        return HttpCall(path="/v1/files", body=body, headers=_HEADERS)

    def read(self, reply: HttpReply, file: LocalFile) -> StoredFile | NextCall:
        """Read a 2xx reply. Raises BadReply."""
        stored = read_json(_FILE, reply.body, status=reply.status, request_id=request_id(reply.headers))
        if is_set(stored.error):
            raise classify(reply)
        if not stored.id:
            raise BadReply("the reply names no file", status=reply.status, request_id=request_id(reply.headers))
        return StoredFile(
            file=ProviderFile(id=stored.id, media_type=stored.mime_type or file.media_type),
            expires_at=read_time(stored.expires_at),
        )

    def delete(self, file: ProviderFile) -> HttpCall:
        return HttpCall(path=f"/v1/files/{quote(file.id, safe='')}", method="DELETE", headers=_HEADERS)
