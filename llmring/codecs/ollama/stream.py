"""A streamed answer in Ollama's /api/chat format, put together from its lines. Pure.

Each line is a reply object that brings the next pieces; the last says `done`, why, and how many tokens there were.
"""

from collections.abc import Mapping

from llmring.chat import Completion, TokenLogprob
from llmring.codecs.codec import HttpReply, StreamDelta
from llmring.codecs.ollama.faults import classify
from llmring.codecs.ollama.reply import (
    REPLY,
    Reply,
    Turn,
    finish_reason,
    read_logprobs,
    read_usage,
    to_completion,
)
from llmring.codecs.replies import is_set, read_json, request_id
from llmring.codecs.streams import CHARACTERS_PER_TOKEN
from llmring.usage import Usage


class OllamaAnswer:
    """An `Answer` of lines: complete with the one that is `done`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._turn = Turn()
        self._last = Reply()
        self._logprobs: list[TokenLogprob] = []
        self._usage: Usage | None = None
        self._model: str | None = None
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done

    def take(self, line: bytes, /) -> StreamDelta | None:
        found = read_json(REPLY, line, request_id=request_id(self._headers))
        if is_set(found.error):
            raise classify(HttpReply(status=200, headers=self._headers, body=line))
        self._last = found
        self._model = found.model or self._model
        if is_set(found.logprobs):
            self._logprobs += read_logprobs(found.logprobs)
        self.done = bool(found.done)
        return self._turn.add(found.message)

    def completion(self) -> Completion:
        return to_completion(self._turn, self._last, read_usage(self._last), tuple(self._logprobs), self._headers)

    def partial(self) -> Completion:
        """Without what only a whole turn is replayed with."""
        calls = self._turn.named_calls()
        reason = self._last.done_reason
        return Completion(
            content=self._turn.content(),
            finish_reason=finish_reason(reason, bool(calls)) if self.done else "error",
            raw_finish_reason=reason or None,
            tool_calls=calls,
            reasoning=self._turn.thinking() or None,
            logprobs=tuple(self._logprobs),
            usage=self._least_usage(),
            served_model=self._model,
            request_id=request_id(self._headers),
        )

    def _least_usage(self) -> Usage | None:
        """What was told at the end, or the output that was seen, at about four characters a token."""
        told = read_usage(self._last)
        seen = self._turn.characters() // CHARACTERS_PER_TOKEN
        return told or (Usage(output_tokens=seen) if seen else None)
