"""Files at OpenAI: uploaded in one request, named by their id in messages, deleted. Pure.

Format: https://platform.openai.com/docs/api-reference/files.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from llmring.codecs.codec import FileBody, HttpCall, HttpReply, LocalFile, StoredFile
from llmring.codecs.openai.faults import classify
from llmring.codecs.replies import is_set, read_json, request_id
from llmring.errors import BadReply
from llmring.parts import ProviderFile


class _Stored(msgspec.Struct):
    id: str | None = None
    expires_at: Any = None
    error: msgspec.Raw = msgspec.Raw()


_STORED = msgspec.json.Decoder(_Stored)


class OpenAIFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A FilesCodec. Files are of purpose `user_data`: input of models, whatever the kind.

    `expires_after` is in seconds, 3,600 to 2,592,000 (30 days); None: a file stays until it is deleted.
    """

    most_bytes: int = 512_000_000
    expires_after: int | None = None

    def upload(self, file: LocalFile) -> HttpCall:
        fields = [("purpose", "user_data")]
        if self.expires_after is not None:
            fields.append(("expires_after[anchor]", "created_at"))
            fields.append(("expires_after[seconds]", str(self.expires_after)))
        body = FileBody(path=file.path, name=file.name, media_type=file.media_type, field="file", fields=tuple(fields))
        return HttpCall(path="/files", body=body)

    def read(self, reply: HttpReply, file: LocalFile) -> StoredFile:
        """Read a 2xx reply. Raises BadReply, or the error that its body carries."""
        asked = request_id(reply.headers)
        found = read_json(_STORED, reply.body, status=reply.status, request_id=asked)
        if is_set(found.error):
            raise classify(reply)
        if not found.id:
            raise BadReply("the reply names no file", status=reply.status, request_id=asked)
        return StoredFile(file=ProviderFile(id=found.id), expires_at=_time(found.expires_at))

    def delete(self, file: ProviderFile) -> HttpCall:
        return HttpCall(path=f"/files/{quote(file.id, safe='')}", method="DELETE")


def _time(value: Any) -> datetime | None:
    """Seconds since 1970."""
    if not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
