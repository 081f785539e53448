"""BatchDesk: one provider's batch API in whole steps: hand in, look, find, fetch, clear away. Effects; decides nothing.

Its calls go beside the chat: they take nothing out of the limits of online calls. Every one is bounded in time, and
none is tried twice here: whether a batch that got no reply may be handed in again is for its caller to know.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import trio

from llmring.chat import ChatRequest, Completion
from llmring.codecs.batch import Batch, BatchCodec, BatchResult, BatchStatus
from llmring.codecs.codec import Codec, HttpCall, HttpReply, NextCall
from llmring.errors import BadReply, InvalidRequest, ProviderError, Unsupported
from llmring.providers.errands import Errand
from llmring.providers.exchange import time_limit
from llmring.providers.quoting import conceal, concealing, said
from llmring.providers.route import Route
from llmring.providers.spelling import Spelled, spell
from llmring.providers.transport import Reply
from llmring.providers.wires import Wire

SUBMIT_SECONDS = 600.0
CALL_SECONDS = 60.0
"""For a step on the way in, which holds all rows; for any other call, and between two pieces of results."""

MOST_TAKEN = 256
"""Results that are handed out together: who takes them may wait for a disk in between."""

MOST_STEPS = 200
MOST_PAGES = 100
"""Bounds of what a provider may make us ask."""

Take = Callable[[Sequence[BatchResult]], Awaitable[None]]
Ask = Callable[[HttpCall, Errand], Awaitable[HttpReply]]
Open = Callable[[HttpCall, Errand], AbstractAsyncContextManager[Reply]]
"""A whole reply, or one that is read piece by piece. Both raise the provider's error for one that is not 2xx."""


class BatchDesk:
    """Made by its worker. What its methods raise is a ProviderError, unless they say otherwise."""

    def __init__(
        self, wire: Wire, batches: BatchCodec, ask: Ask, open_reply: Open, secrets: Sequence[str] = ()
    ) -> None:
        self.batches = batches
        self._wire = wire
        self._ask = ask
        self._open = open_reply
        self._secrets = secrets

    @property
    def can_find(self) -> bool:
        """Whether a batch whose id was lost is found again by its tag."""
        return self.batches.find() is not None

    def spell(self, request: ChatRequest, route: Route) -> Spelled:
        """A row's request, as it is asked online. Raises Unsupported, InvalidRequest."""
        return spell(request, route.ref, route.model, self._wire.codec(route.model.capabilities))

    def read(self, reply: HttpReply, request: ChatRequest, route: Route, form: str) -> Completion:
        """The answer to a row that was spelled in the format `form`. Raises the row's own error."""
        try:
            return self._read(reply, request, route, form)
        except ProviderError as error:
            self.conceal(error, [request])
            raise

    def conceal(self, error: ProviderError, requests: Sequence[ChatRequest]) -> None:
        """Take out of an error what it quotes of what was sent for these rows."""
        conceal(error, said(self._secrets, requests))

    def _read(self, reply: HttpReply, request: ChatRequest, route: Route, form: str) -> Completion:
        codec = self._codec(form)
        if not 200 <= reply.status < 300:
            raise codec.classify(reply)
        completion = codec.decode(reply)
        try:
            spelled = spell(request, route.ref, route.model, codec)
        except (Unsupported, InvalidRequest):
            # More is known of the model than when it was asked: what was answered is read all the same.
            spelled = Spelled(call=HttpCall(path=""), request=request, ref=route.ref, format=codec.format)
        return spelled.read(completion)

    def _codec(self, form: str) -> Codec:
        """The one that the rows were spelled with, whatever is known of their model by now."""
        reasoning = self._wire.reasoning
        return reasoning if reasoning is not None and reasoning.format == form else self._wire.chat

    async def submit(self, batch: Batch) -> BatchStatus:
        """Hand it in. An error whose status says nothing for certain leaves open whether it was made; so does a cancel.

        Raises InvalidRequest, too, for what the API cannot take.
        """
        first = self.batches.submit(batch)
        step: BatchStatus | NextCall = NextCall(call=first)
        errand = Errand(kind="batch_submit", rows=len(batch.rows))
        for _ in range(MOST_STEPS):
            if isinstance(step, BatchStatus):
                return step
            await trio.sleep(step.after)
            with concealing(self._secrets, first.body):
                with time_limit(SUBMIT_SECONDS, "answer"):
                    reply = await self._ask(step.call, errand)
                step = self.batches.read(reply, batch)
        raise BadReply(f"handing in a batch did not end within {MOST_STEPS} calls")

    async def look(self, batch_id: str) -> BatchStatus:
        """How far it is."""
        errand = Errand(kind="batch_look", batch=batch_id)
        reply = await self._called(self.batches.poll(batch_id), errand)
        with concealing(self._secrets):
            return self.batches.read_status(reply)

    async def find(self, tag: str) -> BatchStatus | None:
        """The batch of this tag; None where there is none, or the provider keeps no tags."""
        page: str | None = None
        for _ in range(MOST_PAGES):
            call = self.batches.find(page)
            if call is None:
                return None
            reply = await self._called(call, Errand(kind="batch_find"))
            with concealing(self._secrets):
                read = self.batches.read_found(reply, tag)
            if read.batches:
                return read.batches[0]
            page = read.next
            if page is None:
                return None
        return None

    async def fetch(self, status: BatchStatus, keys: Sequence[str], take: Take) -> int:
        """Give all results to `take` as they come, some at a time; how many could not be read. After an error some have
        been given. How long `take` takes is nobody's time limit here."""
        unread = 0
        for call in self.batches.results(status):
            reader = self.batches.open_results(status, keys)
            async with AsyncExitStack() as opened:
                with time_limit(CALL_SECONDS, "answer"):
                    errand = Errand(kind="batch_fetch", batch=status.id)
                    reply = await opened.enter_async_context(self._open(call, errand))
                while data := await _piece(reply):
                    await _given(reader.feed(data), take)
            await _given(reader.close(), take)
            unread += reader.unread
        return unread

    async def discard(self, status: BatchStatus) -> None:
        """Delete what the provider keeps of a batch that is over, as far as it can be deleted. Raises nothing: what
        stays goes with its time."""
        for call in self.batches.discard(status):
            try:
                await self._called(call, Errand(kind="batch_discard", batch=status.id))
            except ProviderError:
                continue

    async def _called(self, call: HttpCall, errand: Errand) -> HttpReply:
        with time_limit(CALL_SECONDS, "answer"):
            return await self._ask(call, errand)


async def _piece(reply: Reply) -> bytes:
    with time_limit(CALL_SECONDS, "answer"):
        return await reply.receive()


async def _given(results: Sequence[BatchResult], take: Take) -> None:
    for first in range(0, len(results), MOST_TAKEN):
        await take(results[first : first + MOST_TAKEN])
