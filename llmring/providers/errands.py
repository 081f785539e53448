"""Errands: calls to a provider that ask no model, as handing in a batch or uploading a file. What one is about, and how
whoever watches them is told. Values and protocols."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

import msgspec

from llmring.providers.endpoint import Endpoint

ErrandKind = Literal[
    "batch_submit",
    "batch_look",
    "batch_find",
    "batch_fetch",
    "batch_discard",
    "file_upload",
    "file_delete",
    "list_models",
]
"""`batch_submit` is every call on the way in, the upload of a batch's rows included."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """`batch` is the provider's id of the batch, and `rows` how many are handed in; `size` is that of a file in bytes.
    None where there is none."""

    kind: ErrandKind
    batch: str | None = None
    rows: int | None = None
    size: int | None = None


class Watched(Protocol):
    """An errand under way, in a block that ends when it does, with what it raised."""

    def sending(self) -> AbstractContextManager[object]:
        """A block around the sending, up to status and headers."""
        ...

    def replied(self, status: int) -> None: ...


Watch = Callable[[Endpoint, Errand], AbstractContextManager[Watched]]


class _Unwatched:
    def sending(self) -> AbstractContextManager[object]:
        return nullcontext()

    def replied(self, status: int) -> None:
        pass


@contextmanager
def unwatched(_about: Endpoint, _errand: Errand) -> Generator[Watched]:
    """For who has nobody to tell."""
    yield _Unwatched()
