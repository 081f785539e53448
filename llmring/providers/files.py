"""Registered files: known by an id here, uploaded to a provider when one of its models first needs them.

A file is uploaded again when its content has changed or the provider's copy is about to expire. Providers without
files, and parts that a format only takes inline, get the bytes in the request itself.
"""

import hashlib
import logging
import mimetypes
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import trio

from llmring.chat import ChatRequest, Message
from llmring.codecs.codec import FilesCodec, LocalFile, StoredFile
from llmring.errors import InvalidRequest, ProviderError, Unsupported
from llmring.parts import AudioPart, DocumentPart, ImagePart, Inline, Part, ProviderFile, RegisteredFile, TextPart
from llmring.prompt_parts import REGISTERED_PREFIX

_LOG = logging.getLogger("llmring")

MOST_INLINE_BYTES = 50 * 2**20
"""The largest file that goes into a request; base64 makes it a third larger."""

EXPIRY_MARGIN = timedelta(minutes=5)

UPLOADED: Mapping[str, tuple[type[Part], ...]] = {
    "openai-chat": (DocumentPart,),
    "openai-responses": (ImagePart, DocumentPart),
    "anthropic": (ImagePart, DocumentPart),
    "google": (ImagePart, DocumentPart, AudioPart),
}
"""By wire format, the parts that may name a file of the provider. Everything else, and all text, goes inline."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A registered file. `size` is in bytes; `providers` hold a copy of it now."""

    id: str
    path: Path
    media_type: str
    size: int
    providers: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as files are brought to it: its name, whose account is used there (opaque), its wire format, and how
    it takes and deletes files."""

    name: str
    account: str
    format: str
    codec: FilesCodec | None
    upload: Callable[[LocalFile], Awaitable[StoredFile]]
    delete: Callable[[ProviderFile], Awaitable[None]]


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """A file's content at one moment. `stamp` changes when it may have changed, `digest` when it has."""

    stamp: tuple[int, int]
    digest: str


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    stored: StoredFile
    digest: str
    place: Place

    def is_good(self, version: _Version) -> bool:
        expires = self.stored.expires_at
        return self.digest == version.digest and (expires is None or expires > datetime.now(UTC) + EXPIRY_MARGIN)


class _File:
    def __init__(self, file_id: str, path: Path, media_type: str) -> None:
        self.id = file_id
        self.path = path
        self.media_type = media_type
        self.copies: dict[str, _Copy] = {}
        """By account: a file of one cannot be used with another's key."""
        self.version: _Version | None = None
        self.locks: dict[str, trio.Lock] = {}


