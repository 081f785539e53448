"""What one simulated provider remembers between requests, besides limits and faults: cached prefixes, uploaded
files, explicit caches, batches and stored replies. All of it bounded: the oldest go first.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, get_args

import msgspec

from llmring.sim.batch_state import Batch
from llmring.sim.prefixes import PrefixCache
from llmring.sim.shelf import Shelf, Stored
from llmring.sim.wire import Answer, Ask, CacheUse, Problem

BatchForm = Literal["openai", "anthropic", "google"]


class File(Stored, frozen=True, kw_only=True):
    """An uploaded file; `data` is its bytes."""

    filename: str
    media_type: str
    created_at: datetime
    purpose: str = ""


class Upload(Stored, frozen=True, kw_only=True):
    """A file on its way in, piece by piece; `data` is what came so far."""

    #: The id of the file it will be.
    name: str
    filename: str
    media_type: str


class CachedContent(Stored, frozen=True, kw_only=True):
    """Gemini's explicit cache; `data` is what was answered about it."""

    tokens: int
    model: str


class Reply(Stored, frozen=True, kw_only=True):
    """A stored reply of the Responses API; `data` is its body."""

    #: Of the whole conversation up to and with it.
    tokens: int


class Memory:
    """Owned by the server's event loop; changed between two awaits only."""

    def __init__(self) -> None:
        self.files: Shelf[File] = Shelf()
        self.uploads: Shelf[Upload] = Shelf()
        self.cached_contents: Shelf[CachedContent] = Shelf()
        self.replies: Shelf[Reply] = Shelf()
        #: By the format that they came in.
        self.batches: Mapping[BatchForm, Shelf[Batch]] = {form: Shelf() for form in get_args(BatchForm)}
        self._prefixes = PrefixCache()

    def resolve(self, ask: Ask, key: str, now: float) -> Ask | Problem:
        """The request with the size of what it refers to added, or what it refers to that is not there."""
        for file_id in ask.files:
            if self.files.get(file_id, key, now) is None:
                return Problem(kind="unknown_file", model=ask.model, detail=file_id)
        tokens = ask.input_tokens
        if ask.cached_content:
            cached = self.cached_contents.get(ask.cached_content, key, now)
            if cached is None:
                return Problem(kind="unknown_cache", model=ask.model, detail=ask.cached_content)
            if cached.model.partition("+")[0] != ask.model.partition("+")[0]:
                detail = (
                    f"Model used by GenerateContent request (models/{ask.model}) and CachedContent "
                    f"(models/{cached.model}) has to be the same."
                )
                return Problem(kind="bad_field", model=ask.model, detail=detail)
            tokens += cached.tokens
        if ask.previous:
            previous = self.replies.get(ask.previous, key, now)
            if previous is None:
                return Problem(kind="unknown_reply", model=ask.model, detail=ask.previous)
            tokens += previous.tokens
        for reply in ask.needed_replies:
            if self.replies.get(reply, key, now) is None:
                return Problem(kind="unknown_item", model=ask.model, detail=reply)
        return msgspec.structs.replace(ask, input_tokens=tokens)

    def use_cache(self, ask: Ask, key: str, now: float) -> CacheUse:
        if ask.cached_content:
            cached = self.cached_contents.get(ask.cached_content, key, now)
            return CacheUse(read_tokens=0 if cached is None else cached.tokens)
        return self._prefixes.use(key, ask.prefixes, now)

    def keep_reply(self, ask: Ask, key: str, answer: Answer, body: bytes) -> None:
        tokens = ask.input_tokens + answer.output_tokens
        self.replies.add(Reply(id=ask.reply_id, key=key, data=body, tokens=tokens))


def new_id(prefix: str, digits: int = 24) -> str:
    return f"{prefix}{secrets.token_hex(digits // 2)}"
