"""A streamed answer in Gemini's generateContent format, put together from its pieces. Pure.

With `alt=sse` each event is a whole reply object that brings the next parts: texts go on, function calls come whole.
The last one has the finish reason, and nothing says that it was the last.
"""

from collections.abc import Mapping

import msgspec

from llmring.chat import Completion, TokenLogprob
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.google.faults import classify
from llmring.codecs.google.reply import (
    REPLY,
    Ending,
    Feedback,
    Reply,
    Turn,
    UsageIn,
    read_logprobs,
    read_usage,
    to_completion,
)
from llmring.codecs.replies import count, is_set, read_json, request_id
from llmring.codecs.sse import Event
from llmring.codecs.streams import CHARACTERS_PER_TOKEN


class GoogleAnswer:
    """An `Answer`: complete with a finish reason, or with word that the prompt was blocked. Usage may follow."""

    done = False

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._turn = Turn()
        self._finish: str | None = None
        self._finish_message: str | None = None
        self._feedback: Feedback | None = None
        self._usage: UsageIn | None = None
        self._logprobs: list[TokenLogprob] = []
        self._model: str | None = None
        self._id: str | None = None

    @property
    def complete(self) -> bool:
        return self._ending().is_told

    def take(self, event: Event) -> StreamDelta | None:
        if not event.data.strip():
            return None
        found = read_json(REPLY, event.data, request_id=request_id(self._headers))
        if is_set(found.error) or event.name == "error":
            raise classify(HttpReply(status=200, headers=self._headers, body=event.data))
        return self._add(found)

    def completion(self) -> Completion:
        completion = to_completion(self._turn, self._turn.calls(), self._ending(), self._usage, self._headers)
        return self._with_rest(msgspec.structs.replace(completion, native=self._turn.native()))

    def partial(self) -> Completion:
        """Without what only a whole turn is replayed with."""
        usage = self._least_usage()
        completion = to_completion(self._turn, self._turn.named_calls(), self._ending(), usage, self._headers)
        reason = completion.finish_reason if self.complete else "error"
        return self._with_rest(msgspec.structs.replace(completion, finish_reason=reason))

    def _add(self, found: Reply) -> StreamDelta | None:
        self._model = found.model_version or self._model
        self._id = found.response_id or self._id
        self._feedback = found.prompt_feedback or self._feedback
        usage = read_usage(found.usage_metadata)
        if usage is not None:
            self._usage = usage.updated(self._usage)
        first = next((candidate for candidate in found.candidates or () if not candidate.index), None)
        if first is None:
            return None
        self._finish = first.finish_reason or self._finish
        self._finish_message = first.finish_message or self._finish_message
        self._logprobs += read_logprobs(first.logprobs_result)
        return self._turn.add(first)

    def _ending(self) -> Ending:
        return Ending(self._finish, self._finish_message, self._feedback)

    def _with_rest(self, completion: Completion) -> Completion:
        return msgspec.structs.replace(
            completion, logprobs=tuple(self._logprobs), served_model=self._model, response_id=self._id
        )

    def _least_usage(self) -> UsageIn | None:
        """What was told last, and at least the output that was seen, at about four characters a token."""
        seen = self._turn.characters() // CHARACTERS_PER_TOKEN
        told = self._usage or UsageIn()
        least = max(seen, count(told.candidates_token_count))
        return msgspec.structs.replace(told, candidates_token_count=least) if least or self._usage else None
