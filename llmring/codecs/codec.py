"""What a codec must offer. A codec is a value that satisfies `Codec`: one wire format, sans-IO, nothing else.

A codec turns our requests into HTTP calls and HTTP replies into completions, errors and limit readings. It holds no
state between calls, knows no key, no clock and no connection; a stream in progress is a `StreamDecoder` of its own.
Embeddings, model lists and files are protocols of their own, because not every provider has them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from llmring.chat import ChatRequest, Completion, Note
from llmring.codecs.capabilities import Model
from llmring.embeddings import Embeddings
from llmring.errors import Dimension, ProviderError
from llmring.live import LiveModel
from llmring.parts import ProviderFile


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body that is read from a file while it is sent.

    With `field` it is multipart/form-data: the file under that name, behind `fields`. Without, it is the file's bytes.
    """

    path: Path
    name: str
    media_type: str
    field: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `path` is appended to the provider's base URL, or is an absolute URL of the same host; headers are
    without authentication. `notes` say what the format could not carry as asked."""

    path: str
    body: bytes | FileBody = b""
    headers: tuple[tuple[str, str], ...] = ()
    method: Literal["POST", "GET", "DELETE"] = "POST"
    notes: tuple[Note, ...] = ()


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class LimitUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What one reply says of one limit. None where it does not say.

    `period` is in seconds: the limit is so much per period. `rounding` is the step in which `remaining` is reported
    (Anthropic: 1,000), so that drift inside one step is no news.
    """

    dimension: Dimension
    limit: float | None = None
    remaining: float | None = None
    period: float = 60.0
    rounding: float = 1.0


class StreamDelta(msgspec.Struct, frozen=True, kw_only=True):
    """Text that has just arrived, of the answer or of its reasoning. Tool calls and usage come whole, in the
    completion."""

    content: str = ""
    reasoning: str = ""


class StreamDecoder(Protocol):
    """One streamed answer being read: bytes in, deltas out, in any split."""

    @property
    def complete(self) -> bool:
        """The provider has said why the answer ended: `close` will not raise TransportBroken."""
        ...

    @property
    def done(self) -> bool:
        """Nothing that comes after this belongs to the answer."""
        ...

    def feed(self, data: bytes) -> Sequence[StreamDelta]:
        """Take the next bytes. Raises BadReply on what is not the protocol, or the error that the stream reports."""
        ...

    def close(self) -> Completion:
        """The stream has ended: the whole answer. Raises TransportBroken when its end was never announced."""
        ...

    def partial(self) -> Completion:
        """What is known so far, for a stream that broke or was left; usage is a lower bound. Never raises."""
        ...


class Codec(Protocol):
    """One wire format."""

    @property
    def format(self) -> str:
        """Its name, as in NativeTurn.format."""
        ...

    @property
    def parameters(self) -> frozenset[str]:
        """The optional fields of ChatRequest that the format has a spelling for."""
        ...

    def auth(self, key: str) -> tuple[tuple[str, str], ...]:
        """The headers that carry the key."""
        ...

    def encode(self, request: ChatRequest, model: Model, *, stream: bool) -> HttpCall:
        """Spell a request that was fitted to the model. Raises Unsupported for content that the format cannot say."""
        ...

    def decode(self, reply: HttpReply) -> Completion:
        """Read a 2xx reply. Raises BadReply, or the error that a 200 carries in its body."""
        ...

    def classify(self, reply: HttpReply) -> ProviderError:
        """Which error a reply with status >= 300 is. Never raises: an unreadable body is classified by its status."""
        ...

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitUpdate, ...]:
        """What the headers of a reply say of the limits. Nonsense is ignored."""
        ...

    def open_stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        """Start to read a streamed 2xx reply with these headers."""
        ...


class EmbeddingsCodec(Protocol):
    """Vectors for texts. `most_texts` and `most_tokens` are what one request may hold."""

    @property
    def most_texts(self) -> int: ...

    @property
    def most_tokens(self) -> int: ...

    def encode(self, texts: Sequence[str], model: str, dimensions: int | None) -> HttpCall: ...

    def decode(self, reply: HttpReply) -> Embeddings:
        """Read a 2xx reply, in the order of the texts. Raises BadReply."""
        ...


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a model list, and the mark of the next one; None when it is the last."""

    models: tuple[LiveModel, ...]
    next: str | None = None


class ModelsCodec(Protocol):
    """The provider's own list of models."""

    def encode(self, page: str | None) -> HttpCall: ...

    def decode(self, reply: HttpReply) -> ModelPage:
        """Read a 2xx reply. Raises BadReply."""
        ...


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file to upload. `size` is in bytes."""

    path: Path
    name: str
    media_type: str
    size: int


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was uploaded. `expires_at` None: the provider keeps it until it is told otherwise."""

    file: ProviderFile
    expires_at: datetime | None = None


class NextCall(msgspec.Struct, frozen=True, kw_only=True):
    """An upload goes on with `call`, after so many seconds."""

    call: HttpCall
    after: float = 0.0


class FilesCodec(Protocol):
    """Files at the provider. An upload is one call or several: `upload` is the first, `read` says what follows."""

    @property
    def most_bytes(self) -> int: ...

    def upload(self, file: LocalFile) -> HttpCall: ...

    def read(self, reply: HttpReply, file: LocalFile) -> StoredFile | NextCall:
        """Read a 2xx reply. Raises BadReply."""
        ...

    def delete(self, file: ProviderFile) -> HttpCall: ...