class Files:
    """All registered files of a router."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def register(self, path: Path) -> str:
        """Give a file an id. Reads nothing of it yet. Raises FileNotFoundError, IsADirectoryError."""
        try:
            path = path.expanduser().absolute()
        except RuntimeError as error:
            raise FileNotFoundError(f"{path}: {error}") from None
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a directory, not a file")
        path.stat()
        file_id = REGISTERED_PREFIX + str(uuid.uuid4())
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._files[file_id] = _File(file_id, path, media_type)
        return file_id

    def list(self) -> tuple[FileInfo, ...]:
        return tuple(
            FileInfo(
                id=file.id,
                path=file.path,
                media_type=file.media_type,
                size=file.path.stat().st_size if file.path.exists() else 0,
                providers=tuple(sorted({copy.place.name for copy in file.copies.values()})),
            )
            for file in self._files.values()
        )

    async def deregister(self, file_id: str) -> bool:
        """Delete a file's copies at the providers and forget its id; False when it is not known.

        Raises the first ProviderError; then the id stays, with the copies that could not be deleted.
        """
        file = self._files.get(file_id)
        if file is None:
            return False
        failed: ProviderError | None = None
        for account, copy in list(file.copies.items()):
            try:
                await copy.place.delete(copy.stored.file)
                file.copies.pop(account, None)
            except ProviderError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        self._files.pop(file_id, None)
        return True

    def lost(self, account: str, told: str) -> None:
        """Forget the copies that a provider's error names: who is told that one is gone uploads it again next time."""
        for file in self._files.values():
            copy = file.copies.get(account)
            if copy is not None and copy.stored.file.id.rpartition("/")[2] in told:
                del file.copies[account]

    def shown(self, request: ChatRequest) -> ChatRequest:
        """The request with its registered files as what they are sent as, by their kinds alone: to be measured, and
        not sent."""
        if not needs_files(request):
            return request
        messages = tuple(
            msgspec.structs.replace(message, content=tuple(map(self._shown_part, message.content)))
            if isinstance(message.content, tuple)
            else message
            for message in request.messages
        )
        parts = tuple(self._shown_part(DocumentPart(source=RegisteredFile(id=i))) for i in request.files)
        if parts:
            messages = _behind_last_user(messages, parts)
        return msgspec.structs.replace(request, messages=messages, files=())

    def _shown_part(self, part: Part) -> Part:
        if isinstance(part, TextPart) or not isinstance(part.source, RegisteredFile):
            return part
        file = self._files.get(part.source.id)
        if file is None:
            return part
        kind = _kind(file.media_type)
        return kind(source=ProviderFile(id=file.id, media_type=file.media_type), cache=part.cache)

    async def put(self, request: ChatRequest, place: Place) -> ChatRequest:
        """The request with its files where `place` finds them. Raises InvalidRequest, ProviderError."""
        messages = tuple([await self._put_message(message, place) for message in request.messages])
        if request.files:
            parts = [await self._put_part(DocumentPart(source=RegisteredFile(id=i)), place) for i in request.files]
            messages = _behind_last_user(messages, tuple(parts))
        return msgspec.structs.replace(request, messages=messages, files=())

    async def _put_message(self, message: Message, place: Place) -> Message:
        if not isinstance(message.content, tuple):
            return message
        parts = tuple([await self._put_part(part, place) for part in message.content])
        return msgspec.structs.replace(message, content=parts)

    async def _put_part(self, part: Part, place: Place) -> Part:
        if isinstance(part, TextPart) or not isinstance(part.source, RegisteredFile):
            return part
        file = self._files.get(part.source.id)
        if file is None:
            raise InvalidRequest(f"file {part.source.id!r} is not registered: use router.register_file")
        kind = _kind(file.media_type)
        is_text = file.media_type.startswith("text/") or file.media_type in _TEXT_TYPES
        source: ProviderFile | Inline
        if place.codec is not None and kind in UPLOADED.get(place.format, ()) and not is_text:
            source = await self._copy_at(file, place, place.codec.most_bytes)
        else:
            source = await _inline(file, "text/plain" if is_text else file.media_type)
        if kind is DocumentPart:
            return DocumentPart(source=source, name=file.path.name, cache=part.cache)
        return kind(source=source, cache=part.cache)

    async def _copy_at(self, file: _File, place: Place, most_bytes: int) -> ProviderFile:
        """The provider's copy; whoever comes first uploads it, the others wait for that."""
        async with file.locks.setdefault(place.account, trio.Lock()):
            version = await _look(file)
            old = file.copies.get(place.account)
            if old is not None and old.is_good(version):
                return old.stored.file
            size = version.stamp[1]
            if size > most_bytes:
                raise Unsupported(
                    f"file {file.path} has {size} bytes; {place.name} takes files of at most {most_bytes}"
                )
            local = LocalFile(path=file.path, name=file.path.name, media_type=file.media_type, size=size)
            stored = await place.upload(local)
            file.copies[place.account] = _Copy(stored=stored, digest=version.digest, place=place)
            if old is not None:
                await _delete_old(old)
            return stored.file


_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})


def _kind(media_type: str) -> type[ImagePart] | type[AudioPart] | type[DocumentPart]:
    match media_type.partition("/")[0]:
        case "image":
            return ImagePart
        case "audio":
            return AudioPart
        case _:
            return DocumentPart


def _behind_last_user(messages: tuple[Message, ...], parts: tuple[Part, ...]) -> tuple[Message, ...]:
    """The parts in the last user message, behind what it holds; a message of their own when there is none."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            filled = msgspec.structs.replace(messages[at], content=(*messages[at].parts, *parts))
            return (*messages[:at], filled, *messages[at + 1 :])
    return (*messages, Message(role="user", content=parts))


def needs_files(request: ChatRequest) -> bool:
    """Whether a request names registered files."""
    return bool(request.files) or any(
        not isinstance(part, TextPart) and isinstance(part.source, RegisteredFile)
        for message in request.messages
        if isinstance(message.content, tuple)
        for part in message.content
    )


async def _look(file: _File) -> _Version:
    """The file's content as it is now; read again, in a thread, only when it may have changed."""
    try:
        status = file.path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if file.version is None or file.version.stamp != stamp:
            file.version = _Version(stamp=stamp, digest=await trio.to_thread.run_sync(_digest, file.path))
    except OSError as error:
        raise InvalidRequest(f"file {file.path}: {str(error.strerror).lower()}") from None
    return file.version


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def _inline(file: _File, media_type: str) -> Inline:
    try:
        size = file.path.stat().st_size
        if size > MOST_INLINE_BYTES:
            raise Unsupported(
                f"file {file.path} has {size} bytes; a request can hold files of at most {MOST_INLINE_BYTES}"
            )
        data = await trio.to_thread.run_sync(_base64, file.path)
    except OSError as error:
        raise InvalidRequest(f"file {file.path}: {str(error.strerror).lower()}") from None
    return Inline(media_type=media_type, data=data)


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


async def _delete_old(old: _Copy) -> None:
    """A copy of what the file held before. That it is still there harms nobody, so its failure is only logged."""
    try:
        await old.place.delete(old.stored.file)
    except ProviderError as error:
        _LOG.warning("an outdated copy of a file stays at %s: %s", old.place.name, error)
