"""ChatStream: one streamed answer, chunk by chunk, with failover for free until the first text is handed out.

After that nothing can be taken back, so what happens is the caller's choice: `on_break="error"` raises StreamBroken
with the text so far, `"restart"` begins again on the next route with a chunk that says so.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import trio

from llmring.chat import ChatChunk, ChatResponse, Completion
from llmring.codecs.codec import StreamDelta
from llmring.errors import DeadlineReached, LLMRingError, ProviderError, RouterClosed, StreamBroken
from llmring.providers.exchange import LiveStream
from llmring.providers.route import Permit
from llmring.providers.worker import ProviderWorker
from llmring.refs import ModelRef
from llmring.router.calls import Calls
from llmring.router.going import broke, go
from llmring.router.journey import Journey
from llmring.telemetry.spans import Call
from llmring.usage import Cost, Usage

OnBreak = Literal["error", "restart"]
Ended = Callable[[Journey, Completion | None, BaseException | None, Completion | None], None]
"""Is told of every stream that has ended: with its whole answer; or with an error, and what was used by then."""


class Left(Exception):
    """How a stream ended that its caller did not read to the end."""


class ChatStream:
    """`async with router.stream(...) as stream: async for chunk in stream`. Made by the router.

    The last chunk has `finish_reason`; then `response` is the whole answer. Leaving early closes the connection, so
    that the provider stops generating. Not for two tasks at once.
    """

    def __init__(
        self,
        calls: Calls,
        told: Callable[[], Call],
        begin: Callable[[Call], Journey],
        finish: Callable[[Journey, Completion], ChatResponse],
        record: Callable[[Journey, Completion | None], None],
        least_cost: Callable[[ModelRef, Usage | None, str | None, str | None], Cost],
        ended: Ended = lambda *_: None,
        *,
        on_break: OnBreak,
    ) -> None:
        self._calls = calls
        self._told = told
        self._begin = begin
        self._finish = finish
        self._record = record
        self._least_cost = least_cost
        self._ended = ended
        self._is_under_way = False
        self._on_break = on_break
        self._call: Call
        self._journey: Journey
        self._live: LiveStream
        self._shown = ""
        self._handed_out = False
        self.response: ChatResponse | None = None

    async def __aenter__(self) -> Self:
        """Wait for a route and the first text. Raises what `chat` raises."""
        self._calls.begin()
        try:
            self._call = self._told()
            try:
                with self._calls.step():
                    self._journey = self._begin(self._call)
                    self._journey.kind = "stream"
                    await self._go()
            except BaseException as error:
                self._call.end(error)
                raise
        except BaseException:
            self._calls.end()
            raise
        return self

    async def _go(self) -> None:
        """Have a stream whose first text is there."""
        try:
            # Current only here: between two steps it would be so for its reader's own work.
            with self._call.current():
                self._live = await go(self._journey, self._open)
        except BaseException:
            if not self._handed_out:
                self._record(self._journey, None)
            raise
        self._is_under_way = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._end(None, error if isinstance(error, trio.Cancelled | RouterClosed) else Left())
            await self._live.aclose()
        finally:
            self._record(self._journey, self._live.completion if self.response is not None else None)
            self._end_spans(error)
            self._calls.end()

    @property
    def usage(self) -> Usage | None:
        """What the answer has used: as told at its end, and before that, or after a break, as far as it was told or
        seen (text counts as a token for four characters). None when nothing is known."""
        return self.response.usage if self.response is not None else self._live.partial().usage

    @property
    def cost(self) -> Cost:
        """What the answer has cost. Until its end, and for good when it broke off or was left, a lower bound."""
        if self.response is not None:
            return self.response.cost
        told, asked = self._live.partial().service_tier, self._journey.request.service_tier
        return self._least_cost(self._journey.route.ref, self.usage, told, asked)

    def _end_spans(self, error: BaseException | None) -> None:
        """What its reader raises is no failure of ours."""
        ours = error if isinstance(error, LLMRingError | trio.Cancelled) else None
        attempt = self._journey.attempt
        if attempt is not None and self.response is None:
            if ours is not None:
                attempt.failed(ours)
            else:
                attempt.left(self._live.partial())
        self._call.end(ours)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatChunk:
        if self.response is not None:
            raise StopAsyncIteration
        with self._calls.step():
            try:
                delta = await self._receive()
            except ProviderError as error:
                return await self._broken(error)
        if delta is not None:
            self._shown += delta.content
            self._handed_out = True
            return ChatChunk(content=delta.content, reasoning=delta.reasoning, model=self._journey.route.ref)
        assert self._live.completion is not None, "a stream that ends without an error is whole"
        self._end(self._live.completion, None)
        self.response = self._finish(self._journey, self._live.completion)
        if self._journey.attempt is not None:
            self._journey.attempt.answered(self._live.completion)
        self._call.answered(self.response)
        self._call.end()
        return ChatChunk(
            model=self.response.model,
            finish_reason=self.response.finish_reason,
            tool_calls=self.response.tool_calls,
            parsed=self.response.parsed,
            usage=self.response.usage,
            cost=self.response.cost,
            notes=self.response.notes,
        )

    def _end(self, completion: Completion | None, error: BaseException | None) -> None:
        """Tell how the stream ended, once."""
        if self._is_under_way:
            self._is_under_way = False
            if self._journey.payment is not None:
                self._journey.payment.ended(completion, error)
            self._ended(self._journey, completion, error, self._live.partial() if error is not None else None)

    async def _open(self, worker: ProviderWorker, permit: Permit, journey: Journey) -> LiveStream:
        seconds = journey.plan.attempt_seconds(journey.index, trio.current_time())
        return await worker.open_stream(permit, journey.request, seconds)

    async def _receive(self) -> StreamDelta | None:
        """The next text, inside the call's deadline when the caller has set one."""
        if self._journey.request.timeout is None:
            return await self._live.receive()
        with trio.move_on_at(self._journey.plan.deadline):
            return await self._live.receive()
        raise DeadlineReached("the stream did not end within the request's timeout")

    async def _broken(self, error: ProviderError) -> ChatChunk:
        error.model = self._journey.route.ref
        error.usage = self.usage
        error.service_tier = self._live.partial().service_tier or error.service_tier
        self._end(None, error)
        if self._journey.attempt is not None:
            self._journey.attempt.failed(error)
        if not error.fails_over or (self._handed_out and self._on_break == "error"):
            broken = StreamBroken(error, self._shown)
            broken.usage, broken.cost = error.usage, self.cost
            raise broken from error
        broke(self._journey, error)
        await self._go()
        if not self._handed_out:
            return await anext(self)
        self._shown = ""
        return ChatChunk(model=self._journey.route.ref, restarted=True)
